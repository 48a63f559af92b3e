#include "conf/loaded.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "conf/cost.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/key_kinds.h"
#include "conf/keys.h"
#include "conf/known_clients.h"
#include "conf/printable.h"
#include "conf/refusals.h"
#include "conf/routes.h"
#include "conf/secret_fields.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

constexpr std::string_view by_default = "default";  // an origin

}  // namespace

std::string with_place(const Loaded& loaded, const std::string& line) {
  const auto names = [&line](const std::string& key) {
    const bool begins = line.starts_with(key) && line.size() > key.size() &&
                        (line[key.size()] == ':' || line[key.size()] == ' ');
    return begins || line.contains('(' + key + ')') || line.contains("(see " + key + ')');
  };
  const auto find = [&loaded](const auto& is_meant) {
    return std::ranges::find_if(loaded.values,
                                [&](const ValueInForce& value) { return is_meant(value.key); });
  };
  auto named = find(names);
  if (named == loaded.values.end() && line.contains("(see \"listen\" in the conf)"))
    named = find([](const std::string& key) { return key == "listen"; });
  if (named == loaded.values.end() || named->origin == by_default) return line;
  return fmt::format("{}: {}", named->origin, line);
}

namespace {

// What a route says only when it is not as usual.
std::string print_route_extras(const RouteSettings& route) {
  const RouteSettings usual;
  std::string out;
  if (route.body_bytes)
    out += fmt::format("body_bytes = {}\n", quote(print_bytes(*route.body_bytes)));
  if (route.deadline) out += fmt::format("deadline = {}\n", quote(print_duration(*route.deadline)));
  if (route.rate != usual.rate) out += fmt::format("rate = {}\n", route.rate);
  if (route.burst != usual.burst) out += fmt::format("burst = {}\n", route.burst);
  if (route.identity) out += fmt::format("identity = {}\n", print_identity(*route.identity));
  if (route.cost != usual.cost) out += fmt::format("cost = {}\n", print_cost(route.cost));
  if (route.cost_max != usual.cost_max) out += fmt::format("cost_max = {}\n", route.cost_max);
  if (route.cost_per_worker != usual.cost_per_worker)
    out += fmt::format("cost_per_worker = {}\n", route.cost_per_worker);
  if (route.client_share != usual.client_share)
    out += fmt::format("client_share = {}\n", route.client_share);
  if (route.refusal_body)
    out += fmt::format("refusal_body = {}\n", quote(word_of(*route.refusal_body)));
  if (!route.statuses.empty())
    out += fmt::format("statuses = {}\n", print_statuses(route.statuses));
  if (route.streams) out += fmt::format("streams = {}\n", quote(word_of(*route.streams)));
  if (route.on_client_abort)
    out += fmt::format("on_client_abort = {}\n", quote(word_of(*route.on_client_abort)));
  return out;
}

std::string print_own(const ListenerSettings& listener) {
  std::string out;
  if (listener.identity) out += fmt::format("identity = {}\n", print_identity(*listener.identity));
  if (listener.refusal_body)
    out += fmt::format("refusal_body = {}\n", quote(word_of(*listener.refusal_body)));
  if (listener.speaks_http2)
    out += fmt::format("protocols = {}\n", print_protocols(*listener.speaks_http2));
  return out;
}

std::string print_route(const RouteSettings& route) {
  return fmt::format("path = {}\npriority = {}\nrate_limited = {}\n", quote(name_of(route)),
                     route.priority, route.rate_limited) +
         print_route_extras(route);
}

// Of the keys and routes those that `is_told` by their origin, and all that have no default.
std::string print_those(const Loaded& loaded, bool (*is_told)(const std::string& origin)) {
  std::string out;
  std::string table;
  for (const ValueInForce& value : loaded.values) {
    if (!is_told(value.origin)) continue;
    const std::size_t dot = value.key.find('.');
    const std::string own = dot == std::string::npos ? "" : value.key.substr(0, dot);
    if (own != table) {
      out += fmt::format("\n[{}]\n", own);
      table = own;
    }
    const std::string name = dot == std::string::npos ? value.key : value.key.substr(dot + 1);
    out += fmt::format("{:<40} # {}\n", fmt::format("{} = {}", name, value.value),
                       printable(value.origin));
  }
  const std::vector<CertificateSettings>& pairs = loaded.settings.tls.certificates;
  for (std::size_t i = loaded.settings.tls.certificate.empty() ? 0 : 1; i < pairs.size(); ++i)
    out +=
        fmt::format("\n[[certificate]] # {}\ncertificate = {}\nkey = {}\n",
                    printable(pairs[i].origin), quote(pairs[i].certificate), quote(pairs[i].key));
  for (const ListenerSettings& listener : loaded.settings.listeners)
    out += fmt::format("\n[[listener]] # {}\naddress = {}\n", printable(listener.origin),
                       quote(listener.address)) +
           print_own(listener);
  out += loaded.plans;
  for (const auto& [route, origin] : loaded.routes)
    if (is_told(origin))
      out += fmt::format("\n[[route]] # {}\n", printable(origin)) + print_route(route);
  return out;
}

}  // namespace

