#include "conf/reading.h"

#include <algorithm>

#include "conf/printable.h"
#include "conf/text_file.h"

namespace classgate::conf {

std::expected<std::string, std::string> Reading::text_of(const std::string& path,
                                                         std::string_view hint,
                                                         std::size_t bytes_max) const {
  if (given)
    for (const auto& [known, text] : *given)
      if (known == path) return text;
  return read_text_file(path, hint, FileKind::regular, bytes_max);
}

bool Reading::are_known(Keys keys) const {
  return is_all_read &&
         std::ranges::none_of(keys, [&](const char* key) { return unread.contains(key); });
}

void Reading::blame(const std::string& key, const std::string& text, Keys others) {
  const auto has_place = [&](const char* other) { return origins.contains(other); };
  const auto* const other = std::ranges::find_if(others, has_place);
  blame_at(origin_of(origins.contains(key) || other == others.end() ? key : *other), key, text,
           others);
}

void Reading::blame_at(const std::string& place, const std::string& key, const std::string& text,
                       Keys others) {
  if (unread.contains(key) || (others.size() > 0 && !are_known(others))) return;
  mistake(place, key + ": " + text);
}

std::string Reading::origin_of_entry(const std::string& key, std::size_t index) const {
  const auto places = entry_places.find(key);
  return places == entry_places.end() || index >= places->second.size()
             ? origin_of(key)
             : in_same_file(origin_of(key), places->second[index]);
}

std::string Reading::origin_of(const std::string& key) const {
  const auto found = origins.find(key);
  return found == origins.end() ? "default" : found->second;
}

void Reading::mistake(std::string place, std::string text) {
  mistakes.push_back({printable(place), printable(text)});
}

}  // namespace classgate::conf
