#include "gateway/held_exchanges.h"

#include <utility>

#include "gateway/exchange.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::milliseconds between_looks{20};  // whether a server is up again

}  // namespace

HeldExchanges::HeldExchanges(proxy::net::Loop& loop, std::function<bool()> holds)
    : loop_(loop), holds_(std::move(holds)), next_look_(loop, [this] { look(); }) {}

void HeldExchanges::hold(Exchange& exchange) {
  if (exchanges_.empty()) next_look_.start(between_looks);
  exchanges_.push_back(&exchange);
}

void HeldExchanges::reserve(std::size_t count) {
  exchanges_.reserve(count);
  looked_at_.reserve(count);
}

void HeldExchanges::look() {
  const bool goes_on = holds_();
  // One may end another (a client that hears nothing any more), and be held again itself; none is
  // freed before the turn is over.
  looked_at_.assign(exchanges_.begin(), exchanges_.end());
  if (!goes_on) exchanges_.clear();
  for (Exchange* const exchange : looked_at_) {
    if (!exchange->is_held()) continue;
    const bool is_over = exchange->has_waited_enough(loop_.now());
    if (goes_on && !is_over) continue;
    loop_.guard([&] { is_over ? exchange->on_due() : exchange->on_hold_over(); },
                [&] { exchange->on_fault(); });
  }
  if (!exchanges_.empty()) next_look_.start(between_looks);
}

}  // namespace classgate::gateway
