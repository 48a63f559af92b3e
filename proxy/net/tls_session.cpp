#include "proxy/net/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cerrno>
#include <climits>
#include <new>
#include <system_error>

#include "proxy/net/tls_memory.h"

namespace classgate::proxy::net {
namespace {

TlsSession::Transport& transport_of(BIO* bio) {
  return *static_cast<TlsSession::Transport*>(BIO_get_data(bio));
}

bool is_transient(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

int read_record(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = transport_of(bio).receive({into, static_cast<std::size_t>(size)});
  if (got < 0 && is_transient(errno)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

int write_record(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = transport_of(bio).transmit({bytes, static_cast<std::size_t>(size)});
  if (sent < 0 && is_transient(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// A BIO on a Transport: OpenSSL's own would write without MSG_NOSIGNAL.
const BIO_METHOD* transport_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "transport");
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_read(made, read_record);
    BIO_meth_set_write(made, write_record);
    BIO_meth_set_ctrl(made, control);
    return made;
  }();
  return method;
}

std::string text_of_last_error() {
  const unsigned long error = ERR_peek_error();
  const char* reason = error != 0 ? ERR_reason_error_string(error) : nullptr;
  return reason != nullptr ? reason : "TLS error";
}

}  // namespace

void FreeSsl::operator()(ssl_st* ssl) const { SSL_free(ssl); }

TlsSession::TlsSession(Ssl ssl, std::shared_ptr<const void> keeps, std::int64_t held)
    : keeps_(std::move(keeps)), ssl_(std::move(ssl)), held_(held) {}

TlsSession::~TlsSession() {
  // A connection that just ends is no reason to forget its session (RFC 8446 section 6.1).
  if (is_established_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void TlsSession::attach(Transport& transport) {
  const TlsMemoryNote note(held_);
  BIO* bio = BIO_new(transport_method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, &transport);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);  // which owns it
}

TlsSession::Result TlsSession::result_of(int returned) {
  switch (SSL_get_error(ssl_.get(), returned)) {
    case SSL_ERROR_NONE: return Result::done;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE: return Result::not_now;
    case SSL_ERROR_ZERO_RETURN: return Result::end;
    case SSL_ERROR_SYSCALL:
      why_ = errno != 0 ? std::generic_category().message(errno) : "the connection was cut";
      return Result::failed;
    default:
      why_ = text_of_last_error();
      if (const long verdict = SSL_get_verify_result(ssl_.get()); verdict != X509_V_OK)
        why_ += std::string(": ") + X509_verify_cert_error_string(verdict);
      return Result::failed;
  }
}

TlsSession::Result TlsSession::shake_hands() {
  const TlsMemoryNote note(held_);
  ERR_clear_error();
  errno = 0;
  const Result result = result_of(SSL_do_handshake(ssl_.get()));
  is_established_ = result == Result::done;
  return result;
}

TlsSession::Result TlsSession::read(std::span<char> into, std::size_t& size) {
  const TlsMemoryNote note(held_);
  ERR_clear_error();
  errno = 0;
  return result_of(SSL_read_ex(ssl_.get(), into.data(), into.size(), &size));
}

TlsSession::Result TlsSession::write(std::string_view bytes, std::size_t& size) {
  const TlsMemoryNote note(held_);
  ERR_clear_error();
  errno = 0;
  return result_of(SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &size));
}

bool TlsSession::holds_input() const { return SSL_has_pending(ssl_.get()) == 1; }

void TlsSession::say_end() {
  if (!is_established_ || !why_.empty()) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());  // the answer to it is not waited for
}

std::string_view TlsSession::version() const { return SSL_get_version(ssl_.get()); }

bool TlsSession::was_resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

bool TlsSession::chose_http2() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return std::string_view(reinterpret_cast<const char*>(name), size) == "h2";
}

bool TlsSession::has_certificate() const {
  return SSL_get0_peer_certificate(ssl_.get()) != nullptr;
}

std::string TlsSession::verified_alternative_name() const {
  const X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
  ERR_clear_error();
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  // For want of memory nobody is taken for somebody without a name.
  if (!names && ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
  for (const int wanted : {GEN_URI, GEN_DNS, GEN_EMAIL})
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
      const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
      if (name->type != wanted) continue;
      const ASN1_IA5STRING* const text = name->d.ia5;
      const std::string found(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                              static_cast<std::size_t>(ASN1_STRING_length(text)));
      if (!found.empty() && !found.contains('\0')) return found;
    }
  return {};
}

std::string TlsSession::verified_subject() const {
  const X509* const certificate = SSL_get0_peer_certificate(ssl_.get());
  if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), &BIO_free);
  if (!text) throw std::bad_alloc();
  ERR_clear_error();
  if (X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) {
    // For want of memory nobody is taken for somebody without a name.
    if (ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
    return {};
  }
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(text.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace classgate::proxy::net
