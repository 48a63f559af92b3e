#include "conf/document.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include "conf/nearest.h"

namespace classgate::conf {
namespace {

constexpr int syntax_errors_max = 20;

Place place_of(const toml::source_region& region) {
  return {region.begin.line, region.begin.column};
}

// Blanks a line, keeping all others where they are. False when there was nothing left to blank.
bool blank_line(std::string& text, std::uint32_t line) {
  std::size_t begin = 0;
  for (std::uint32_t i = 1; i < line; ++i) {
    begin = text.find('\n', begin);
    if (begin == std::string::npos) return false;
    ++begin;
  }
  const std::size_t end = std::min(text.find('\n', begin), text.size());
  if (text.find_first_not_of(" \t\r", begin) >= end) return false;
  for (std::size_t i = begin; i < end; ++i) text[i] = ' ';
  return true;
}

// The library's explanations begin with what it was doing; the operator wants to know what is wrong.
std::string explain(const toml::parse_error& error) {
  std::string text(error.description());
  if (const std::size_t semicolon = text.find("; "); semicolon != std::string::npos)
    text = text.substr(semicolon + 2);
  return "this is not TOML: " + text;
}

class Walker {
 public:
  explicit Walker(Document& document) : document_(document) {}

  void walk(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const Place place = place_of(key.source());
      if (name == "route") {
        walk_routes(node, place);
      } else if (const toml::table* inner = node.as_table()) {
        walk_table(*inner, name, place);
      } else {
        document_.entries.push_back({name, read(node, place), place_of(key.source())});
      }
    }
  }

 private:
  void walk_table(const toml::table& table, const std::string& name, Place place) {
    for (const Key& key : all_keys())
      if (key.name.starts_with(name + ".")) return walk(table, name + ".");
    if (find_key(name) != nullptr)
      return mistake(place, fmt::format("{} is a value, not a table", name));
    std::vector<std::string> tables{"client", "upstream", "admission", "log", "status", "route"};
    const std::string meant = nearest(name, tables);
    mistake(place, fmt::format("unknown table [{}]{}", name,
                               meant.empty() ? "" : fmt::format("; did you mean [{}]?", meant)));
  }

  void walk_routes(const toml::node& node, Place place) {
    const toml::array* array = node.as_array();
    if (array == nullptr || !array->is_homogeneous<toml::table>())
      return mistake(place, "routes are written as [[route]] tables");
    for (const toml::node& element : *array) {
      RouteEntry route;
      route.place = place_of(element.source());
      for (const auto& [key, value] : *element.as_table())
        route.entries.push_back({std::string(key.str()), read(value, place_of(key.source())),
                                 place_of(key.source())});
      document_.routes.push_back(std::move(route));
    }
  }

  RawValue read(const toml::node& node, Place place) {
    if (const auto* integer = node.as_integer()) return {integer->get()};
    if (const auto* real = node.as_floating_point()) return {real->get()};
    if (const auto* boolean = node.as_boolean()) return {boolean->get()};
    if (const auto* text = node.as_string()) return {text->get()};
    if (const auto* array = node.as_array()) {
      std::vector<std::string> texts;
      for (const toml::node& element : *array) {
        if (const auto* text = element.as_string())
          texts.push_back(text->get());
        else
          mistake(place_of(element.source()), "expected text in quotes");
      }
      return {std::move(texts)};
    }
    mistake(place, "a date or a table is no value of any key");
    return {};
  }

  void mistake(Place place, std::string text) {
    document_.mistakes.push_back({place, std::move(text)});
  }

  Document& document_;
};

}  // namespace

Document read_document(std::string text) {
  Document document;
  if (const std::size_t nul = text.find('\0'); nul != std::string::npos) {
    const auto line = static_cast<std::uint32_t>(
        std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(nul), '\n') + 1);
    document.mistakes.push_back({{line, 1}, "holds a NUL byte: this is not a text file"});
    return document;
  }
  for (int i = 0; i < syntax_errors_max; ++i) {
    try {
      const toml::table table = toml::parse(text);
      Walker(document).walk(table, "");
      return document;
    } catch (const toml::parse_error& error) {
      const Place place = place_of(error.source());
      document.mistakes.push_back({place, explain(error)});
      // An error at the end of the file is about something that was never closed.
      if (!blank_line(text, place.line)) return document;
    }
  }
  return document;
}

}  // namespace classgate::conf
