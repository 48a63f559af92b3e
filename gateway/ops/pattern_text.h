#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "admission/pattern_memo.h"
#include "admission/time.h"

namespace classgate::gateway {

class Server;

// What is usual for each client (fairness.rate = "pattern"), as another process reads it: from the
// file in state_dir after a restart, or behind the memo of an upgrade. A line of text with a
// version, then for each client its id, what is in its bucket, the hour that runs and those that
// are over, of which empty ones take a bit; then the SHA-256 of all that. Numbers with the lowest
// byte first. Clients go by their ids, which are keyed hashes, so the reader must have the same
// key.
//
// Admission's clock begins anew with the machine: the time that has passed is that of the clock on
// the wall, and hours are moved by half of one at most. If that clock was set back, none has
// passed.
inline constexpr std::size_t pattern_bytes_max = std::size_t{64} << 20;
inline constexpr unsigned pattern_version = 1;

struct PatternClock {
  admission::Time steady;
  std::chrono::system_clock::time_point wall;
  static PatternClock now() {
    return {std::chrono::steady_clock::now(), std::chrono::system_clock::now()};
  }
};
// `ids_of`: sign_of_ids() (memo_text.h).
std::string pattern_text(const admission::PatternMemo& memo, std::uint64_t ids_of,
                         const PatternClock& now);
// The error says in a line what is wrong.
std::expected<admission::PatternMemo, std::string> read_pattern_text(std::string_view text,
                                                                     std::uint64_t ids_of,
                                                                     const PatternClock& now);

// All that the server has learnt; empty: the rule is off. Some 100 nanoseconds a client.
std::string patterns_of(const Server& server);
// For how many clients something is known now.
std::expected<std::size_t, std::string> take_up_patterns(Server& server, std::string_view text);

}  // namespace classgate::gateway
