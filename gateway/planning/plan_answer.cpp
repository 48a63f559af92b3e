// What is told of a plan, or of why there is none.

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/answers.h"
#include "gateway/planning/output.h"
#include "gateway/planning/planner.h"

namespace classgate::planning {
namespace {

// One core forwards more than this (tests/bench/against_haproxy.py): gateways are hardly ever the
// limit.
constexpr double gateway_per_second = 10'000;

// What ended how, "0.60 % of 4,200 requests would be refused (queue_full 0.5 %), ...".
std::string shares_text(const simulation::Counts& of) {
  const auto percent = [&](std::uint64_t count) {
    return 100 * static_cast<double>(count) /
           static_cast<double>(std::max<std::uint64_t>(of.arrived, 1));
  };
  std::string reasons;
  for (const conf::ReasonText& text : conf::reason_texts)
    if (const std::uint64_t count = of.rejected[conf::index_of(text.reason)]; count > 0)
      reasons +=
          fmt::format("{}{} {:.2f} %", reasons.empty() ? " (" : ", ", text.word, percent(count));
  if (!reasons.empty()) reasons += ")";
  return fmt::format("of {} requests {:.2f} % would be refused{}, {:.2f} % leave, {:.2f} % fail",
                     grouped(of.arrived), percent(of.all_rejected()), reasons,
                     percent(of.abandoned), percent(of.all_failed()));
}

}  // namespace

int Planner::give_up() {
  progress_.clear();
  const Trial& trial = run(best_);
  std::string text = fmt::format("No setting meets the targets. With {} workers", best_.workers);
  if (best_.servers > 1) text += fmt::format(", {} servers", best_.servers);
  text += fmt::format(", a queue for everybody and no rate limit {}", failing(trial.measured));
  if (trial.outcomes.size() > 1) text += " in one of the halves";
  text += fmt::format(
      ".\nThe traffic is {:.1f} requests a second, {:.1f} in the busiest step; on average {:.1f} "
      "requests are in the service.\n",
      trial.mean_rate, trial.peak, trial.active_mean);
  for (const Outcome& outcome : trial.outcomes) {
    text += shares_text(outcome.counts) + "\n";
    for (const std::string& starved : outcome.starved) text += starved + "\n";
  }
  if (const auto conf = read_conf(command_, environment_);
      conf && conf->settings.admission.workers_per_server > 0)
    text += fmt::format(
        "In each trial admission.workers_per_server = {} was in force, which no plan changes: "
        "raise "
        "it where a server takes more at once.\n",
        conf->settings.admission.workers_per_server);
  if (scenario_.upstream().capacity == 0)
    text += "More workers do not help when it is the service that is slow, or slows down.\n";
  else
    text += "What is left: a faster service, fewer requests, or weaker targets.\n";
  if (has_floor_)
    text += fmt::format(
        "\"{}\" is the floor of every plan that says nothing of all that is served "
        "or refused: --plan \"served >= 80%\" plans for refusing the rest.\n",
        floor_text);
  nlohmann::ordered_json json{{"met", false},
                              {"input", scenario_.describe()},
                              {"upstream", scenario_.describe_upstream()},
                              {"why", text},
                              {"remarks", remarks_}};
  tell_remarks(remarks_);
  const int status = write(command_.planning, text, json);
  return status == 0 ? 2 : status;
}

std::string Planner::targets_text(const Outcome& outcome) const {
  std::string text;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    text += fmt::format("{}\"{}\": {}{}", text.empty() ? "" : "; ", targets_[i].text,
                        targets_[i].print(outcome.measured[i]),
                        outcome.measured[i] > targets_[i].most ? ", missed" : "");
  return text;
}

int Planner::tell(const Limits& limits) {
  const Trial& last = run(limits);
  const auto gateways = static_cast<int>(std::ceil(last.peak / gateway_per_second));
  explain(
      fmt::format("{} gateway{}: {:.0f} requests a second at most, one core forwards {:.0f}; one "
                  "more for the day "
                  "on which one is away",
                  gateways, gateways == 1 ? " is enough" : "s", last.peak, gateway_per_second));
  progress_.clear();

  std::string text =
      fmt::format("# For {}, the service: {}\n", conf::printable(scenario_.describe()),
                  scenario_.describe_upstream());
  for (std::size_t i = 0; i < targets_.size(); ++i)
    text +=
        fmt::format("# {}: {}{}\n", targets_[i].text, targets_[i].print(last.measured[i]),
                    has_floor_ && i + 1 == targets_.size()
                        ? "; every plan has this floor that does not say how many are served or "
                          "refused: --plan \"served >= 80%\" is another"
                        : "");
  const std::string conf =
      fmt::format("[admission]\nworkers = {}\nqueue_size = {}\nrate = {}\nburst = {}\n",
                  limits.workers, limits.queue, conf::print_number(limits.rate),
                  conf::print_number(std::max(1.0, limits.rate * 2)));
  nlohmann::ordered_json json{{"met", true},
                              {"input", scenario_.describe()},
                              {"upstream", scenario_.describe_upstream()},
                              {"conf", conf},
                              {"servers", limits.servers},
                              {"gateways", gateways},
                              {"workers", limits.workers},
                              {"queue_size", limits.queue},
                              {"rate", limits.rate},
                              {"burst", std::max(1.0, limits.rate * 2)},
                              {"runs", runs_},
                              {"reasons", reasons_},
                              {"remarks", remarks_}};
  json["outcomes"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < last.outcomes.size(); ++i) {
    const Outcome& outcome = last.outcomes[i];
    text += fmt::format("# {}: {}\n", tried_on_[i].name, shares_text(outcome.counts));
    for (const std::string& starved : outcome.starved) text += "# starved: " + starved + "\n";
    const auto share = [&](std::uint64_t count) {
      return static_cast<double>(count) / static_cast<double>(outcome.counts.arrived);
    };
    json["outcomes"].push_back({{"traffic", tried_on_[i].name},
                                {"requests", outcome.counts.arrived},
                                {"served_share", share(outcome.counts.served)},
                                {"refused_share", share(outcome.counts.all_rejected())},
                                {"left_share", share(outcome.counts.abandoned)},
                                {"failed_share", share(outcome.counts.all_failed())},
                                {"starved", outcome.starved}});
  }
  for (const std::string& line : tried_) text += "# " + line + "\n";
  json["held"] = held_back_ ? nlohmann::ordered_json(held_) : nlohmann::ordered_json(nullptr);
  json["tried"] = tried_;
  text += "#\n";
  for (const std::string& reason : reasons_) text += "# " + reason + "\n";
  text += "\n" + conf;
  for (std::size_t i = 0; i < targets_.size(); ++i)
    json["targets"].push_back({{"target", targets_[i].text},
                               {"measured", last.measured[i]},
                               {"most", targets_[i].most},
                               {"unit", targets_[i].is_of_times() ? "ms" : "share"}});
  tell_remarks(remarks_);
  return write(command_.planning, text, json);
}

}  // namespace classgate::planning
