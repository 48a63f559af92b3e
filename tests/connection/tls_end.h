#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace classgate::connection_test {

// A client's end of TLS without a socket: what it says and hears are bytes in memory, so that a
// test decides which of them arrive, when, and in which pieces. Believes every certificate.
class TlsEnd {
 public:
  // `session`: one that is resumed when the server wants it; may be null. With `is_old` TLS 1.2.
  TlsEnd(SSL_SESSION* session, bool is_old);

  // Goes out when the handshake is done, in records of at most so many bytes.
  void write(std::string_view text, std::size_t record_max);
  void say_end();
  void receive(std::string_view bytes);
  // What is to be sent, and what was understood, since it was asked last.
  std::string take_outgoing();
  std::string take_incoming();
  bool is_established() const { return SSL_is_init_finished(ssl_.get()) != 0; }
  bool has_failed() const { return has_failed_; }
  // Of the caller; null when there is none to resume.
  SSL_SESSION* session() const { return SSL_get1_session(ssl_.get()); }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  void go_on();

  std::unique_ptr<SSL, Free> ssl_;
  std::string unsaid_;
  std::size_t record_max_ = 1;
  std::string incoming_;
  bool has_failed_ = false;
};

}  // namespace classgate::connection_test
