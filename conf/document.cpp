#include "conf/document.h"

#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <sstream>

#include "conf/format.h"
#include "conf/key_depth.h"
#include "conf/nearest.h"
#include "conf/not_toml.h"
#include "conf/other_tools.h"

namespace classgate::conf {
namespace {

constexpr int syntax_errors_max = 20;
// What a table under a broken header is called: its keys belong nowhere else.
constexpr std::string_view nameless = "nameless ";

Place place_of(const toml::source_region& region) {
  return {region.begin.line, region.begin.column};
}

// A conf file as lines, in which what a syntax error spoils is taken out while everything else
// keeps its place. Good guesses are enough here: a bad one costs a mistake told late or in vain.
class Lines {
 public:
  explicit Lines(const std::string& text) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines_.push_back(std::move(line));
  }

  std::string text() const { return fmt::format("{}\n", fmt::join(lines_, "\n")); }

  std::string_view line(std::size_t at) const {
    return at < lines_.size() ? std::string_view(lines_[at]) : std::string_view();
  }
  // The table in which the line stands: what its header says between the brackets.
  std::string_view table_of(std::size_t at) const {
    for (at = std::min(at, lines_.size()); at-- > 0;) {
      if (!is_header(at)) continue;
      std::string_view header = lines_[at];
      header.remove_prefix(std::min(header.find_first_not_of(" \t["), header.size()));
      return header.substr(0, header.find_first_of(" \t]"));
    }
    return {};
  }

  // Blanks the line of an error, or the whole list when it stands in one that goes over several
  // lines; a broken table header makes a table without a name. False when nothing could be changed.
  bool mend(std::size_t at) {
    if (lines_.empty()) return false;
    at = std::min(at, lines_.size() - 1);
    const auto list = open_list(at);
    if (!list) return replace(at, is_header(at) ? fmt::format("[\"{}{}\"]", nameless, at) : "");
    bool is_changed = replace(*list, "");
    for (std::size_t i = *list + 1; i < lines_.size() && !begins_statement(i); ++i)
      is_changed = replace(i, "") || is_changed;
    return is_changed;
  }

 private:
  bool replace(std::size_t at, const std::string& line) {
    const bool is_changed = start_of(at) != std::string::npos && lines_[at] != line;
    lines_[at] = line;
    return is_changed;
  }

  // Where the list begins that is open in this line.
  std::optional<std::size_t> open_list(std::size_t at) const {
    if (begins_statement(at) && !is_header(at) && depth_of(lines_[at]) > 0) return at;
    int depth = 0;
    while (at-- > 0) {
      depth += depth_of(lines_[at]);
      if (!begins_statement(at)) continue;
      if (depth > 0 && !is_header(at)) return at;
      break;
    }
    return std::nullopt;
  }

  bool is_header(std::size_t at) const {
    const std::size_t start = start_of(at);
    return start != std::string::npos && lines_[at][start] == '[';
  }

  bool begins_statement(std::size_t at) const {
    constexpr std::string_view not_a_key = "\"',]}=#";
    const std::size_t start = start_of(at);
    if (start == std::string::npos || not_a_key.contains(lines_[at][start])) return false;
    return is_header(at) || lines_[at].contains('=');
  }

  std::size_t start_of(std::size_t at) const { return lines_[at].find_first_not_of(" \t\r"); }

  // How many more brackets it opens than it closes.
  static int depth_of(const std::string& line) {
    int depth = 0;
    char quoted_by = 0;
    for (const char c : line) {
      if (quoted_by != 0) {
        if (c == quoted_by) quoted_by = 0;
      } else if (c == '"' || c == '\'') {
        quoted_by = c;
      } else if (c == '#') {
        break;
      } else {
        depth += (c == '[' ? 1 : 0) - (c == ']' ? 1 : 0);
      }
    }
    return depth;
  }

