#pragma once

#include <functional>
#include <map>
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
  std::vector<Place> entry_places = {};  // of a list that goes over several lines
};

// Where to look for what is wrong with a value: at the entry of a list that goes over several
// lines, else at its key. `why_wrong` reads what it is given, and says why not; it says `why` of
// the whole. What is read of a list is read in its order.
Place place_of_mistake(const Entry& entry, const std::string& why,
                       const std::function<std::string(const Entry&)>& why_wrong);
// Another place in the same file ("classgate.conf:12:1").
std::string in_same_file(const std::string& origin, Place place);

// One table of a list, such as [[route]].
struct TableEntry {
  std::vector<Entry> entries;  // keys without a prefix
  Place place;
};

struct DocumentMistake {
  Place place;
  std::string text;
};

// A conf or workload file taken apart: every value with its place, and everything that is wrong
// with its form. After a syntax error its line is left out and reading goes on, so that one look
// shows them all.
struct Document {
  std::vector<Entry> entries;
  std::map<std::string, std::vector<TableEntry>, std::less<>> lists;
  std::vector<DocumentMistake> mistakes;

  std::vector<TableEntry> tables_of(std::string_view list) const {
    const auto found = lists.find(list);
    return found == lists.end() ? std::vector<TableEntry>{} : found->second;
  }
};

// What may stand in the file: dotted names of keys, which tell the tables too, and of lists.
struct DocumentForm {
  std::vector<std::string> keys;
  std::vector<std::string> lists;
};

// The form of the conf.
DocumentForm conf_form();

// Whether it may be the name of a key or table. What is not may be a key of a client.
bool is_key_form(std::string_view name);
// The name of a key or table that there is not, as a message may show it: of what has not the form
// of a name no more than the known table in which it stands. The message says why.
std::string shown_key(std::string_view name);
extern const std::string_view why_not_shown;

Document read_document(std::string text, const DocumentForm& form = conf_form());

}  // namespace classgate::conf
