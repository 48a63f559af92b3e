#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "conf/loaded.h"
#include "conf/plans.h"
#include "conf/reader.h"
#include "conf/routes.h"
#include "conf/text_file.h"

namespace classgate::conf {

// What the sources have said so far, and what was wrong with it. The reader (conf/reader.cpp) fills
// it, source by source; conf/together.cpp completes it.
struct Reading {
  Loaded loaded;
  std::shared_ptr<const Texts> given;         // null: read the files
  Texts texts;                                // what was read
  std::set<std::string, std::less<>> unread;  // keys that were bad the last time, and [[lists]]
  bool is_all_read = true;                    // not where a file, a line or a table could not be
  RouteList routes;
  PlanList plans;
  std::vector<CertificateSettings> certificates;
  // What PORT made of addresses of `listen`.
  std::map<std::string, std::string> moved_by_port;
  std::map<std::string, std::string> origins;
  std::map<std::string, std::vector<Place>> entry_places;  // of lists that go over several lines
  std::vector<Mistake> mistakes;

  // What could not be read is told as such, and nothing that hangs on it: whatever is said of its
  // default would be a second mistake, made up. Lists of tables have the names of their lists.
  using Keys = std::initializer_list<const char*>;
  bool are_known(Keys keys) const;
  // A mistake of this key, by what the others say; where it has its default, one of these is told
  // as the place.
  void blame(const std::string& key, const std::string& text, Keys others = {});
  // The same at a place that is known better.
  void blame_at(const std::string& place, const std::string& key, const std::string& text,
                Keys others = {});
  void mistake(std::string place, std::string text);
  // Where a key was set, or "default".
  std::string origin_of(const std::string& key) const;
  // The same of an entry of its list.
  std::string origin_of_entry(const std::string& key, std::size_t index) const;
  // What a file says; the error says why it could not be read, and `hint`.
  std::expected<std::string, std::string> text_of(
      const std::string& path, std::string_view hint = "(name another with --conf)",
      std::size_t bytes_max = conf_bytes_max) const;
};

}  // namespace classgate::conf
