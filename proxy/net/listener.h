#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/loop.h"
#include "proxy/net/socket_address.h"
#include "proxy/net/timer.h"

namespace classgate::proxy::net {

// A socket that is listened on, by all loops. Closed when the last of them lets go.
struct ListeningSocket {
  Fd fd;
  SocketAddress local;      // what it really listens on: port 0 has become the kernel's choice
  conf::Address wanted;     // as the conf says it; empty when it was given to us
  bool takes_both = false;  // IPv4, too, on an IPv6 address ("*")
  // "127.0.0.1:80", "*:80", "unix:/path".
  std::string text() const;
};

// Who may connect to a Unix socket (unix(7): whoever may write to it).
struct UnixAccess {
  std::uint32_t mode = 0660;
  std::string owner;  // "USER", "USER:GROUP" or ":GROUP"; empty: as the process
};

// Binds and listens. "*" is every address, of IPv6 and IPv4 (RFC 3493 section 3.7), or of IPv4
// where there is no IPv6; "[::]" is those of IPv6 alone, so that it goes together with "0.0.0.0".
// The error is one line that names the address and the fix.
std::expected<ListeningSocket, std::string> listen_on(const conf::Address& address,
                                                      const UnixAccess& access = {});
// A Unix socket. One that a dead process left behind is replaced; one that somebody answers on, or
// what is no socket, is an error, which names the key.
std::expected<ListeningSocket, std::string> listen_on_path(const std::string& path,
                                                           const UnixAccess& access = {},
                                                           std::string_view key = "ops.control");
// A listening socket that another process opened for us (sd_listen_fds(3)); the error says what is
// wrong with it.
std::expected<ListeningSocket, std::string> adopt(int fd);

// Accepts on one loop from a listening socket that all loops share: whichever loop is idle takes
// the connection.
class Listener {
 public:
  using OnConnection = std::function<void(Fd, const SocketAddress&)>;
  // The process has no descriptor left although the caller keeps count; told with the errno.
  using OnTrouble = std::function<void(int error)>;

  Listener(Loop& loop, std::shared_ptr<const ListeningSocket> socket, OnConnection on_connection,
           OnTrouble on_trouble);

  const std::shared_ptr<const ListeningSocket>& socket() const { return socket_; }

  // Takes what is waiting in the backlog, without a limit: before the socket is closed.
  void accept_the_rest() {
    loop_.assert_on_thread();
    accept_some(1 << 20);
  }

 private:
  static void on_event(int, short, void* self) { static_cast<Listener*>(self)->accept_some(16); }
  void accept_some(int limit);
  void pause();
  void listen_again();

  Loop& loop_;
  std::shared_ptr<const ListeningSocket> socket_;
  OnConnection on_connection_;
  OnTrouble on_trouble_;
  Event event_;
  Timer pause_;
};

}  // namespace classgate::proxy::net
