#pragma once

// A gateway in a small state, and questions about it.

#include <algorithm>

#include "tests/admission/kit.h"

namespace classgate::admission {

// All workers are taken, nobody waits.
struct FullHouse : Controller {
  explicit FullHouse(const conf::AdmissionSettings& settings) : Controller(settings) {
    for (std::uint32_t i = 0; i < settings.workers; ++i)
      REQUIRE(said(enter(*this, request(1))) == "admitted");
  }
};

inline Ticket wait_in(Controller& controller, const Arrival& arrival, Time now = start) {
  const Verdict verdict = enter(controller, arrival, now);
  REQUIRE(said(verdict) == "waits");
  return std::get<Ticket>(verdict);
}

// One of those that are taken, since `start`.
inline Seat a_seat(const Controller& controller) {
  const auto active = controller.snapshot(start).active_by_priority;
  const auto taken = std::ranges::find_if(active, [](std::uint32_t count) { return count > 0; });
  REQUIRE(taken != active.end());
  return {.since = start, .priority = static_cast<int>(taken - active.begin()) + 1};
}

inline std::uint64_t rejected(const Controller& controller, conf::Reason reason) {
  return controller.snapshot(start).rejected[conf::index_of(reason)];
}

inline void check_balance(const Controller& controller) {
  const Snapshot books = controller.snapshot(start);
  CHECK(books.total == in_the_books(books));
}

}  // namespace classgate::admission
