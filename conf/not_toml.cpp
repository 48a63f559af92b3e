#include "conf/not_toml.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "conf/ascii.h"
#include "conf/document.h"
#include "conf/format.h"
#include "conf/keys.h"
#include "conf/other_tools.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

bool is_number(std::string_view text) {
  if (text.find_first_not_of("0123456789_.xoabcdefABCDEF+-") == std::string_view::npos &&
      text.contains('_'))
    return true;  // 1_000
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && stop == text.data() + text.size();
}

bool is_quote(char c) { return c == '"' || c == '\''; }

// As word processors and web pages have them: “ ” „ ‘ ’ (U+2018 to U+201E).
bool has_typographic_quote(std::string_view text) {
  for (std::size_t at = text.find("\xe2\x80"); at != std::string_view::npos;
       at = text.find("\xe2\x80", at + 1))
    if (at + 2 < text.size() && text[at + 2] >= '\x98' && text[at + 2] <= '\x9e') return true;
  return false;
}

// Of what has quotes: up to the '#' behind them.
std::string_view without_comment(std::string_view text) {
  char quoted_by = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted_by != 0) {
      if (text[i] == '\\' && quoted_by == '"')
        ++i;
      else if (text[i] == quoted_by)
        quoted_by = 0;
    } else if (is_quote(text[i])) {
      quoted_by = text[i];
    } else if (text[i] == '#') {
      return text.substr(0, i);
    }
  }
  return text;
}

// A text in quotes that no quote ends.
bool is_open(std::string_view text) {
  const char quote = text.front();
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"')
      ++i;
    else if (text[i] == quote)
      return false;
  }
  return true;
}

// Whether an entry of a list in one line stands without quotes, and is no number either.
bool has_bare_entry(std::string_view list) {
  bool begins = true;
  char quoted_by = 0;
  for (std::size_t i = 1; i < list.size(); ++i) {
    const char c = list[i];
    if (quoted_by != 0) {
      if (c == '\\' && quoted_by == '"')
        ++i;
      else if (c == quoted_by)
        quoted_by = 0;
    } else if (is_quote(c)) {
      quoted_by = c;
      begins = false;
    } else if (c == ',') {
      begins = true;
    } else if (begins && c != ' ' && c != '\t' && c != ']') {
      const std::string_view entry =
          trimmed(list.substr(i, std::min(list.find_first_of(",]", i), list.size()) - i));
      return c != '{' && c != '[' && !is_number(entry) && entry != "true" && entry != "false";
    }
  }
  return false;
}

bool takes(const Key& key, RawValue value) {
  Settings scratch;
  return key.read(scratch, value).has_value();
}

// How the value would be right; empty: nobody knows, or it must not be shown.
std::string written_well(const Key* key, std::string_view value) {
  constexpr std::size_t longest = 64;
  const bool is_plain = value.size() <= longest && std::ranges::all_of(value, [](char c) {
                          return c > 0x20 && c < 0x7f && !is_quote(c) && c != '\\';
                        });
  if (key == nullptr || !is_plain) return {};
  RawValue text, list;
  text.value = std::string(value);
  list.value = std::vector<std::string>{std::string(value)};
  if (takes(*key, text)) return fmt::format("\"{}\"", value);
  if (takes(*key, list)) return fmt::format("[\"{}\"]", value);
  return {};
}

// true or false, as it is written elsewhere; empty: neither.
std::string_view boolean_meant(std::string_view value, const Key* key) {
  const auto is = [value](std::string_view word) { return equal_but_for_case(value, word); };
  if (is("true") || is("false")) return is("true") ? "true" : "false";
  RawValue boolean;
  boolean.value = true;
  if (key == nullptr || !takes(*key, boolean)) return {};
  if (is("yes") || is("on")) return "true";
  if (is("no") || is("off")) return "false";
  return {};
}

// A number as others write it ("100r/s"); empty: the key takes none, or it is none.
std::string number_meant(std::string_view value, const Key* key) {
  RawValue number;
  number.value = std::int64_t{1};
  const auto rate = rate_meant(value);
  return key != nullptr && rate && takes(*key, number) ? print_number(*rate) : std::string();
}

