#include "conf/origins.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "conf/format.h"
#include "conf/network.h"
#include "conf/secret_fields.h"

namespace classgate::conf {
namespace {

// Of extensions and of pages inside programs; all others are "null" to a browser.
constexpr auto other_schemes = std::to_array<std::string_view>(
    {"app", "capacitor", "chrome-extension", "ionic", "moz-extension", "safari-web-extension",
     "tauri", "vscode-webview"});

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Empty: it is written as browsers do.
std::string why_no_ipv6(std::string_view inside) {
  const bool is_plain = inside.find_first_not_of("0123456789abcdef:.") == std::string_view::npos;
  const auto address = is_plain ? IpAddress::parse(inside) : std::nullopt;
  if (!address || address->is_unix()) return "has no host: an IPv6 address stands between [ and ]";
  if (address->is_v4() || address->text() == inside) return {};
  return fmt::format("is not what a browser writes: write [{}]", address->text());
}

std::string why_no_host(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']'))
    return why_no_ipv6(host.substr(1, host.size() - 2));
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string_view last;
  for (std::size_t begin = 0; begin <= host.size();) {
    const std::size_t end = std::min(host.find('.', begin), host.size());
    last = host.substr(begin, end - begin);
    if (last.empty() || last.size() > 63) return "has no host behind its \"://\"";
    begin = end + 1;
  }
  const bool is_name =
      host.size() <= 253 && std::ranges::all_of(host, [](char c) {
        return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_';
      });
  if (!is_name) return "has no host behind its \"://\"";
  // What ends with a number is an IPv4 address or nothing (URL standard, section 3.5).
  if (std::ranges::all_of(last, is_digit) && !IpAddress::parse(host))
    return "has no host: what ends with a number is an IPv4 address";
  return {};
}

std::string no_page() {
  std::string text = "is of no page: its scheme is http, https";
  for (const std::string_view scheme : other_schemes) text.append(", ").append(scheme);
  return text;
}

}  // namespace

std::string why_no_origin(std::string_view text) {
  const std::string none =
      "is no origin: write \"https://app.example\", in lower case and without a path, or \"*\"";
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos || colon + 3 == text.size()) return none;
  const std::string_view scheme = text.substr(0, colon);
  std::string_view host = text.substr(colon + 3);
  const bool has_unfit = !std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || is_digit(c) || std::string_view("-._:[]/").contains(c);
  });
  if (has_unfit || host.contains('/')) return none;
  const bool is_web = scheme == "http" || scheme == "https";
  if (!is_web && std::ranges::find(other_schemes, scheme) == other_schemes.end()) return no_page();
  const std::size_t end = host.starts_with('[') ? host.find(']') : 0;
  const std::size_t before_port =
      end == std::string_view::npos ? std::string_view::npos : host.find(':', end);
  std::optional<std::string_view> port;
  if (before_port != std::string_view::npos) {
    port = host.substr(before_port + 1);
    host = host.substr(0, before_port);
  }
  if (std::string why = why_no_host(host); !why.empty()) return why;
  if (!port) return {};
  unsigned number = 0;
  const auto [stop, error] = std::from_chars(port->data(), port->data() + port->size(), number);
  if (port->empty() || !std::ranges::all_of(*port, is_digit) || error != std::errc{} ||
      number == 0 || number > 65535 || port->starts_with('0'))
    return fmt::format("has a port \"{}\": 1 to 65535 is one", *port);
  if ((scheme == "https" && number == 443) || (scheme == "http" && number == 80))
    return fmt::format("is not what a browser writes, as that is the usual port: write \"{}://{}\"",
                       scheme, host);
  return {};
}

std::string why_no_page_method(std::string_view method) {
  constexpr auto known = std::to_array<std::string_view>(
      {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY"});
  constexpr auto barred = std::to_array<std::string_view>({"CONNECT", "TRACE", "TRACK"});
  if (!is_field_name(method)) return "is no token";
  std::string high(method);
  for (char& c : high) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  if (std::ranges::find(barred, high) != barred.end())
    return "is a method with which browsers let no page ask";
  if (high != method && std::ranges::find(known, high) != known.end())
    return fmt::format("is no method, as upper and lower case differ: write \"{}\"", high);
  return {};
}

}  // namespace classgate::conf
