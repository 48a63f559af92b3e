#pragma once

#include <chrono>
#include <string_view>

#include "gateway/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// Says in the log that a table of clients has had no room for somebody, who shares one client's
// rights or quota since: once for each part of a table, and what to raise. On the supervisor's
// loop.
class TableWatch {
 public:
  TableWatch(proxy::net::Loop& loop, Server& server)
      : server_(server), timer_(loop, [this] { look(); }) {}

  void begin() { timer_.start(interval); }
  void end() { timer_.stop(); }

 private:
  void look();
  static void tell(bool& was_told, bool is_so, std::string_view text);

  static constexpr std::chrono::seconds interval{5};
  Server& server_;
  bool told_of_known_ = false;
  bool told_of_networks_ = false;
  bool told_of_unknown_ = false;
  bool told_of_quotas_ = false;
  proxy::net::Timer timer_;
};

}  // namespace classgate::gateway
