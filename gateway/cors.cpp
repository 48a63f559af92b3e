#include "gateway/cors.h"

#include <algorithm>
#include <chrono>

#include "proxy/wire/fields.h"
#include "proxy/wire/lines.h"

namespace classgate::gateway {
namespace {

using proxy::wire::equal_names;

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// "*" leaves Authorization out (Fetch standard, section 4.9, "non-wildcard request-header name"):
// whoever allows all of them means that one too.
std::string listed_fields(const std::vector<std::string>& names) {
  const auto has = [&](std::string_view wanted) {
    return std::ranges::any_of(names,
                               [&](const std::string& name) { return equal_names(name, wanted); });
  };
  return listed(names) + (has("*") && !has("authorization") ? ", Authorization" : "");
}

// Of one that says it twice nobody knows what the browser meant.
std::string_view only_value(const proxy::wire::Head& head, std::string_view name) {
  std::string_view value;
  bool is_there = false;
  for (const proxy::wire::Field& field : head.fields) {
    if (field.name.size() != name.size() || !equal_names(field.name, name)) continue;
    if (is_there) return {};
    is_there = true;
    value = field.value;
  }
  return value;
}

}  // namespace

Cors::Cors(const conf::CorsSettings& settings)
    : settings_(settings),
      allows_all_(std::ranges::find(settings.origins, "*") != settings.origins.end()),
      methods_(listed(settings.methods)),
      headers_(listed_fields(settings.headers)),
      max_age_(std::to_string(
          std::chrono::duration_cast<std::chrono::seconds>(settings.max_age).count())) {}

// An origin has one spelling (RFC 6454 section 6.2); "null" is that of anybody who hides it.
std::string_view Cors::allowed_origin(const proxy::wire::Head& head) const {
  if (!is_on()) return {};
  const std::string_view origin = only_value(head, "origin");
  if (origin.empty()) return {};
  return allows_all_ ? "*" : named(origin);
}

std::string_view Cors::allowed_origin_of_unread(std::string_view head_so_far) const {
  if (!is_on()) return {};
  return allows_all_ ? "*" : named(proxy::wire::value_in_unread_head(head_so_far, "origin"));
}

std::string_view Cors::named(std::string_view origin) const {
  const auto found = std::ranges::find(settings_.origins, origin);
  return found == settings_.origins.end() ? std::string_view() : std::string_view(*found);
}

bool Cors::is_preflight(const proxy::wire::Head& head) {
  return head.method == "OPTIONS" && !only_value(head, "origin").empty() &&
         !only_value(head, "access-control-request-method").empty();
}

bool Cors::is_ours_to_say(std::string_view field) {
  constexpr std::string_view family = "access-control-";
  return field.size() > family.size() && equal_names(field.substr(0, family.size()), family) &&
         !equal_names(field, "access-control-expose-headers");
}

}  // namespace classgate::gateway
