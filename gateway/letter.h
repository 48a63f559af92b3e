#pragma once

#include <variant>

#include "admission/gate.h"

namespace classgate::gateway {

// Everything that may cross from one thread to a loop.
struct Grant {
  admission::Ticket ticket;
  std::uint32_t tag;  // the exchange, in its station
  admission::Permit permit;
};
struct Shed {
  admission::Ticket ticket;
  std::uint32_t tag;
  admission::Rejection rejection;
};
struct Drain {};
struct Stop {};
using Letter = std::variant<Grant, Shed, Drain, Stop>;

}  // namespace classgate::gateway
