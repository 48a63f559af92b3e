#pragma once

// How a table of a file is read: [[route]], [[plan]], a workload and its [[class]]es. (The keys of
// the conf itself are printed and explained as well: conf/keys.h.)

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/nearest.h"

namespace classgate::conf {

// One key of a table, and where its value goes.
template <typename Target>
struct Field {
  std::string name;
  std::function<Read(Target&, const RawValue&)> read;
};

// A value that `parse` makes something of (std::expected, the error without the key) for `member`.
template <typename Target, typename Member, typename Parse>
Field<Target> field(std::string name, Member Target::* member, Parse parse) {
  return {std::move(name), [member, parse](Target& into, const RawValue& raw) -> Read {
            auto parsed = parse(raw);
            if (!parsed) return std::unexpected(std::move(parsed.error()));
            into.*member = std::move(*parsed);
            return {};
          }};
}

// Makes something of a text; `wanted` says which, such as "a size in quotes".
template <typename Parse>
auto text_value(std::string wanted, Parse parse) {
  return [wanted = std::move(wanted), parse](const RawValue& raw) -> decltype(parse({})) {
    if (const auto* text = std::get_if<std::string>(&raw.value)) return parse(*text);
    return std::unexpected("expected " + wanted);
  };
}

// Reads one entry into `target`; says what is wrong with it, or nothing. `kind` is what its keys
// are called by, such as "route " (an error that begins with that and the key needs no other
// words), and `where` follows a key that nobody knows, such as " in [[route]]".
template <typename Target>
std::string read_entry(const std::vector<Field<Target>>& fields, Target& target, const Entry& entry,
                       std::string_view kind, std::string_view where) {
  std::vector<std::string> names;
  for (const Field<Target>& one : fields) {
    names.push_back(one.name);
    if (one.name != entry.key) continue;
    const Read read = one.read(target, entry.value);
    if (read) return {};
    const std::string key = std::string(kind) + entry.key;
    return read.error().starts_with(key + " ") ? read.error() : key + ": " + read.error();
  }
  const std::string meant = nearest(entry.key, names);
  return fmt::format("unknown key {}{}{}", entry.key, where,
                     meant.empty() ? "" : fmt::format("; did you mean {}?", meant));
}

// The same, with its place; none: it is good. What it makes of `target` then counts no more.
template <typename Target>
std::optional<std::pair<Place, std::string>> wrong_in_entry(
    const std::vector<Field<Target>>& fields, Target& target, const Entry& entry,
    std::string_view kind, std::string_view where) {
  const auto read = [&](const Entry& some) {
    return read_entry(fields, target, some, kind, where);
  };
  std::string why = read(entry);
  if (why.empty()) return std::nullopt;
  return std::pair(place_of_mistake(entry, why, read), std::move(why));
}

// A number from `least` to `most`, or 0.
std::expected<double, std::string> parse_number(const RawValue& value, double least, double most);
// More than 0, 1 at most.
std::expected<double, std::string> parse_share(const RawValue& value);
std::expected<std::int64_t, std::string> parse_whole_number(const RawValue& value,
                                                            std::int64_t least, std::int64_t most);
std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most);
// The same as what reads a field (conf/table.h).
inline auto number_value(double least, double most) {
  return [=](const RawValue& value) { return parse_number(value, least, most); };
}
inline auto count_value(std::uint32_t least, std::uint32_t most) {
  return [=](const RawValue& value) { return parse_count(value, least, most); };
}

}  // namespace classgate::conf
