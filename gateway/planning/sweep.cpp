#include "gateway/planning/sweep.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "conf/format.h"
#include "conf/processors.h"
#include "gateway/planning/growth.h"
#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/told.h"

namespace classgate::planning {
namespace {

constexpr std::size_t points_max = 2'000;

std::vector<std::vector<Setting>> grid_of(const std::vector<Variation>& variations) {
  std::vector<std::vector<Setting>> grid{{}};
  for (const Variation& variation : variations) {
    std::vector<std::vector<Setting>> larger;
    for (const auto& point : grid)
      for (const std::string& value : variation.values) {
        larger.push_back(point);
        larger.back().push_back({variation.key, value});
      }
    grid = std::move(larger);
  }
  return grid;
}

struct Point {
  std::string row;
  nlohmann::ordered_json json;
  double served = 0;  // share of what came
};

Point describe(const Scenario& scenario, const std::vector<Setting>& settings,
               const Result& result) {
  const simulation::Group& all = result.tally.all();
  const auto share = [&](std::uint64_t count) {
    return 100 * static_cast<double>(count) /
           static_cast<double>(std::max<std::uint64_t>(all.arrived, 1));
  };
  Point point;
  for (const Setting& setting : settings) point.row += fmt::format("{:>14}", setting.value);
  point.row +=
      fmt::format("{:>11.1f}{:>11.2f}{:>10.2f}{:>8.2f}{:>11}{:>11}{:>12}{:>9.1f}\n",
                  result.goodput(all), share(all.all_rejected()), share(all.all_failed()),
                  share(all.abandoned), told_ms(all.wait.mean()), told_ms(all.wait.told(0.95)),
                  told_ms(all.latency.told(0.95)), 100 * result.worker_share());
  point.served = share(all.served) / 100;
  point.json = to_json(scenario, result);
  point.json.erase("timeline");
  point.json.erase("by_client");
  nlohmann::ordered_json set;
  for (const Setting& setting : settings) set[setting.key] = setting.value;
  point.json["set"] = std::move(set);
  return point;
}

}  // namespace

int sweep(const conf::CommandLine& command, const Environment& environment,
          const Scenario& scenario) {
  std::vector<Variation> variations;
  for (const std::string& text : command.planning.sweep) {
    auto variation = parse_variation(text);
    if (!variation) return complain(variation.error());
    variations.push_back(std::move(*variation));
  }
  std::optional<Growth> growth;
  if (!command.planning.growth.empty()) {
    auto parsed = parse_growth(command.planning.growth);
    if (!parsed) return complain(parsed.error());
    growth = std::move(*parsed);
    variations.push_back(growth->variation());
  }
  const auto grid = grid_of(variations);
  if (grid.size() > points_max)
    return complain(fmt::format("{} runs are too many: {} at most", grid.size(), points_max));

  std::vector<std::optional<Point>> points(grid.size());
  std::atomic<std::size_t> next = 0, done = 0;
  std::atomic<bool> has_failed = false;
  std::mutex mutex;
  std::string error;
  std::vector<std::string> remarks;  // on the traffic, which is the same in each run
  const auto work = [&] {
    for (std::size_t i; !has_failed && (i = next++) < grid.size(); ++done) {
      const auto result = run_with(command, environment, scenario, grid[i]);
      if (result) {
        points[i] = describe(scenario, grid[i], *result);
        if (i == 0) remarks = result->traffic->remarks();
        continue;
      }
      const std::lock_guard lock(mutex);
      error = result.error();
      has_failed = true;
    }
  };
  {
    std::vector<std::jthread> threads;
    const std::size_t count = std::min<std::size_t>(conf::usable_processors(), grid.size());
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(work);
    Progress progress("sweeping");
    while (done < grid.size() && !has_failed) {
      progress.show(static_cast<double>(done) / static_cast<double>(grid.size()));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  if (!error.empty()) return complain(error);

  std::string text =
      fmt::format("{}\nthe service: {}\n\n", scenario.describe(), scenario.describe_upstream());
  nlohmann::ordered_json json{{"input", scenario.describe()},
                              {"upstream", scenario.describe_upstream()}};
  for (const Variation& variation : variations) {
    text += fmt::format("{:>14}", variation.key.substr(variation.key.rfind('.') + 1));
    json["keys"].push_back(variation.key);
  }
  text += fmt::format("{:>11}{:>11}{:>10}{:>8}{:>11}{:>11}{:>12}{:>9}\n", "served/s", "rejected %",
                      "failed %", "left %", "wait ms", "wait p95", "answer p95", "busy %");
  for (const auto& point : points) {
    text += point->row;
    json["sweep"].push_back(point->json);
  }
  if (growth && variations.size() == 1) {
    std::vector<double> served;
    for (const auto& point : points) served.push_back(point->served);
    const GrowthFound found = when_too_much(*growth, served);
    text += "\n" + found.text + "\n";
    json["growth"] = {{"percent", growth->percent},
                      {"period", growth->period},
                      {"first_too_much", found.first_too_much},
                      {"found", found.text}};
  }
  tell_remarks(remarks);
  return write(command.planning, text, json);
}

}  // namespace classgate::planning
