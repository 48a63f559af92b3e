#include "conf/fairness.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>

#include "conf/format.h"
#include "conf/known_clients.h"
#include "conf/printable.h"
#include "conf/secret_fields.h"
#include "conf/table.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

constexpr std::size_t plans_max = 100;
constexpr std::size_t clients_of_plan_max = 10'000;
constexpr std::string_view header_prefix = "header:";
constexpr std::string_view body_prefix = "body:";
constexpr std::string_view items_prefix = "items:";
constexpr std::size_t array_name_max = 64;

// The key of an array in JSON: such that nobody needs an escape to write it.
bool is_array_name(std::string_view name) {
  return !name.empty() && name.size() <= array_name_max && std::ranges::all_of(name, [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
  });
}

}  // namespace

bool is_field_name(std::string_view name) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.contains(c);
  });
}

namespace {

using SourceKind = IdentitySource::Kind;

// The words of identity; those that end in ':' have a name behind it.
struct SourceWord {
  std::string_view text;
  SourceKind kind;
  bool has_name() const { return text.ends_with(':'); }
};
constexpr auto source_words = std::to_array<SourceWord>({{"header:", SourceKind::header},
                                                         {"bearer", SourceKind::bearer},
                                                         {"basic", SourceKind::basic},
                                                         {"cookie:", SourceKind::cookie},
                                                         {"query:", SourceKind::query},
                                                         {"jwt:", SourceKind::jwt},
                                                         {"tls:san", SourceKind::tls_san},
                                                         {"tls", SourceKind::tls},
                                                         {"address", SourceKind::address}});

std::string all_source_words() {
  std::string all;
  for (const SourceWord& word : source_words)
    all += fmt::format("{}\"{}{}\"", all.empty() ? "" : ", ", word.text,
                       !word.has_name()               ? ""
                       : word.kind == SourceKind::jwt ? "CLAIM"
                                                      : "NAME");
  return all;
}

// Some are URLs (RFC 7519 section 4.2).
bool is_claim_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
  });
}

// "/24/56" behind "address"; one alone is that of IPv4.
bool read_prefixes(std::string_view text, IdentitySource& source) {
  int* into = &source.v4_prefix;
  int most = 32;
  for (int i = 0; i < 2 && !text.empty(); ++i) {
    if (!text.starts_with('/')) return false;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), *into);
    if (error != std::errc{} || *into < 1 || *into > most) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    into = &source.v6_prefix;
    most = 128;
  }
  return text.empty();
}

// As a message may show it: what follows a source, or its name, may be the key of a client.
std::string shown_source(std::string_view word) {
  for (const SourceWord& known : source_words) {
    if (!carries_key(known.kind) && known.kind != SourceKind::basic) continue;
    const std::string_view plain = known.text.substr(0, known.text.find(':'));
    if (!word.starts_with(plain) || !word.substr(plain.size()).starts_with(':')) continue;
    const std::size_t colon = known.has_name() ? word.find(':', plain.size() + 1) : plain.size();
    if (colon >= word.size() - 1) break;
    return std::string(word.substr(0, colon + 1)) + "***";
  }
  return std::string(word);
}

std::expected<IdentitySource, std::string> parse_source(std::string_view word) {
  for (const SourceWord& known : source_words) {
    if (!word.starts_with(known.text)) continue;
    IdentitySource source{.kind = known.kind};
    const std::string_view rest = word.substr(known.text.size());
    if (known.has_name()) {
      if (known.kind == SourceKind::jwt ? !is_claim_name(rest) : !is_field_name(rest)) break;
      source.name = rest;
    } else if (known.kind == SourceKind::address && rest.starts_with('/')) {
      if (read_prefixes(rest, source)) return source;
      return std::unexpected(
          fmt::format("\"{}\": expected prefix lengths, of IPv4 from 1 to 32 and of IPv6 from 1 to "
                      "128, such as "
                      "\"address/24/56\"",
                      word));
    } else if (!rest.empty()) {
      continue;
    }
    return source;
  }
  return std::unexpected(
      fmt::format("\"{}\" is none of {}", shown_source(word), all_source_words()));
}

}  // namespace

