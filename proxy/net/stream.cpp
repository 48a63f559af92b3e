#include "proxy/net/stream.h"

#include <netinet/in.h>
// Not netinet/tcp.h, whose tcp_info ends before the byte counts; nowhere in proxy/, since a file
// that sees both does not compile.
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "conf/invariant.h"
#include "proxy/net/socket_calls.h"
#include "proxy/net/timer.h"

namespace classgate::proxy::net {
namespace {

std::size_t size_of(std::span<const iovec> parts) {
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  return size;
}

static_assert(Stream::put_together_max <= Loop::record_size);

std::size_t put_together(std::span<const iovec> parts, std::span<char> whole) {
  std::size_t size = 0;
  for (const iovec& part : parts) {
    if (part.iov_len == 0) continue;
    std::memcpy(whole.data() + size, part.iov_base, part.iov_len);
    size += part.iov_len;
  }
  return size;
}

// An answer to a broken connection must be an error code, not a signal.
ssize_t send_bytes(int fd, std::span<const char> bytes) {
  ssize_t sent;
  do sent = ::classgate_send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t send_parts(int fd, std::span<iovec> parts) {
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = std::min<std::size_t>(parts.size(), IOV_MAX);
  ssize_t sent;
  do sent = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent;
}

constexpr std::chrono::milliseconds backlog_pause{10};

}  // namespace

struct Stream::Backlog {
  sockaddr_storage address{};
  unsigned length = 0;
  bool is_full = true;
  Timer timer;
};

Stream::Stream(Loop& loop, Fd fd, Handler& handler, std::unique_ptr<TlsSession> tls)
    : loop_(loop), handler_(handler), fd_(std::move(fd)), tls_(std::move(tls)) {
  constexpr short interest = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
  if (!event_.watch(loop.base(), fd_.get(), interest, on_event, this))
    throw std::runtime_error("libevent: cannot watch a socket");
  has_stood_ = tls_ == nullptr;  // unless connect() is called
  if (!tls_) return;
  tls_->attach(*this);
  is_shaking_hands_ = true;
}

Stream::~Stream() {
  loop_.forget_deferred(*this);
  if (tls_ && !ends_with_reset_ && !is_broken() && pending() == 0) tls_->say_end();
}

int Stream::connect(const sockaddr* address, unsigned length) {
  loop_.assert_on_thread();
  is_connecting_ = true;
  has_stood_ = false;
  const int error = try_connecting(address, length);
  if (error != EAGAIN || address->sa_family != AF_UNIX) return error;
  backlog_ = std::unique_ptr<Backlog>(
      new Backlog{.length = length, .timer = Timer(loop_, [this] { connect_again(); })});
  std::memcpy(&backlog_->address, address, length);
  backlog_->timer.start(backlog_pause);
  return 0;
}

int Stream::try_connecting(const sockaddr* address, unsigned length) {
  return ::connect(fd_.get(), address, length) == 0 || errno == EINPROGRESS ? 0 : errno;
}

void Stream::connect_again() {
  guard([this] {
    const int error =
        try_connecting(reinterpret_cast<const sockaddr*>(&backlog_->address), backlog_->length);
    if (error == EAGAIN) return backlog_->timer.start(backlog_pause);
    backlog_->is_full = false;
    if (error == 0) return on_ready(EV_WRITE);
    is_connecting_ = false;
    fail(error);
  });
}

void Stream::on_ready(short what) {
  if (backlog_ && backlog_->is_full) return;  // a socket that is not connected is "ready", too
  is_socket_empty_ = false;
  if ((what & EV_CLOSED) != 0) peer_has_closed_ = true;
  if (is_connecting_) finish_connecting();
  if (is_connecting_) return;
  if (is_shaking_hands_) {
    if (!is_broken()) shake_hands();
    return;
  }
  if ((what & EV_WRITE) != 0 && pending() > 0) {
    flush();
    if (pending() == 0 || is_broken()) handler_.on_drained();
  }
  // The handler may have retired the owner, never destroyed it: a turn keeps everything alive.
  if (is_broken() && !has_stood_) return;  // and was told so
  if ((what & (EV_READ | EV_CLOSED)) != 0) {
    may_read_ = true;
    handler_.on_readable();
  }
}

void Stream::finish_connecting() {
  const int error = take_socket_error();
  if (error == EINPROGRESS) return;
  is_connecting_ = false;
  if (error != 0) return fail(error);
  if (!tls_) stand();
}

void Stream::fail(int error) {
  is_shaking_hands_ = false;
  broken_errno_ = error;
  out_.reset();
  handler_.on_drained();
}

void Stream::stand() {
  has_stood_ = true;
  flush();
  handler_.on_drained();
}

void Stream::shake_hands() {
  TlsSession::Result result = tls_->shake_hands();
  // The bytes that the session has just read may have come together with a reset, and no event
  // would tell of that (see look_again()): the socket is asked once more.
  if (result == TlsSession::Result::not_now && std::exchange(is_socket_empty_, false))
    result = tls_->shake_hands();
  switch (result) {
    case TlsSession::Result::not_now: return handler_.on_shaking_hands();
    case TlsSession::Result::done: break;
    default: return fail(EPROTO);
  }
  is_shaking_hands_ = false;
  stand();
  // The same read that ended the handshake may have brought the other side's first words.
  if (is_broken()) return;
  may_read_ = true;
  handler_.on_readable();
}

Stream::ReadResult Stream::read(std::span<char> into) {
  loop_.assert_on_thread();
  if (tls_) return read_decrypted(into);
  const ssize_t size = receive(into);
  if (size > 0) {
    const auto count = static_cast<std::size_t>(size);
    // A short read has emptied the socket. It need not be read again, unless the other side has
    // closed: then the end is still to be read.
    if (count < into.size() && !peer_has_closed_) may_read_ = false;
    return {Read::some, count};
  }
  may_read_ = false;
  if (size == 0) return {Read::end};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {Read::nothing_now};
  broken_errno_ = errno;
  return {Read::broken};
}

Stream::ReadResult Stream::peek(std::span<char> into) {
  loop_.assert_on_thread();
  CLASSGATE_INVARIANT(!tls_);
  ssize_t size;
  do size = ::recv(fd_.get(), into.data(), into.size(), MSG_PEEK);
  while (size < 0 && errno == EINTR);
  if (size > 0) return {Read::some, static_cast<std::size_t>(size)};
  may_read_ = false;
  if (size == 0) return {Read::end};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {Read::nothing_now};
  broken_errno_ = errno;
  return {Read::broken};
}

void Stream::skip(std::size_t size) {
  std::array<char, 256> unused;
  while (size > 0) {
    const ReadResult result = read(std::span(unused).first(std::min(size, unused.size())));
    CLASSGATE_INVARIANT(result.what == Read::some);  // it has been seen by peek()
    size -= result.size;
  }
  look_again();
}

void Stream::start_tls(std::unique_ptr<TlsSession> tls) {
  CLASSGATE_INVARIANT(!tls_);
  tls_ = std::move(tls);
  tls_->attach(*this);
  is_shaking_hands_ = true;
  has_stood_ = false;
  read_again_soon();  // the first of it may be here
}

Stream::ReadResult Stream::read_decrypted(std::span<char> into) {
  if (is_broken() && !has_stood_) return {Read::broken};
  if (is_shaking_hands_) return {Read::nothing_now};
  std::size_t size = 0;
  TlsSession::Result result = tls_->read(into, size);
  // In the middle of a record: as in shake_hands().
  if (result == TlsSession::Result::not_now && std::exchange(is_socket_empty_, false))
    result = tls_->read(into, size);
  switch (result) {
    case TlsSession::Result::done:
      if (!tls_->holds_input() && is_socket_empty_ && !peer_has_closed_) may_read_ = false;
      return {Read::some, size};
    case TlsSession::Result::not_now: may_read_ = false; return {Read::nothing_now};
    case TlsSession::Result::end: may_read_ = false; return {Read::end};
    case TlsSession::Result::failed: break;
  }
  // An end that the other side did not announce may be an attacker's (RFC 8446 section 6.1).
  may_read_ = false;
  broken_errno_ = ECONNRESET;
  return {Read::broken};
}

ssize_t Stream::receive(std::span<char> into) {
  if (is_socket_empty_) {
    errno = EAGAIN;
    return -1;
  }
  ssize_t size;
  do size = ::classgate_recv(fd_.get(), into.data(), into.size(), 0);
  while (size < 0 && errno == EINTR);
  if (size > 0) bytes_read_ += static_cast<std::size_t>(size);
  // OpenSSL asks again until there is nothing. After a short read there is nothing: with this note
  // that costs no system call.
  if (tls_ && size > 0 && static_cast<std::size_t>(size) < into.size() && !peer_has_closed_)
    is_socket_empty_ = true;
  return size;
}

ssize_t Stream::transmit(std::span<const char> bytes) {
  const ssize_t sent = send_bytes(fd_.get(), bytes);
  if (sent > 0) bytes_written_ += static_cast<std::size_t>(sent);
  return sent;
}

std::string Stream::why_broken() const {
  if (!is_broken()) return {};
  if (tls_ && !tls_->why().empty()) return "TLS: " + tls_->why();
  return std::generic_category().message(broken_errno_);
}

bool Stream::peer_is_gone() {
  if (peer_has_closed_ || is_broken()) return true;
  // Not by reading: what it sent before it left may still be there.
  pollfd socket{fd_.get(), POLLIN | POLLRDHUP, 0};
  const bool is_ready = ::poll(&socket, 1, 0) > 0;
  if (!is_ready && !tls_) may_read_ = false;
  return is_ready && (socket.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Stream::give_up() {
  loop_.assert_on_thread();
  if (backlog_) backlog_->timer.stop();
  event_.remove();
  loop_.forget_deferred(*this);
  out_.reset();
}

bool Stream::has_input() const {
  char byte;
  return ::recv(fd_.get(), &byte, 1, MSG_PEEK) > 0;
}

void Stream::write(std::string_view text) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  write(std::span(&part, 1));
}

void Stream::write(std::span<iovec> parts) {
  loop_.assert_on_thread();
  if (is_broken()) return;
  if (is_connecting() || pending() > 0) return keep(parts, 0);
  const std::size_t size = size_of(parts);
  if (size == 0) return;
  if (tls_) {
    const std::size_t sent = write_encrypted(parts, size);
    if (sent < size && !is_broken()) keep(parts, sent);
    return;
  }
  const ssize_t sent = send(parts, size);
  if (sent < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return keep(parts, 0);
    broken_errno_ = errno;
    return;
  }
  bytes_written_ += static_cast<std::size_t>(sent);
  if (static_cast<std::size_t>(sent) == size) return;
  // Short, perhaps only because there were more parts than one call takes: no event would come for
  // a socket that is not full, so it is asked until it is.
  keep(parts, static_cast<std::size_t>(sent));
  flush();
}

ssize_t Stream::send(std::span<iovec> parts, std::size_t size) {
  if (parts.size() == 1)
    return send_bytes(fd_.get(), {static_cast<const char*>(parts[0].iov_base), size});
  if (size > put_together_max) return send_parts(fd_.get(), parts);
  const std::span<char> whole = loop_.record_scratch();
  return send_bytes(fd_.get(), whole.first(put_together(parts, whole)));
}

// Records are made of up to 16 KiB of one piece: parts are put together first. Says how much went.
std::size_t Stream::write_encrypted(std::span<const iovec> parts, std::size_t size) {
  const std::span<char> whole = loop_.record_scratch();
  std::size_t done = 0;
  while (done < size) {
    std::size_t filled = 0, skip = done;
    for (const iovec& part : parts) {
      const std::size_t skipped = std::min(skip, part.iov_len);
      skip -= skipped;
      const std::size_t taken = std::min(part.iov_len - skipped, whole.size() - filled);
      if (taken == 0) continue;
      std::memcpy(whole.data() + filled, static_cast<const char*>(part.iov_base) + skipped, taken);
      filled += taken;
    }
    std::size_t sent = 0;
    const TlsSession::Result result = tls_->write({whole.data(), filled}, sent);
    if (result == TlsSession::Result::failed) broken_errno_ = errno != 0 ? errno : EPROTO;
    if (result != TlsSession::Result::done) break;
    done += sent;
  }
  return done;
}

void Stream::keep(std::span<const iovec> parts, std::size_t skip) {
  if (!out_) out_ = std::make_unique<Pending>();
  if (out_->begin > 0 && out_->begin >= out_->bytes.size() / 2) {
    out_->bytes.erase(0, out_->begin);
    out_->begin = 0;
  }
  for (const iovec& part : parts) {
    const std::size_t skipped = std::min(skip, part.iov_len);
    skip -= skipped;
    out_->bytes.append(static_cast<const char*>(part.iov_base) + skipped, part.iov_len - skipped);
  }
}

void Stream::flush() {
  if (tls_) return flush_encrypted();
  while (pending() > 0) {
    const ssize_t sent = send_bytes(fd_.get(), std::span(out_->bytes).subspan(out_->begin));
    if (sent < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      broken_errno_ = errno;
      break;
    }
    out_->begin += static_cast<std::size_t>(sent);
    bytes_written_ += static_cast<std::size_t>(sent);
  }
  out_.reset();  // a drained connection holds no buffer
}

void Stream::flush_encrypted() {
  if (!out_) return;
  const iovec rest{out_->bytes.data() + out_->begin, pending()};
  out_->begin += write_encrypted(std::span(&rest, 1), rest.iov_len);
  if (pending() == 0 || is_broken()) out_.reset();
}

void Stream::read_again_soon() { loop_.call_next_turn(*this); }

void Stream::on_next_turn() {
  look_again();
  guard([this] {
    if (is_shaking_hands_ && !is_connecting_) return shake_hands();
    handler_.on_readable();
  });
}

// Once only: on a connection that is over each shutdown(2) makes another event, which is told as
// readable, so that a reader who shuts down when it reads the end would never come to rest.
void Stream::shutdown_write() {
  loop_.assert_on_thread();
  if (std::exchange(has_shut_down_, true)) return;
  if (tls_) tls_->say_end();
  ::shutdown(fd_.get(), SHUT_WR);
}

void Stream::reset_on_close() {
  ends_with_reset_ = true;
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

int Stream::take_socket_error() {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

// RFC 4898: a SYN that was acknowledged and a FIN that was received count as one byte. Of what was
// received SIOCINQ tells what is still unread, without the FIN.
std::optional<Stream::PeerFacts> Stream::peer_facts() const {
  tcp_info info{};
  socklen_t length = sizeof info;
  int unread = 0;
  if (::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
      ::ioctl(fd_.get(), SIOCINQ, &unread) != 0)
    return std::nullopt;
  constexpr int state_closed = 7;  // TCP_CLOSE
  return PeerFacts{
      .bytes_acknowledged = info.tcpi_bytes_acked > 0 ? info.tcpi_bytes_acked - 1 : 0,
      .has_ended = info.tcpi_bytes_received > bytes_read_ + static_cast<std::uint64_t>(unread),
      .is_over = info.tcpi_state == state_closed};
}

}  // namespace classgate::proxy::net
