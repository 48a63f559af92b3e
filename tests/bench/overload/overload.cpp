// What admission does in an overload, in virtual time: issue 7's scenarios as tables, medians over
// seeds. Usage: overload [SCENARIO ...] [--seeds=N]

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include "conf/format.h"
#include "tests/bench/overload/world.h"

namespace classgate::bench {
namespace {

using namespace std::chrono_literals;

constexpr double capacity = 50;  // requests in the upstream that do not slow each other down
unsigned seeds = 5;

conf::AdmissionSettings plain_settings() {
  conf::AdmissionSettings settings;
  settings.rate = 0;
  return settings;
}

conf::AdmissionSettings best_settings() {
  conf::AdmissionSettings settings = plain_settings();
  settings.discipline = conf::Discipline::adaptive;
  settings.reserve.shares[3] = 0.1;
  return settings;
}

conf::AdmissionSettings automatic_settings() {
  conf::AdmissionSettings settings = plain_settings();
  settings.workers_are_auto = true;
  settings.workers = settings.autos.workers_max;
  return settings;
}

std::vector<Class> mix(bool says_deadline) {
  return {{1, 0.01, 200ms, 50ms, says_deadline},
          {3, 0.79, 1s, 50ms, says_deadline},
          {4, 0.20, 3s, 50ms, says_deadline}};
}

// `slots` at once, the others wait inside.
double with_slots(double n, double slots) { return std::max(1.0, n / slots); }
// Each beyond 16 makes it slower for all, so that less is done than with 16.
double collapsing(double n, double) { return std::max(1.0, (n / 16) * (n / 16)); }

Load load_of(double rate, const std::vector<Class>& classes, std::uint64_t seed) {
  return {.classes = classes,
          .rate = [rate](double) { return rate; },
          .slowdown = [](double n, double) { return with_slots(n, capacity); },
          .length = 60,
          .warm_up = 5,
          .seed = seed};
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

template <typename Measure>
std::vector<double> medians(Measure measure) {
  std::vector<std::vector<double>> columns;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::vector<double> row = measure(seed);
    columns.resize(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) columns[i].push_back(row[i]);
  }
  std::vector<double> result;
  for (const auto& column : columns) result.push_back(quantile(column, 0.5));
  return result;
}

// ---- 2x, 5x, 10x -------------------------------------------------------------------------------

void overload() {
  fmt::print(
      "\noverload: upstream 50 x 50 ms; 1 % health (200 ms), 79 % classify (1 s), 20 % batch "
      "(3 s)\n{:<34}{:>9}{:>9}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}\n",
      "policy, load", "useful %", "health %", "classify", "batch", "batch", "for gone", "in vain",
      "shed %");
  fmt::print("{:<34}{:>9}{:>9}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}\n", "", "", "", "p99 ms", "p99 ms",
             "workers%", "%", "%", "waited");
  struct Policy {
    std::string_view name;
    conf::AdmissionSettings settings;
    bool says_deadline;
  };
  conf::AdmissionSettings fifo = best_settings();
  fifo.discipline = conf::Discipline::fifo;
  const Policy policies[] = {{"as before", plain_settings(), false},
                             {"deadlines + reserve, fifo", fifo, true},
                             {"deadlines + reserve, adaptive", best_settings(), true},
                             {"reserve, adaptive", best_settings(), false}};
  for (const Policy& policy : policies)
    for (const double times : {2.0, 5.0, 10.0}) {
      const auto row = medians([&](std::uint64_t seed) {
        const Load load = load_of(times * 1000, mix(policy.says_deadline), seed);
        const Result result = run(load, policy.settings);
        const double counted = load.length - 2 * load.warm_up;
        double late = 0, in_vain = 0, waited = 0;
        for (const ClassResult& each : result.classes) {
          late += static_cast<double>(each.late);
          in_vain += static_cast<double>(each.in_vain);
          waited += static_cast<double>(each.turned_away);
        }
        const double useful = static_cast<double>(result.useful());
        const double offered = static_cast<double>(result.offered());
        const ClassResult& health = result.classes[0];
        return std::vector<double>{
            percent(useful, 1000 * counted),
            percent(static_cast<double>(health.useful), static_cast<double>(health.offered)),
            quantile(result.classes[1].times, 0.99),
            quantile(result.classes[2].times, 0.99),
            percent(result.classes[2].busy_seconds, capacity * (counted + load.warm_up)),
            percent(late, useful + late),
            percent(in_vain, offered),
            percent(waited, offered)};
      });
      fmt::print("{:<34}{:>9.2f}{:>9.2f}{:>10.1f}{:>10.1f}{:>9.2f}{:>9.3f}{:>9.3f}{:>9.2f}\n",
                 fmt::format("{}, {:.0f}x", policy.name, times), row[0], row[1], row[2], row[3],
                 row[4], row[5], row[6], row[7]);
    }
}

// ---- workers = "auto" --------------------------------------------------------------------------

double share_of_best(const std::vector<std::uint64_t>& completions, std::size_t from,
                     std::size_t to, double best) {
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) sum += static_cast<double>(completions[i]);
  return percent(sum, best * static_cast<double>(to - from));
}

// The seconds until throughput reaches 95 % of the best, as the mean of five seconds.
double seconds_to_reach(const std::vector<std::uint64_t>& completions, std::size_t from,
                        std::size_t to, double best) {
  for (std::size_t i = from; i + 5 <= to; ++i)
    if (share_of_best(completions, i, i + 5, best) >= 95) return static_cast<double>(i - from);
  return 999;
}

std::vector<Class> patient() { return {{3, 1, 1h, 50ms, false}}; }

void collapse() {
  fmt::print(
      "\ncollapse: upstream of 16 x 50 ms that slows down by (n/16)^2 beyond; offered 600/s, "
      "best 320/s, 120 s\n{:<34}{:>12}{:>12}{:>10}{:>10}{:>10}\n",
      "policy", "reached, s", "% of best", "least", "most", "median");
  const auto line = [&](std::string_view name, const conf::AdmissionSettings& settings,
                        std::optional<std::uint32_t> start, bool is_random) {
    const auto row = medians([&](std::uint64_t seed) {
      Load load = load_of(600, patient(), seed);
      load.slowdown = collapsing;
      load.length = 120;
      load.is_random_work = is_random;
      const Result result = run(load, settings, start);
      const std::vector<double> limits(result.limits.begin() + 30, result.limits.end());
      return std::vector<double>{seconds_to_reach(result.completions, 0, 119, 320),
                                 share_of_best(result.completions, 30, 119, 320),
                                 quantile(limits, 0), quantile(limits, 1), quantile(limits, 0.5)};
    });
    fmt::print("{:<34}{:>12.0f}{:>12.1f}{:>10.0f}{:>10.0f}{:>10.0f}\n", name, row[0], row[1],
               row[2], row[3], row[4]);
  };
  line("workers = 50", plain_settings(), std::nullopt, false);
  for (const bool is_random : {false, true})
    for (const std::uint32_t start : {2U, 16U, 50U, 100U})
      line(fmt::format("auto from {}{}", start, is_random ? ", exponential work" : ""),
           automatic_settings(), start, is_random);
}

void half() {
  fmt::print(
      "\nhalf: capacity 50 x 50 ms, 25 from 60 s to 120 s; offered 1500/s\n"
      "{:<28}{:>10}{:>10}{:>10}{:>24}{:>24}{:>24}\n",
      "policy", "s to 50", "s to 25", "s to 50", "% of best, limit 30-60",
      "% of best, limit 90-120", "% of best, limit 150-180");
  for (const bool is_random : {false, true}) {
    const auto row = medians([&](std::uint64_t seed) {
      Load load = load_of(1500, patient(), seed);
      load.slowdown = [](double n, double at) {
        return with_slots(n, at >= 60 && at < 120 ? 25 : 50);
      };
      load.length = 181;
      load.is_random_work = is_random;
      const Result result = run(load, automatic_settings());
      std::vector<double> figures{seconds_to_reach(result.completions, 0, 60, 1000),
                                  seconds_to_reach(result.completions, 60, 120, 500),
                                  seconds_to_reach(result.completions, 120, 180, 1000)};
      for (const std::size_t from : {30U, 90U, 150U}) {
        const auto begin = result.limits.begin() + static_cast<std::ptrdiff_t>(from);
        const std::vector<double> limits(begin, begin + 30);
        figures.push_back(
            share_of_best(result.completions, from, from + 30, from == 90 ? 500 : 1000));
        figures.push_back(quantile(limits, 0));
        figures.push_back(quantile(limits, 1));
      }
      return figures;
    });
    fmt::print("{:<28}{:>10.0f}{:>10.0f}{:>10.0f}", is_random ? "auto, exponential work" : "auto",
               row[0], row[1], row[2]);
    for (std::size_t i = 3; i < 12; i += 3)
      fmt::print("{:>24}", fmt::format("{:.1f}, {:.0f} to {:.0f}", row[i], row[i + 1], row[i + 2]));
    fmt::print("\n");
  }
}

void hour() {
  fmt::print(
      "\nhour: 80 % load, workers = \"auto\", exponential work, one virtual hour\n"
      "{:<28}{:>12}{:>10}{:>14}{:>8}{:>8}\n",
      "policy", "offered", "refused", "wait p99 ms", "least", "most");
  for (const bool is_auto : {false, true}) {
    const auto row = medians([&](std::uint64_t seed) {
      Load load = load_of(800, mix(true), seed);
      load.length = 3600;
      load.is_random_work = true;
      conf::AdmissionSettings settings = is_auto ? automatic_settings() : plain_settings();
      settings.deadlines.refuse_early = false;
      const Result result = run(load, settings);
      std::uint64_t refused = admission::sum(result.books.rejected);
      const std::vector<double> limits(result.limits.begin(), result.limits.end());
      return std::vector<double>{
          static_cast<double>(result.offered()), static_cast<double>(refused),
          std::chrono::duration<double, std::milli>(result.books.wait.p99).count(),
          quantile(limits, 0), quantile(limits, 1)};
    });
    fmt::print("{:<28}{:>12.0f}{:>10.0f}{:>14.1f}{:>8.0f}{:>8.0f}\n",
               is_auto ? "auto" : "workers = 50", row[0], row[1], row[2], row[3], row[4]);
  }
}

// ---- A wall of long batches --------------------------------------------------------------------

void wall() {
  fmt::print(
      "\nwall: batches of 30 s at 10/s, classify of 50 ms at 100/s, health at 1/s; 300 s\n"
      "{:<34}{:>12}{:>14}{:>12}{:>12}\n",
      "policy", "health %", "classify %", "p99 ms", "batch busy%");
  conf::AdmissionSettings reserved = plain_settings();
  reserved.reserve.shares = {0.04, 0, 0.4, 0.1, 0};
  for (const bool is_reserved : {false, true}) {
    const auto row = medians([&](std::uint64_t seed) {
      Load load = load_of(111,
                          {{1, 1 / 111.0, 200ms, 50ms},
                           {3, 100 / 111.0, 1s, 50ms},
                           {4, 10 / 111.0, 1h, 30s, false}},
                          seed);
      load.length = 300;
      load.warm_up = 60;
      conf::AdmissionSettings settings = is_reserved ? reserved : plain_settings();
      settings.request_timeout = settings.queue_timeout = 600s;
      const Result result = run(load, settings);
      const auto& [health, classify, batch] =
          std::tie(result.classes[0], result.classes[1], result.classes[2]);
      return std::vector<double>{
          percent(static_cast<double>(health.useful), static_cast<double>(health.offered)),
          percent(static_cast<double>(classify.useful), static_cast<double>(classify.offered)),
          quantile(classify.times, 0.99), percent(batch.busy_seconds, capacity * 240)};
    });
    fmt::print("{:<34}{:>12.2f}{:>14.2f}{:>12.1f}{:>12.1f}\n",
               is_reserved ? "reserve 4 %, 40 %, 10 %" : "no reserve", row[0], row[1], row[2],
               row[3]);
  }
}

struct Scenario {
  std::string_view name;
  void (*show)();
};
constexpr Scenario scenarios[] = {
    {"overload", overload}, {"collapse", collapse}, {"half", half}, {"hour", hour}, {"wall", wall}};

}  // namespace
}  // namespace classgate::bench

int main(int argc, char** argv) {
  using namespace classgate::bench;
  std::vector<std::string_view> wanted;
  for (const std::string_view argument : std::vector<std::string_view>(argv + 1, argv + argc))
    if (argument.starts_with("--seeds="))
      seeds = static_cast<unsigned>(std::max(1, std::atoi(argument.substr(8).data())));
    else
      wanted.push_back(argument);
  for (const Scenario& scenario : scenarios)
    if (wanted.empty() || std::ranges::find(wanted, scenario.name) != wanted.end()) {
      scenario.show();
      std::fflush(stdout);
    }
  for (const std::string_view name : wanted)
    if (std::ranges::find(scenarios, name, &Scenario::name) == std::end(scenarios)) return 2;
}
