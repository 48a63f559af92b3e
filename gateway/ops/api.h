#pragma once

#include <functional>
#include <string>

#include "gateway/ops/access.h"
#include "gateway/ops/conf_changes.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/events.h"
#include "gateway/ops/live_forecast.h"
#include "gateway/ops/roll_call.h"
#include "gateway/ops/usage_pages.h"
#include "gateway/server.h"

namespace classgate::gateway {

// The JSON API for programs and for the page, under /api/v1/, and the page itself; what each asks
// and answers is in packaging/openapi.json. Who may what: ops/access.h. Nothing here waits for a
// loop or a disk. On the main thread.
class Api {
 public:
  struct Of {
    proxy::net::Loop& loop;
    const Server& server;
    RollCall& roll;
    Access& access;
    ConfChanges& changes;
    Events& events;
    const LiveForecast& forecast;
    std::function<bool()> is_draining;
    std::function<void(const std::string& why)> drain;
    std::function<void(const std::string& client)> forget_pattern;
  };
  explicit Api(Of of) : of_(std::move(of)), usage_(of_.loop, of_.server, of_.forget_pattern) {}
  // Lives as long as the desk is asked.
  void take_its_places(Desk& desk);

 private:
  using Reply = OperatorServer::Reply;
  using Request = OperatorServer::Request;
  Reply health() const;
  Reply conf() const;
  Reply limits() const;
  Reply forecast() const;
  Reply explain(const Request& request) const;
  Reply session(const Request& request) const;
  Reply log_in(const Request& request);
  void tell_queue(const Desk::Responder& answer) const;
  void tell_clients(const Request& request, const Desk::Responder& answer) const;
  void tell_why(const Request& request, const Desk::Responder& answer) const;
  void set_limit(const Request& request, const Desk::Responder& answer);
  void reload(const Request& request, const Desk::Responder& answer);
  void drain(const Desk::Responder& answer);
  ConfChanges::TellChange teller_to(const Desk::Responder& answer, std::string done) const;

  Of of_;
  UsagePages usage_;
};

}  // namespace classgate::gateway
