#include "conf/cost.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/secret_fields.h"
#include "conf/table.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

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

}  // namespace classgate::conf