std::string print(const Loaded& loaded) {
  return print_those(loaded, [](const std::string&) { return true; });
}

std::string print_said(const Loaded& loaded) {
  return print_those(loaded, [](const std::string& origin) { return origin != by_default; });
}

std::string shown_value(std::string_view key, const std::string& value) {
  return key == "upstream.check.path" ? without_query_values(value) : value;
}

std::string value_in(const Settings& settings, std::string_view name) {
  if (const Key* const key = find_key(name)) return key->print(settings);
  for (const PlanSettings& plan : settings.admission.fairness.plans) {
    const std::string prefix = fmt::format("plan.{}.", plan.name);
    if (!name.starts_with(prefix)) continue;
    const std::string_view field = name.substr(prefix.size());
    if (field == "rate") return fmt::format("{}", plan.rate);
    if (field == "burst") return fmt::format("{}", plan.burst);
    if (field == "workers") return fmt::format("{}", plan.workers);
    if (field == "queue_size") return fmt::format("{}", plan.queue_size);
    if (field == "weight") return fmt::format("{}", plan.weight);
    if (field == "priority") return fmt::format("{}", plan.priority);
    if (field == "quota_day") return fmt::format("{}", plan.quota.day);
    if (field == "quota_month") return fmt::format("{}", plan.quota.month);
    if (field == "quota_day_soft") return fmt::format("{}", plan.quota.day_soft);
    if (field == "quota_month_soft") return fmt::format("{}", plan.quota.month_soft);
    if (field == "quota_unit") return std::string(word_of(plan.quota.unit));
  }
  return "nothing";
}

namespace {

// What a table says, "key = value" a line, as print() has it.
using Table = std::map<std::string, std::string>;
Table table_of(const std::string& printed) {
  Table table;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);)
    if (const std::size_t equals = line.find(" = "); equals != std::string::npos)
      table[line.substr(0, equals)] = line.substr(equals + 3);
  return table;
}

Table table_of(const PlanSettings& plan) {
  Table table;
  const std::string prefix = fmt::format("plan.{}.", plan.name);
  Settings settings;
  settings.admission.fairness.plans = {plan};
  for (const char* field :
       {"rate", "burst", "workers", "queue_size", "weight", "priority", "quota_day", "quota_month",
        "quota_day_soft", "quota_month_soft", "quota_unit"})
    table[field] = value_in(settings, prefix + field);
  return table;
}

// What tables of one kind say differently, by their names: a line for each key. What only one of
// both says was, or is, "not said".
void tell_tables(const std::string& kind, const std::map<std::string, Table>& before,
                 const std::map<std::string, Table>& after, std::vector<std::string>& lines) {
  const auto said = [](const Table& table, const std::string& key) -> std::string {
    const auto found = table.find(key);
    return found == table.end() ? "not said" : found->second;
  };
  for (const auto& [name, table] : after) {
    const auto known = before.find(name);
    if (known == before.end()) {
      lines.push_back(fmt::format("{} {} is new", kind, quote(name)));
      continue;
    }
    Table both = table;
    both.insert(known->second.begin(), known->second.end());
    for (const auto& [key, any] : both)
      if (said(table, key) != said(known->second, key))
        lines.push_back(fmt::format("{} {}: {} = {} (it was {})", kind, quote(name), key,
                                    said(table, key), said(known->second, key)));
  }
  for (const auto& [name, table] : before)
    if (!after.contains(name)) lines.push_back(fmt::format("{} {} is gone", kind, quote(name)));
}

