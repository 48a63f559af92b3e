#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "conf/network.h"

namespace classgate::gateway {

// How many connections each client address has, over all loops; an IPv6 client is its /64, which is
// what one is given (RFC 6177). Holds an entry for each address that has a connection, so it is
// bounded by their number. Any thread; the lock is taken for a connection, never for a request.
class ClientCounts {
 public:
  // False when the address has `most` already.
  bool enter(const conf::IpAddress& address, std::uint32_t most);
  void leave(const conf::IpAddress& address);

 private:
  struct Hash {
    std::size_t operator()(const conf::IpAddress& address) const;
  };
  std::mutex mutex_;
  std::unordered_map<conf::IpAddress, std::uint32_t, Hash> counts_;
};

}  // namespace classgate::gateway
