// What deciding costs: the CPU time of one arrive + finish in the Controller, with nothing around
// it, while `--waiting` requests wait and `--clients` clients ask in random order.
//   admission_cost [--clients 100000] [--waiting 1000] [--pairs 2000000] [--rounds 5] [--hot]
// Without --clients nobody is told apart. Clients are drawn evenly, which no cache likes; with
// --hot nine in ten requests come from a thousandth of them. Prints one JSON line: the median over
// the rounds, and the least, in ns for each pair, and the memory that each client takes. Drawing
// who asks, and for what, is no decision: it is timed in the same round and not counted.

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cxxopts.hpp>
#include <optional>
#include <random>
#include <variant>
#include <vector>

#include "admission/controller.h"

namespace {

using namespace classgate;
using admission::Time;

struct Options {
  std::uint32_t clients = 0;
  bool is_hot = false;
  std::uint32_t waiting = 0;
  std::uint64_t pairs = 0;
};

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// As the hash of an identity is: spread over all numbers, without a pattern (SplitMix64, Steele,
// Lea, Flood 2014).
std::uint64_t hash(std::uint64_t number) {
  number *= 0x9e3779b97f4a7c15;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  number = (number ^ number >> 27) * 0x94d049bb133111eb;
  return number ^ number >> 31;
}

// Workers are all taken and the queue stays as long as it is: each arrival joins it, each finish
// lets the next one in.
class Round {
 public:
  explicit Round(const Options& options) : options_(options) {
    const std::size_t before = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    controller_.emplace(settings(options));
    // Everybody has been here and has waited once.
    for (std::uint32_t client = 1; client <= options.clients; ++client) {
      arrive({draw_priority(), hash(client)});
      if (client > workers + options.waiting / 2) finish();
    }
    const std::size_t after = ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
    if (options.clients > 0)
      bytes_per_client = static_cast<double>(after - before) / options.clients;
    while (controller_->snapshot(now_).waiting < options.waiting) arrive(draw());
  }

  // Measured after everybody has been here once: what the heap holds for it.
  double bytes_per_client = 0;

  double nanoseconds_per_pair(std::uint64_t pairs) {
    return nanoseconds_each(pairs, [this] {
      arrive(draw());
      finish();
    });
  }
  double nanoseconds_per_draw(std::uint64_t draws) {
    std::uint64_t sum = 0;  // so that none is left out
    const double nanoseconds = nanoseconds_each(draws, [this, &sum] {
      const Draw drawn = draw();
      sum += drawn.client + static_cast<std::uint64_t>(drawn.priority);
    });
    return sum == 0 ? 0 : nanoseconds;
  }

 private:
  static constexpr std::uint32_t workers = 50;
  static conf::AdmissionSettings settings(const Options& options) {
    conf::AdmissionSettings settings;
    settings.workers = workers;
    settings.queue_size = options.waiting + 10;
    settings.rate = 0;
    settings.fairness.is_on = options.clients > 0;
    settings.fairness.clients_max = options.clients;
    settings.fairness.everybody.rate = 1e6;
    return settings;
  }

  template <typename Deed>
  static double nanoseconds_each(std::uint64_t times, Deed deed) {
    const double before = cpu_seconds();
    for (std::uint64_t i = 0; i < times; ++i) deed();
    return (cpu_seconds() - before) / static_cast<double>(times) * 1e9;
  }

  struct Draw {
    int priority;
    std::uint64_t client;
  };
  int draw_priority() { return static_cast<int>(random_() % 5 + 1); }
  Draw draw() {
    std::uint32_t clients = options_.clients;
    if (options_.is_hot && random_() % 10 > 0) clients = std::max(clients / 1000, 1U);
    return {draw_priority(), clients == 0 ? 0 : hash(random_() % clients + 1)};
  }

  void arrive(const Draw& drawn) {
    now_ += std::chrono::microseconds(10);
    admission::Arrival arrival{.priority = drawn.priority, .at = now_, .client = drawn.client};
    const admission::Verdict verdict = controller_->decide(arrival, now_);
    if (const auto* admitted = std::get_if<admission::Admitted>(&verdict))
      seats_.push_back(admitted->seat);
  }

  void finish() {
    controller_->finish(admission::Outcome::processed(), seats_[oldest_], now_);
    seats_[oldest_] = seats_.back();
    seats_.pop_back();
    while (const auto notice = controller_->next(now_))
      if (const auto* granted = std::get_if<admission::Granted>(&notice->news))
        seats_.push_back(granted->seat);
    if (++oldest_ >= seats_.size()) oldest_ = 0;
  }

  const Options options_;
  std::mt19937 random_{1};
  std::vector<admission::Seat> seats_;
  std::size_t oldest_ = 0;
  std::optional<admission::Controller> controller_;
  Time now_ = Time{} + std::chrono::hours(1);
};

}  // namespace

int main(int argc, char** argv) {
  cxxopts::Options table("admission_cost", "what deciding costs");
  table.add_options()("clients", "", cxxopts::value<std::uint32_t>()->default_value("0"))(
      "hot", "", cxxopts::value<bool>()->default_value("false"))(
      "waiting", "", cxxopts::value<std::uint32_t>()->default_value("1000"))(
      "pairs", "", cxxopts::value<std::uint64_t>()->default_value("2000000"))(
      "rounds", "", cxxopts::value<int>()->default_value("5"));
  const auto given = table.parse(argc, argv);
  const Options options{.clients = given["clients"].as<std::uint32_t>(),
                        .is_hot = given["hot"].as<bool>(),
                        .waiting = given["waiting"].as<std::uint32_t>(),
                        .pairs = given["pairs"].as<std::uint64_t>()};
  std::vector<double> rounds;
  double draw = 0;
  double bytes_per_client = 0;
  for (int i = 0; i < given["rounds"].as<int>(); ++i) {
    Round round(options);
    round.nanoseconds_per_pair(options.pairs / 10);  // warm
    const double pair = round.nanoseconds_per_pair(options.pairs);
    draw = round.nanoseconds_per_draw(options.pairs);
    rounds.push_back(pair - draw);
    bytes_per_client = round.bytes_per_client;
  }
  std::ranges::sort(rounds);
  std::printf(
      "{\"clients\": %u, \"waiting\": %u, \"ns_median\": %.1f, \"ns_least\": %.1f, "
      "\"ns_draw\": %.1f, \"bytes_per_client\": %.1f}\n",
      options.clients, options.waiting, rounds[rounds.size() / 2], rounds.front(), draw,
      bytes_per_client);
}
