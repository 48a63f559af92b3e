#include "gateway/planning/diff.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "conf/format.h"
#include "gateway/planning/output.h"
#include "gateway/planning/progress.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/told.h"

namespace classgate::planning {
namespace {

using simulation::Counts;
using simulation::Group;

std::string word_of(std::uint8_t fate) {
  switch (fate) {
    case 0: return "never came";
    case 1: return "served";
    case 2: return "client left";
    default: return std::string(conf::reason_texts[fate - 3U].word);
  }
}

// What became of each request when it was first tried, one byte each, in the order of arrival. What
// is tried again, or asked by users when they have heard, is not the same request under both.
class Fates final : public DerivedTraffic {
 public:
  explicit Fates(std::unique_ptr<NamedTraffic> traffic) : DerivedTraffic(std::move(traffic)) {}

  bool next(simulation::Wish& wish) override {
    if (!below().next(wish)) return false;
    wish.number = static_cast<std::uint32_t>(fates.size());
    fates.push_back(0);
    return true;
  }
  bool after(const simulation::Wish& wish, const simulation::Ending& ending, Time now,
             simulation::Wish& follow) override {
    if (wish.number != simulation::Wish::unnumbered) fates[wish.number] = fate_of(ending);
    if (!below().after(wish, ending, now, follow)) return false;
    follow.number = simulation::Wish::unnumbered;
    return true;
  }

  std::vector<std::uint8_t> fates;

 private:
  static std::uint8_t fate_of(const simulation::Ending& ending) {
    using Kind = simulation::Ending::Kind;
    if (ending.kind == Kind::served) return 1;
    if (ending.kind == Kind::abandoned) return 2;
    return static_cast<std::uint8_t>(3 + conf::index_of(ending.reason));
  }
};

std::string row(const std::string& name, const Group& old, const Group& now) {
  const auto pair = [](auto a, auto b) { return fmt::format("{:>9} {:>9}", a, b); };
  const auto wait = [](const Group& of) { return told_ms(of.wait.told(0.95)); };
  return fmt::format("{:<20}{}{}{}{}\n", name.substr(0, 19), pair(old.served, now.served),
                     pair(old.all_rejected(), now.all_rejected()),
                     pair(old.all_failed(), now.all_failed()), pair(wait(old), wait(now)));
}

const Group& group_at(const Result& result, std::size_t index) {
  static const Group none;
  return index < result.tally.by_group().size() ? result.tally.by_group()[index] : none;
}

}  // namespace

int diff(const conf::CommandLine& command, const Environment& environment,
         const Scenario& scenario) {
  const auto old_conf = read_conf(command, environment, command.planning.diff, {});
  if (!old_conf) return complain(old_conf.error());
  const auto new_conf = command.arguments.empty()
                            ? read_conf(command, environment)
                            : read_conf(command, environment, command.arguments.front(), {});
  if (!new_conf) return complain(new_conf.error());
  Progress progress("comparing");
  const auto run_under = [&](const Conf& conf, double begin) {
    return run(
        scenario, conf.settings, conf.name,
        [&, begin](double share) { progress.show(begin + share / 2); },
        [](std::unique_ptr<NamedTraffic> traffic) -> std::unique_ptr<NamedTraffic> {
          return std::make_unique<Fates>(std::move(traffic));
        });
  };
  const auto old_result = run_under(*old_conf, 0);
  if (!old_result) return complain(old_result.error());
  const auto new_result = run_under(*new_conf, 0.5);
  if (!new_result) return complain(new_result.error());
  progress.clear();
  const auto& old_fates = static_cast<const Fates&>(*old_result->traffic).fates;
  const auto& new_fates = static_cast<const Fates&>(*new_result->traffic).fates;

  std::map<std::pair<std::uint8_t, std::uint8_t>, std::uint64_t> changes;
  std::uint64_t same = 0;
  for (std::size_t i = 0; i < std::min(old_fates.size(), new_fates.size()); ++i)
    if (old_fates[i] == new_fates[i])
      ++same;
    else
      ++changes[{old_fates[i], new_fates[i]}];

  const simulation::Tally& old_tally = old_result->tally;
  const simulation::Tally& new_tally = new_result->tally;
  std::string text =
      fmt::format("{}\nold: {}\nnew: {}\n\n{} requests: {} end as before", scenario.describe(),
                  old_conf->name, new_conf->name, old_fates.size(), same);
  nlohmann::ordered_json json{
      {"input", scenario.describe()}, {"requests", old_fates.size()}, {"same", same}};
  for (const auto& [change, count] : changes) {
    text += fmt::format("\n{:>12}  {} -> {}", count, word_of(change.first), word_of(change.second));
    json["changes"].push_back(
        {{"old", word_of(change.first)}, {"new", word_of(change.second)}, {"requests", count}});
  }
  text += fmt::format("\n\n{:<20}{:>19}{:>19}{:>19}{:>19}\n", "old and new", "served", "rejected",
                      "failed", "wait p95 ms");
  text += row("all", old_tally.all(), new_tally.all());
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    if (old_tally.by_priority()[i].arrived + new_tally.by_priority()[i].arrived > 0)
      text += row(fmt::format("priority {}", i + 1), old_tally.by_priority()[i],
                  new_tally.by_priority()[i]);
  for (std::uint32_t i = 0; i < new_tally.by_group().size(); ++i)
    text +=
        row(new_result->traffic->group_name(i), group_at(*old_result, i), group_at(*new_result, i));

  // The clients for whom most has changed.
  const auto& old_clients = old_tally.by_client();
  const auto& new_clients = new_tally.by_client();
  const std::size_t clients = std::min(old_clients.size(), new_clients.size());
  const auto change_of = [&](std::uint32_t client) {
    return static_cast<std::int64_t>(new_clients[client].served) -
           static_cast<std::int64_t>(old_clients[client].served);
  };
  std::vector<std::uint32_t> order(clients);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::uint32_t client) {
    return std::pair(-std::abs(change_of(client)), client);
  });
  for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 20); ++i) {
    const std::uint32_t client = order[i];
    if (change_of(client) == 0) break;
    const Counts &old_of = old_clients[client], &new_of = new_clients[client];
    if (i < 5)
      text += fmt::format("{:<20}{:>9} {:>9}{:>9} {:>9}{:>9} {:>9}\n",
                          new_result->traffic->client_name(client).substr(0, 19), old_of.served,
                          new_of.served, old_of.all_rejected(), new_of.all_rejected(),
                          old_of.all_failed(), new_of.all_failed());
    json["clients"].push_back({{"client", new_result->traffic->client_name(client)},
                               {"served_old", old_of.served},
                               {"served_new", new_of.served}});
  }
  json["old"] = to_json(scenario, *old_result);
  json["new"] = to_json(scenario, *new_result);
  tell_remarks(new_result->traffic->remarks());
  return write(command.planning, text, json);
}

}  // namespace classgate::planning