std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words) {
  std::vector<IdentitySource> identity;
  if (words.size() > 8) return std::unexpected(std::string("expected 8 sources at most"));
  for (const std::string& word : words) {
    auto source = parse_source(word);
    if (!source) return std::unexpected(std::move(source.error()));
    const bool stands_twice = std::ranges::any_of(identity, [&](const IdentitySource& known) {
      return known == *source ||
             (known.kind == SourceKind::address && source->kind == SourceKind::address);
    });
    if (stands_twice) return std::unexpected(fmt::format("\"{}\" stands here twice", word));
    identity.push_back(std::move(*source));
  }
  return identity;
}

std::expected<IdentitySource, std::string> parse_token_place(const std::string& word) {
  const auto source = parse_source(word);
  const bool is_place =
      source && (source->kind == SourceKind::bearer || source->kind == SourceKind::header ||
                 source->kind == SourceKind::cookie);
  if (!is_place)
    return std::unexpected(
        fmt::format("\"{}\" is none of \"bearer\", \"header:NAME\", \"cookie:NAME\"", word));
  if (source->kind == SourceKind::header && plain_field_name(source->name) == "authorization")
    return std::unexpected(std::string("for Authorization write \"bearer\""));
  return *source;
}

void add_sources(std::vector<IdentitySource>& to, const std::vector<IdentitySource>& more) {
  for (const IdentitySource& source : more)
    if (std::ranges::find(to, source) == to.end()) to.push_back(source);
}

std::vector<IdentitySource> identity_sources(const Settings& settings) {
  std::vector<IdentitySource> sources = settings.admission.fairness.identity;
  for (const ListenerSettings& listener : settings.listeners)
    add_sources(sources, listener.identity);
  for (const RouteSettings& route : settings.routes)
    if (route.identity) add_sources(sources, *route.identity);
  return sources;
}

namespace {

// Names of fields and of sources are the same in any case; those of claims, cookies and parameters
// are not.
bool begins_alike(std::string_view text, std::string_view word) {
  const auto same = [](char a, char b) {
    const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return low(a) == low(b);
  };
  return text.size() >= word.size() && std::ranges::equal(text.substr(0, word.size()), word, same);
}

// What follows "WORD:" in it, where it begins so.
std::optional<std::string> after_word(std::string_view text, std::string_view word) {
  if (text.size() <= word.size() || text[word.size()] != ':' || !begins_alike(text, word))
    return std::nullopt;
  return std::string(text.substr(word.size() + 1));
}

// What follows the words of that source in it.
std::optional<std::string> after_source(std::string_view text, const IdentitySource& source) {
  const auto known = std::ranges::find(source_words, source.kind, &SourceWord::kind);
  if (source.name.empty()) return after_word(text, known->text);
  if (!begins_alike(text, known->text)) return std::nullopt;
  text.remove_prefix(known->text.size());
  const bool is_named = source.kind == SourceKind::header ? begins_alike(text, source.name)
                                                          : text.starts_with(source.name);
  if (!is_named || text.size() <= source.name.size() || text[source.name.size()] != ':')
    return std::nullopt;
  return std::string(text.substr(source.name.size() + 1));
}

// It names a source itself: one that no identity has, or it would have been taken for that.
bool begins_with_source(std::string_view text) {
  return std::ranges::any_of(source_words, [&](const SourceWord& word) {
    const std::string_view plain =
        word.text.ends_with(':') ? word.text.substr(0, word.text.size() - 1) : word.text;
    return after_word(text, plain).has_value();
  });
}

// An address is all that its client may be known by: of IPv6 a /64, or as identity says.
std::expected<PlanClient, std::string> plan_network(const std::string& text,
                                                    const std::vector<IdentitySource>& sources) {
  auto network = parse_network(text);
  if (!network || network->is_excluded)
    return std::unexpected(
        std::string("is no address and no network, such as \"10.0.0.0/8\" or \"2001:db8::/32\""));
  std::optional<IdentitySource> widest;
  for (const IdentitySource& source : sources) {
    if (source.kind != SourceKind::address) continue;
    if (!widest) widest = source;
    widest->v4_prefix = std::min(widest->v4_prefix, source.v4_prefix);
    widest->v6_prefix = std::min(widest->v6_prefix, source.v6_prefix);
  }
  const IdentitySource client = widest.value_or(IdentitySource());
  const bool is_v4 = network->address.is_v4();
  const int most = is_v4 ? v4_prefix_bits + client.v4_prefix : client.v6_prefix;
  if (network->address.is_unix()) return PlanClient{.source = {}, .network = *network};
  if (network->prefix == 128) {
    network->prefix = std::min(network->prefix, most);
    network->address = network->first();
  }
  if (network->prefix > most)
    return std::unexpected(fmt::format("can't be told from its neighbours: here a client is a /{}",
                                       is_v4 ? most - v4_prefix_bits : most));
  return PlanClient{.source = {}, .network = *network};
}

std::expected<PlanClient, std::string> plan_client(const IdentitySource& source, std::string name) {
  if (name.empty()) return std::unexpected(std::string("names nobody: nothing follows the colon"));
  if (!carries_key(source.kind)) return PlanClient{.source = source, .name = std::move(name)};
  if (!begins_alike(name, key_hash_prefix))
    return PlanClient{.source = source, .key = sha256(name)};
  const auto hash = sha256_in(std::string_view(name).substr(key_hash_prefix.size()));
  if (!hash || !name.starts_with(key_hash_prefix))
    return std::unexpected(
        std::string("expected sha256: and 64 hexadecimal digits, the hash of a key"));
  return PlanClient{.source = source, .key = *hash};
}

}  // namespace