// A client in a plan may be named by its key: only how many there are is told.
void tell_plans(const Loaded& before, const Loaded& after, std::vector<std::string>& lines) {
  const std::size_t told = lines.size();
  const auto plans_of = [](const Loaded& of) -> const std::vector<PlanSettings>& {
    return of.settings.admission.fairness.plans;
  };
  const auto by_name = [&](const Loaded& of) {
    std::map<std::string, Table> plans;
    for (const PlanSettings& plan : plans_of(of)) plans[plan.name] = table_of(plan);
    return plans;
  };
  tell_tables("plan", by_name(before), by_name(after), lines);
  for (const PlanSettings& plan : plans_of(after)) {
    const auto was = std::ranges::find(plans_of(before), plan.name, &PlanSettings::name);
    if (was != plans_of(before).end() && was->clients != plan.clients)
      lines.push_back(fmt::format("plan {}: clients are others: {} (it was {})", quote(plan.name),
                                  plan.clients.size(), was->clients.size()));
  }
  const auto names_of = [&](const Loaded& of) {
    std::vector<std::string> names;
    for (const PlanSettings& plan : plans_of(of)) names.push_back(plan.name);
    return names;
  };
  if (lines.size() == told && names_of(before) != names_of(after))
    lines.emplace_back("the plans stand in another order");
}

}  // namespace

std::vector<std::string> changes_between(const Loaded& before, const Loaded& after) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < after.values.size(); ++i)  // the same table of keys
    if (after.values[i].value != before.values[i].value &&
        !find_key(after.values[i].key)->needs_restart)
      lines.push_back(fmt::format("{} = {} (it was {})", after.values[i].key, after.values[i].value,
                                  before.values[i].value));
  const std::string& checked = after.settings.upstream.check.path;
  const std::string& was_checked = before.settings.upstream.check.path;
  if (checked != was_checked && without_query_values(checked) == without_query_values(was_checked))
    lines.emplace_back("upstream.check.path has other values in its query, which are not shown");
  const auto routes_of = [](const Loaded& of) {
    std::map<std::string, Table> routes;
    for (const auto& [route, origin] : of.routes)
      routes[name_of(route)] = table_of(print_route(route));
    return routes;
  };
  tell_tables("route", routes_of(before), routes_of(after), lines);
  tell_plans(before, after, lines);
  const auto listeners_of = [](const Loaded& of) {
    std::map<std::string, Table> listeners;
    for (const ListenerSettings& listener : of.settings.listeners)
      listeners[listener.address] = table_of(print_own(listener));
    return listeners;
  };
  tell_tables("listener", listeners_of(before), listeners_of(after), lines);
  const auto pairs_of = [](const Loaded& of) {
    std::vector<std::pair<std::string, std::string>> pairs;
    for (const CertificateSettings& pair : of.settings.tls.certificates)
      pairs.emplace_back(pair.certificate, pair.key);
    return pairs;
  };
  if (pairs_of(before) != pairs_of(after)) lines.push_back("the certificates have changed");
  const std::string& shadow = after.settings.admission.shadow_conf;
  const auto text_of = [](const Loaded& of, const std::string& path) -> const std::string* {
    for (const auto& [known, text] : *of.texts)
      if (known == path) return &text;
    return nullptr;
  };
  if (!shadow.empty() && shadow == before.settings.admission.shadow_conf) {
    const std::string* const was = text_of(before, shadow);
    const std::string* const is = text_of(after, shadow);
    if (was != nullptr && is != nullptr && *was != *is)
      lines.push_back("admission.shadow_conf says something else");
  }
  const std::string& keys = after.settings.jwt.keys_file;
  if (!keys.empty() && keys == before.settings.jwt.keys_file) {
    const std::string* const was = text_of(before, keys);
    const std::string* const is = text_of(after, keys);
    if (was != nullptr && is != nullptr && *was != *is)
      lines.emplace_back("jwt.keys_file says something else");
  }
  const ClientsSettings& known = after.settings.clients;
  if (known.known && known.clients_file == before.settings.clients.clients_file &&
      before.settings.clients.known) {
    const std::string* const was = text_of(before, known.clients_file);
    const std::string* const is = text_of(after, known.clients_file);
    if (was != nullptr && is != nullptr && *was != *is)
      lines.push_back(
          fmt::format("clients.clients_file says something else: {} clients (it was {})",
                      known.known->clients.size(), before.settings.clients.known->clients.size()));
  }
  return lines;
}

std::vector<std::string> lost_between(const Loaded& before, const Loaded& after) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < after.values.size(); ++i) {
    const ValueInForce& was = before.values[i];
    const ValueInForce& is = after.values[i];
    if (is.key != "listen" && is.key != "upstream.servers") continue;
    if (is.origin != by_default || was.origin == by_default || is.value == was.value) continue;
    lines.push_back(
        fmt::format("{0}: nothing says it any more; {1} said {2}. Is the conf whole? To go over to "
                    "what is built in, write {0} = {3}",
                    is.key, was.origin, was.value, is.value));
  }
  return lines;
}

}  // namespace classgate::conf
