#pragma once

#include <functional>

#include "gateway/error_log.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/live_forecast.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/roll_call.h"
#include "gateway/server.h"

namespace classgate::gateway {

// What operators may ask: the pages. Nothing here changes anything, or waits for a loop. On the
// main thread.
class Questions {
 public:
  struct Of {
    Server& server;
    const ErrorLog& log;
    const OperatorServer& operators;
    RollCall& roll;
    const LiveForecast& forecast;
    std::function<bool()> is_draining;
  };
  explicit Questions(Of of) : of_(std::move(of)) {}
  // Lives as long as the desk is asked.
  void take_their_places(Desk& desk);

 private:
  OperatorServer::Reply metrics(const Desk::Request& request) const;
  OperatorServer::Reply health() const;
  OperatorServer::Reply readiness(const Desk::Request& request) const;
  void tell_turns(const Desk::Responder& answer) const;
  void tell_why(const Desk::Request& request, const Desk::Responder& answer) const;
  void tell_waiters(const Desk::Responder& answer) const;
  void tell_status(const Desk::Request& request, const Desk::Responder& answer) const;
  OperatorServer::Reply explain(const Desk::Request& request) const;

  Of of_;
};

}  // namespace classgate::gateway
