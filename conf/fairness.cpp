#include "conf/fairness.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/table.h"
#include "conf/units.h"

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

std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words) {
  std::vector<IdentitySource> identity;
  if (words.size() > 8) return std::unexpected(std::string("expected 8 sources at most"));
  for (const std::string& word : words) {
    IdentitySource source;
    if (word == "address") {
      source.kind = IdentitySource::Kind::address;
    } else if (word == "bearer") {
      source.kind = IdentitySource::Kind::bearer;
    } else if (word == "tls") {
      source.kind = IdentitySource::Kind::tls;
    } else if (word.starts_with(header_prefix) &&
               is_field_name(std::string_view(word).substr(header_prefix.size()))) {
      source.kind = IdentitySource::Kind::header;
      source.header = word.substr(header_prefix.size());
    } else {
      return std::unexpected(
          fmt::format("\"{}\" is none of \"header:NAME\", \"bearer\", \"tls\", \"address\"", word));
    }
    if (std::ranges::find(identity, source) != identity.end())
      return std::unexpected(fmt::format("\"{}\" stands here twice", word));
    identity.push_back(source);
  }
  return identity;
}

void add_sources(std::vector<IdentitySource>& to, const std::vector<IdentitySource>& more) {
  for (const IdentitySource& source : more)
    if (std::ranges::find(to, source) == to.end()) to.push_back(source);
}

std::vector<IdentitySource> identity_sources(const Settings& settings) {
  std::vector<IdentitySource> sources = settings.admission.fairness.identity;
  for (const RouteSettings& route : settings.routes)
    if (route.identity) add_sources(sources, *route.identity);
  return sources;
}

std::expected<PlanClient, std::string> read_plan_client(
    const std::string& text, const std::vector<IdentitySource>& sources) {
  using Kind = IdentitySource::Kind;
  const auto typed = [&](const IdentitySource& source) -> std::optional<std::string> {
    const std::vector<IdentitySource> one{source};
    const std::string printed = print_identity(one);  // ["header:NAME"]
    const std::string word = printed.substr(2, printed.size() - 4) + ":";
    const auto same = [](char a, char b) {
      const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
      return low(a) == low(b);
    };
    if (text.size() <= word.size() || !std::ranges::equal(text.substr(0, word.size()), word, same))
      return std::nullopt;
    return text.substr(word.size());
  };
  const bool is_address = IpAddress::parse(text).has_value();
  if (const auto address = typed({})) {
    if (IpAddress::parse(*address)) return PlanClient{{}, *address};
    return std::unexpected(std::string("what follows \"address:\" is no address"));
  }
  std::vector<IdentitySource> named;
  for (const IdentitySource& source : sources) {
    if (source.kind == Kind::address) continue;
    if (auto name = typed(source)) return PlanClient{source, std::move(*name)};
    named.push_back(source);
  }
  if (named.empty() && is_address) return PlanClient{{}, text};
  if (named.size() == 1 && !is_address && !text.empty()) return PlanClient{named.front(), text};
  return std::unexpected(
      std::string("says not what it is: write \"header:NAME:VALUE\", \"bearer:TOKEN\", "
                  "\"tls:SUBJECT\" (one that an identity has) or \"address:192.0.2.7\""));
}

