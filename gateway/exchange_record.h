#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "admission/time.h"
#include "admission/verdict.h"
#include "conf/reason.h"
#include "gateway/traffic.h"

namespace classgate::gateway {

// How far a request got.
enum class Verdict : std::uint8_t { none, queued, admitted, rejected, abandoned, operators };
constexpr std::string_view word_of(Verdict verdict) {
  constexpr std::array<std::string_view, 6> words{"-",        "queued",    "admitted",
                                                  "rejected", "abandoned", "operator"};
  return words[static_cast<std::size_t>(verdict)];
}

constexpr Ending ending_of(const admission::Outcome& outcome) {
  switch (outcome.kind) {
    case admission::Outcome::Kind::processed: return Ending::processed;
    case admission::Outcome::Kind::failed: return Ending::failed;
    case admission::Outcome::Kind::rejected: return Ending::rejected;
    default: return Ending::abandoned;
  }
}

// What became of one exchange: made once, at its end; the log, the counters and whoever else wants
// to know are told this, so that they can't tell different stories. The texts, and what only the
// log tells, are there as long as a line is written. Plain: reset by assignment.
struct ExchangeRecord {
  std::string_view request_id = "-";
  std::string_view client = "-";
  std::string_view method = "-";
  std::string_view path = "-";
  std::string_view route = "-";
  int priority = 0;  // 0: refused before it had one
  Verdict verdict = Verdict::none;
  Ending ending = Ending::rejected;
  std::optional<conf::Reason> reason = std::nullopt;    // why it was refused, or cut
  std::optional<conf::Reason> observed = std::nullopt;  // would have been it, but for [observe]
  std::uint32_t cost = 0;           // tokens of the rate limit that its route takes
  admission::Duration deadline{};   // from its arrival: the longest that it may take
  admission::Duration uploading{};  // from its arrival until it asked for a worker
  admission::Duration waiting{};
  admission::Duration at_upstream{};
  admission::Duration total{};
  int status = 0;  // 0: nobody was there to answer
  bool is_own_answer = true;
  std::uint64_t bytes_in = 0;   // of the body
  std::uint64_t bytes_out = 0;  // of the body
  std::string_view upstream = "-";
  unsigned retries = 0;
  bool retry_was_denied = false;
  std::string_view tls = "-";  // clients connect without it

  // Nothing that an operator would look for.
  bool is_routine() const {
    return (verdict == Verdict::admitted || verdict == Verdict::operators) && !reason &&
           status < 500;
  }
};

}  // namespace classgate::gateway
