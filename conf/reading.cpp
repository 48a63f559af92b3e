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
  if (unread.contains(key) || (others.size() > 0 && !are_known(others))) return;
  mistake(origin_of(key), key + ": " + text);
}

std::string Reading::origin_of(const std::string& key) const {
  const auto found = origins.find(key);
  return found == origins.end() ? "default" : found->second;
}

void Reading::mistake(std::string place, std::string text) {
  mistakes.push_back({printable(place), printable(text)});
}

}  // namespace classgate::conf
