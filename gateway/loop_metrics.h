#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "admission/time.h"
#include "conf/settings.h"
#include "gateway/clients/credential_checks.h"

namespace classgate::gateway {

// A number that one thread writes and any thread reads: no locked instruction, no false promise of
// agreement with other numbers.
class Counter {
 public:
  void add(std::uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(std::uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  std::uint64_t read() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Durations in the buckets that /metrics shows.
class DurationHistogram {
 public:
  // Upper bounds, in seconds; one more bucket takes the rest.
  static constexpr std::array<double, 14> bounds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                 0.25,  0.5,    1,     2.5,  5,     10,   30};

  void record(admission::Duration duration);
  std::uint64_t bucket(std::size_t index) const { return buckets_[index].read(); }
  double sum_seconds() const { return static_cast<double>(sum_ns_.read()) * 1e-9; }

 private:
  std::array<Counter, bounds.size() + 1> buckets_;
  Counter sum_ns_;
};

enum class Ending : std::uint8_t { processed, failed, rejected, abandoned };
inline constexpr std::array<std::string_view, 4> ending_words{"processed", "failed", "rejected",
                                                              "abandoned"};

// Limits of one connection or exchange that are reached without a refusal of their own, or behind
// one that several share; by their keys in the conf.
enum class Limit : std::uint8_t {
  header_timeout,
  body_rate_min,
  stream_rate_min,
  send_timeout,
  idle_timeout,
  linger_timeout,
  requests_per_connection,
  max_connections,  // a silent one gave way
  body_buffer,
  response_buffer,
  answer_header_bytes,
  streams_per_connection,
  misuse,
};
inline constexpr std::array<std::string_view, 13> limit_keys{"client.header_timeout",
                                                             "client.body_rate_min",
                                                             "client.stream_rate_min",
                                                             "client.send_timeout",
                                                             "client.idle_timeout",
                                                             "client.linger_timeout",
                                                             "client.requests_per_connection",
                                                             "client.max_connections",
                                                             "client.body_buffer",
                                                             "client.response_buffer",
                                                             "upstream.header_bytes",
                                                             "client.streams_per_connection",
                                                             "client.misuse_burst"};

// Requests that the gateway answers itself, outside of the books.
enum class AnsweredHere : std::uint8_t { health, preflight, last_hop };
inline constexpr std::array<std::string_view, 3> answered_here_words{"health", "preflight",
                                                                     "last_hop"};

// What came of the requests of one route at one priority.
struct RouteMetrics {
  std::string name;
  std::uint16_t number = 0;  // by which the history knows its name (UsageNames); on the loop
  int priority = 0;
  std::array<Counter, ending_words.size()> endings;
};

// What came of the requests of one plan's clients.
struct PlanMetrics {
  std::string name;          // "-": everybody's terms
  std::uint16_t number = 0;  // as that of a route
  std::array<Counter, ending_words.size()> endings;
  std::array<Counter, conf::reason_count> refusals;
  Counter cost;             // tokens, of those that went in
  Counter asked;            // of arrivals: as DemandCounts has it
  DurationHistogram times;  // from the end of their header to the end, likewise
};

// What is asked for at one priority, and what work that is.
struct DemandCounts {
  Counter asked;    // cost of the arrivals, the refused ones too, without their retries
  Counter served;   // cost of those that had a worker
  Counter work_ns;  // of the workers that they had
};

struct ExchangeFacts;

// The numbers of one loop. The loop writes; the operators' side reads.
class LoopMetrics {
 public:
  // The same object for the same name and priority, for good: a reload loses no count. On the loop.
  RouteMetrics& route(const std::string& name, int priority);
  // The same for a plan.
  PlanMetrics& plan(const std::string& name);
  // An exchange has ended, which belongs in the books.
  void count(const ExchangeFacts& facts, RouteMetrics& route, PlanMetrics& plan);
  void count(AnsweredHere what) { answered_here[static_cast<std::size_t>(what)].add(); }
  void for_each_route(const std::function<void(const RouteMetrics&)>& visit) const;
  void for_each_plan(const std::function<void(const PlanMetrics&)>& visit) const;

  std::array<DurationHistogram, conf::priority_count> waits;
  std::array<DurationHistogram, conf::priority_count> upstream_times;
  std::array<DemandCounts, conf::priority_count> demand;
  Counter accepted;                                                // connections
  Counter http2_connections, http2_requests;                       // of these, and on them
  Counter carried_by_http1, carried_by_http2;                      // requests, to the service
  std::array<Counter, 17> grpc_calls;                              // by grpc-status
  Counter handshakes_full, handshakes_resumed, handshakes_failed;  // TLS, with clients
  Counter retries, retries_denied, retries_isolated;               // of requests, upstream
  Counter introductions_refused;                                   // PROXY headers
  std::array<Counter, 4> own_answers;  // the gateway's, by status class: 0 is 2xx
  std::array<Counter, answered_here_words.size()> answered_here;
  // Tokens and keys of clients, by what came of looking at them; signatures that were checked.
  std::array<Counter, token_result_words.size()> token_checks;
  std::array<Counter, key_result_words.size()> key_checks;
  Counter token_signatures;
  void count(TokenLook token, std::optional<TokenFault> fault, KeyLook key);
  Counter received_bytes;  // bodies
  Counter sent_bytes;      // bodies
  Counter held_bytes;      // bodies in memory; goes down too
  // What was done because of client.memory.
  Counter memory_given_way, memory_refused_newcomers, memory_refused_growth;
  void reached(Limit limit) { limits_reached[static_cast<std::size_t>(limit)].add(); }
  std::array<Counter, limit_keys.size()> limits_reached;

 private:
  static constexpr std::size_t routes_max = 4096;  // then they share the last one
  mutable std::mutex mutex_;                       // of the list, not of the numbers
  std::deque<RouteMetrics> routes_;
  std::map<std::pair<std::string_view, int>, RouteMetrics*> by_name_;  // views of their names
  static constexpr std::size_t plans_max = 1024;                       // likewise
  std::deque<PlanMetrics> plans_;
};

}  // namespace classgate::gateway
