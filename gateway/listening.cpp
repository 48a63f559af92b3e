#include "gateway/listening.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "proxy/net/listen_beside.h"

namespace classgate::gateway {
namespace {

using SocketPointer = std::shared_ptr<const proxy::net::ListeningSocket>;

// A socket that is open already and is what the conf wants. Port 0 is any port: the one it got.
SocketPointer find_open(const Sockets& open, const conf::Address& wanted, const Sockets& taken) {
  using Socket = proxy::net::ListeningSocket;
  const auto is_taken = [&](const Socket& socket) {  // maybe under another descriptor (as_wanted)
    return std::ranges::any_of(taken, [&](const SocketPointer& other) {
      return other->local == socket.local && other->takes_both == socket.takes_both;
    });
  };
  const auto find = [&](auto is_it) -> SocketPointer {
    for (const SocketPointer& socket : open)
      if (!is_taken(*socket) && is_it(*socket)) return socket;
    return nullptr;
  };
  if (auto same = find([&](const Socket& s) { return s.wanted.text == wanted.text; })) return same;
  const auto resolved = proxy::net::resolve(wanted, true);
  if (!resolved) return nullptr;
  const bool takes_both = wanted.host == "*" && resolved->storage.ss_family == AF_INET6;
  const auto is_same = [&](const Socket& s) {
    return s.local == *resolved && s.takes_both == takes_both;
  };
  if (auto same = find(is_same)) return same;
  if (wanted.port != 0 || wanted.is_unix) return nullptr;
  return find([&](const Socket& s) {
    return s.local.host() == resolved->host() && s.takes_both == takes_both;
  });
}

// The same socket, with TLS or without: what has been told otherwise so far gets another
// descriptor.
SocketPointer as_wanted(const SocketPointer& socket, const conf::Address& wanted) {
  if (socket->wanted.is_tls == wanted.is_tls && socket->wanted.text == wanted.text) return socket;
  return std::make_shared<const proxy::net::ListeningSocket>(
      proxy::net::Fd(::fcntl(socket->fd.get(), F_DUPFD_CLOEXEC, 0)), socket->local, wanted,
      socket->takes_both);
}

// A socket that was given to us speaks TLS when the conf has an https:// address with its port.
bool asks_for_tls(const conf::Settings& settings, const proxy::net::ListeningSocket& socket) {
  return std::ranges::any_of(settings.listen, [&](const conf::Address& address) {
    return address.is_tls && address.port == socket.local.port();
  });
}

}  // namespace

std::expected<OpenedSockets, std::string> open_sockets(const conf::Settings& settings,
                                                       const Sockets& open, bool are_given) {
  OpenedSockets opened;
  Sockets& wanted = opened.sockets;
  if (are_given) {
    for (const SocketPointer& socket : open) {
      conf::Address same = socket->wanted;
      same.is_tls = asks_for_tls(settings, *socket);
      wanted.push_back(as_wanted(socket, same));
    }
    return opened;
  }
  for (const conf::Address& address : settings.listen) {
    if (auto known = find_open(open, address, wanted)) {
      wanted.push_back(as_wanted(known, address));
      continue;
    }
    auto socket =
        proxy::net::listen_beside(address, {settings.socket_mode, settings.socket_owner}, open);
    if (!socket) return std::unexpected(socket.error());
    wanted.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*socket)));
    opened.fresh.push_back(wanted.back());
  }
  return opened;
}

OpenedSockets::~OpenedSockets() {
  for (const auto& socket : fresh) remove_path_of(*socket);
}

void remove_path_of(const proxy::net::ListeningSocket& socket) {
  if (socket.local.storage.ss_family == AF_UNIX) ::unlink(socket.local.text().c_str());
}

void close_to_newcomers(const proxy::net::ListeningSocket& socket, const Sockets& kept) {
  const auto has_its_place = [&](const SocketPointer& other) {
    return other->local == socket.local && other->takes_both == socket.takes_both;
  };
  if (std::ranges::any_of(kept, has_its_place)) return;
  remove_path_of(socket);
  const bool is_unix = socket.local.storage.ss_family == AF_UNIX;
  const auto has_its_port = [&](const SocketPointer& other) {
    return !is_unix && other->local.storage.ss_family != AF_UNIX &&
           other->local.port() == socket.local.port();
  };
  if (std::ranges::any_of(kept, has_its_port)) proxy::net::stop_arrivals(socket);
}

}  // namespace classgate::gateway
