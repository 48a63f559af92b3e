#pragma once

// What TLS connections have in common: certificates, trust, parameters. Immutable once made, used
// by all loops at once (SSL_CTX(3) may be, when it is not changed any more).

#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "conf/settings.h"
#include "proxy/net/ticket_keys.h"
#include "proxy/net/tls_fingerprint.h"
#include "proxy/net/tls_session.h"

struct ssl_ctx_st;
struct x509_st;

namespace classgate::proxy::net {

struct FreeSslContext {
  void operator()(ssl_ctx_st* context) const;
};
using SslContext = std::unique_ptr<ssl_ctx_st, FreeSslContext>;

// Answers TLS clients: chooses the certificate by the name they ask for (SNI), the first one when
// none fits; speaks HTTP/1.1, and HTTP/2 where it is to (ALPN). A ticket is good under the same
// certificates, mode of client certificates and authorities (SessionContext), and until the
// client's certificate ends.
class TlsAcceptor : public std::enable_shared_from_this<TlsAcceptor> {
 public:
  using Errors = std::vector<std::string>;  // one line each: which file, what, how to mend it
  static std::expected<std::shared_ptr<const TlsAcceptor>, Errors> open(
      const conf::TlsSettings& settings, std::shared_ptr<const TicketKeys> keys);
  // The same with other ticket keys.
  std::shared_ptr<const TlsAcceptor> with_keys(std::shared_ptr<const TicketKeys> keys) const;

  std::unique_ptr<TlsSession> accept(bool speaks_http2 = false) const;
  // Of a session that may have begun under another acceptor, or long ago: whether a handshake now
  // would end as its own did. Verifies anew only when the authorities or the mode are others than
  // those that it was found good by, which takes up to 0.2 ms; a session that was taken up again
  // has no intermediate certificates for that.
  TlsProof proof_of(const TlsSession& session) const;
  const std::shared_ptr<const TicketKeys>& ticket_keys() const { return keys_; }
  // What is good enough to serve with, but should be seen to: certificates that have expired.
  const Errors& warnings() const { return *warnings_; }
  // When each certificate ends, in seconds since 1970, in the order of the conf: the first of its
  // chain to end counts. Any thread.
  std::vector<std::int64_t> ends() const;

 private:
  struct Entry {
    SslContext context;
    x509_st* certificate;  // the context's
  };
  using Entries = std::vector<Entry>;
  friend struct TlsCallbacks;
  TlsProof verify_anew(const TlsSession& session) const;

  std::shared_ptr<const Entries> entries_;
  std::shared_ptr<const Errors> warnings_;
  std::shared_ptr<const TicketKeys> keys_;
  std::uint64_t trust_ = 0;  // a hash of the mode and the authorities of clients' certificates
};

// Begins TLS with a server: verifies its certificate and name unless told not to, and takes up the
// last session again where the server lets it, unless that was made under other settings
// (SessionContext) or the server's certificate has ended since.
class TlsConnector : public std::enable_shared_from_this<TlsConnector> {
 public:
  static std::expected<std::shared_ptr<const TlsConnector>, std::string> open(
      const conf::UpstreamTlsSettings& settings);

  // A server's last session; of one loop, given back to it by connections that end after it does.
  class Memory;
  static std::shared_ptr<Memory> make_memory();

  // `host` is the name or address in the conf (bare_host()), which upstream.tls.server_name
  // overrides. HTTP/1.1 and HTTP/2 are offered where `offers_http2` (ALPN), else nothing is.
  std::unique_ptr<TlsSession> connect(const std::string& host, std::shared_ptr<Memory> memory,
                                      bool offers_http2 = false) const;

 private:
  friend struct TlsCallbacks;
  struct Use;  // what a connection keeps
  bool may_resume(const Memory& memory) const;

  SslContext context_;
  conf::UpstreamTlsSettings settings_;
  SessionContext session_context_{};
};

}  // namespace classgate::proxy::net