std::string PlanClient::text() const {
  const std::string word = word_of(source) + ':';
  if (carries_key(source.kind)) return fmt::format("{}{}{}", word, key_hash_prefix, hex_of(key));
  if (source.kind != SourceKind::address) return word + name;
  return "address:" + network.text;
}

std::expected<PlanClient, std::string> read_plan_client(
    const std::string& text, const std::vector<IdentitySource>& sources) {
  const bool is_address = parse_network(text).has_value();
  if (const auto address = after_word(text, "address")) return plan_network(*address, sources);
  std::vector<IdentitySource> named;
  // Of "jwt:a" and "jwt:a:b" the longer one, as "tls:san:NAME" is no subject "san:NAME".
  const IdentitySource* longest = nullptr;
  std::string name;
  for (const IdentitySource& source : sources) {
    if (source.kind == SourceKind::address) continue;
    if (source.kind == SourceKind::tls && after_word(text, "tls:san")) continue;
    named.push_back(source);
    auto after = after_source(text, source);
    if (!after || (longest != nullptr && after->size() >= name.size())) continue;
    longest = &source;
    name = std::move(*after);
  }
  if (longest != nullptr) return plan_client(*longest, std::move(name));
  if (named.empty() && is_address) return plan_network(text, sources);
  if (named.size() == 1 && !is_address && !text.empty() && !begins_with_source(text))
    return plan_client(named.front(), text);
  return std::unexpected(std::string(
      "says not what it is: write \"header:NAME:KEY\", \"bearer:TOKEN\", "
      "\"basic:USER\", \"cookie:NAME:KEY\", \"query:NAME:KEY\", \"jwt:CLAIM:VALUE\", "
      "\"tls:SUBJECT\", \"tls:san:NAME\" (one that an identity has) or \"address:192.0.2.7\""));
}

std::string word_of(const IdentitySource& source) {
  const auto known = std::ranges::find(source_words, source.kind, &SourceWord::kind);
  std::string word = std::string(known->text) + source.name;
  const IdentitySource usual;
  if (source.v4_prefix != usual.v4_prefix || source.v6_prefix != usual.v6_prefix)
    word += fmt::format("/{}/{}", source.v4_prefix, source.v6_prefix);
  return word;
}

