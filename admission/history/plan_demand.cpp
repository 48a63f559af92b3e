#include "admission/history/plan_demand.h"

#include <algorithm>

namespace classgate::history {
namespace {

constexpr std::string_view no_plan = "-";

}  // namespace

// Somebody has a plan.
bool PlanRecord::are_needed(const PlanAsked& asked) const {
  const auto is_used = [](const Place& place) { return !place.name.empty(); };
  const auto has_plan = [](const auto& one) { return one.second > 0 && one.first != no_plan; };
  return std::ranges::any_of(places_, is_used) || std::ranges::any_of(asked, has_plan);
}

void PlanRecord::add(Minute minute, const PlanAsked& asked) {
  forget_before(minute - kept + 1);
  if (!are_needed(asked)) return;
  for (const auto& [name, cost] : asked) {
    if (!(cost > 0)) continue;
    auto& in_day = place_for(name, minute).days[minute / day];
    if (!in_day) in_day = std::make_unique<Day>();
    (*in_day)[static_cast<std::size_t>(minute % day)] += cost;
  }
}

// Whole days. Who has none left has no place.
void PlanRecord::forget_before(Minute minute) {
  for (Place& place : places_) {
    while (!place.days.empty() && place.days.begin()->first < minute / day)
      place.days.erase(place.days.begin());
    if (place.days.empty()) place = {};
  }
}

std::size_t PlanRecord::find(std::string_view name) const {
  return static_cast<std::size_t>(std::ranges::find(places_, name, &Place::name) - places_.begin());
}

PlanRecord::Place& PlanRecord::place_for(std::string_view name, Minute minute) {
  if (const std::size_t own = find(name); own < places) return places_[own];
  std::size_t index = name == others ? own_places : find({});
  if (index >= own_places) index = own_places;
  Place& place = places_[index];
  if (place.name.empty()) {
    place.name = index == own_places ? others : name;
    place.first = minute;
  }
  return place;
}

float PlanRecord::at(std::size_t place, Minute minute) const {
  const auto in_day = places_[place].days.find(minute / day);
  if (in_day == places_[place].days.end()) return 0;
  return (*in_day->second)[static_cast<std::size_t>(minute % day)];
}

PlanAsked PlanRecord::of(Minute minute) const {
  PlanAsked asked;
  for (std::size_t i = 0; i < places; ++i)
    if (const float cost = at(i, minute); cost > 0) asked.emplace(places_[i].name, cost);
  return asked;
}

PlanAsked PlanRecord::folded(const PlanAsked& asked) const {
  PlanAsked known;
  if (!are_needed(asked)) return known;
  auto free = std::ranges::count(places_.begin(), places_.end() - 1, std::string(), &Place::name);
  for (const auto& [name, cost] : asked) {
    if (!(cost > 0)) continue;
    const bool has_place = find(name) < places || (name != others && free-- > 0);
    known[has_place ? name : std::string(others)] += cost;
  }
  return known;
}

std::size_t PlanRecord::bytes() const {
  std::size_t bytes = 0;
  for (const Place& place : places_) bytes += place.days.size() * sizeof(Day);
  return bytes;
}

}  // namespace classgate::history
