#include "gateway/planning/workload_out.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <unordered_set>
#include <vector>

#include "admission/measure/units.h"
#include "admission/simulation/random.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/log_traffic.h"

namespace classgate::planning {
namespace {

constexpr std::size_t rate_steps_max = 240;  // of a rate: more is nothing that somebody edits

// Some of many values, each as likely as any other to be among them (Vitter's algorithm R).
class Sample {
 public:
  void add(std::int64_t value, simulation::Random& chance) {
    constexpr std::size_t kept = 10'000;
    ++seen_;
    if (values_.size() < kept)
      values_.push_back(value);
    else if (const std::uint64_t at = chance.below(seen_); at < kept)
      values_[at] = value;
  }
  std::int64_t at(double share) const {
    std::vector<std::int64_t> sorted = values_;
    std::ranges::sort(sorted);
    return sorted.empty()
               ? 0
               : sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
  }

 private:
  std::vector<std::int64_t> values_;
  std::uint64_t seen_ = 0;
};

struct Seen {
  std::string path;
  std::string method;
  std::vector<std::uint64_t> arrivals;  // in each step
  std::unordered_set<std::uint32_t> clients;
  Sample service;  // nanoseconds
  Sample bytes;
};

class WorkloadText {
 public:
  explicit WorkloadText(LogTraffic& log) : log_(log) {}

  void add(const simulation::Wish& wish) {
    auto step = static_cast<std::size_t>(wish.at.time_since_epoch() / step_length_);
    while (step >= rate_steps_max) {
      step_length_ *= 2;
      for (Seen& seen : groups_) halve(seen.arrivals);
      step /= 2;
    }
    if (wish.group >= groups_.size()) groups_.resize(wish.group + 1);
    Seen& seen = groups_[wish.group];
    if (seen.arrivals.size() <= step) seen.arrivals.resize(step + 1);
    ++seen.arrivals[step];
    if (seen.path.empty()) {
      const LogQuestions::Asked asked = log_.asked_by(wish);
      seen.path = asked.path;
      seen.method = asked.method;
    }
    seen.clients.insert(wish.client);
    seen.service.add(wish.service.count(), chance_);
    seen.bytes.add(static_cast<std::int64_t>(wish.bytes), chance_);
    all_.add(wish.service.count(), chance_);
    last_ = std::max(last_, wish.at.time_since_epoch());
    ++count_;
  }

  std::string text(const std::string& name, const NamedTraffic& traffic) const {
    // To the next millisecond, so that the last request is in it.
    const auto end =
        std::chrono::floor<std::chrono::milliseconds>(last_) + std::chrono::milliseconds(1);
    std::string text = fmt::format(
        "# Made of {}: {} requests in {:.1f} s. Evenly by chance within each step of a rate, all "
        "clients of a\n"
        "# class alike; patience and retries are in no log: add them (classgate-workload(5)).\n",
        conf::printable(name), count_, measure::in_seconds(last_));
    text += fmt::format("duration = {}\n\n[upstream]\nservice = {}\n",
                        conf::quote(conf::print_duration(end)),
                        conf::quote(conf::print_law(law_of(all_))));
    for (std::uint32_t i = 0; i < groups_.size(); ++i)
      if (!groups_[i].arrivals.empty()) text += class_text(groups_[i], traffic.group_name(i), end);
    return text;
  }

 private:
  static void halve(std::vector<std::uint64_t>& arrivals) {
    for (std::size_t i = 0; i < arrivals.size(); ++i) {
      const std::uint64_t count = arrivals[i];
      if (i % 2 == 0)
        arrivals[i / 2] = count;
      else
        arrivals[i / 2] += count;
    }
    arrivals.resize((arrivals.size() + 1) / 2);
  }

  // One that a workload may have: of a path with blanks that of its route.
  static std::string path_of(const std::string& seen, const std::string& route) {
    for (const std::string& path : {seen, route.substr(0, route.find('*'))})
      if (const auto parsed = conf::parse_route_path(path); parsed && !parsed->is_prefix)
        return path;
    return "/";
  }

  static conf::Law law_of(const Sample& times) {
    const Duration median = std::max(Duration(times.at(0.5)), Duration(1000));
    const Duration late(times.at(0.95));
    constexpr double alike = 1.01;
    if (static_cast<double>(late.count()) <= alike * static_cast<double>(median.count()))
      return {conf::Law::Kind::fixed, median, {}, 0};
    return {conf::Law::Kind::lognormal, median, late, 0};
  }

  std::string class_text(const Seen& seen, const std::string& name, Duration end) const {
    std::string text = fmt::format("\n[[class]]\nname = {}\n", conf::quote(name));
    text += fmt::format("path = {}\n", conf::quote(path_of(seen.path, name)));
    if (!seen.method.empty()) text += fmt::format("method = {}\n", conf::quote(seen.method));
    constexpr std::size_t clients_most = 100'000;  // of a class
    text += fmt::format("clients = {}\nservice = {}\n", std::min(seen.clients.size(), clients_most),
                        conf::quote(conf::print_law(law_of(seen.service))));
    if (const auto bytes = seen.bytes.at(0.5); bytes > 0)
      text += fmt::format("body = \"{}B\"\n", bytes);
    text += "rates = [";
    double before = -1;
    for (std::size_t i = 0; i <= seen.arrivals.size(); ++i) {
      const Duration from = step_length_ * static_cast<int>(i);
      if (from >= end) break;
      const double seconds = measure::in_seconds(std::min(step_length_, end - from));
      const std::uint64_t count = i < seen.arrivals.size() ? seen.arrivals[i] : 0;
      const double rate = std::round(static_cast<double>(count) / seconds * 1000) / 1000;
      if (rate == before) continue;
      before = rate;
      text += fmt::format("{}\n  \"{}s {}\"", i == 0 ? "" : ",", measure::in_seconds(from),
                          conf::print_number(std::min(rate, 1e6)));
    }
    return text + "\n]\n";
  }

  LogTraffic& log_;
  Duration step_length_ = std::chrono::seconds(1);
  std::vector<Seen> groups_;
  Sample all_;
  simulation::Random chance_{1, 1};
  Duration last_{};
  std::uint64_t count_ = 0;
};

}  // namespace

std::expected<void, std::string> write_workload(const Scenario& scenario,
                                                const conf::Settings& settings,
                                                const std::string& path) {
  auto traffic = scenario.traffic(settings);
  if (!traffic) return std::unexpected(traffic.error());
  auto* const log = dynamic_cast<LogTraffic*>(&(*traffic)->source());
  if (log == nullptr)
    return std::unexpected(std::string("--workload-out makes a workload of a log: --log FILE"));
  log->keep_questions();
  WorkloadText made(*log);
  std::uint64_t count = 0;
  for (simulation::Wish wish; (*traffic)->next(wish); ++count) made.add(wish);
  if (const std::string complaint = (*traffic)->complaint(); !complaint.empty())
    return std::unexpected(complaint);
  if (count == 0)
    return std::unexpected(scenario.describe() +
                           ": there is no request in it to make a workload of");
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file << made.text(scenario.describe(), **traffic);
  file.close();
  if (file) return {};
  return std::unexpected(
      fmt::format("--workload-out: {}: {}", conf::printable(path), std::strerror(errno)));
}

}  // namespace classgate::planning
