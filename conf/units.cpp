#include "conf/units.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "conf/format.h"

namespace classgate::conf {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array duration_units{Unit{"h", 3'600'000}, Unit{"m", 60'000}, Unit{"s", 1'000},
                                    Unit{"ms", 1}};
constexpr std::size_t unix_path_max = 107;  // unix(7)
constexpr std::array byte_units{Unit{"GiB", 1ULL << 30}, Unit{"MiB", 1ULL << 20},
                                Unit{"KiB", 1ULL << 10}, Unit{"B", 1}};

// A whole number and one of the units; 0 needs none.
template <std::size_t Count>
std::expected<std::uint64_t, std::string> parse_with_unit(std::string_view text,
                                                          const std::array<Unit, Count>& units,
                                                          std::string_view what,
                                                          std::string_view example) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  if (error == std::errc{} && unit.empty() && number == 0) return 0;
  if (error != std::errc::invalid_argument) {
    for (const Unit& known : units) {
      if (unit != known.name) continue;
      const std::uint64_t most = (1ULL << 62) / known.factor;
      if (error == std::errc{} && number <= most) return number * known.factor;
      return std::unexpected(
          fmt::format("\"{}\" is too large for {}: write {}", text, what, example));
    }
    if (unit.empty())
      return std::unexpected(fmt::format("\"{}\" has no unit: write {}", text, example));
  }
  return std::unexpected(fmt::format("\"{}\" is not {}: write {}", text, what, example));
}

template <std::size_t Count>
std::string print_with_unit(std::uint64_t value, const std::array<Unit, Count>& units) {
  for (const Unit& unit : units)
    if (value >= unit.factor && value % unit.factor == 0)
      return fmt::format("{}{}", value / unit.factor, unit.name);
  return fmt::format("{}{}", value, units.back().name);
}

// "%2F": an escape that is still there, in capitals, when a request's path was normalised.
bool is_normal_escape(std::string_view escape) {
  if (escape.size() < 3 || escape.substr(1, 2).find_first_not_of("0123456789ABCDEF") < 2)
    return false;
  unsigned value = 0;
  std::from_chars(escape.data() + 1, escape.data() + 3, value, 16);
  const bool is_unreserved = (value >= '0' && value <= '9') || (value >= 'a' && value <= 'z') ||
                             (value >= 'A' && value <= 'Z') || value == '-' || value == '.' ||
                             value == '_' || value == '~';
  return value != 0 && !is_unreserved;
}

}  // namespace

std::expected<milliseconds, std::string> parse_duration(std::string_view text) {
  const auto ms = parse_with_unit(text, duration_units, "a duration",
                                  "a whole number with ms, s, m or h, such as \"30s\"");
  if (!ms) return std::unexpected(ms.error());
  return milliseconds(*ms);
}

std::string print_duration(milliseconds duration) {
  return print_with_unit(static_cast<std::uint64_t>(duration.count()), duration_units);
}

namespace {

// As others write sizes: "10m", "10M", "10MB"; empty: it is none of these.
std::string size_meant(std::string_view text) {
  const std::string_view number = text.substr(0, text.find_first_not_of("0123456789"));
  std::string_view unit = text.substr(number.size());
  if (unit.size() == 2 && (unit[1] == 'b' || unit[1] == 'B')) unit.remove_suffix(1);
  if (number.empty() || number.size() > 9 || unit.size() != 1) return {};
  const std::size_t at = std::string_view("kmgKMG").find(unit[0]);
  if (at == std::string_view::npos) return {};
  return fmt::format("{}{}iB", number, "KMG"[at % 3]);
}

}  // namespace

std::expected<Bytes, std::string> parse_bytes(std::string_view text) {
  const std::string meant = size_meant(text);
  const auto count =
      parse_with_unit(text, byte_units, "a size",
                      fmt::format("a whole number with B, KiB, MiB or GiB, such as \"{}\"",
                                  meant.empty() ? "64KiB" : meant));
  if (!count) return std::unexpected(count.error());
  return Bytes{*count};
}

std::string print_bytes(Bytes bytes) { return print_with_unit(bytes.count, byte_units); }

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < ' ' || c == '\x7f')
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + '"';
}

std::string without_user(std::string_view url) {
  const std::size_t at = url.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  const std::size_t scheme = url.substr(0, at).find("://");
  const std::size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  return fmt::format("{}***{}", url.substr(0, begin), url.substr(at));
}

