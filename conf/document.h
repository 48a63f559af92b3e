#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "conf/keys.h"

namespace classgate::conf {

// A place in a conf file, both counted from 1.
struct Place {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  auto operator<=>(const Place&) const = default;
};

struct Entry {
  std::string key;  // dotted
  RawValue value;
  Place place;
};

// One table of a list: [[route]], [[certificate]].
struct TableEntry {
  std::vector<Entry> entries;  // keys without a prefix
  Place place;
};

struct DocumentMistake {
  Place place;
  std::string text;
};

// A conf file taken apart: every value with its place, and everything that is wrong with its form.
// After a syntax error its line is left out and reading goes on, so that one look shows them all.
struct Document {
  std::vector<Entry> entries;
  std::vector<TableEntry> routes;
  std::vector<TableEntry> certificates;
  std::vector<DocumentMistake> mistakes;
};

Document read_document(std::string text);

}  // namespace classgate::conf