std::string print_identity(const std::vector<IdentitySource>& identity) {
  std::string out;
  for (const IdentitySource& source : identity)
    out += (out.empty() ? "" : ", ") + quote(word_of(source));
  return "[" + out + "]";
}

std::expected<double, std::string> parse_number(const RawValue& value, double least, double most) {
  double number = -1;
  if (const auto* integer = std::get_if<std::int64_t>(&value.value))
    number = static_cast<double>(*integer);
  else if (const auto* real = std::get_if<double>(&value.value))
    number = *real;
  else
    return std::unexpected(std::string("expected a number without quotes"));
  if (!std::isfinite(number) || ((number < least || number > most) && number != 0))
    return std::unexpected(fmt::format("{} is out of range: {} to {}", number, least, most));
  return number;
}

std::expected<double, std::string> parse_share(const RawValue& value) {
  auto share = parse_number(value, 0.001, 1);
  if (share && *share == 0) return std::unexpected(std::string("0 is out of range: 0.001 to 1"));
  return share;
}

std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most) {
  const auto* number = std::get_if<std::int64_t>(&value.value);
  if (number == nullptr)
    return std::unexpected(std::string("expected a whole number without quotes"));
  if (*number < least || *number > most)
    return std::unexpected(fmt::format("{} is out of range: {} to {}", *number, least, most));
  return static_cast<std::uint32_t>(*number);
}

// ---- Cost --------------------------------------------------------------------------------------

std::expected<CostSettings, std::string> parse_cost(const RawValue& value) {
  CostSettings cost;
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) {
    const auto fixed = parse_count(value, 1, cost_limit);
    if (!fixed) return std::unexpected(fixed.error());
    cost.fixed = *fixed;
    static_cast<void>(number);
    return cost;
  }
  const auto* text = std::get_if<std::string>(&value.value);
  if (text != nullptr && *text == "items") {
    cost.kind = CostSettings::Kind::items;
    return cost;
  }
  if (text != nullptr && text->starts_with(items_prefix) &&
      is_array_name(std::string_view(*text).substr(items_prefix.size()))) {
    cost.kind = CostSettings::Kind::items;
    cost.array = text->substr(items_prefix.size());
    return cost;
  }
  if (text != nullptr && text->starts_with(header_prefix) &&
      is_field_name(std::string_view(*text).substr(header_prefix.size()))) {
    cost.kind = CostSettings::Kind::header;
    cost.header = text->substr(header_prefix.size());
    return cost;
  }
  if (text != nullptr && text->starts_with(body_prefix)) {
    const auto bytes = parse_bytes(text->substr(body_prefix.size()));
    if (!bytes) return std::unexpected(bytes.error());
    if (bytes->count == 0) return std::unexpected(std::string("a size of 0 is no unit"));
    cost.kind = CostSettings::Kind::body;
    cost.unit = *bytes;
    return cost;
  }
  return std::unexpected(
      std::string("expected a whole number, \"items\", \"items:NAME\", \"header:NAME\" or "
                  "\"body:1KiB\""));
}

std::string print_cost(const CostSettings& cost) {
  switch (cost.kind) {
    case CostSettings::Kind::items:
      return quote(cost.array.empty() ? "items" : "items:" + cost.array);
    case CostSettings::Kind::header: return quote("header:" + cost.header);
    case CostSettings::Kind::body: return quote("body:" + print_bytes(cost.unit));
    default: return std::to_string(cost.fixed);
  }
}

// ---- Plans -------------------------------------------------------------------------------------