std::expected<Address, std::string> parse_address(std::string_view text) {
  const auto wrong = [whole = text](std::string_view why) {
    return std::unexpected(fmt::format(
        "\"{}\" {}: write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\"",
        whole, why));
  };
  const std::string_view whole = text;
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    if (!text.starts_with('/') || text.size() > unix_path_max)
      return std::unexpected(fmt::format(
          "\"{}\" is no Unix socket: write unix: and an absolute path of at most {} bytes", whole,
          unix_path_max));
    return Address{std::string(text), 0, std::string(whole), false, true};
  }
  if (text.contains('@'))
    return std::unexpected(
        fmt::format("\"{}\" has a user, which is not taken: write it without what stands up to "
                    "the '@'",
                    without_user(text)));
  if (text.starts_with("http+srv://") || text.starts_with("https+srv://")) {
    const bool is_tls = text.starts_with("https");
    text.remove_prefix(text.find("//") + 2);
    if (text.empty() || text.find_first_of(" \t/[]:*") != std::string_view::npos)
      return std::unexpected(fmt::format(
          "\"{}\" is no service: write http+srv:// and its name without a port, such as "
          "\"http+srv://_classify._tcp.example\"",
          whole));
    return Address{std::string(text), 0, std::string(whole), is_tls, false, true};
  }
  const bool is_tls = text.starts_with("https://");
  const bool is_http2 = text.starts_with("h2c://");
  if (is_tls || is_http2 || text.starts_with("http://")) text.remove_prefix(text.find("//") + 2);
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.ends_with(']')) return wrong("has no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view port_text = text.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc{} || end != port_text.data() + port_text.size() || port > 65535)
    return wrong("has no port from 0 to 65535");
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return wrong("has no IPv6 address in brackets");
  } else if (host.find(':') != std::string_view::npos) {
    return wrong("has an IPv6 address without brackets");
  }
  // No name in DNS has these: a variable that nobody replaced, two addresses in one.
  if (host.empty() || host.find_first_of(" \t/[]${}=,;<>()\"'\\?&#!|") != std::string_view::npos)
    return wrong("has no usable host");
  return Address{
      std::string(host), static_cast<std::uint16_t>(port), std::string(whole), is_tls, false, false,
      is_http2};
}

namespace {

// Of a regular expression: a backslash before d, w, s, b, a dot or a slash.
bool escapes_a_class(std::string_view text) {
  for (std::size_t at = 0; (at = text.find('\\', at)) != std::string_view::npos; ++at)
    if (std::string_view("dDwWsSbB./").contains(text.substr(at + 1, 1)) && at + 1 < text.size())
      return true;
  return false;
}

// As requests write it: what is no ASCII, or no character of a URI (RFC 3986), is escaped.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (static_cast<unsigned char>(c) > 0x7e || c <= ' ')
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    else
      out += c;
  return out;
}

}  // namespace

std::string print_number(double number) {
  constexpr double exact = 9007199254740992;  // 2^53
  if (std::abs(number) < exact && number == std::floor(number))
    return fmt::format("{:.0f}", number);
  return fmt::format("{:.10g}", number);
}

bool Address::is_name() const {
  if (is_unix || is_service) return is_service;
  return !IpAddress::parse(std::string_view(host).substr(0, host.find('%')));
}

std::string Address::bare_host() const {
  if (is_unix) return host;
  std::string bare = host.substr(0, host.find('%'));
  if (bare.ends_with('.')) bare.pop_back();
  while (is_service && bare.starts_with('_') && bare.contains('.'))
    bare.erase(0, bare.find('.') + 1);
  return bare;
}

std::expected<RouteSettings, std::string> parse_route_path(std::string_view text) {
  const auto wrong = [whole = text](std::string_view why) {
    return std::unexpected(fmt::format("route path \"{}\" {}", whole, why));
  };
  RouteSettings route;
  if (!text.starts_with('/')) return wrong("must begin with '/', such as \"/v1/classify\"");
  route.is_prefix = text.ends_with('*');
  if (route.is_prefix) text.remove_suffix(1);
  if (text.find('*') != std::string_view::npos)
    return wrong("may have a '*' only at its end, where it makes the path a prefix");
  if (text.find_first_of("?# \t") != std::string_view::npos)
    return wrong("must be a path alone, without query, fragment or spaces");
  if (text.find_first_of("{}<>") != std::string_view::npos)
    return wrong(
        fmt::format("has a placeholder, and there are none: write \"{}*\" for all that begin so",
                    text.substr(0, text.find_first_of("{}<>"))));
  if (text.find_first_of("^[]|`") != std::string_view::npos || escapes_a_class(text) ||
      text.ends_with('$') || text.contains(".+"))
    return wrong(
        "looks like a regular expression, and is compared as it stands: write a path, or its "
        "beginning with a '*' behind it");
  if (!std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; }))
    return wrong(fmt::format("has a character that requests escape: write \"{}{}\"", escaped(text),
                             route.is_prefix ? "*" : ""));
  if (text.find("//") != std::string_view::npos)
    return wrong("has a double slash: requests are compared after slashes were merged");
  if (text.find("/./") != std::string_view::npos || text.find("/../") != std::string_view::npos ||
      text.ends_with("/.") || text.ends_with("/.."))
    return wrong("has a dot segment: requests are compared after these were removed");
  for (std::size_t at = text.find('%'); at != std::string_view::npos; at = text.find('%', at + 1))
    if (!is_normal_escape(text.substr(at)))
      return wrong(
          "has an escape that requests do not have when they are compared: write the "
          "character itself, or an escape such as %2F with capital letters");
  route.path = text;
  return route;
}

}  // namespace classgate::conf
