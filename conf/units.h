#pragma once

// How values with units are written, in the conf file, the environment and on the command line.
// Errors say what is wrong and what right would look like.

#include <expected>
#include <string>
#include <string_view>

#include "conf/settings.h"

namespace classgate::conf {

// "100ms", "30s", "5m", "2h".
std::expected<milliseconds, std::string> parse_duration(std::string_view text);
std::string print_duration(milliseconds duration);

// "512B", "16KiB", "10MiB", "1GiB".
std::expected<Bytes, std::string> parse_bytes(std::string_view text);
std::string print_bytes(Bytes bytes);

// Whole numbers as such, whatever their size; others with ten digits at most.
std::string print_number(double number);

// As a TOML string, with its quotes.
std::string quote(std::string_view text);

// As a message may show an address or URL: what stands before an '@' may be a password.
std::string without_user(std::string_view url);

// "127.0.0.1:8080", "[::1]:8080", "*:8080", "host.example:8080", "unix:/path".
std::expected<Address, std::string> parse_address(std::string_view text);

// "/v1/classify" or "/v1/*"; fills path and is_prefix. The path must be in normal form,
// and such as requests have.
std::expected<RouteSettings, std::string> parse_route_path(std::string_view text);

}  // namespace classgate::conf
