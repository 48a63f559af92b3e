#include "gateway/trusted_proxies.h"

#include <algorithm>
#include <optional>
#include <ranges>

#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using conf::IpAddress;
using proxy::wire::Field;
using proxy::wire::FieldId;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// "192.0.2.1", "2001:db8::1", either with a port: "192.0.2.1:80", "[2001:db8::1]:80". Nobody is
// said to be "::" or "unix:".
std::optional<IpAddress> read_node(std::string_view text) {
  const auto parse = [](std::string_view address) {
    const auto read = IpAddress::parse(address);
    return read && !read->is_unix() ? read : std::nullopt;
  };
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    return end == std::string_view::npos ? std::nullopt : parse(text.substr(1, end - 1));
  }
  if (std::ranges::count(text, ':') == 1) text = text.substr(0, text.find(':'));
  return parse(text);
}

// What "for=" says in one element of Forwarded: "for=192.0.2.1;proto=http" (RFC 7239 section 4).
std::string_view node_in(std::string_view element) {
  while (!element.empty()) {
    const std::size_t end = element.find(';');  // in no node's quotes
    const std::string_view pair = trimmed(element.substr(0, end));
    element = end == std::string_view::npos ? std::string_view{} : element.substr(end + 1);
    if (pair.size() < 4 || !proxy::wire::equal_names(pair.substr(0, 4), "for=")) continue;
    std::string_view node = pair.substr(4);
    if (node.size() >= 2 && node.front() == '"' && node.back() == '"')
      node = node.substr(1, node.size() - 2);
    return node;
  }
  return {};
}

// Takes the last element off a comma-separated list.
std::string_view take_last(std::string_view& list) {
  const std::size_t comma = list.rfind(',');
  const std::string_view last = comma == std::string_view::npos ? list : list.substr(comma + 1);
  list = comma == std::string_view::npos ? std::string_view{} : list.substr(0, comma);
  return trimmed(last);
}

}  // namespace

TrustedProxies::TrustedProxies(const std::vector<conf::Network>& networks) : networks_(networks) {
  std::ranges::sort(networks_, std::ranges::greater(), &conf::Network::prefix);
}

bool TrustedProxies::include(const IpAddress& address) const {
  for (const conf::Network& network : networks_)
    if (network.contains(address)) return !network.is_excluded;
  return false;
}

IpAddress TrustedProxies::real_client(const proxy::wire::Head& request, IpAddress sender) const {
  const bool has_x = std::ranges::find(request.fields, FieldId::x_forwarded_for, &Field::id) !=
                     request.fields.end();
  const FieldId wanted = has_x ? FieldId::x_forwarded_for : FieldId::forwarded;
  for (const Field& field : request.fields | std::views::reverse) {
    if (field.id != wanted) continue;
    std::string_view list = field.value;
    while (!list.empty()) {
      const std::string_view element = take_last(list);
      if (element.empty()) continue;
      const auto named = read_node(has_x ? element : node_in(element));
      if (!named) return sender;
      sender = *named;
      if (!include(sender)) return sender;
    }
  }
  return sender;
}

}  // namespace classgate::gateway
