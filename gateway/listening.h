#pragma once

#include <expected>
#include <string>
#include <utility>

#include "conf/settings.h"
#include "gateway/letter.h"
#include "proxy/net/listener.h"

namespace classgate::gateway {

// Which sockets a conf wants to be listened on, and what becomes of those that it does not want.

// The paths of Unix sockets that were opened go again unless they are kept.
struct OpenedSockets {
  OpenedSockets() = default;
  OpenedSockets(OpenedSockets&&) = default;
  ~OpenedSockets();
  Sockets keep() {
    fresh.clear();
    return std::move(sockets);
  }
  Sockets sockets;  // all that are wanted
  Sockets fresh;    // of these: opened for it
};
// What the settings want: sockets that are open already, or new ones; of `are_given` ones, which
// another program opened for us, these and no others. May wait. Any thread.
std::expected<OpenedSockets, std::string> open_sockets(const conf::Settings& settings,
                                                       const Sockets& open, bool are_given);
// Of a Unix socket.
void remove_path_of(const proxy::net::ListeningSocket& socket);
// A socket that the conf does not want any more; the loops close it. Its path goes, and the kernel
// sends it nobody else, unless one of those that are kept has its place or its port.
void close_to_newcomers(const proxy::net::ListeningSocket& socket, const Sockets& kept);

}  // namespace classgate::gateway
