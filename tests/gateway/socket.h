#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/net/handles.h"

namespace classgate::gateway::test {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

// How long a test waits for what must happen before it gives up. Far beyond what is needed, because
// sanitizers and busy machines are slow; a test that passes never waits that long.
inline constexpr milliseconds patience = 15s;

// A blocking socket with a deadline on each read. Used by one thread; `stop_fd`, when it becomes
// readable, ends every wait.
class Socket {
 public:
  enum class Got : std::uint8_t { some, end, reset, late, stopped };

  explicit Socket(proxy::net::Fd fd, int stop_fd = -1) : fd_(std::move(fd)), stop_fd_(stop_fd) {}
  // `receive_buffer` bytes in the kernel (0: its default).
  static Socket connect(std::uint16_t port, int receive_buffer = 0);

  // False when the other side is gone or takes nothing for `patience`.
  bool send(std::string_view text);
  // What the kernel takes without waiting; 0 when it takes nothing now.
  std::size_t send_what_fits(std::string_view text);
  // The text and the end of the stream in one segment.
  void send_and_end(std::string_view text);
  // Appends what is there; waits for it.
  Got read(std::string& into, milliseconds wait = patience, std::size_t most = 64 * 1024);
  // Waits until something can be read (data or an end), without reading it.
  bool wait_readable(milliseconds wait = patience);
  bool wait_word();  // likewise; false when nothing but an end comes

  // Bytes that the other side's kernel has not taken yet.
  int unacknowledged() const;
  bool is_open() const { return static_cast<bool>(fd_); }
  void end_writing();
  void close() { fd_.reset(); }
  void reset();  // the other side sees a reset

 private:
  Got wait_for(short events, milliseconds wait) const;
  proxy::net::Fd fd_;
  int stop_fd_;
};

// A port of this machine, from the kernel, on which nobody listens as long as it is held.
class DeadPort {
 public:
  DeadPort();
  std::uint16_t port() const { return port_; }
  proxy::net::Fd listen();  // and is dead no more

 private:
  proxy::net::Fd fd_;
  std::uint16_t port_;
};

proxy::net::Fd listen_somewhere(std::uint16_t& port, int backlog = 512);

}  // namespace classgate::gateway::test
