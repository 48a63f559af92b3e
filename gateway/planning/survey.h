#pragma once

#include <array>
#include <expected>
#include <string>
#include <vector>

#include "gateway/planning/scenario.h"
#include "gateway/planning/target.h"

namespace classgate::planning {

// Who asks in a traffic, before anything is tried on it.
struct Survey {
  struct Kind {
    std::uint64_t requests = 0;
    Time first{};
    Time last{};
    int priority = 0;  // of the latest
  };
  Kind all;
  std::array<Kind, conf::priority_count> by_priority{};
  std::string group_kind;  // "class" or "route"
  std::vector<std::string> group_names;
  std::vector<Kind> by_group;
  std::vector<std::string> remarks;

  int priority_of_group(std::uint32_t group) const {
    return group < by_group.size() ? by_group[group].priority : 0;
  }
  // Whom the target is about; null: nobody.
  const Kind* of(const Target& target) const;
  // Empty, or why there is nothing in it that could tell whether the target is met.
  std::string why_no_samples(const Target& target) const;
};

// Goes through all of it. The error says why it can't be believed, or that it is empty.
std::expected<Survey, std::string> survey(const Scenario& scenario, const conf::Settings& settings);

}  // namespace classgate::planning
