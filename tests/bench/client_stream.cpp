#include "tests/bench/client_stream.h"

#include <openssl/err.h>

#include <cerrno>

namespace bench {

TlsClient::TlsClient(bool resumes) : context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_3_VERSION);
  SSL_CTX_set_app_data(context_.get(), this);
  if (!resumes) return;
  SSL_CTX_set_session_cache_mode(context_.get(),
                                 SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context_.get(), on_new_session);
}

int TlsClient::on_new_session(SSL* stream, SSL_SESSION* session) {
  static_cast<TlsClient*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(stream)))->session_.reset(session);
  return 1;  // the reference is ours now
}

SSL* TlsClient::new_stream(int fd) {
  SSL* stream = SSL_new(context_.get());
  SSL_set_fd(stream, fd);
  SSL_set_connect_state(stream);
  if (session_) {
    // A session is good for one connection; a copy keeps this one good until a new ticket comes.
    const std::unique_ptr<SSL_SESSION, Free> copy(SSL_SESSION_dup(session_.get()));
    SSL_set_session(stream, copy.get());
  }
  return stream;
}

void ClientStream::open(int fd, TlsClient* tls) {
  fd_ = fd;
  if (tls) tls_.reset(tls->new_stream(fd));
}

void ClientStream::close() {
  if (tls_) SSL_shutdown(tls_.get());
  tls_.reset();
  ::close(fd_);
  fd_ = -1;
}

ClientStream::State ClientStream::read(char* buffer, std::size_t room, std::string_view& bytes) {
  if (!tls_) {
    const ssize_t size = ::recv(fd_, buffer, room, 0);
    if (size < 0 && errno == EAGAIN) return State::blocked;
    bytes = {buffer, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
    return size > 0 ? State::open : State::ended;
  }
  ERR_clear_error();
  const int size = SSL_read(tls_.get(), buffer, static_cast<int>(room));
  if (size <= 0) return after(size);
  bytes = {buffer, static_cast<std::size_t>(size)};
  return State::open;
}

ClientStream::State ClientStream::write(std::string_view& bytes) {
  if (!tls_) {
    const ssize_t size = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN ? State::blocked : State::ended;
    bytes.remove_prefix(static_cast<std::size_t>(size));
    return bytes.empty() ? State::open : State::blocked;
  }
  while (!bytes.empty()) {
    ERR_clear_error();
    const int size = SSL_write(tls_.get(), bytes.data(),
                               static_cast<int>(std::min<std::size_t>(bytes.size(), 16384)));
    if (size <= 0) return after(size);
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return State::open;
}

ClientStream::State ClientStream::after(int result) const {
  const int error = SSL_get_error(tls_.get(), result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? State::blocked
                                                                       : State::ended;
}

}  // namespace bench
