// How a connection begins: the PROXY header, with which a trusted proxy says who its client is, and
// what is spoken.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "gateway/client_connection.h"
#include "gateway/station.h"
#include "proxy/wire/proxy_header.h"

namespace classgate::gateway {

using proxy::net::Stream;

// ---- HTTP/2 ------------------------------------------------------------------------------------

// By prior knowledge (RFC 9113 section 3.3): to who reads HTTP/1, the preface is a request line
// that is none. With TLS it is chosen in the handshake or not at all.
bool ClientConnection::begins_http2(std::string_view bytes) const {
  const std::size_t size = std::min(bytes.size(), proxy::wire::http2_preface.size());
  return requests_ == 0 && facts_.tls == nullptr &&
         bytes.substr(0, size) == proxy::wire::http2_preface.substr(0, size) &&
         station_.rules().speaks_http2(facts_.listener.get());
}

void ClientConnection::begin_http2() {
  if (parser_) station_.return_parser(std::move(parser_));
  change_state(State::http2);
  Http2Connection::Owner& owner = *this;
  http2_ = std::make_unique<Http2Connection>(station_, owner);
}

const ClientFacts& ClientConnection::client_facts() {
  facts_.proof = judge_certificate();
  return facts_;
}

void ClientConnection::on_http2_end() {
  if (state_ == State::closed) return;
  has_unread_input_ = true;
  change_state(State::finishing);
  if (stream_.is_broken()) return close();
  if (stream_.pending() == 0) return linger();
  watch_reader();
}

void ClientConnection::on_http2_gone() {
  reset_if_unfinished();
  on_gone();
}

// ---- The PROXY header --------------------------------------------------------------------------

// It is left in the socket until all of it is there: what follows may be TLS, which reads for
// itself.
void ClientConnection::read_introduction() {
  const std::span<char> scratch =
      station_.loop().read_scratch().first(proxy::wire::proxy_header_max);
  const Stream::ReadResult result = stream_.peek(scratch);
  if (result.what == Stream::Read::nothing_now) return;
  if (result.what != Stream::Read::some) return on_gone();
  proxy::wire::ProxyHeader header;
  switch (proxy::wire::read_proxy_header({scratch.data(), result.size}, header)) {
    case proxy::wire::ProxyHeaderProgress::need_more:
      if (stream_.peer_is_gone()) on_gone();
      return;
    case proxy::wire::ProxyHeaderProgress::malformed:
      spdlog::warn(
          "client {}: a trusted proxy's connection begins without a PROXY header: closed "
          "(client.proxy_protocol)",
          facts_.address);
      return refuse_introduction();
    case proxy::wire::ProxyHeaderProgress::done: break;
  }
  if (!facts_.is_trusted) {
    spdlog::warn(
        "client {}: its PROXY header came when it was a trusted proxy no more: closed "
        "(client.trusted_proxies)",
        facts_.address);
    return refuse_introduction();
  }
  stream_.skip(header.size);
  introduce(header.source.value_or(facts_.ip));
}

void ClientConnection::refuse_introduction() {
  station_.metrics().introductions_refused.add();
  close();
}

void ClientConnection::introduce(const conf::IpAddress& client) {
  change_state(State::idle);
  facts_.ip = client;
  facts_.address = client.text();
  judge_sender();
  if (!station_.count_client(*this)) {
    if (acceptor_) return close();
    station_.append_refusal_of_connection(station_.gather().begin_text(),
                                          conf::Reason::client_connections, facts_.listener.get());
    station_.gather().end_text();
    flush();
    return say_goodbye();
  }
  if (acceptor_) {
    const bool speaks_http2 = station_.rules().speaks_http2(facts_.listener.get());
    stream_.start_tls(std::exchange(acceptor_, nullptr)->accept(speaks_http2));
    facts_.tls = stream_.tls();
    return;
  }
  read_on();
}

}  // namespace classgate::gateway
