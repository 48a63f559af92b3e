#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string_view>

#include "tests/bench/sockets.h"

namespace bench {

// TLS 1.3 as a client that believes anybody; keeps the last ticket when sessions are resumed.
class TlsClient {
 public:
  explicit TlsClient(bool resumes);
  SSL* new_stream(int fd);

 private:
  static int on_new_session(SSL* stream, SSL_SESSION* session);

  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL_SESSION, Free> session_;
};

// One connection of the load generator: a socket, with or without TLS on it.
class ClientStream {
 public:
  enum class State { open, blocked, ended };

  void open(int fd, TlsClient* tls);
  void close();
  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  bool was_resumed() const { return tls_ && SSL_session_reused(tls_.get()); }

  // Reads what there is, up to the buffer; `bytes` is what came. Ended: closed or broken.
  State read(char* buffer, std::size_t room, std::string_view& bytes);
  // Takes what was written from the front of `bytes`.
  State write(std::string_view& bytes);

 private:
  State after(int result) const;

  struct Free {
    void operator()(SSL* stream) const { SSL_free(stream); }
  };
  std::unique_ptr<SSL, Free> tls_;
  int fd_ = -1;
};

}  // namespace bench
