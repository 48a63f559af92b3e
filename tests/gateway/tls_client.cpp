#include "tests/gateway/tls_client.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

namespace classgate::gateway::test {
namespace {

const proxy::net::TlsConnector& connector() {
  static const auto opened = [] {
    conf::UpstreamTlsSettings settings;
    settings.verify = false;
    return proxy::net::TlsConnector::open(settings);
  }();
  if (!opened) throw std::runtime_error(opened.error());
  return **opened;
}

}  // namespace

TlsClient::TlsClient(Socket connected)
    : socket(std::move(connected)),
      session_(connector().connect("localhost", proxy::net::TlsConnector::make_memory())) {
  session_->attach(*this);
}

ssize_t TlsClient::receive(std::span<char> into) {
  std::string got;
  switch (socket.read(got, patience, into.size())) {
    case Socket::Got::some:
      std::ranges::copy(got, into.begin());
      return static_cast<ssize_t>(got.size());
    case Socket::Got::end: return 0;
    case Socket::Got::reset: errno = ECONNRESET; return -1;
    default:
      was_late_ = true;
      errno = ETIMEDOUT;
      return -1;
  }
}

ssize_t TlsClient::transmit(std::span<const char> bytes) {
  if (socket.send({bytes.data(), bytes.size()})) return static_cast<ssize_t>(bytes.size());
  errno = EPIPE;
  return -1;
}

bool TlsClient::shake_hands() {
  return session_->shake_hands() == proxy::net::TlsSession::Result::done;
}

bool TlsClient::send(std::string_view text) {
  while (!text.empty()) {
    std::size_t size = 0;
    if (session_->write(text, size) != proxy::net::TlsSession::Result::done) return false;
    text.remove_prefix(size);
  }
  return true;
}

Socket::Got TlsClient::read(std::string& into) {
  std::array<char, 16 * 1024> part;
  std::size_t size = 0;
  switch (session_->read(part, size)) {
    case proxy::net::TlsSession::Result::done:
      into.append(part.data(), size);
      return Socket::Got::some;
    case proxy::net::TlsSession::Result::end: return Socket::Got::end;
    default: return was_late_ ? Socket::Got::late : Socket::Got::reset;
  }
}

int TlsClient::ask(std::string_view request) {
  if (!send(request)) return 0;
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos)
    if (read(head) != Socket::Got::some) return 0;
  return head.starts_with("HTTP/1.1 ") ? std::atoi(head.c_str() + 9) : 0;
}

std::string_view TlsClient::half_a_hello() { return {"\x16\x03\x01\x02\x00\x01\x00", 7}; }

}  // namespace classgate::gateway::test
