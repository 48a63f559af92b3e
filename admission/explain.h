#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "admission/client_table.h"
#include "admission/limits.h"
#include "admission/verdict.h"

namespace classgate::admission {

// What Controller::explain() says: the verdict that a request would get now, and what it rests on.
// Plain values of one instant.
struct Explanation {
  enum class Kind : std::uint8_t { admitted, waits, refused };
  Kind kind = Kind::admitted;
  int priority =
      conf::priority_worst;  // its route's, or the worst where its client has had its share
  Rejection rejection;       // of a refused one
  std::optional<conf::Reason> observed;  // of one that passes: would refuse it, but for [observe]
  bool is_a_try = false;   // misses its deadline by the estimate, and is let in to put that right
  bool is_retry = false;   // counts against its client's budget
  bool displaces = false;  // somebody gives way to it in the queue

  Limits::Buckets buckets;                      // those that apply
  std::optional<ClientPatterns::Look> pattern;  // what is usual for its client
  bool is_short = false;                        // so that this counts
  std::optional<ClientTable::Look> client;      // none: nobody wants to know

  std::uint32_t workers = 0;  // limit
  std::uint32_t active = 0;   // taken
  std::uint32_t wanted = 1;   // by this one
  std::uint32_t reserved_for_priority = 0;
  std::uint32_t active_of_priority = 0;

  std::size_t waiting = 0;
  std::size_t queue_limit = 0;
  std::uint64_t waiting_bytes = 0;
  std::uint64_t waiting_bytes_limit = 0;
  // Of one that does not go in at once: who goes in before it, and itself, if nobody else comes.
  // Exact where everybody is alike; an estimate among clients that take turns, or with reserves.
  std::size_t place = 0;

  Duration wait{};  // by the current estimate; three in four of those who are told it wait ...
  Duration wait_least{};  // ... from
  Duration wait_most{};   // ... to, of seven in eight
  Duration work{};        // that such requests keep their workers for lately; zero: none has ended
  Duration most_work{};   // what a deadline has to leave for it
};

}  // namespace classgate::admission
