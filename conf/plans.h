#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/document.h"
#include "conf/identity.h"
#include "conf/settings.h"
#include "conf/sha256.h"

namespace classgate::conf {

// The [[plan]]s of all files. What a plan does not say is as in [fairness].
class PlanList {
 public:
  using PlaceText = std::function<std::string(Place)>;
  // Says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add(const TableEntry& entry,
                                                 const PlaceText& place_text);
  // With everybody's terms where they have none of their own; says what does not go together.
  // `sources` are all that tell clients apart. `wrong_with` says what is wrong with a client by
  // what the rest of the conf says; empty: nothing.
  using WrongWith = std::function<std::string(const PlanClient&)>;
  std::vector<std::pair<std::string, std::string>> finish(
      FairnessSettings& fairness, const std::vector<IdentitySource>& sources,
      const WrongWith& wrong_with) const;
  std::string print(const FairnessSettings& fairness,
                    const std::vector<IdentitySource>& sources) const;
  bool has(std::string_view name) const;
  std::vector<std::string> names() const;
  // Where the plan of that number stands.
  const std::string& origin_of(std::size_t number) const { return plans_[number].origin; }
  // "plan.gold.rate" and a number, or the word of quota_unit, as text, as `classgate set` says it;
  // a name may have dots.
  static bool is_key(std::string_view key) { return key.starts_with("plan."); }
  std::expected<void, std::string> set(std::string_view key, const std::string& text);

 private:
  struct Written {
    std::string name;
    std::optional<double> rate, burst;
    std::optional<std::uint32_t> workers, queue_size, weight, priority;
    QuotaSettings quota;
    std::vector<std::string> clients;
    std::string origin;
    std::string clients_origin;
    std::vector<Place> clients_places;  // of a list that goes over several lines
    std::string origin_of_client(std::size_t number) const;
  };
  struct Fields;  // of a [[plan]]
  static std::string wrong_in(const Written& plan);
  Written* find(std::string_view name);
  std::vector<Written> plans_;
};

}  // namespace classgate::conf