  std::vector<std::string> lines_;
};

// The library's explanations begin with what it was doing; the operator wants to know what is
// wrong, and what to write.
std::string explain(const toml::parse_error& error, std::string_view line, std::string_view table) {
  if (std::string why = why_not_toml(line, table); !why.empty()) return "this is not TOML: " + why;
  if (std::string hint = hint_for_line(line); !hint.empty()) return "this is not TOML: " + hint;
  std::string text(error.description());
  if (const std::size_t colon = text.find(": "); colon != std::string::npos)
    text = text.substr(colon + 2);
  return "this is not TOML: " + text;
}

// Where the text of JSON begins: an object, or a list of them, which a conf is not.
std::optional<std::size_t> begin_of_json(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t next = std::min(text.find_first_not_of(blanks, begin + 1), text.size());
  const std::string_view inside = text.substr(next, 1);
  const bool is_object = text[begin] == '{' && (inside == "\"" || inside == "}");
  const bool is_list = text[begin] == '[' && inside == "{";
  return is_object || is_list ? std::optional(begin) : std::nullopt;
}

class Walker {
 public:
  Walker(const DocumentForm& form, Document& document) : form_(form), document_(document) {}

  void walk(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const Place place = place_of(key.source());
      if (name.starts_with(nameless)) {
        continue;
      } else if (std::ranges::find(form_.lists, name) != form_.lists.end()) {
        walk_list(node, place, name, document_.lists[name]);
      } else if (const toml::table* inner = node.as_table()) {
        walk_table(*inner, name, place);
      } else {
        document_.entries.push_back(entry_of(name, node, place));
      }
    }
  }

 private:
  void walk_table(const toml::table& table, const std::string& name, Place place) {
    std::vector<std::string> known = form_.lists;
    for (const std::string& key : form_.keys) {
      if (key.starts_with(name + ".")) return walk(table, name + ".");
      if (key == name) return mistake(place, fmt::format("{} is a value, not a table", name));
      const std::size_t dot = key.rfind('.');
      if (dot != std::string::npos) known.push_back(key.substr(0, dot));
    }
    const std::string meant = nearest(name, known);
    const std::string_view inside = table.empty() ? std::string_view() : table.begin()->first.str();
    const std::string hint = hint_for_table(name, inside);
    if (meant.empty() && hint.empty() && !is_key_form(name))
      return mistake(place, fmt::format("unknown table [{}]{}", shown_key(name), why_not_shown));
    mistake(place, fmt::format("unknown table [{}]{}", meant.empty() ? shown_key(name) : name,
                               !hint.empty()   ? "; " + hint
                               : meant.empty() ? ""
                                               : fmt::format("; did you mean [{}]?", meant)));
  }

  void walk_list(const toml::node& node, Place place, const std::string& name,
                 std::vector<TableEntry>& into) {
    const toml::array* array = node.as_array();
    if (array != nullptr && array->empty())
      return mistake(place,
                     fmt::format("{0} = [] says nothing: take the line out; {0}s are written "
                                 "as [[{0}]] tables, and none is as good as no line",
                                 name));
    if (array == nullptr || !array->is_homogeneous<toml::table>())
      return mistake(place, fmt::format("{0}s are written as [[{0}]] tables", name));
    for (const toml::node& element : *array) {
      TableEntry entry;
      entry.place = place_of(element.source());
      for (const auto& [key, value] : *element.as_table())
        entry.entries.push_back(entry_of(std::string(key.str()), value, place_of(key.source())));
      into.push_back(std::move(entry));
    }
  }

  static Entry entry_of(std::string name, const toml::node& node, Place place) {
    Entry entry{std::move(name), read(node), place};
    const toml::array* const array = node.as_array();
    if (array == nullptr || array->empty() || place_of(array->back().source()).line == place.line)
      return entry;
    for (const toml::node& element : *array) {
      entry.entry_places.push_back(place_of(element.source()));
      const bool is_understood = !std::holds_alternative<std::monostate>(entry.value.value);
      if (is_understood || element.is_string()) continue;
      entry.place = entry.entry_places.back();
      break;
    }
    return entry;
  }

  static RawValue read(const toml::node& node) {
    if (const auto* integer = node.as_integer()) return {integer->get()};
    if (const auto* real = node.as_floating_point()) return {real->get()};
    if (const auto* boolean = node.as_boolean()) return {boolean->get()};
    if (const auto* text = node.as_string()) return {text->get()};
    if (const auto* array = node.as_array()) {
      std::vector<std::string> texts;
      for (const toml::node& element : *array) {
        const auto* text = element.as_string();
        if (text == nullptr) return {};
        texts.push_back(text->get());
      }
      return {std::move(texts)};
    }
    return {};
  }

