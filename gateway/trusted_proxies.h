#pragma once

#include <string_view>
#include <vector>

#include "conf/network.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// Whose word about the client is believed (client.trusted_proxies). Immutable; any thread.
class TrustedProxies {
 public:
  explicit TrustedProxies(const std::vector<conf::Network>& networks);

  // The longest prefix that contains the address decides.
  bool include(const conf::IpAddress& address) const;

  // Who really asked, when `sender` is one of ours: the last address in X-Forwarded-For (or, where
  // there is none, in Forwarded, RFC 7239) that is not one of ours. What stands before it is
  // hearsay, and an entry that is no address ends the search. `sender` when nobody is named.
  conf::IpAddress real_client(const proxy::wire::Head& request, conf::IpAddress sender) const;

 private:
  std::vector<conf::Network> networks_;  // the longest prefix first
};

}  // namespace classgate::gateway