std::string why_bare(std::string_view shown, const Key* key, std::string_view value) {
  if (const std::string number = number_meant(value, key); !number.empty())
    return fmt::format("a number stands alone: write {} = {}", shown, number);
  if (const std::string_view meant = boolean_meant(value, key); !meant.empty())
    return fmt::format("write {} = {}, in small letters and without quotes", shown, meant);
  const std::string well = written_well(key, value);
  return fmt::format("the value has no quotes: write {} = {}", shown,
                     well.empty() ? "\"...\"" : well);
}

// The key with this name, in whatever table, where there is but one.
const Key* only_key_called(std::string_view name) {
  const Key* found = nullptr;
  for (const Key& key : all_keys()) {
    if (!key.name.ends_with(name) ||
        (key.name.size() > name.size() && key.name[key.name.size() - name.size() - 1] != '.'))
      continue;
    if (found != nullptr) return nullptr;
    found = &key;
  }
  return found;
}

bool is_table(std::string_view name) {
  return std::ranges::any_of(all_keys(), [name](const Key& key) {
    return key.name.size() > name.size() && key.name.starts_with(name) &&
           key.name[name.size()] == '.';
  });
}

// Of YAML: "workers: 50".
std::string why_colon(std::string_view name, std::string_view shown, std::string_view value,
                      const Key* key) {
  if (value.empty() && is_table(name))
    return fmt::format("write [{}]: the name of a table stands in brackets", name);
  const bool is_quoted =
      value.size() > 1 && is_quote(value.front()) && value.back() == value.front();
  if (is_quoted) value = value.substr(1, value.size() - 2);
  std::string well = is_quoted ? std::string() : number_meant(value, key);
  if (well.empty() && !is_quoted) well = boolean_meant(value, key);
  if (well.empty()) well = written_well(key, value);
  if (well.empty()) well = value.starts_with('[') && value.ends_with(']') ? "[...]" : "VALUE";
  return fmt::format("write {} = {}: what stands between them is \"=\", not \":\"", shown, well);
}

}  // namespace

std::string why_not_toml(std::string_view line, std::string_view table) {
  line = trimmed(line);
  const auto* const end = std::ranges::find_if_not(line, is_name_character);
  const std::string_view name = line.substr(0, static_cast<std::size_t>(end - line.begin()));
  if (name.empty()) return {};
  const std::string_view shown = is_key_form(name) ? name : "KEY";
  const std::string_view rest = trimmed(line.substr(name.size()));
  const std::string hint = hint_for_line(line);
  const Key* const key =
      find_key(table.empty() ? std::string(name) : fmt::format("{}.{}", table, name));
  if (rest.starts_with(':') && key == nullptr && !hint.empty()) return hint;
  if (rest.starts_with(':'))
    return why_colon(name, shown, trimmed(without_comment(rest.substr(1))),
                     key == nullptr && table.empty() ? only_key_called(name) : key);
  if (name.starts_with("CLASSGATE_")) return hint_for_line(name);
  if (rest.empty() || rest.front() == '#') return {};
  if (rest.front() != '=' && !hint.empty()) return hint;
  if (rest.front() != '=')
    return is_key_form(name) ? fmt::format("\"=\" is missing: write {} = VALUE", shown)
                             : std::string();
  const std::string_view value = trimmed(without_comment(rest.substr(1)));
  if (value.empty()) return {};
  if (value.ends_with(';') && !(is_quote(value.front()) && is_open(value)))
    return "no ; stands at the end of a line: take it out";
  if (is_quote(value.front()))
    return is_open(value) ? fmt::format("the quotes behind {} = are not closed", shown)
                          : std::string();
  if (has_typographic_quote(value))
    return fmt::format(
        "these are no quotes for a conf: write {} = \"...\", with \" as on the "
        "keyboard",
        shown);
  if (value.front() == '[')
    return has_bare_entry(value)
               ? fmt::format("each entry of a list stands in quotes: write {} = [\"...\", \"...\"]",
                             shown)
               : std::string();
  const std::string_view first = value.substr(0, value.find_first_of(" \t"));  // of "2 3"
  if (value.front() == '{' || is_number(first) || first == "true" || first == "false") return {};
  return why_bare(shown, key, value);
}

}  // namespace classgate::conf
