#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace classgate::gateway {

// The only way in which JSON becomes text here: whatever strings it holds (names of files, fields,
// paths), the text is ASCII without control characters, and nothing is thrown for what is no UTF-8
// (it becomes U+FFFD).
inline std::string json_text(const nlohmann::ordered_json& json, int indent = 2) {
  return json.dump(indent, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace classgate::gateway