struct PlanList::Fields {
  static std::expected<std::string, std::string> parse_name(const RawValue& raw) {
    const auto* text = std::get_if<std::string>(&raw.value);
    // Pages and metrics say so of others (gateway/traffic.h).
    if (text != nullptr && *text == "-")
      return std::unexpected(std::string("\"-\" stands for who is in no plan: name it otherwise"));
    if (text != nullptr && *text == "(others)")
      return std::unexpected(
          std::string("\"(others)\" stands for plans beyond the 1024th: name it otherwise"));
    if (text != nullptr && !text->empty() && text->size() <= 64) return *text;
    return std::unexpected(std::string("expected text in quotes, 64 bytes at most"));
  }
  static std::expected<std::vector<std::string>, std::string> parse_clients(const RawValue& raw) {
    const auto* list = std::get_if<std::vector<std::string>>(&raw.value);
    if (list != nullptr && list->size() <= clients_of_plan_max) return *list;
    return std::unexpected(
        fmt::format("expected a list of texts, {} at most", clients_of_plan_max));
  }
  static std::expected<std::int64_t, std::string> parse_quota(const RawValue& raw) {
    const auto* number = std::get_if<std::int64_t>(&raw.value);
    if (number == nullptr)
      return std::unexpected(std::string("expected a whole number without quotes"));
    if (*number < 0 || *number > quota_limit)
      return std::unexpected(fmt::format("{} is out of range: 0 to {}", *number, quota_limit));
    return *number;
  }
  static Field<Written> quota_field(std::string name, std::int64_t QuotaSettings::* member) {
    return {std::move(name), [member](Written& into, const RawValue& raw) -> Read {
              const auto number = parse_quota(raw);
              if (!number) return std::unexpected(number.error());
              into.quota.*member = *number;
              return {};
            }};
  }
  static Field<Written> quota_field(std::string name, QuotaUnit QuotaSettings::* member) {
    return {std::move(name), [member](Written& into, const RawValue& raw) -> Read {
              const auto unit = parse_word<QuotaUnit>(raw);
              if (!unit) return std::unexpected(unit.error());
              into.quota.*member = *unit;
              return {};
            }};
  }
  static const std::vector<Field<Written>>& all() {
    static const std::vector<Field<Written>> fields{
        field("name", &Written::name, parse_name),
        field("rate", &Written::rate, number_value(0.001, 1e6)),
        field("burst", &Written::burst, number_value(1, 1e6)),
        field("workers", &Written::workers, count_value(0, 100'000)),
        field("queue_size", &Written::queue_size, count_value(0, 1'000'000)),
        field("weight", &Written::weight, count_value(1, 1000)),
        field("priority", &Written::priority, count_value(1, 5)),
        quota_field("quota_day", &QuotaSettings::day),
        quota_field("quota_month", &QuotaSettings::month),
        quota_field("quota_day_soft", &QuotaSettings::day_soft),
        quota_field("quota_month_soft", &QuotaSettings::month_soft),
        quota_field("quota_unit", &QuotaSettings::unit),
        field("clients", &Written::clients, parse_clients),
    };
    return fields;
  }
};

// What does not go together in it; empty: nothing.
std::string PlanList::wrong_in(const Written& plan) {
  if (plan.burst && *plan.burst == 0) return "burst: 0 is out of range: 1 to 1000000";
  const QuotaSettings& quota = plan.quota;
  const auto is_in_vain = [](std::int64_t soft, std::int64_t limit) {
    return limit > 0 && soft > limit;
  };
  if (is_in_vain(quota.day_soft, quota.day))
    return fmt::format("quota_day_soft: {} is more than quota_day, {}: nobody would be warned",
                       quota.day_soft, quota.day);
  if (is_in_vain(quota.month_soft, quota.month))
    return fmt::format("quota_month_soft: {} is more than quota_month, {}: nobody would be warned",
                       quota.month_soft, quota.month);
  return {};
}

std::vector<std::pair<Place, std::string>> PlanList::add(const TableEntry& entry,
                                                         const PlaceText& place_text) {
  std::vector<std::pair<Place, std::string>> wrong;
  Written plan;
  plan.origin = place_text(entry.place);
  plan.clients_origin = plan.origin;
  for (const Entry& one : entry.entries) {
    if (std::string why = read_entry(Fields::all(), plan, one, "plan ", " in [[plan]]");
        !why.empty())
      wrong.push_back({one.place, std::move(why)});
    if (one.key == "clients") plan.clients_origin = place_text(one.place);
  }
  if (wrong.empty() && plan.name.empty()) wrong.push_back({entry.place, "[[plan]] has no name"});
  if (std::string why = wrong_in(plan); wrong.empty() && !why.empty())
    wrong.push_back({entry.place, "plan " + why});
  if (const auto twin = std::ranges::find(plans_, plan.name, &Written::name);
      wrong.empty() && twin != plans_.end())
    wrong.push_back(
        {entry.place, fmt::format("plan \"{}\" stands already at {}", plan.name, twin->origin)});
  if (wrong.empty() && plans_.size() == plans_max)
    wrong.push_back({entry.place, fmt::format("there may be {} plans", plans_max)});
  if (wrong.empty()) plans_.push_back(std::move(plan));
  return wrong;
}

namespace {

// Where each client of a plan stands: none matches twice.
class Registry {
 public:
  struct Entry {
    std::string plan;
    std::string origin;
    std::size_t number;
    std::string text() const { return fmt::format("plan {}, client number {}", plan, number); }
  };
  // What is wrong with one more; empty: nothing.
  std::string add(const PlanClient& client, const Entry& entry,
                  const PlanList::PlaceOfKey& place_of_key) {
    if (client.source.kind == SourceKind::address) return add_network(client.network, entry);
    const bool is_key = carries_key(client.source.kind);
    if (const auto elsewhere = is_key ? place_of_key(client.key) : std::nullopt)
      return fmt::format("has a key that stands already at {}", *elsewhere);
    const std::string name =
        word_of(client.source) + ':' + (is_key ? hex_of(client.key) : client.name);
    const auto [known, is_new] = names_.emplace(name, entry);
    return is_new ? std::string() : stands_already(known->second);
  }

 private:
  static std::string stands_already(const Entry& entry) {
    return fmt::format("stands already at {}: {}", entry.origin, entry.text());
  }
  // Those that there are lie apart: one that meets the next before or behind it meets one.
  std::string add_network(const Network& network, const Entry& entry) {
    const auto behind = networks_.lower_bound(network.first().bytes);
    if (behind != networks_.end() && behind->first <= network.last().bytes)
      return meets(network, behind->second);
    if (behind != networks_.begin())
      if (const auto before = std::prev(behind); before->second.first.contains(network.address))
        return meets(network, before->second);
    networks_.emplace(network.first().bytes, std::pair(network, entry));
    return {};
  }
  static std::string meets(const Network& network, const std::pair<Network, Entry>& other) {
    return fmt::format("\"{}\" and \"{}\" have clients in common, which {}", network.text,
                       other.first.text, stands_already(other.second));
  }

  std::map<std::string, Entry> names_;
  std::map<std::array<std::uint8_t, 16>, std::pair<Network, Entry>> networks_;  // by the first
};

}  // namespace

std::vector<std::pair<std::string, std::string>> PlanList::finish(
    FairnessSettings& fairness, const std::vector<IdentitySource>& sources,
    const PlaceOfKey& place_of_key) const {
  std::vector<std::pair<std::string, std::string>> wrong;
  Registry registry;
  fairness.plans.clear();
  for (const Written& plan : plans_) {
    PlanSettings settings = fairness.everybody;
    settings.name = plan.name;
    settings.rate = plan.rate.value_or(settings.rate);
    settings.burst = plan.burst.value_or(settings.burst);
    settings.workers = plan.workers.value_or(settings.workers);
    settings.queue_size = plan.queue_size.value_or(settings.queue_size);
    settings.weight = plan.weight.value_or(1);
    settings.priority = plan.priority.value_or(settings.priority);
    settings.quota = plan.quota;
    settings.clients = plan.clients;
    for (std::size_t i = 0; i < plan.clients.size() && fairness.is_on; ++i) {
      const auto client = read_plan_client(plan.clients[i], sources);
      const std::string why =
          client ? registry.add(*client, {plan.name, plan.clients_origin, i + 1}, place_of_key)
                 : client.error();
      if (!why.empty())
        wrong.push_back({plan.clients_origin,
                         fmt::format("plan {}: client number {} {}", plan.name, i + 1, why)});
    }
    fairness.plans.push_back(std::move(settings));
  }
  if (!plans_.empty() && !fairness.is_on)
    wrong.push_back({plans_.front().origin, "[[plan]] needs fairness.identity, to tell clients"});
  return wrong;
}

PlanList::Written* PlanList::find(std::string_view name) {
  const auto found = std::ranges::find(plans_, name, &Written::name);
  return found == plans_.end() ? nullptr : &*found;
}

std::expected<void, std::string> PlanList::set(std::string_view key, const std::string& text) {
  const std::string_view rest = key.substr(std::string_view("plan.").size());
  const std::size_t dot = rest.rfind('.');
  const std::string_view name = rest.substr(0, dot);
  const std::string_view field = dot == std::string_view::npos ? "" : rest.substr(dot + 1);
  if (field.empty() || name.empty())
    return std::unexpected(fmt::format("{}: write plan.NAME.KEY, such as plan.gold.rate", key));
  Written* const plan = find(name);
  if (plan == nullptr) {
    const std::string meant = nearest(name, names());
    return std::unexpected(
        fmt::format("{}: there is no plan {}{}", key, quote(std::string(name)),
                    meant.empty() ? "" : fmt::format("; did you mean {}?", quote(meant))));
  }
  if (field == "name" || field == "clients")
    return std::unexpected(
        fmt::format("{}: who is in a plan, and its name, are changed in the conf", key));
  Entry entry{.key = std::string(field), .value = {}, .place = {}};
  std::int64_t whole = 0;
  double number = 0;
  const char* const end = text.data() + text.size();
  if (const auto [stop, error] = std::from_chars(text.data(), end, whole);
      error == std::errc{} && stop == end)
    entry.value.value = whole;
  else if (const auto [last, wrong] = std::from_chars(text.data(), end, number);
           wrong == std::errc{} && last == end)
    entry.value.value = number;
  else if (field == "quota_unit")  // the only one that is a word
    entry.value.value = text;
  else
    return std::unexpected(fmt::format("{}: \"{}\" is not a number", key, text));
  if (std::string why = read_entry(Fields::all(), *plan, entry, "plan ", " of a plan");
      !why.empty())
    return std::unexpected(std::move(why));
  if (const std::string why = wrong_in(*plan); !why.empty())
    return std::unexpected(fmt::format("{}: {}", key, why));
  return {};
}

bool PlanList::has(std::string_view name) const {
  return std::ranges::find(plans_, name, &Written::name) != plans_.end();
}

std::vector<std::string> PlanList::names() const {
  std::vector<std::string> names;
  for (const Written& plan : plans_) names.push_back(plan.name);
  return names;
}

std::string PlanList::print(const FairnessSettings& fairness,
                            const std::vector<IdentitySource>& sources) const {
  std::string out;
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    const PlanSettings& plan = fairness.plans[i];
    std::string clients;
    for (const std::string& text : plan.clients)
      if (const auto client = read_plan_client(text, sources))
        clients += (clients.empty() ? "" : ", ") + quote(client->text());
    out += fmt::format(
        "\n[[plan]] # {}\nname = {}\npriority = {}\nweight = {}\nrate = {}\nburst = {}\nworkers = "
        "{}\n"
        "queue_size = {}\nquota_day = {}\nquota_month = {}\nquota_day_soft = {}\n"
        "quota_month_soft = {}\nquota_unit = {}\nclients = [{}]\n",
        printable(plans_[i].origin), quote(plan.name), plan.priority, plan.weight, plan.rate,
        plan.burst, plan.workers, plan.queue_size, plan.quota.day, plan.quota.month,
        plan.quota.day_soft, plan.quota.month_soft, quote(std::string(word_of(plan.quota.unit))),
        clients);
  }
  return out;
}

}  // namespace classgate::conf
