#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "proxy/net/loop.h"
#include "proxy/net/tls_session.h"

namespace classgate::proxy::net {

// One connected, non-blocking socket on a loop. Registered once, edge-triggered, for its whole
// life: no epoll_ctl after the first. The owner reads when on_readable() told it to, until read()
// says that nothing is left; what can't be written at once is kept and written when the socket
// allows. The owner watches pending() and stops producing when it grows (backpressure). With a TLS
// session what is read and written is the plain text, and the handshake comes first by itself.
class Stream final : private Deferred, private TlsSession::Transport {
 public:
  class Handler {
   public:
    // Something can be read, or the other side has closed or reset: read() tells which.
    virtual void on_readable() = 0;
    // Everything pending has been written, or (is_broken()) never will be.
    virtual void on_drained() = 0;
    // An exception came out of one of these, or out of the stream between them: whatever the stream
    // belongs to is in no known state and ends now, all of it.
    virtual void on_fault() = 0;
    // The handshake goes on: what the session holds has changed.
    virtual void on_shaking_hands() {}

   protected:
    ~Handler() = default;
  };

  enum class Read : std::uint8_t { some, nothing_now, end, broken };
  struct ReadResult {
    Read what;
    std::size_t size = 0;
  };

  Stream(Loop& loop, Fd fd, Handler& handler, std::unique_ptr<TlsSession> tls = nullptr);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Starts a connection. A Unix socket whose backlog is full is waited for (EAGAIN: there is no
  // place, and no event tells when there is one). The handler hears on_drained() when it stands or
  // has failed (is_broken()). Returns an errno value when it fails at once, else 0.
  int connect(const struct sockaddr* address, unsigned length);
  // Not yet, or no TLS yet: what is written is kept until then.
  bool is_connecting() const { return is_connecting_ || is_shaking_hands_; }
  // It came to stand: something may have reached the other side.
  bool has_stood() const { return has_stood_; }
  // Null without TLS.
  const TlsSession* tls() const { return tls_.get(); }

  ReadResult read(std::span<char> into);
  // As read(), but what it gives stays in the socket until skip(). Not with TLS. The next
  // on_readable() comes when there is more than this.
  ReadResult peek(std::span<char> into);
  void skip(std::size_t size);
  // What comes from now on is TLS; no byte of it may have been read.
  void start_tls(std::unique_ptr<TlsSession> tls);
  // Whether the other side is gone (closed or reset), without taking anything it has sent. Finds
  // out at the same time when there is nothing to be read.
  bool peer_is_gone();
  // Whether something lies in the socket to be read.
  bool has_input() const;
  // False once read() has taken all that is known to be there: the next on_readable() will come.
  bool may_read() const { return may_read_; }
  // For a reader in the middle of a message: a reset may stand behind the bytes that came with it,
  // and no event will tell, because libevent does not tell EPOLLERR from readiness.
  void look_again() {
    may_read_ = true;
    is_socket_empty_ = false;
  }
  // The other side will send no more (it may still read).
  bool peer_has_closed() const { return peer_has_closed_; }

  // Parts that are small together are put together first: send() costs the kernel less than
  // sendmsg(), by more than the copying of this many bytes.
  static constexpr std::size_t put_together_max = 4 * 1024;
  // Writes, or keeps what the socket does not take. Parts may be empty.
  void write(std::span<iovec> parts);
  void write(std::string_view text);
  std::size_t pending() const { return out_ ? out_->bytes.size() - out_->begin : 0; }
  // Bytes of memory, beside the stream itself.
  std::size_t held_bytes() const {
    return (out_ ? sizeof *out_ + out_->bytes.capacity() : 0) + (tls_ ? tls_->held_bytes() : 0);
  }
  // A write failed: the other side will never get the rest.
  bool is_broken() const { return broken_errno_ != 0; }
  int broken_errno() const { return broken_errno_; }
  // Why, for an operator; empty while it is not broken.
  std::string why_broken() const;

  // Calls on_readable() again in the next turn: for a reader that stopped before the end.
  void read_again_soon();
  void shutdown_write();
  // It is given up: nothing more is written or told, though it lives to the end of the turn. (Else
  // a connection that comes to stand in this very turn would still send what was kept for it.)
  void give_up();
  // Closing will reset the connection, so that what was sent can't be taken for all there is.
  void reset_on_close();
  // Takes the socket's pending error (0 if none).
  int take_socket_error();
  // What the other side's kernel has told of a TCP connection that was begun here (connect()), also
  // when that is over; nothing for other sockets. A system call or two.
  struct PeerFacts {
    std::uint64_t bytes_acknowledged = 0;  // of those written
    bool has_ended = false;                // its FIN has come
    bool is_over = false;                  // it was reset, or given up by our kernel
  };
  std::optional<PeerFacts> peer_facts() const;
  // What has not been written yet never will be.
  void drop_pending() { out_.reset(); }
  int fd() const { return fd_.get(); }
  std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  static void on_event(int, short what, void* self) {
    Stream& stream = *static_cast<Stream*>(self);
    stream.guard([&stream, what] { stream.on_ready(what); });
  }
  template <typename Deed>
  void guard(Deed&& deed) {
    loop_.guard(deed, [this] { handler_.on_fault(); });
  }
  void on_ready(short what);
  void on_next_turn() override;
  void finish_connecting();
  int try_connecting(const struct sockaddr* address, unsigned length);
  void connect_again();
  void shake_hands();
  void stand();
  void fail(int error);
  ssize_t send(std::span<iovec> parts, std::size_t size);
  void flush();
  void flush_encrypted();
  ReadResult read_decrypted(std::span<char> into);
  std::size_t write_encrypted(std::span<const iovec> parts, std::size_t size);
  ssize_t receive(std::span<char> into) override;
  ssize_t transmit(std::span<const char> bytes) override;
  void keep(std::span<const iovec> parts, std::size_t already_written);

  Loop& loop_;
  Handler& handler_;
  Fd fd_;
  int broken_errno_ = 0;
  std::unique_ptr<TlsSession> tls_;
  // What the socket has not taken yet. Most connections never have any.
  struct Pending {
    std::string bytes;
    std::size_t begin = 0;  // before it: written
  };
  std::unique_ptr<Pending> out_;
  struct Backlog;  // while it is waited for
  std::unique_ptr<Backlog> backlog_;
  // What follows begins where its last byte ends: there are ten thousand of these.
  [[no_unique_address]] EmbeddedEvent event_;
  bool is_connecting_ : 1 = false;
  bool is_shaking_hands_ : 1 = false;
  bool has_stood_ = false;
  bool is_socket_empty_ = false;  // with TLS: a read took all there was, no event has come since
  bool may_read_ = false;
  bool ends_with_reset_ = false;
  bool has_shut_down_ = false;
  bool peer_has_closed_ = false;
  std::uint64_t bytes_written_ = 0;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace classgate::proxy::net
