#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "admission/history/use.h"
#include "admission/time.h"
#include "admission/verdict.h"
#include "conf/reason.h"
#include "gateway/access_quota.h"
#include "gateway/clients/credential_checks.h"
#include "gateway/logged_fields.h"
#include "gateway/loop_metrics.h"
#include "proxy/upstream_stream.h"

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

// Of a call of gRPC, what HTTP would tell by a status from 500 on: UNKNOWN, DEADLINE_EXCEEDED,
// UNIMPLEMENTED to DATA_LOSS.
constexpr bool is_fault_of_service(int grpc_status) {
  return grpc_status == 2 || grpc_status == 4 || (grpc_status >= 12 && grpc_status <= 15);
}

// In what a request went to the service.
using Carrier = proxy::UpstreamStream::Carrier;

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
  bool came_by_http2 = false;
  bool retry_was_denied = false;
  Carrier carried_by = Carrier::none;
  std::int8_t grpc_status = no_grpc_status;  // of a call, as its client is told
  // Its second attempt had a connection to itself, for it may harm others.
  bool was_isolated = false;
  unsigned retries = 0;
  std::uint64_t bytes_in = 0;                     // of the body
  std::uint64_t bytes_out = 0;                    // of the body
  std::chrono::system_clock::time_point ended{};  // as all tell it

  static constexpr std::int8_t no_grpc_status = -1;

  // As ALPN names them (RFC 7301 section 6): what the client speaks, and what the service.
  std::string_view protocol() const { return came_by_http2 ? "h2" : "http/1.1"; }
  std::string_view upstream_protocol() const {
    if (carried_by == Carrier::none) return "-";
    return carried_by == Carrier::http2 ? "h2" : "http/1.1";
  }
  // Who said the status.
  std::string_view answered_by() const { return gateway::answered_by(status, is_own_answer); }
  // Routine: nothing that an operator would look for.
  AccessQuota::Kind kind() const {
    using enum AccessQuota::Kind;
    if (verdict == Verdict::rejected) return refusal;
    if (verdict == Verdict::answered_here) return answered_here;
    const bool has_failed = status >= 500 || is_fault_of_service(grpc_status);
    return verdict == Verdict::admitted && !reason && !has_failed ? routine : other;
  }
};

constexpr history::End end_of(Ending ending) {
  constexpr std::array ends{history::End::served, history::End::failed, history::End::refused,
                            history::End::abandoned};
  return ends[static_cast<std::size_t>(ending)];
}

// What the history counts of it; it ended `now`.
inline history::Use use_of(const ExchangeFacts& facts, std::uint64_t client, admission::Time now,
                           const RouteMetrics& route, const PlanMetrics& plan) {
  // To some hours; longer ones are as long as that.
  const auto microseconds = [](admission::Duration time) {
    constexpr std::int64_t most = history::Use::none - 1;
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(time.count() / 1000, 0, most));
  };
  const bool went_in = facts.verdict == Verdict::admitted;
  return {
      .client = client,
      .at_ns = now.time_since_epoch().count(),
      .bytes_in = facts.bytes_in,
      .bytes_out = facts.bytes_out,
      .wait_us =
          went_in || facts.waiting.count() > 0 ? microseconds(facts.waiting) : history::Use::none,
      .service_us =
          facts.at_upstream.count() > 0 ? microseconds(facts.at_upstream) : history::Use::none,
      .cost = went_in ? facts.cost : 0,
      .route = route.number,
      .plan = plan.number,
      .status = static_cast<std::uint16_t>(facts.status),
      .priority = static_cast<std::uint8_t>(route.priority),
      .reason = facts.reason ? static_cast<std::uint8_t>(conf::index_of(*facts.reason))
                             : history::Use::no_reason,
      .end = end_of(facts.ending),
  };
}

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
