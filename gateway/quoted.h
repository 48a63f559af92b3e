#pragma once

#include <string>
#include <string_view>

namespace classgate::gateway {

// Appends a JSON string; also what readers of key=value lines unquote. UTF-8 stays as it is, but
// for characters that control, turn or break lines: \uXXXX, of those below U+0100 each byte
// (\u00XX). So are bytes that are no UTF-8: the result is valid JSON whatever was sent, and \u00XX
// is always a byte, so that what was written can be told (planning::AccessReader).
void append_quoted(std::string& out, std::string_view text);

}  // namespace classgate::gateway
