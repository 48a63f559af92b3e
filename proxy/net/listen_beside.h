#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "proxy/net/listener.h"

namespace classgate::proxy::net {

// As listen_on(), where sockets of our `own` have some of the same addresses: "*:80" beside
// "0.0.0.0:80", which it replaces. Both are listened on until the former one is closed. Nobody
// else's socket is shared. Not on a loop; one call at a time.
std::expected<ListeningSocket, std::string> listen_beside(
    const conf::Address& address, const UnixAccess& access,
    const std::vector<std::shared_ptr<const ListeningSocket>>& own);

// Before a socket is closed whose address another one of ours has, too: who knocks from now on is
// not heard (the kernel knocks again, after a second) rather than accepted and reset. Those in the
// backlog stay.
void stop_arrivals(const ListeningSocket& socket);

}  // namespace classgate::proxy::net
