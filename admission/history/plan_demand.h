#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace classgate::history {

// What was asked for under each plan in some time, in units of cost, by the plan's name; "-" has
// those who are in none.
using PlanAsked = std::map<std::string, float, std::less<>>;

// What plans ask for, minute by minute, of two weeks. The first eight have a place of their own,
// until nothing has been asked for under one for two weeks; the others share one. As long as nobody
// has a plan nothing is kept: it would be what all ask for. Takes memory by place and day in which
// something is asked for: 5,760 bytes each, 777,600 in all. One thread.
class PlanRecord {
 public:
  using Minute = std::int64_t;  // since 1970
  static constexpr std::size_t own_places = 8;
  static constexpr std::size_t places = own_places + 1;  // the last is that of the others
  static constexpr std::string_view others = "(others)";
  static constexpr Minute day = 1'440;
  static constexpr Minute kept = 14 * day;

  // `minute`: later than all before.
  void add(Minute minute, const PlanAsked& asked);
  // Empty: nobody has this place.
  const std::string& name(std::size_t place) const { return places_[place].name; }
  // Since when it has been that plan's.
  Minute first(std::size_t place) const { return places_[place].first; }
  // 0 too where nothing is known of that minute.
  float at(std::size_t place, Minute minute) const;
  // What add() was told of that minute, those without a place as the others.
  PlanAsked of(Minute minute) const;
  // The same of what has not been added: as add() would take it.
  PlanAsked folded(const PlanAsked& asked) const;
  std::size_t bytes() const;

 private:
  using Day = std::array<float, day>;
  struct Place {
    std::string name{};
    Minute first = 0;
    std::map<Minute, std::unique_ptr<Day>> days{};
  };
  bool are_needed(const PlanAsked& asked) const;
  void forget_before(Minute minute);
  std::size_t find(std::string_view name) const;  // `places`: it has none
  Place& place_for(std::string_view name, Minute minute);

  std::array<Place, places> places_;
};

}  // namespace classgate::history
