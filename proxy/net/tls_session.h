#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct ssl_st;

namespace classgate::proxy::net {

struct FreeSsl {
  void operator()(ssl_st* ssl) const;
};
using Ssl = std::unique_ptr<ssl_st, FreeSsl>;

// What the certificate that a client has shown is worth now.
enum class TlsProof : std::uint8_t {
  good,       // as when the connection began; or none was shown, and none is required
  not_asked,  // clients are not asked for one any more
  refuted,    // a handshake now would fail: it is not believed, has ended, or is missing
};

// One TLS connection, either side of it, over a socket that somebody else drives. Made by a
// TlsAcceptor or a TlsConnector. Nothing blocks; renegotiation is refused (RFC 8446 has none, and
// RFC 9325 section 3.5 wants it off for 1.2).
class TlsSession {
 public:
  // The socket: as recv(2) and send(2), with errno.
  class Transport {
   public:
    virtual ssize_t receive(std::span<char> into) = 0;
    virtual ssize_t transmit(std::span<const char> bytes) = 0;

   protected:
    ~Transport() = default;
  };

  enum class Result : std::uint8_t {
    done,
    not_now,  // the socket must allow more first
    end,      // the other side has said that it sends no more (close_notify)
    failed,   // no further use; why() tells
  };

  // `keeps` lives as long as the session; `held` is what tls_memory.h counts of `ssl`.
  TlsSession(Ssl ssl, std::shared_ptr<const void> keeps, std::int64_t held = 0);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Once, before anything else. `transport` must outlive the session.
  void attach(Transport& transport);
  Result shake_hands();
  Result read(std::span<char> into, std::size_t& size);
  // May take less than there is. After not_now the same bytes must be offered first next time.
  Result write(std::string_view bytes, std::size_t& size);
  // Bytes of the other side are held here, so that the socket need not have any.
  bool holds_input() const;
  // Says that no more will be sent (RFC 8446 section 6.1); as far as the socket takes it.
  void say_end();

  // Bytes of memory that it has.
  std::size_t held_bytes() const {
    return sizeof *this + (held_ > 0 ? static_cast<std::size_t>(held_) : 0);
  }

  const std::string& why() const { return why_; }
  // "TLSv1.3"; static.
  std::string_view version() const;
  bool was_resumed() const;
  // Both sides have agreed on HTTP/2 (ALPN).
  bool chose_http2() const;
  // The subject of the other side's certificate, which was verified (RFC 4514); empty: none.
  std::string verified_subject() const;
  bool has_certificate() const;  // of the other side
  // The first of its alternative names (RFC 5280 section 4.2.1.6): of its URIs, else of its DNS
  // names, else of its addresses of mail; empty: it has none.
  std::string verified_alternative_name() const;

 private:
  friend class TlsAcceptor;
  Result result_of(int returned);

  const std::shared_ptr<const void> keeps_;
  Ssl ssl_;
  std::string why_;
  std::int64_t held_;
  bool is_established_ = false;
  // Of a client's certificate, for TlsAcceptor::proof_of().
  struct Proof {
    std::uint64_t trust = 0;  // under which it was found good
    std::int64_t end = 0;     // in seconds since 1970; 0: not looked at yet
  };
  mutable Proof proof_;
};

}  // namespace classgate::proxy::net