std::string print_identity(const std::vector<IdentitySource>& identity) {
  std::string out;
  for (const IdentitySource& source : identity) {
    std::string word = "address";
    if (source.kind == IdentitySource::Kind::header) word = "header:" + source.header;
    if (source.kind == IdentitySource::Kind::bearer) word = "bearer";
    if (source.kind == IdentitySource::Kind::tls) word = "tls";
    out += (out.empty() ? "" : ", ") + quote(word);
  }
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
    if (text != nullptr && !text->empty() && text->size() <= 64) return *text;
    return std::unexpected(std::string("expected text in quotes, 64 bytes at most"));
  }
  static std::expected<std::vector<std::string>, std::string> parse_clients(const RawValue& raw) {
    const auto* list = std::get_if<std::vector<std::string>>(&raw.value);
    if (list != nullptr && list->size() <= clients_of_plan_max) return *list;
    return std::unexpected(
        fmt::format("expected a list of texts, {} at most", clients_of_plan_max));
  }
  static const std::vector<Field<Written>>& all() {
    static const std::vector<Field<Written>> fields{
        field("name", &Written::name, parse_name),
        field("rate", &Written::rate, number_value(0.001, 1e6)),
        field("burst", &Written::burst, number_value(1, 1e6)),
        field("workers", &Written::workers, count_value(0, 100'000)),
        field("queue_size", &Written::queue_size, count_value(0, 1'000'000)),
        field("weight", &Written::weight, count_value(1, 1000)),
        field("clients", &Written::clients, parse_clients),
    };
    return fields;
  }
};

std::vector<std::pair<Place, std::string>> PlanList::add(const TableEntry& entry,
                                                         const PlaceText& place_text) {
  std::vector<std::pair<Place, std::string>> wrong;
  Written plan;
  plan.origin = place_text(entry.place);
  for (const Entry& one : entry.entries)
    if (std::string why = read_entry(Fields::all(), plan, one, "plan ", " in [[plan]]");
        !why.empty())
      wrong.push_back({one.place, std::move(why)});
  if (wrong.empty() && plan.name.empty()) wrong.push_back({entry.place, "[[plan]] has no name"});
  if (wrong.empty() && plan.burst && *plan.burst == 0)
    wrong.push_back({entry.place, "plan burst: 0 is out of range: 1 to 1000000"});
  if (const auto twin = std::ranges::find(plans_, plan.name, &Written::name);
      wrong.empty() && twin != plans_.end())
    wrong.push_back(
        {entry.place, fmt::format("plan \"{}\" stands already at {}", plan.name, twin->origin)});
  if (wrong.empty() && plans_.size() == plans_max)
    wrong.push_back({entry.place, fmt::format("there may be {} plans", plans_max)});
  if (wrong.empty()) plans_.push_back(std::move(plan));
  return wrong;
}

std::vector<std::pair<std::string, std::string>> PlanList::finish(
    FairnessSettings& fairness, const std::vector<IdentitySource>& sources) const {
  std::vector<std::pair<std::string, std::string>> wrong;
  std::map<std::string, std::string> owner;  // client -> plan
  fairness.plans.clear();
  for (const Written& plan : plans_) {
    PlanSettings settings = fairness.everybody;
    settings.name = plan.name;
    settings.rate = plan.rate.value_or(settings.rate);
    settings.burst = plan.burst.value_or(settings.burst);
    settings.workers = plan.workers.value_or(settings.workers);
    settings.queue_size = plan.queue_size.value_or(settings.queue_size);
    settings.weight = plan.weight.value_or(1);
    settings.clients = plan.clients;
    for (std::size_t i = 0; i < plan.clients.size() && fairness.is_on; ++i)
      if (const auto client = read_plan_client(plan.clients[i], sources); !client)
        wrong.push_back({plan.origin, fmt::format("plan {}: client number {} {}", plan.name, i + 1,
                                                  client.error())});
    for (const std::string& client : plan.clients)
      if (const auto [known, is_new] = owner.emplace(client, plan.name); !is_new)
        wrong.push_back({plan.origin, fmt::format("plan {}: a client of it is in plan {} already",
                                                  plan.name, known->second)});
    fairness.plans.push_back(std::move(settings));
  }
  if (!plans_.empty() && !fairness.is_on)
    wrong.push_back({plans_.front().origin, "[[plan]] needs fairness.identity, to tell clients"});
  return wrong;
}

std::string PlanList::print(const FairnessSettings& fairness) const {
  std::string out;
  for (std::size_t i = 0; i < plans_.size(); ++i) {
    const PlanSettings& plan = fairness.plans[i];
    std::string clients;
    for (const std::string& client : plan.clients)
      clients += (clients.empty() ? "" : ", ") + quote(client);
    out += fmt::format(
        "\n[[plan]] # {}\nname = {}\nweight = {}\nrate = {}\nburst = {}\nworkers = {}\n"
        "queue_size = {}\nclients = [{}]\n",
        printable(plans_[i].origin), quote(plan.name), plan.weight, plan.rate, plan.burst,
        plan.workers, plan.queue_size, clients);
  }
  return out;
}

}  // namespace classgate::conf
