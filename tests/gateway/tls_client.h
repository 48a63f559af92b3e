#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/tls_context.h"
#include "tests/gateway/certificate.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {

// A client that speaks TLS, and believes every certificate; blocking, with `patience`.
class TlsClient final : private proxy::net::TlsSession::Transport {
 public:
  explicit TlsClient(Socket connected);

  // False when the other side ends it, in order or not.
  bool shake_hands();
  bool send(std::string_view text);
  // Appends what comes next. An end that was not announced is a reset.
  Socket::Got read(std::string& into);
  // The status of the answer; 0 when there was none.
  int ask(std::string_view request);
  // The other side did not say or end anything in time.
  bool was_left_waiting() const { return was_late_; }
  // The first bytes of a handshake that is not gone on with.
  static std::string_view half_a_hello();

  Socket socket;

 private:
  ssize_t receive(std::span<char> into) override;
  ssize_t transmit(std::span<const char> bytes) override;

  bool was_late_ = false;
  std::unique_ptr<proxy::net::TlsSession> session_;
};

}  // namespace classgate::gateway::test
