#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace classgate::proxy::net {

// What an SRV record says.
struct Target {
  std::string host;
  std::uint16_t port = 0;
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
};

// What a service is told to consist of.
struct Targets {
  std::vector<Target> targets;
  std::chrono::seconds time_to_live{std::numeric_limits<int>::max()};
  bool is_denied = false;  // the service is decidedly not there: its target is "."
};

// The SRV records (RFC 2782) of a DNS message (RFC 1035 section 4.1), in its order; those without a
// port are left out. The error is one line for an operator.
std::expected<Targets, std::string> read_targets(std::span<const unsigned char> message);

}  // namespace classgate::proxy::net
