#include "gateway/planning/survey.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/printable.h"

namespace classgate::planning {
namespace {

void note(Survey::Kind& kind, const simulation::Wish& wish) {
  if (kind.requests++ == 0) kind.first = wish.at;
  kind.last = std::max(kind.last, wish.at);
  kind.priority = wish.priority;
}

// "1, 3 and 5"
std::string listed_words(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  return text;
}

}  // namespace

const Survey::Kind* Survey::of(const Target& target) const {
  const Kind* found = &all;
  if (target.priority > 0) {
    found = &by_priority[static_cast<std::size_t>(target.priority - 1)];
  } else if (!target.group_kind.empty()) {
    const auto name = std::ranges::find(group_names, target.group);
    if (name == group_names.end() || target.group_kind != group_kind) return nullptr;
    found = &by_group[static_cast<std::size_t>(name - group_names.begin())];
  }
  return found->requests > 0 ? found : nullptr;
}

std::string Survey::why_no_samples(const Target& target) const {
  if (of(target) != nullptr) return {};
  std::vector<std::string> known;
  if (target.priority > 0) {
    for (std::size_t i = 0; i < by_priority.size(); ++i)
      if (by_priority[i].requests > 0) known.push_back(std::to_string(i + 1));
    return conf::printable(fmt::format(
        "--plan \"{}\": no request of the traffic has this priority, so that nothing tells "
        "whether it is met; there are those of priority {}",
        target.text, listed_words(known)));
  }
  for (std::size_t i = 0; i < by_group.size(); ++i)
    if (by_group[i].requests > 0) known.push_back(group_names[i]);
  const std::string meant = conf::nearest(target.group, known);
  return conf::printable(
      fmt::format("--plan \"{}\": no request of the traffic is of such a {}, so that nothing tells "
                  "whether it is "
                  "met{}; there is {} {}",
                  target.text, target.group_kind,
                  meant.empty() ? "" : fmt::format(" (did you mean {} {}?)", group_kind, meant),
                  group_kind, listed_words(known)));
}

std::expected<Survey, std::string> survey(const Scenario& scenario,
                                          const conf::Settings& settings) {
  auto traffic = scenario.traffic(settings);
  if (!traffic) return std::unexpected(traffic.error());
  Survey found;
  for (simulation::Wish wish; (*traffic)->next(wish);) {
    note(found.all, wish);
    note(found.by_priority[static_cast<std::size_t>(wish.priority - 1)], wish);
    if (wish.group >= found.by_group.size()) found.by_group.resize(wish.group + 1);
    note(found.by_group[wish.group], wish);
  }
  found.remarks = (*traffic)->remarks();
  std::string lines;
  for (const std::string& remark : found.remarks) lines += remark + "\n";
  if (const std::string complaint = (*traffic)->complaint(); !complaint.empty())
    return std::unexpected(lines + complaint);
  if (found.all.requests == 0)
    return std::unexpected(lines + conf::printable(scenario.describe()) +
                           ": there is no request in it that a limit could be planned for");
  found.group_kind = (*traffic)->group_kind();
  for (std::uint32_t i = 0; i < found.by_group.size(); ++i)
    found.group_names.push_back((*traffic)->group_name(i));
  return found;
}

}  // namespace classgate::planning
