#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

// Reads what [fairness], [[plan]] and [[route]] say about clients, and prints it.

// A token (RFC 9110 section 5.1) of at most 128 characters.
bool is_field_name(std::string_view name);

// "address", "bearer", "tls", "header:NAME".
std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words);
std::string print_identity(const std::vector<IdentitySource>& identity);

// A client of a plan, by what tells who it is: "header:NAME:VALUE", "bearer:TOKEN", "tls:SUBJECT"
// or "address:IP". Without such a word it is what the only source finds, when there is only one and
// it can't be taken for an address. The error does not repeat it: it may be a secret.
struct PlanClient {
  IdentitySource source;
  std::string name;
};
std::expected<PlanClient, std::string> read_plan_client(const std::string& text,
                                                        const std::vector<IdentitySource>& sources);
// All that tell clients apart, of [fairness] and of every route.
std::vector<IdentitySource> identity_sources(const Settings& settings);
void add_sources(std::vector<IdentitySource>& to, const std::vector<IdentitySource>& more);

// 10, "header:NAME", "body:1KiB", "items" or "items:NAME".
std::expected<CostSettings, std::string> parse_cost(const RawValue& value);
std::string print_cost(const CostSettings& cost);

// A number from `least` to `most`, or 0.
std::expected<double, std::string> parse_number(const RawValue& value, double least, double most);
// More than 0, 1 at most.
std::expected<double, std::string> parse_share(const RawValue& value);
std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most);
// The same as what reads a field (conf/table.h).
inline auto number_value(double least, double most) {
  return [=](const RawValue& value) { return parse_number(value, least, most); };
}
inline auto count_value(std::uint32_t least, std::uint32_t most) {
  return [=](const RawValue& value) { return parse_count(value, least, most); };
}

// The [[plan]]s of all files. What a plan does not say is as in [fairness].
class PlanList {
 public:
  using PlaceText = std::function<std::string(Place)>;
  // Says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add(const TableEntry& entry,
                                                 const PlaceText& place_text);
  // With everybody's terms where they have none of their own; says what does not go together.
  // `sources` are all that tell clients apart.
  std::vector<std::pair<std::string, std::string>> finish(
      FairnessSettings& fairness, const std::vector<IdentitySource>& sources) const;
  std::string print(const FairnessSettings& fairness) const;

 private:
  struct Written {
    std::string name;
    std::optional<double> rate, burst;
    std::optional<std::uint32_t> workers, queue_size, weight;
    std::vector<std::string> clients;
    std::string origin;
  };
  struct Fields;  // of a [[plan]]
  std::vector<Written> plans_;
};

}  // namespace classgate::conf
