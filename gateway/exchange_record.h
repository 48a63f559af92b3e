#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "admission/time.h"
#include "admission/verdict.h"
#include "conf/reason.h"
#include "gateway/access_quota.h"
#include "gateway/clients/credential_checks.h"
#include "gateway/logged_fields.h"
#include "gateway/loop_metrics.h"

namespace classgate::gateway {

// How far a request got.
enum class Verdict : std::uint8_t { none, queued, admitted, rejected, abandoned, answered_here };
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

constexpr std::string_view answered_by(int status, bool is_own_answer) {
  if (status == 0) return "-";
  return is_own_answer ? "gateway" : "service";
}

// What became of one exchange, but for texts: written as things happen, and also kept for
// `classgate why`. Plain: reset by assignment.
struct ExchangeFacts {
  int priority = 0;  // 0: refused before it had one
  Verdict verdict = Verdict::none;
  Ending ending = Ending::rejected;
  std::optional<conf::Reason> reason = std::nullopt;    // why it was refused, or cut
  std::optional<conf::Reason> observed = std::nullopt;  // would have been it, but for [observe]
  std::uint32_t place = 0;          // in the queue, when it came to wait; 0: it did not
  std::uint32_t cost = 0;           // tokens of the rate limit that its route takes
  admission::Duration deadline{};   // from its arrival: the longest that it may take
  admission::Duration uploading{};  // from its arrival until it asked for a worker
  admission::Duration waiting{};
  admission::Duration at_upstream{};
  admission::Duration total{};
  // Of one that was refused: the bucket, the line and the estimate, where these told.
  admission::Rejection rejection{};
  int status = 0;  // 0: nobody was there to answer
  CredentialFault credentials = CredentialFault::none;
  bool is_own_answer = true;
  bool retry_was_denied = false;
  unsigned retries = 0;
  std::uint64_t bytes_in = 0;                     // of the body
  std::uint64_t bytes_out = 0;                    // of the body
  std::chrono::system_clock::time_point ended{};  // as all tell it

  // Who said the status.
  std::string_view answered_by() const { return gateway::answered_by(status, is_own_answer); }
  // Routine: nothing that an operator would look for.
  AccessQuota::Kind kind() const {
    using enum AccessQuota::Kind;
    if (verdict == Verdict::rejected) return refusal;
    if (verdict == Verdict::answered_here) return answered_here;
    return verdict == Verdict::admitted && !reason && status < 500 ? routine : other;
  }
};

// The texts that go with them, made once, at its end, if the log wants to know.
struct ExchangeTexts {
  std::string_view request_id = "-";
  std::string_view client = "-";  // its pseudonym; nobody knows, or wants to know
  std::string_view address = "-";
  std::string_view method = "-";
  std::string_view path = "-";
  std::string_view route = "-";
  std::string_view plan = "-";  // its client's; everybody's
  std::string_view name = "-";  // of a client of clients.clients_file
  std::string_view upstream = "-";
};

// The whole of it, with what only the log tells.
struct ExchangeRecord : ExchangeFacts, ExchangeTexts {
  std::string_view tls = "-";  // clients connect without it
  // Of the work at the upstream, when each attempt began; each ends with the next, the last one
  // with the work.
  std::span<const admission::Time> attempts{};
  admission::Time attempts_end{};
  std::string_view traceparent{};  // W3C Trace Context, as the client sent it; empty: it did not
  std::string_view user_agent{};
  std::optional<std::string_view> query = std::nullopt;  // none: not wanted (log.query)
  std::span<const LoggedField> headers{};                // log.headers
};

}  // namespace classgate::gateway
