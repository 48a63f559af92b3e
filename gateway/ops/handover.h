#pragma once

#include <signal.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/server.h"
#include "gateway/service_manager.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {

// Those that ask something of a process that serves: a reload, logs anew, an upgrade. They wait for
// one that has just been started, from its first moment on, and do not end it. Any thread.
sigset_t signals_that_ask();

// An upgrade without loss: the old process starts the new program on the same listening sockets,
// and the two share the workers until the old one has finished what it accepted, so that the
// upstream never sees more than admission.workers.
//
//   old: fork, exec                 -> new: opens everything, says "ready"
//   old: stops accepting, "keeps N" -> new: accepts, with the other workers
//        and what it has learnt
//   old: "keeps N" as it has fewer  -> new: has more
//   old: ends                       -> new: has all of them
// The sockets go by the protocol of socket activation (sd_listen_fds(3)), each under a name.
namespace socket_name {
inline constexpr const char* clients = "classgate-clients";
inline constexpr const char* operators = "classgate-operators";
// With the old process's name in Via behind it (gateway/shared.h): the new one goes by it, too.
inline constexpr std::string_view handover = "classgate-handover.";
// With these before its address: kept by the service manager over a crash.
inline constexpr std::string_view kept_clients = "classgate-clients.";
inline constexpr std::string_view kept_operators = "classgate-operators.";
// A name of a descriptor is visible ASCII without ':'; empty when it would be too long.
std::string kept(std::string_view prefix, const proxy::net::SocketAddress& address);
}  // namespace socket_name

// What this process was started with.
struct Inheritance {
  Inherited clients;                                   // sockets for clients
  std::vector<proxy::net::ListeningSocket> operators;  // and for operators
  proxy::net::Fd handover;                             // to the process we take over from
  std::set<std::string> kept;  // names under which the service manager may have some of them
};
// The error is one line for an operator. Takes the variables out of the environment.
std::expected<Inheritance, std::string> take_inheritance();

// After "ready" the new one says once more when the old one may let go of the sockets: it ends in
// order, or listens elsewhere. One that ends without that word has died, and the old one, as long
// as it drains, takes the sockets back and accepts again. One end of the connection between the
// two.
class HandoverChannel {
 public:
  explicit HandoverChannel(proxy::net::Fd fd) : fd_(std::move(fd)) {}
  const proxy::net::Fd& fd() const { return fd_; }
  // New to old: everything is open.
  void say_ready();
  // Old to new: so many workers are still ours; with it, if it is there, a descriptor from which
  // the new one reads what this one has learnt (ops/memo_text.h). One that does not ask for
  // descriptors never sees it (unix(7), SCM_RIGHTS).
  void say_keeps(std::uint32_t workers, const proxy::net::Fd& learnt = {});
  // Whether the new one has said so.
  bool read_ready();
  // New to old: the sockets are not needed any more.
  void say_let_go();
  // Whether the new one has said so by now.
  bool read_let_go();
  // Blocks for `timeout_ms` at most; nothing when the other one is late.
  std::optional<std::uint32_t> wait_keeps(int timeout_ms);
  // What has come by now: the last "keeps", 0 when the other one has gone; nothing when nothing.
  std::optional<std::uint32_t> read_keeps();
  bool has_ended() const { return ended_; }
  // The last that came with a "keeps"; none: nothing came.
  proxy::net::Fd take_learnt() { return std::move(learnt_); }

 private:
  proxy::net::Fd fd_;
  proxy::net::Fd learnt_;
  std::string partial_;
  bool ended_ = false;
};

// Memory that nobody changes any more, of a text (memfd_create(2)), and the text of such a one, up
// to so many bytes. The error is one line.
std::expected<proxy::net::Fd, std::string> sealed_text(std::string_view text);
std::expected<std::string, std::string> read_sealed_text(const proxy::net::Fd& fd,
                                                         std::size_t bytes_max);

// Starts `program` with these arguments, this environment and these sockets, as the one that goes
// by this name in Via. Returns its pid and our end of the channel.
struct Successor {
  int pid;
  proxy::net::Fd process;  // readable when it has ended (pidfd_open(2))
  HandoverChannel channel;
};
std::expected<Successor, std::string> start_successor(const std::string& program,
                                                      const std::vector<std::string>& arguments,
                                                      std::vector<PassedFd> sockets,
                                                      std::string_view via_name);

}  // namespace classgate::gateway
