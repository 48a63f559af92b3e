#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "proxy/net/loop.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

class Exchange;

// The exchanges of one loop that have a worker and no server (Station::holds): looked at again and
// again, until a server can be had or they have waited for as long as they may. On the loop.
class HeldExchanges {
 public:
  // `holds`: no server can be had still.
  HeldExchanges(proxy::net::Loop& loop, std::function<bool()> holds);

  // Exchange::on_hold_over() will come, or on_due() when it has waited for as long as it may. Needs
  // no memory where reserve() has asked for it.
  void hold(Exchange& exchange);
  void let_go(Exchange& exchange) { std::erase(exchanges_, &exchange); }
  void reserve(std::size_t count);

 private:
  void look();

  proxy::net::Loop& loop_;
  const std::function<bool()> holds_;
  std::vector<Exchange*> exchanges_;
  std::vector<Exchange*> looked_at_;  // of these, in look()
  proxy::net::Timer next_look_;
};

}  // namespace classgate::gateway
