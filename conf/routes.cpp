#include "conf/routes.h"

#include <algorithm>
#include <sstream>

#include "conf/cost.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/refusals.h"
#include "conf/table.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

bool same_path(const RouteSettings& a, const RouteSettings& b) {
  return a.path == b.path && a.is_prefix == b.is_prefix;
}

std::string priority_range() {
  return fmt::format("{} (served first) to {} (served last)", priority_best, priority_worst);
}

Read read_route_path(RouteSettings& into, const RawValue& raw) {
  const auto* text = std::get_if<std::string>(&raw.value);
  if (text == nullptr) return std::unexpected(std::string("expected text in quotes"));
  auto parsed = parse_route_path(*text);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  into.path = std::move(parsed->path);
  into.is_prefix = parsed->is_prefix;
  return {};
}

std::expected<int, std::string> parse_priority(const RawValue& raw) {
  const auto* number = std::get_if<std::int64_t>(&raw.value);
  if (number == nullptr || *number < priority_best || *number > priority_worst)
    return std::unexpected("expected a whole number, " + priority_range());
  return static_cast<int>(*number);
}

std::expected<bool, std::string> parse_flag(const RawValue& raw) {
  if (const auto* boolean = std::get_if<bool>(&raw.value)) return *boolean;
  return std::unexpected(std::string("expected true or false"));
}

std::expected<milliseconds, std::string> parse_deadline(std::string_view text) {
  const auto duration = parse_duration(text);
  if (duration && (*duration <= milliseconds::zero() || *duration > std::chrono::hours(24)))
    return std::unexpected(std::string("must be longer than 0, and at most 24h"));
  return duration;
}

// A [[route]], key by key.
const std::vector<Field<RouteSettings>>& route_fields() {
  using Route = RouteSettings;
  // clang-format off
  static const std::vector<Field<Route>> fields{
      {"path", read_route_path},
      field("priority", &Route::priority, parse_priority),
      field("rate_limited", &Route::rate_limited, parse_flag),
      field("body_bytes", &Route::body_bytes,
            text_value("a size in quotes, such as \"64KiB\"", parse_bytes)),
      field("deadline", &Route::deadline,
            text_value("a duration in quotes, such as \"2s\"", parse_deadline)),
      field("rate", &Route::rate, number_value(0.001, 1e6)),
      field("burst", &Route::burst, number_value(1, 1e6)),
      field("identity", &Route::identity, parse_identity_list),
      field("cost", &Route::cost, parse_cost),
      field("cost_max", &Route::cost_max, count_value(1, cost_limit)),
      field("cost_per_worker", &Route::cost_per_worker, count_value(0, cost_limit)),
      field("client_share", &Route::client_share, parse_share),
      field("refusal_body", &Route::refusal_body, parse_word<RefusalBody>),
      field("statuses", &Route::statuses, parse_statuses),
      field("streams", &Route::streams, parse_word<Streams>),
      field("on_client_abort", &Route::on_client_abort, parse_word<OnClientAbort>),
  };
  // clang-format on
  return fields;
}

}  // namespace

std::string RouteList::put(const RouteSettings& route, const std::string& origin, bool is_file) {
  const auto is_same = [&](const auto& known) { return same_path(known.first, route); };
  if (is_file) {
    if (const auto twin = std::ranges::find_if(from_file_, is_same); twin != from_file_.end())
      return twin->second;
    from_file_.push_back({route, origin});
  }
  if (const auto old = std::ranges::find_if(routes_, is_same); old != routes_.end())
    *old = {route, origin};
  else
    routes_.push_back({route, origin});
  return {};
}

// Health and metadata first, as /health has it, then inference, streams of it last (the Open
// Inference Protocol, which is KServe's v2, and gRPC's health protocol).
void RouteList::add_of_service(const std::string& service, const std::string& origin) {
  const std::string of_service = "/" + service + "/";
  std::vector<RouteSettings> usual{
      {.path = "/grpc.health.v1.Health/", .is_prefix = true, .priority = 1}};
  for (const char* const method :
       {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata"})
    usual.push_back({.path = of_service + method, .priority = 1});
  for (RouteSettings& route : usual) {
    route.rate_limited = false;
    route.client_share = 0.2;
  }
  usual.push_back({.path = of_service + "ModelInfer", .priority = 3});
  usual.push_back({.path = of_service + "ModelStreamInfer", .priority = 4});
  for (const RouteSettings& route : usual)
    if (std::ranges::none_of(routes_,
                             [&](const auto& known) { return same_path(known.first, route); }))
      routes_.push_back({route, origin});
}

std::vector<std::pair<Place, std::string>> RouteList::add(const TableEntry& entry,
                                                          const PlaceText& place_text) {
  std::vector<std::pair<Place, std::string>> wrong;
  RouteSettings route;
  for (const Entry& one : entry.entries)
    if (auto why = wrong_in_entry(route_fields(), route, one, "route ", " in [[route]]"))
      wrong.push_back(std::move(*why));
  const auto lacks = [&](std::string_view key) {
    return std::ranges::find(entry.entries, key, &Entry::key) == entry.entries.end();
  };
  if (lacks("path")) wrong.push_back({entry.place, "[[route]] has no path"});
  if (lacks("priority"))
    wrong.push_back({entry.place, "[[route]] has no priority: " + priority_range()});
  if (!wrong.empty()) return wrong;
  const std::string twin = put(route, place_text(entry.place), true);
  if (!twin.empty())
    wrong.push_back({entry.place, fmt::format("route \"{}{}\" stands already at {}", route.path,
                                              route.is_prefix ? "*" : "", twin)});
  return wrong;
}

std::vector<std::string> RouteList::add_text(const std::string& text, const std::string& origin) {
  std::vector<std::string> wrong;
  std::vector<RouteSettings> seen;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t equals = part.rfind('=');
    std::string_view rule =
        equals == std::string::npos ? "" : std::string_view(part).substr(equals + 1);
    constexpr std::string_view unlimited = ":unlimited";
    const bool is_unlimited = rule.ends_with(unlimited);
    if (is_unlimited) rule.remove_suffix(unlimited.size());
    if (rule.size() != 1 || rule[0] < '0' + priority_best || rule[0] > '0' + priority_worst) {
      wrong.push_back(
          fmt::format("\"{}\": write PATH=PRIORITY or PATH=PRIORITY:unlimited, such as "
                      "\"/v1/classify=3\"",
                      part));
      continue;
    }
    auto route = parse_route_path(std::string_view(part).substr(0, equals));
    if (!route) {
      wrong.push_back(route.error());
      continue;
    }
    route->priority = rule[0] - '0';
    route->rate_limited = !is_unlimited;
    if (std::ranges::any_of(seen, [&](const auto& known) { return same_path(known, *route); })) {
      wrong.push_back(fmt::format("\"{}\": this path stands here twice", part));
      continue;
    }
    seen.push_back(*route);
    put(*route, origin, false);
  }
  return wrong;
}

void RouteList::inherit_prefix(const std::vector<IdentitySource>& from) {
  for (auto& [route, origin] : routes_)
    if (route.identity) conf::inherit_prefix(*route.identity, from);
}

}  // namespace classgate::conf
