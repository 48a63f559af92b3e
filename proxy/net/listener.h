#pragma once

#include <expected>
#include <functional>
#include <string>

#include "proxy/net/loop.h"
#include "proxy/net/socket_address.h"

namespace classgate::proxy::net {

// A bound, listening socket. The error is one line that names the address and the fix.
std::expected<Fd, std::string> listen_on(const conf::Address& address);
// The address it really listens on (port 0 has become the kernel's choice).
SocketAddress local_address(const Fd& socket);

// Accepts on one loop from a listening socket that all loops share: whichever loop is idle takes
// the connection. The socket must outlive it.
class Listener {
 public:
  using OnConnection = std::function<void(Fd, const SocketAddress&)>;
  // The process has no descriptor left although the caller keeps count; told with the errno.
  using OnTrouble = std::function<void(int error)>;

  Listener(Loop& loop, const Fd& socket, OnConnection on_connection, OnTrouble on_trouble);

  // Takes what is waiting in the backlog, without a limit: before the socket is closed.
  void accept_the_rest() { accept_some(1 << 20); }

 private:
  static void on_event(int, short, void* self) { static_cast<Listener*>(self)->accept_some(16); }
  void accept_some(int limit);
  void pause();
  static void on_pause_over(int, short, void* self);

  int socket_;
  OnConnection on_connection_;
  OnTrouble on_trouble_;
  Event event_;
  Event pause_;
};

}  // namespace classgate::proxy::net
