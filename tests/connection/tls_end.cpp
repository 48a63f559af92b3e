#include "tests/connection/tls_end.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace classgate::connection_test {
namespace {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

SSL_CTX* context() {
  static const std::unique_ptr<SSL_CTX, FreeContext> the_context(SSL_CTX_new(TLS_client_method()));
  if (!the_context) throw std::runtime_error("no TLS context");
  return the_context.get();
}

// The gateway is in the same thread, and finds the errors of the thread, not of its connection.
struct ErrorsCleared {
  ~ErrorsCleared() { ERR_clear_error(); }
};

}  // namespace

TlsEnd::TlsEnd(SSL_SESSION* session, bool is_old) : ssl_(SSL_new(context())) {
  if (!ssl_) throw std::runtime_error("no TLS connection");
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE);
  SSL_set_tlsext_host_name(ssl_.get(), "localhost");
  if (is_old) SSL_set_max_proto_version(ssl_.get(), TLS1_2_VERSION);
  if (session != nullptr) SSL_set_session(ssl_.get(), session);
  SSL_set_connect_state(ssl_.get());
  go_on();
}

void TlsEnd::write(std::string_view text, std::size_t record_max) {
  unsaid_ += text;
  record_max_ = std::max<std::size_t>(record_max, 1);
  go_on();
}

void TlsEnd::say_end() {
  const ErrorsCleared cleared;
  if (is_established() && !has_failed_) SSL_shutdown(ssl_.get());
}

void TlsEnd::receive(std::string_view bytes) {
  BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  go_on();
}

std::string TlsEnd::take_outgoing() {
  std::string bytes(static_cast<std::size_t>(BIO_pending(SSL_get_wbio(ssl_.get()))), '\0');
  if (!bytes.empty())
    BIO_read(SSL_get_wbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

std::string TlsEnd::take_incoming() { return std::exchange(incoming_, {}); }

void TlsEnd::go_on() {
  if (has_failed_) return;
  const ErrorsCleared cleared;
  std::array<char, 4096> text;
  int size;
  while ((size = SSL_read(ssl_.get(), text.data(), text.size())) > 0)  // shakes hands first
    incoming_.append(text.data(), static_cast<std::size_t>(size));
  const int why = SSL_get_error(ssl_.get(), size);
  has_failed_ = why != SSL_ERROR_WANT_READ && why != SSL_ERROR_ZERO_RETURN;
  if (has_failed_ || !is_established() || (SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0)
    return;
  while (!unsaid_.empty()) {
    const int said = SSL_write(ssl_.get(), unsaid_.data(),
                               static_cast<int>(std::min(unsaid_.size(), record_max_)));
    if (said <= 0) return;
    unsaid_.erase(0, static_cast<std::size_t>(said));
  }
}

}  // namespace classgate::connection_test
