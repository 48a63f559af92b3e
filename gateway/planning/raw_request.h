#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/planning/question.h"

namespace classgate::planning {

// A request as somebody wrote or captured it: request line, fields, an empty line, the body. Lines
// end with LF or CRLF; the body is the rest, byte for byte. Content-Length is ours to say: one that
// says something else is a mistake. Errors have a place, "NAME:LINE:COLUMN: ...", and repeat
// nothing of the request: it may hold a key.
std::expected<Question, std::string> parse_request(std::string_view text, const std::string& name);
std::expected<Question, std::string> read_request(const std::string& path);

// "Name: value", as for -H; the error has no place.
std::expected<RequestField, std::string> parse_field(std::string_view line);
std::expected<std::string, std::string> parse_method(std::string_view text);
// Empty, or what is wrong with it: the path of a request, with its query.
std::string why_no_target(std::string_view text);

}  // namespace classgate::planning
