#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "conf/network.h"

namespace classgate::proxy::wire {

// What a proxy that carries bytes, not requests, says of its client before the first of them: the
// PROXY protocol, versions 1 and 2 (haproxy.org, "The PROXY protocol", 2020).
struct ProxyHeader {
  std::size_t size = 0;                   // bytes of the header
  std::optional<conf::IpAddress> source;  // none: the proxy speaks for itself, or does not know
};

enum class ProxyHeaderProgress : std::uint8_t { need_more, done, malformed };

// Longer ones, for the sake of their extensions (TLV), are malformed.
inline constexpr std::size_t proxy_header_max = 4096;

// `bytes` begins with the connection's first. Any thread.
ProxyHeaderProgress read_proxy_header(std::string_view bytes, ProxyHeader& into);

}  // namespace classgate::proxy::wire
