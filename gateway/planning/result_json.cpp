#include "gateway/planning/result_json.h"

#include <algorithm>
#include <cmath>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/planning/busiest.h"

namespace classgate::planning {
namespace {

using measure::Spread;
using measure::Timeline;
using nlohmann::ordered_json;
using simulation::Counts;
using simulation::Duration;
using simulation::Group;

double in_thousandths(double value) { return std::round(value * 1000) / 1000; }

ordered_json reasons(const simulation::ReasonCounts& counts) {
  ordered_json json = ordered_json::object();
  for (const conf::ReasonText& text : conf::reason_texts)
    if (counts[conf::index_of(text.reason)] > 0)
      json[std::string(text.word)] = counts[conf::index_of(text.reason)];
  return json;
}

ordered_json spread(const Spread& of) {
  return {{"count", of.count()},
          {"mean", measure::in_rounded_ms(of.mean())},
          {"p50", measure::in_rounded_ms(of.told(0.5))},
          {"p95", measure::in_rounded_ms(of.told(0.95))},
          {"p99", measure::in_rounded_ms(of.told(0.99))},
          {"max", measure::in_rounded_ms(of.most())}};
}

void add_counts(ordered_json& json, const Result& result, const Counts& counts) {
  json["arrived"] = counts.arrived;
  json["retries"] = counts.retries;
  json["served"] = counts.served;
  json["goodput"] = in_thousandths(result.goodput(counts));
  json["rejected"] = reasons(counts.rejected);
  json["failed"] = reasons(counts.failed);
  json["abandoned"] = counts.abandoned;
}

ordered_json group(const Result& result, const Group& of, ordered_json json = {}) {
  add_counts(json, result, of);
  json["wait_ms"] = spread(of.wait);
  json["latency_ms"] = spread(of.latency);
  return json;
}

ordered_json limits_of(const conf::AdmissionSettings& admission) {
  return {{"workers", admission.workers},
          {"queue_size", admission.queue_size},
          {"rate", admission.rate},
          {"burst", admission.burst},
          {"request_timeout_ms", admission.request_timeout.count()},
          {"queue_timeout_ms", admission.queue_timeout.count()}};
}

// Columns of equal length: smaller than a list of objects, and what a plot wants.
ordered_json timeline(const Timeline& of) {
  ordered_json json;
  json["step_seconds"] = measure::in_seconds(of.step_length());
  json["seconds"] = in_thousandths(measure::in_seconds(of.end()));
  const auto column = [&](auto value) {
    ordered_json values = ordered_json::array();
    for (const Timeline::Step& at : of.steps()) values.push_back(value(at));
    return values;
  };
  // What there was on average, while it was measured.
  const auto level_column = [&](auto seconds) {
    ordered_json values = ordered_json::array();
    for (std::size_t i = 0; i < of.steps().size(); ++i)
      values.push_back(in_thousandths(seconds(of.steps()[i]) / measure::in_seconds(of.covered(i))));
    return values;
  };
  for (std::size_t i = 0; i < conf::priority_count; ++i) {
    const std::string key = std::to_string(i + 1);
    json["arrived"][key] = column([i](const auto& at) { return at.arrived[i]; });
    json["served"][key] = column([i](const auto& at) { return at.served[i]; });
    json["waiting"][key] = level_column([i](const auto& at) { return at.waiting_seconds[i]; });
  }
  json["rejected"] = ordered_json::object();
  for (const conf::ReasonText& text : conf::reason_texts) {
    const std::size_t index = conf::index_of(text.reason);
    if (std::ranges::any_of(of.steps(), [index](const auto& at) { return at.rejected[index] > 0; }))
      json["rejected"][std::string(text.word)] =
          column([index](const auto& at) { return at.rejected[index]; });
  }
  json["failed"] = column([](const auto& at) { return at.failed; });
  json["abandoned"] = column([](const auto& at) { return at.abandoned; });
  json["wait_mean_ms"] =
      column([](const auto& at) { return measure::in_rounded_ms(at.waits.mean()); });
  json["wait_p95_ms"] =
      column([](const auto& at) { return measure::in_rounded_ms(at.waits.told(0.95)); });
  json["active_workers"] = level_column([](const auto& at) { return at.active_seconds; });
  return json;
}

}  // namespace

std::string time_text(std::chrono::system_clock::time_point at) {
  using namespace std::chrono;
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(floor<milliseconds>(at - day));
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count());
}

ordered_json to_json(const Scenario& scenario, const Result& result) {
  ordered_json json;
  json["input"] = scenario.describe();
  json["upstream"] = scenario.describe_upstream();
  json["conf"] = result.conf;
  json["limits"] = limits_of(result.settings.admission);
  json["seconds"] = in_thousandths(result.seconds());
  if (const auto began = result.traffic->began()) json["began"] = time_text(*began);
  json["remarks"] = result.traffic->remarks();
  json["all"] = group(result, result.tally.all());
  json["workers"] = {{"in_force", result.workers},
                     {"busy_share", in_thousandths(result.worker_share())},
                     {"most", result.tally.active_most()}};
  json["queue"] = {{"most", result.tally.waiting_most()}};
  json["by_priority"] = ordered_json::array();
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    if (result.tally.by_priority()[i].arrived > 0)
      json["by_priority"].push_back(
          group(result, result.tally.by_priority()[i], {{"priority", i + 1}}));
  const std::string kind = result.traffic->group_kind();
  json["by_" + kind] = ordered_json::array();
  const auto& groups = result.tally.by_group();
  for (std::uint32_t i = 0; i < groups.size(); ++i)
    json["by_" + kind].push_back(group(result, groups[i], {{kind, result.traffic->group_name(i)}}));
  json["clients"] = result.tally.by_client().size();
  json["by_client"] = ordered_json::array();
  for (const std::uint32_t client : busiest_clients(result.tally, 20)) {
    const simulation::ClientCounts& counts = result.tally.by_client()[client];
    ordered_json entry{{"client", result.traffic->client_name(client)}};
    add_counts(entry, result, counts);
    entry["wait_ms"] = {
        {"mean", counts.waits == 0 ? 0
                                   : in_thousandths(measure::in_ms(counts.wait_sum) /
                                                    static_cast<double>(counts.waits))},
        {"max", measure::in_rounded_ms(counts.wait_most)}};
    json["by_client"].push_back(std::move(entry));
  }
  json["timeline"] = timeline(result.tally.timeline());
  return json;
}

}  // namespace classgate::planning
