#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "gateway/ops/conf_changes.h"

namespace classgate::gateway {

std::expected<OperatorServer::Sockets, std::string> open_operator_sockets(
    const conf::OpsSettings& settings, const OperatorServer::Sockets& open,
    std::vector<proxy::net::ListeningSocket>& inherited_ones) {
  OperatorServer::Sockets sockets;
  for (const conf::Address& address : settings.listen) {
    const auto known = std::ranges::find_if(
        open, [&](const auto& socket) { return socket->wanted.text == address.text; });
    if (known != open.end()) {
      sockets.push_back(*known);
      continue;
    }
    const auto resolved = proxy::net::resolve(address, true);
    // The same place, with TLS or without it from now on: another descriptor of the same socket.
    const auto same = std::ranges::find_if(open, [&](const auto& socket) {
      return resolved && address.port != 0 && socket->local == *resolved;
    });
    if (same != open.end()) {
      sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(
          proxy::net::Fd(::fcntl((*same)->fd.get(), F_DUPFD_CLOEXEC, 0)), (*same)->local, address,
          (*same)->takes_both));
      continue;
    }
    const auto inherited = std::ranges::find_if(inherited_ones, [&](const auto& socket) {
      return resolved && (socket.local == *resolved ||
                          (address.port == 0 && socket.local.host() == resolved->host()));
    });
    if (inherited != inherited_ones.end()) {
      inherited->wanted = address;
      sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*inherited)));
      inherited_ones.erase(inherited);
      continue;
    }
    auto opened = proxy::net::listen_on(address);
    if (!opened) return std::unexpected(opened.error());
    sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*opened)));
  }
  return sockets;
}

}  // namespace classgate::gateway
