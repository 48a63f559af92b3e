#pragma once

#include <string>
#include <string_view>

namespace classgate::gateway {

// Appends a JSON string; also what readers of key=value lines unquote. Bytes beyond ASCII are taken
// as Latin-1, so that the result is valid whatever was sent.
void append_quoted(std::string& out, std::string_view text);

}  // namespace classgate::gateway
