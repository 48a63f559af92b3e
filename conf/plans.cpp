#include "conf/plans.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>

#include "conf/format.h"
#include "conf/identity.h"
#include "conf/printable.h"
#include "conf/table.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

constexpr std::size_t plans_max = 100;
constexpr std::size_t clients_of_plan_max = 10'000;

}  // namespace

struct PlanList::Fields {
  static std::expected<std::string, std::string> parse_name(const RawValue& raw) {
    const auto* text = std::get_if<std::string>(&raw.value);
    // Pages and metrics say so of others (gateway/loop_metrics.h).
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
    return parse_whole_number(raw, 0, quota_limit);
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

std::string PlanList::Written::origin_of_client(std::size_t number) const {
  return number < clients_places.size() ? in_same_file(clients_origin, clients_places[number])
                                        : clients_origin;
}

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
    if (auto why = wrong_in_entry(Fields::all(), plan, one, "plan ", " in [[plan]]"))
      wrong.push_back(std::move(*why));
    if (one.key != "clients") continue;
    plan.clients_origin = place_text(one.place);
    plan.clients_places = one.entry_places;
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
  std::string add(const PlanClient& client, const Entry& entry) {
    if (client.source.kind == IdentitySource::Kind::address)
      return add_network(client.network, entry);
    const bool is_key = carries_key(client.source.kind);
    const std::string name =
        word_of(client.source) + ':' + (is_key ? hex_of(client.key) : client.name);
    const auto [known, is_new] = names_.emplace(name, entry);
    return is_new ? std::string() : stands_already(known->second);
  }

 private:
  static std::string stands_already(const Entry& entry) {
    return fmt::format("is in a plan already, at {}: {}; a client has one plan: take it out of one",
                       entry.origin, entry.text());
  }
  // Those that there are lie apart: one that meets the next before or behind it meets one.
  std::string add_network(const Network& network, const Entry& entry) {
    const auto behind = networks_.lower_bound(network.first());
    if (behind != networks_.end() && behind->first <= network.last())
      return meets(network, behind->second);
    if (behind != networks_.begin())
      if (const auto before = std::prev(behind); network.first() <= before->second.first.last())
        return meets(network, before->second);
    networks_.emplace(network.first(), std::pair(network, entry));
    return {};
  }
  static std::string meets(const Network& network, const std::pair<Network, Entry>& other) {
    if (network.text == other.first.text)
      return fmt::format("(\"{}\") {}", network.text, stands_already(other.second));
    return fmt::format("(\"{}\") has clients in common with \"{}\", which {}", network.text,
                       other.first.text, stands_already(other.second));
  }

  std::map<std::string, Entry> names_;
  std::map<IpAddress::Order, std::pair<Network, Entry>> networks_;  // by the first
};

}  // namespace

std::vector<std::pair<std::string, std::string>> PlanList::finish(
    FairnessSettings& fairness, const std::vector<IdentitySource>& sources,
    const WrongWith& wrong_with) const {
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
      std::string why = client ? wrong_with(*client) : client.error();
      if (why.empty()) why = registry.add(*client, {plan.name, plan.origin_of_client(i), i + 1});
      if (!why.empty())
        wrong.push_back({plan.origin_of_client(i),
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

namespace {

// What stands for a number that a double cannot hold, out of every range: of 1e-999 the smallest.
double beyond_double(std::string_view text) {
  using Limits = std::numeric_limits<double>;
  return text.find('-', 1) == std::string_view::npos ? Limits::infinity() : Limits::denorm_min();
}

}  // namespace

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
      error == std::errc{} && stop == end && (whole != 0 || !text.starts_with('-')))
    entry.value.value = whole;
  else if (const auto [last, wrong] = std::from_chars(text.data(), end, number);
           wrong != std::errc::invalid_argument && last == end)
    entry.value.value = wrong == std::errc{} ? number : beyond_double(text);
  else if (field == "quota_unit")  // the only one that is a word
    entry.value.value = text;
  else
    return std::unexpected(fmt::format("{}: \"{}\" is not a number", key, text));
  const std::string own_keys = std::string(key.substr(0, key.size() - field.size()));
  if (std::string why = read_entry(Fields::all(), *plan, entry, own_keys, " of a plan");
      !why.empty())
    return std::unexpected(why.starts_with(key) ? why : fmt::format("{}: {}", key, why));
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
