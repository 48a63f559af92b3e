// What deciding costs: the CPU time of one arrive + finish in the Controller, with nothing around
// it, while `--waiting` requests wait and `--clients` clients ask in random order.
//   admission_cost [--clients 100000] [--waiting 1000] [--pairs 2000000] [--rounds 5]
// Prints one JSON line: the median over the rounds, and the least, in ns for each pair.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cxxopts.hpp>
#include <random>
#include <variant>
#include <vector>

#include "admission/controller.h"

namespace {

using namespace classgate;
using admission::Time;

struct Options {
  std::uint32_t waiting = 0;
  std::uint64_t pairs = 0;
};

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Workers are all taken and the queue stays as long as it is: each arrival joins it, each finish
// lets the next one in.
class Round {
 public:
  explicit Round(const Options& options) : controller_(settings(options)) {
    for (std::uint32_t i = 0; i < workers + options.waiting; ++i) arrive();
  }

  double nanoseconds_per_pair(std::uint64_t pairs) {
    const double before = cpu_seconds();
    for (std::uint64_t i = 0; i < pairs; ++i) {
      arrive();
      controller_.finish(admission::Outcome::processed(), {.since = now_}, now_);
      while (controller_.next(now_)) {
      }
    }
    return (cpu_seconds() - before) / static_cast<double>(pairs) * 1e9;
  }

 private:
  static constexpr std::uint32_t workers = 50;
  static conf::AdmissionSettings settings(const Options& options) {
    conf::AdmissionSettings settings;
    settings.workers = workers;
    settings.queue_size = options.waiting + 10;
    settings.rate = 0;
    return settings;
  }

  void arrive() {
    now_ += std::chrono::microseconds(10);
    const admission::Arrival arrival{.priority = static_cast<int>(random_() % 5 + 1), .at = now_};
    if (controller_.screen(arrival, now_)) return;
    if (std::holds_alternative<admission::Ticket>(controller_.arrive(arrival, now_))) return;
  }

  std::mt19937 random_{1};
  admission::Controller controller_;
  Time now_ = Time{} + std::chrono::hours(1);
};

}  // namespace

int main(int argc, char** argv) {
  cxxopts::Options table("admission_cost", "what deciding costs");
  table.add_options()("waiting", "", cxxopts::value<std::uint32_t>()->default_value("1000"))(
      "pairs", "", cxxopts::value<std::uint64_t>()->default_value("2000000"))(
      "rounds", "", cxxopts::value<int>()->default_value("5"));
  const auto given = table.parse(argc, argv);
  const Options options{.waiting = given["waiting"].as<std::uint32_t>(),
                        .pairs = given["pairs"].as<std::uint64_t>()};
  std::vector<double> rounds;
  for (int i = 0; i < given["rounds"].as<int>(); ++i) {
    Round round(options);
    round.nanoseconds_per_pair(options.pairs / 10);  // warm
    rounds.push_back(round.nanoseconds_per_pair(options.pairs));
  }
  std::ranges::sort(rounds);
  std::printf("{\"waiting\": %u, \"ns_median\": %.1f, \"ns_least\": %.1f}\n", options.waiting,
              rounds[rounds.size() / 2], rounds.front());
}
