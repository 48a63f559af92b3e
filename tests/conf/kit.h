#pragma once

// What the tests of conf share: conf files that come and go, and mistakes as plain lines.

#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "conf/reader.h"

namespace classgate::conf {

using Lines = std::vector<std::string>;
using Variables = std::vector<std::pair<std::string, std::string>>;

// A file "conf" in a folder of its own.
class ConfFile {
 public:
  explicit ConfFile(const std::string& text) {
    std::string name = std::filesystem::temp_directory_path() / "classgate-conf-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder_ = name;
    std::ofstream(path(), std::ios::binary) << text;
  }
  ~ConfFile() { std::filesystem::remove_all(folder_); }
  ConfFile(const ConfFile&) = delete;
  ConfFile& operator=(const ConfFile&) = delete;

  std::filesystem::path folder() const { return folder_; }
  std::string path() const { return folder_ / "conf"; }
  // The same text with this file called just "conf".
  std::string shorten(std::string text) const {
    for (std::size_t at = 0; (at = text.find(path(), at)) != std::string::npos;)
      text.replace(at, path().size(), "conf");
    return text;
  }

 private:
  std::filesystem::path folder_;
};

inline Lines lines_of(const std::vector<Mistake>& mistakes) {
  Lines lines;
  for (const Mistake& mistake : mistakes) lines.push_back(mistake.place + ": " + mistake.text);
  return lines;
}

// Every mistake in these sources as "place: text", none when they are good.
inline Lines mistakes_of(const Sources& sources) {
  const auto loaded = load(sources);
  return loaded ? Lines{} : lines_of(loaded.error());
}

inline Lines mistakes_in(const std::string& conf_text, const Variables& environment = {}) {
  const ConfFile file(conf_text);
  Lines lines = mistakes_of({file.path(), environment, {}});
  for (std::string& line : lines) line = file.shorten(line);
  return lines;
}

// What good sources give; fails the test, showing why, when they are not good.
inline Loaded load_good(const Sources& sources) {
  auto loaded = load(sources);
  if (!loaded)
    for (const std::string& line : lines_of(loaded.error())) FAIL_CHECK(line);
  REQUIRE(loaded.has_value());
  return std::move(*loaded);
}

inline Loaded load_text(const std::string& conf_text, const Variables& environment = {},
                        const std::vector<Override>& command_line = {}) {
  const ConfFile file(conf_text);
  Loaded loaded = load_good({file.path(), environment, command_line});
  for (ValueInForce& value : loaded.values) value.origin = file.shorten(value.origin);
  for (auto& [route, origin] : loaded.routes) origin = file.shorten(origin);
  return loaded;
}

inline const ValueInForce& value_of(const Loaded& loaded, const std::string& key) {
  for (const ValueInForce& value : loaded.values)
    if (value.key == key) return value;
  FAIL("no value for ", key);
  return loaded.values.front();
}

struct Mistaken {
  std::string conf;
  Lines mistakes;
};
inline void check(const std::vector<Mistaken>& rows) {
  for (const Mistaken& row : rows) {
    CAPTURE(row.conf);
    CHECK(mistakes_in(row.conf) == row.mistakes);
  }
}

}  // namespace classgate::conf

namespace doctest {
template <>
struct StringMaker<std::vector<std::string>> {
  static String convert(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += "\n  " + line;
    return text.empty() ? "(nothing)" : text.c_str();
  }
};
}  // namespace doctest
