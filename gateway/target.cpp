#include "gateway/target.h"

#include <algorithm>
#include <array>

#include "proxy/wire/fields.h"
#include "proxy/wire/path.h"

namespace classgate::gateway {
namespace {

// "http://host:port/path?query" -> authority and the rest (RFC 9112 section 3.2.2).
bool split_absolute(std::string_view target, std::string_view& authority, std::string_view& rest) {
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!proxy::wire::equal_names(scheme, "http") && !proxy::wire::equal_names(scheme, "https"))
    return false;
  target.remove_prefix(scheme_end + 3);
  const std::size_t path = target.find_first_of("/?");
  authority = target.substr(0, path);
  rest = path == std::string_view::npos ? std::string_view{} : target.substr(path);
  return !authority.empty() && !authority.starts_with(':');
}

// A set of characters: one look for each, instead of a search.
class CharSet {
 public:
  consteval explicit CharSet(std::string_view chars) {
    for (const char c : chars) members_[static_cast<unsigned char>(c)] = true;
  }
  bool has_all_of(std::string_view text) const {
    return std::ranges::all_of(text,
                               [this](char c) { return members_[static_cast<unsigned char>(c)]; });
  }

 private:
  std::array<bool, 256> members_{};
};

constexpr CharSet host_chars(  // of a reg-name or IPv4 address (RFC 3986 section 3.2.2)
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=");
constexpr CharSet literal_chars("0123456789abcdefABCDEF:.");
constexpr CharSet digits("0123456789");

// uri-host [ ":" port ] (RFC 9110 section 7.2); empty is allowed.
bool is_valid_host(std::string_view text) {
  std::size_t host_end = std::min(text.find(':'), text.size());
  if (text.starts_with('[')) {  // an IPv6 address
    host_end = text.find(']');
    if (host_end == std::string_view::npos || host_end < 3) return false;
    if (!literal_chars.has_all_of(text.substr(1, host_end - 1))) return false;
    ++host_end;
  } else if (!host_chars.has_all_of(text.substr(0, host_end))) {
    return false;
  }
  const std::string_view port = text.substr(host_end);
  return port.empty() || (host_end > 0 && port.front() == ':' && port.size() <= 6 &&
                          digits.has_all_of(port.substr(1)));
}

}  // namespace

bool read_target(const proxy::wire::Head& head, bool is_strict, Target& into) {
  std::string_view target = head.target;
  into.host = head.host;
  if (!is_valid_host(into.host)) return false;
  if (!is_strict && proxy::wire::is_normal_path(target)) {
    into.text = target;
    into.path_size = target.size();
    return true;
  }
  if (target == "*" && head.method == "OPTIONS") {
    into.text = target;
    into.path_size = 1;
    return true;
  }
  if (!target.starts_with('/')) {
    std::string_view authority;
    if (!split_absolute(head.target, authority, target)) return false;
    if (!is_valid_host(authority)) return false;
    into.host = authority;
  }
  if (target.contains('#')) return false;  // a fragment is never sent (RFC 9112 section 3.2)
  const std::size_t query_at = target.find('?');
  std::string_view path = target.substr(0, query_at);
  if (path.empty()) path = "/";
  if (is_strict && !proxy::wire::has_one_reading(path)) return false;
  if (proxy::wire::is_normal_path(path))
    into.text = path;
  else if (!proxy::wire::normalise_path(path, into.text))
    return false;
  into.path_size = into.text.size();
  if (query_at != std::string_view::npos) into.text += target.substr(query_at);
  return true;
}

}  // namespace classgate::gateway
