#include "conf/routes.h"

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

#include "conf/fairness.h"
#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/refusals.h"
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

std::vector<std::pair<Place, std::string>> RouteList::add(const TableEntry& entry,
                                                          const PlaceText& place_text) {
  std::vector<std::pair<Place, std::string>> wrong;
  std::optional<RouteSettings> route;
  std::optional<std::int64_t> priority;
  bool rate_limited = true;
  std::optional<Bytes> body_bytes;
  std::optional<milliseconds> deadline;
  RouteSettings extras;
  const std::vector<std::string> known{
      "path",         "priority", "rate_limited",    "body_bytes",
      "deadline",     "rate",     "burst",           "identity",
      "cost",         "cost_max", "cost_per_worker", "client_share",
      "refusal_body", "statuses", "streams",         "on_client_abort"};
  for (const Entry& field : entry.entries) {
    const auto say = [&](std::string text) { wrong.push_back({field.place, std::move(text)}); };
    const auto& value = field.value.value;
    const auto take = [&](auto& into, auto parsed) {
      if (parsed)
        into = *parsed;
      else
        say(fmt::format("route {}: {}", field.key, parsed.error()));
    };
    if (field.key == "path") {
      const auto* text = std::get_if<std::string>(&value);
      const auto parsed = text
                              ? parse_route_path(*text)
                              : std::unexpected(std::string("route path: expected text in quotes"));
      if (parsed)
        route = *parsed;
      else
        say(parsed.error());
    } else if (field.key == "priority") {
      if (const auto* number = std::get_if<std::int64_t>(&value)) priority = *number;
      if (!priority || *priority < priority_best || *priority > priority_worst)
        say("route priority: expected a whole number, " + priority_range());
    } else if (field.key == "rate_limited") {
      if (const auto* boolean = std::get_if<bool>(&value))
        rate_limited = *boolean;
      else
        say("route rate_limited: expected true or false");
    } else if (field.key == "body_bytes") {
      const auto* text = std::get_if<std::string>(&value);
      const auto bytes =
          text ? parse_bytes(*text)
               : std::unexpected(std::string("expected a size in quotes, such as \"64KiB\""));
      if (bytes)
        body_bytes = *bytes;
      else
        say("route body_bytes: " + bytes.error());
    } else if (field.key == "deadline") {
      const auto* text = std::get_if<std::string>(&value);
      const auto duration =
          text ? parse_duration(*text)
               : std::unexpected(std::string("expected a duration in quotes, such as \"2s\""));
      if (duration && *duration > milliseconds::zero() && *duration <= std::chrono::hours(24))
        deadline = *duration;
      else
        say("route deadline: " +
            (duration ? "must be longer than 0, and at most 24h" : duration.error()));
    } else if (field.key == "rate") {
      take(extras.rate, parse_number(field.value, 0.001, 1e6));
    } else if (field.key == "burst") {
      take(extras.burst, parse_number(field.value, 1, 1e6));
    } else if (field.key == "identity") {
      const auto* words = std::get_if<std::vector<std::string>>(&value);
      take(extras.identity,
           words ? parse_identity(*words)
                 : std::unexpected(std::string("expected a list, such as [\"bearer\"]")));
    } else if (field.key == "cost") {
      take(extras.cost, parse_cost(field.value));
    } else if (field.key == "cost_max") {
      take(extras.cost_max, parse_count(field.value, 1, cost_limit));
    } else if (field.key == "cost_per_worker") {
      take(extras.cost_per_worker, parse_count(field.value, 0, cost_limit));
    } else if (field.key == "client_share") {
      take(extras.client_share, parse_share(field.value));
    } else if (field.key == "refusal_body") {
      take(extras.refusal_body, parse_word<RefusalBody>(field.value));
    } else if (field.key == "statuses") {
      take(extras.statuses, parse_statuses(field.value));
    } else if (field.key == "streams") {
      take(extras.streams, parse_word<Streams>(field.value));
    } else if (field.key == "on_client_abort") {
      take(extras.on_client_abort, parse_word<OnClientAbort>(field.value));
    } else {
      const std::string meant = nearest(field.key, known);
      say(fmt::format("unknown key {} in [[route]]{}", field.key,
                      meant.empty() ? "" : fmt::format("; did you mean {}?", meant)));
    }
  }
  const auto lacks = [&](std::string_view key) {
    return std::ranges::none_of(entry.entries,
                                [&](const Entry& field) { return field.key == key; });
  };
  if (lacks("path")) wrong.push_back({entry.place, "[[route]] has no path"});
  if (lacks("priority"))
    wrong.push_back({entry.place, "[[route]] has no priority: " + priority_range()});
  if (!wrong.empty() || !route) return wrong;
  extras.path = route->path;
  extras.is_prefix = route->is_prefix;
  *route = extras;
  route->priority = static_cast<int>(*priority);
  route->rate_limited = rate_limited;
  route->body_bytes = body_bytes;
  route->deadline = deadline;
  const std::string twin = put(*route, place_text(entry.place), true);
  if (!twin.empty())
    wrong.push_back({entry.place, fmt::format("route \"{}{}\" stands already at {}", route->path,
                                              route->is_prefix ? "*" : "", twin)});
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

}  // namespace classgate::conf