  void mistake(Place place, std::string text) {
    document_.mistakes.push_back({place, std::move(text)});
  }

  const DocumentForm& form_;
  Document& document_;
};

}  // namespace

Place place_of_mistake(const Entry& entry, const std::string& why,
                       const std::function<std::string(const Entry&)>& why_wrong) {
  const auto* const all = std::get_if<std::vector<std::string>>(&entry.value.value);
  if (all == nullptr || all->size() != entry.entry_places.size()) return entry.place;
  const auto is_in_first = [&](std::size_t count) {
    Entry some{entry.key, entry.value, entry.place};
    some.value.value =
        std::vector<std::string>(all->begin(), all->begin() + static_cast<std::ptrdiff_t>(count));
    return why_wrong(some) == why;
  };
  if (all->empty() || is_in_first(0)) return entry.place;
  std::size_t without = 0, with = all->size();
  while (with - without > 1) {
    const std::size_t middle = without + (with - without) / 2;
    (is_in_first(middle) ? with : without) = middle;
  }
  return entry.entry_places[with - 1];
}

std::string in_same_file(const std::string& origin, Place place) {
  const std::size_t column = origin.rfind(':');
  const std::size_t line = column == std::string::npos ? column : origin.rfind(':', column - 1);
  if (line == std::string::npos) return origin;
  return fmt::format("{}:{}:{}", origin.substr(0, line), place.line, place.column);
}

bool is_key_form(std::string_view name) {
  constexpr std::size_t longest = 40;
  return name.size() <= longest && std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
         });
}

std::string shown_key(std::string_view name) {
  if (is_key_form(name)) return std::string(name);
  std::size_t table = 0;
  for (const Key& key : all_keys()) {
    const std::size_t end = key.name.rfind('.') + 1;  // 0: it is in none
    if (name.starts_with(std::string_view(key.name).substr(0, end))) table = std::max(table, end);
  }
  return std::string(name.substr(0, table)) + "***";
}
const std::string_view why_not_shown =
    " (its name is not shown, as it may be a secret: those of keys are 40 small letters, "
    "digits and _ at most)";

DocumentForm conf_form() {
  DocumentForm form{{}, {"route", "plan", "certificate", "listener"}};
  for (const Key& key : all_keys()) form.keys.push_back(key.name);
  return form;
}

Document read_document(std::string text, const DocumentForm& form) {
  Document document;
  if (const std::size_t nul = text.find('\0'); nul != std::string::npos) {
    const auto line = static_cast<std::uint32_t>(
        std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(nul), '\n') + 1);
    document.mistakes.push_back({{line, 1}, "holds a NUL byte: this is not a text file"});
    return document;
  }
  if (const auto json = begin_of_json(text)) {
    const std::string_view before = std::string_view(text).substr(0, *json);
    const auto line = static_cast<std::uint32_t>(std::ranges::count(before, '\n') + 1);
    document.mistakes.push_back(
        {{line, 1},
         "this is JSON, and a conf is TOML: write listen = [\"*:8080\"] for \"listen\": "
         "[\"*:8080\"], and [upstream] above the keys of an object (classgate --print-config "
         "prints a whole conf)"});
    return document;
  }
  Lines lines(text);
  for (int i = 0; i < syntax_errors_max; ++i) {
    if (const auto line = line_of_deep_key(lines.text())) {
      document.mistakes.push_back(
          {{*line, 1},
           fmt::format("has a key of more than {} parts with dots between them; no key "
                       "has more than three",
                       key_parts_max)});
      return document;
    }
    try {
      const toml::table table = toml::parse(lines.text());
      Walker(form, document).walk(table, "");
      return document;
    } catch (const toml::parse_error& error) {
      const Place place = place_of(error.source());
      const std::size_t at = std::max(place.line, 1U) - 1;
      document.mistakes.push_back({place, explain(error, lines.line(at), lines.table_of(at))});
      // An error at the end of the file is about something that was never closed.
      if (!lines.mend(place.line - 1)) return document;
    }
  }
  return document;
}

}  // namespace classgate::conf
