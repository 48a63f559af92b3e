#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "conf/network.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// How many connections each client address has, over all loops; an IPv6 client is its /64, which is
// what one is given (RFC 6177). Holds an entry for each address that has a connection, so it is
// bounded by their number. Any thread; the lock is taken for a connection, never for a request.
class ClientCounts {
 public:
  explicit ClientCounts(const HashKey& key) : counts_(0, Hash{key}) {}
  // False when the address has `most` already.
  bool enter(const conf::IpAddress& address, std::uint32_t most);
  void leave(const conf::IpAddress& address);

 private:
  struct Hash {  // keyed: nobody can choose addresses that fall together
    HashKey key;
    std::size_t operator()(const conf::IpAddress& address) const;
  };
  std::mutex mutex_;
  std::unordered_map<conf::IpAddress, std::uint32_t, Hash> counts_;
};

}  // namespace classgate::gateway
