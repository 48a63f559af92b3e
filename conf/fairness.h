#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

// Reads what [fairness], [[plan]] and [[route]] say about clients, and prints it.

// "address", "bearer", "tls", "header:NAME".
std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words);
std::string print_identity(const std::vector<IdentitySource>& identity);

// 10, "header:NAME", "body:1KiB" or "items".
std::expected<CostSettings, std::string> parse_cost(const RawValue& value);
std::string print_cost(const CostSettings& cost);

// A number from `least` to `most`, or 0.
std::expected<double, std::string> parse_number(const RawValue& value, double least, double most);
// More than 0, 1 at most.
std::expected<double, std::string> parse_share(const RawValue& value);
std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most);

// The [[plan]]s of all files. What a plan does not say is as in [fairness].
class PlanList {
 public:
  using PlaceText = std::function<std::string(Place)>;
  // Says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add(const TableEntry& entry,
                                                 const PlaceText& place_text);
  // With everybody's terms where they have none of their own; says what does not go together.
  std::vector<std::pair<std::string, std::string>> finish(FairnessSettings& fairness) const;
  std::string print(const FairnessSettings& fairness) const;

 private:
  struct Written {
    std::string name;
    std::optional<double> rate, burst;
    std::optional<std::uint32_t> workers, queue_size, weight;
    std::vector<std::string> clients;
    std::string origin;
  };
  std::vector<Written> plans_;
};

}  // namespace classgate::conf
