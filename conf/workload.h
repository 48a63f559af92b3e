#pragma once

// A workload: who asks for what, how often and how patiently, and the upstream that has to do it.
// Read from a file of its own (classgate-workload(5)) by `classgate simulate` and `classgate load`.

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/reader.h"
#include "conf/settings.h"

namespace classgate::conf {

using Nanoseconds = std::chrono::nanoseconds;

// How long something takes, at random:
//   "50ms"                  always
//   "exponential 50ms"      mean
//   "uniform 10ms 90ms"     from, to
//   "lognormal 40ms 200ms"  median and 95th percentile
//   "pareto 50ms 1.5"       mean and shape (heavy-tailed; above 1, the nearer to it the heavier)
struct Law {
  enum class Kind : std::uint8_t { fixed, exponential, uniform, lognormal, pareto };
  Kind kind = Kind::fixed;
  Nanoseconds first{};
  Nanoseconds second{};
  double shape = 0;
};
std::expected<Law, std::string> parse_law(std::string_view text);
std::string print_law(const Law& law);

// A rate that holds from a time on, counted from the start.
struct RateStep {
  Nanoseconds from{};
  double rate = 0;
};

// [[class]]: clients of one kind. Either they come at a rate, whatever becomes of them (open), or
// `users` of them ask, wait for the answer, think, and ask again (closed).
struct WorkloadClass {
  std::string name = {};
  std::string path = "/v1/classify";
  std::string method = {};             // empty: POST with a body, GET without
  std::vector<std::string> keys = {};  // of its clients, in turn: Workload::key_header
  std::uint32_t clients = 1;           // addresses that they have, taken in turn
  std::vector<RateStep> rates = {};
  bool is_regular = false;     // evenly spaced; else Poisson
  Nanoseconds burst_every{};   // zero: no bursts
  Nanoseconds burst_length{};  // in which burst_rate holds
  double burst_rate = 0;
  std::uint32_t users = 0;
  Law think = {};
  Nanoseconds from{};
  std::optional<Nanoseconds> to = std::nullopt;  // none: the end
  std::optional<Law> service = std::nullopt;     // none: the upstream's
  std::optional<Law> patience = std::nullopt;    // none: endless
  std::uint32_t retries = 0;                     // after a refusal or a failure
  Law retry_delay{Law::Kind::exponential, std::chrono::seconds(1), {}, 0};
  bool honours_retry_after = true;
  Bytes body = {};
  std::uint32_t items = 1;  // texts in the body of a batch, where bodies are sent
  Nanoseconds upload{};
};

// [upstream]: the service as a law and what happens when too much is in it.
struct UpstreamModel {
  Law service{Law::Kind::exponential, milliseconds(100), {}, 0};
  std::uint32_t capacity = 0;  // served at once by each server, others wait in it; 0: no limit
  std::uint32_t servers = 1;
  // A server answers in groups of up to so many at once, each as long as its longest; 0: it does
  // not
  std::uint32_t batch = 0;
  Nanoseconds batch_wait{std::chrono::milliseconds(5)};  // for a group that is not full
  std::uint32_t slowdown_beyond = 0;                     // requests in one server; 0: never
  double slowdown_power = 1;     // it takes (requests / slowdown_beyond) ^ this times as long
  double failures = 0;           // share of the requests on which it breaks off
  bool stops_when_left = false;  // when its connection closes; else it computes on
};

struct Workload {
  std::string name;  // of the file
  Nanoseconds duration{std::chrono::minutes(10)};
  std::uint64_t seed = 1;
  std::string key_header;  // in which clients say their keys, where they have any
  UpstreamModel upstream;
  std::vector<WorkloadClass> classes;
};

// Every mistake with its place. `with_classes` is false for a file that need only have [upstream].
std::expected<Workload, std::vector<Mistake>> read_workload(const std::string& path,
                                                            bool with_classes = true);
std::expected<Workload, std::vector<Mistake>> parse_workload(const std::string& text,
                                                             const std::string& name,
                                                             bool with_classes = true);
// Dotted names of all keys, for the manual's test: "duration", "upstream.capacity", "class.rate".
std::vector<std::string> workload_keys();

}  // namespace classgate::conf
