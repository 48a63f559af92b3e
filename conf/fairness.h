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
#include "conf/sha256.h"

namespace classgate::conf {

// Reads what [fairness], [[plan]] and [[route]] say about clients, and prints it.

// A token (RFC 9110 section 5.1) of at most 128 characters.
bool is_field_name(std::string_view name);

// "header:NAME", "bearer", "basic", "cookie:NAME", "query:NAME", "jwt:CLAIM", "tls", "tls:san",
// "address", or "address/24/56" with the prefix lengths by which a client is known in IPv4 and
// IPv6.
std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words);
std::string word_of(const IdentitySource& source);
std::string print_identity(const std::vector<IdentitySource>& identity);

// A client of a plan, by what tells who it is: "header:NAME:KEY", "bearer:TOKEN", "basic:USER",
// "cookie:NAME:KEY", "query:NAME:KEY", "tls:SUBJECT" or "address:IP", which may be a network. A key
// may be given by its hash, as sha256:HEX. Without such a word it is what the only source finds,
// when there is only one and it can't be taken for an address. The error does not repeat it: it may
// be a secret.
struct PlanClient {
  IdentitySource source;
  std::string name = {};  // a certificate's subject
  Sha256 key{};           // of what carries_key()
  Network network{};      // of an address
  // As it may be shown, and read again: a key by its hash.
  std::string text() const;
};
std::expected<PlanClient, std::string> read_plan_client(const std::string& text,
                                                        const std::vector<IdentitySource>& sources);
// All that tell clients apart, of [fairness] and of every route.
// Where the token stands of which "jwt:CLAIM" says a claim: "bearer", "header:NAME" or
// "cookie:NAME".
std::expected<IdentitySource, std::string> parse_token_place(const std::string& word);
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
  // `sources` are all that tell clients apart. A key stands once: `place_of_key` says where else.
  using PlaceOfKey = std::function<std::optional<std::string>(const Sha256&)>;
  std::vector<std::pair<std::string, std::string>> finish(
      FairnessSettings& fairness, const std::vector<IdentitySource>& sources,
      const PlaceOfKey& place_of_key) const;
  std::string print(const FairnessSettings& fairness,
                    const std::vector<IdentitySource>& sources) const;
  bool has(std::string_view name) const;
  std::vector<std::string> names() const;
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
  };
  struct Fields;  // of a [[plan]]
  static std::string wrong_in(const Written& plan);
  Written* find(std::string_view name);
  std::vector<Written> plans_;
};

}  // namespace classgate::conf
