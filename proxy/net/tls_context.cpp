#include "proxy/net/tls_context.h"

#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>
#include <string_view>
#include <system_error>

#include "conf/text_file.h"
#include "proxy/net/certificates.h"
#include "proxy/net/tls_fingerprint.h"
#include "proxy/net/tls_memory.h"

namespace classgate::proxy::net {
namespace {

// Mozilla's "intermediate" list for TLS 1.2: forward secrecy and authenticated encryption only (RFC
// 9325 section 4.2). TLS 1.3 has none that are worse.
constexpr const char* ciphers_12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr unsigned char alpn_http11[] = "\x08http/1.1";
constexpr unsigned alpn_http11_size = sizeof alpn_http11 - 1;
constexpr unsigned char alpn_both[] = "\x02h2\x08http/1.1";  // the first is preferred
constexpr unsigned alpn_both_size = sizeof alpn_both - 1;

SslContext make_context(const SSL_METHOD* method) {
  SslContext context(SSL_CTX_new(method));
  must(context != nullptr);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(context.get(), 1);  // a record costs one read, not two
  return context;
}

void require_version(SSL_CTX* context, conf::TlsVersion version) {
  must(SSL_CTX_set_min_proto_version(
           context, version == conf::TlsVersion::tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1);
}

bool is_ip_address(const std::string& host) {
  std::array<unsigned char, 16> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

}  // namespace

void FreeSslContext::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

// ---- Callbacks ---------------------------------------------------------------------------------

// OpenSSL calls these in the middle of a handshake, on the loop that drives it.
struct TlsCallbacks {
  static int acceptor_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
  }
  static int use_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
  }
  // Not null: HTTP/2 may be spoken.
  static int http2_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
  }
  static const TlsAcceptor& acceptor_of(const SSL* ssl) {
    return *static_cast<const TlsAcceptor*>(SSL_get_ex_data(ssl, acceptor_index()));
  }

  static int choose_certificate(SSL* ssl, int*, void*) {
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == nullptr) return SSL_TLSEXT_ERR_OK;
    for (const TlsAcceptor::Entry& entry : *acceptor_of(ssl).entries_)
      if (X509_check_host(entry.certificate, name, 0, 0, nullptr) == 1) {
        SSL_set_SSL_CTX(ssl, entry.context.get());
        return SSL_TLSEXT_ERR_OK;
      }
    return SSL_TLSEXT_ERR_OK;
  }

  // RFC 7301 section 3.2: a client that offers only what we do not speak is told so.
  static int choose_protocol(SSL* ssl, const unsigned char** chosen, unsigned char* size,
                             const unsigned char* offered, unsigned offered_size, void*) {
    const bool speaks_http2 = SSL_get_ex_data(ssl, http2_index()) != nullptr;
    unsigned char* match = nullptr;
    if (SSL_select_next_proto(&match, size, speaks_http2 ? alpn_both : alpn_http11,
                              speaks_http2 ? alpn_both_size : alpn_http11_size, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
  }

  // SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
  static int ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                        EVP_MAC_CTX* mac, int to_seal) {
    const TicketKeys& keys = *acceptor_of(ssl).keys_;
    const TicketKeys::Key* key = to_seal == 1 ? &keys.newest() : keys.find(name);
    if (key == nullptr) return 0;  // a full handshake, then
    if (to_seal == 1) {
      std::memcpy(name, key->name.data(), key->name.size());
      if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    }
    char digest[] = "SHA256";
    const std::array params{
        OSSL_PARAM_construct_octet_string(
            OSSL_MAC_PARAM_KEY, const_cast<unsigned char*>(key->mac.data()), key->mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    const bool is_ready = EVP_MAC_CTX_set_params(mac, params.data()) == 1 &&
                          EVP_CipherInit_ex2(cipher, EVP_aes_256_cbc(), key->cipher.data(), iv,
                                             to_seal, nullptr) == 1;
    if (!is_ready) return -1;
    return key == &keys.newest() ? 1 : 2;  // 2: the ticket is good, but the client gets a new one
  }

  // A ticket holds the client's certificate. Beside that goes the time when the first certificate
  // of its verified chain ends: from then on a full handshake would refuse the client, so the
  // session is not resumed either.
  static int seal_ticket(SSL* ssl, void*) {
    if (SSL_session_reused(ssl) == 1) return 1;  // its ticket has that time already
    const STACK_OF(X509)* const chain = SSL_get0_verified_chain(ssl);
    if (sk_X509_num(chain) <= 0) return 1;
    const std::int64_t end = first_end_of(chain);
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &end, sizeof end);
  }

  static SSL_TICKET_RETURN open_ticket(SSL*, SSL_SESSION* session, const unsigned char*,
                                       std::size_t, SSL_TICKET_STATUS status, void*) {
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
      return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (SSL_SESSION_get0_peer(session) != nullptr && std::time(nullptr) >= end_of_proof(session))
      return SSL_TICKET_RETURN_IGNORE_RENEW;  // a full handshake, then
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
  }

  static std::int64_t end_of_proof(SSL_SESSION* session) {
    void* data = nullptr;
    std::size_t size = 0;
    std::int64_t end = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &size) == 1 && size == sizeof end)
      std::memcpy(&end, data, size);
    return end;
  }

  static int keep_session(SSL* ssl, SSL_SESSION* session);
};

// ---- Clients' side -----------------------------------------------------------------------------

namespace {

std::expected<SslContext, std::string> open_entry(const conf::TlsSettings& settings,
                                                  const conf::CertificateSettings& pair) {
  SslContext context = make_context(TLS_server_method());
  SSL_CTX* const raw = context.get();
  require_version(raw, settings.min_version);
  must(SSL_CTX_set_cipher_list(raw, ciphers_12) == 1);
  SSL_CTX_set_options(raw, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  if (auto loaded = load_pair(raw, pair.certificate, pair.key); !loaded)
    return std::unexpected(loaded.error());
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // tickets are enough
  SSL_CTX_set_alpn_select_cb(raw, TlsCallbacks::choose_protocol, nullptr);
  SSL_CTX_set_tlsext_servername_callback(raw, TlsCallbacks::choose_certificate);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, TlsCallbacks::ticket_key);
  SSL_CTX_set_session_ticket_cb(raw, TlsCallbacks::seal_ticket, TlsCallbacks::open_ticket, nullptr);
  if (settings.client_certificate != conf::ClientCertificate::off) {
    if (const std::string why = conf::why_not_readable(settings.client_ca); !why.empty())
      return std::unexpected("client_ca " + settings.client_ca + " cannot be read: " + why);
    const auto free = [](STACK_OF(X509_NAME) * all) { sk_X509_NAME_pop_free(all, X509_NAME_free); };
    std::unique_ptr<STACK_OF(X509_NAME), decltype(free)> names(
        SSL_load_client_CA_file(settings.client_ca.c_str()), free);
    if (!names || SSL_CTX_load_verify_file(raw, settings.client_ca.c_str()) != 1)
      return std::unexpected("client_ca " + settings.client_ca +
                             " holds no PEM certificates: " + text_of_error());
    SSL_CTX_set_client_CA_list(raw, names.release());
    const int when = settings.client_certificate == conf::ClientCertificate::required
                         ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                         : 0;
    SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | when, nullptr);
  }
  return context;
}

}  // namespace

std::expected<std::shared_ptr<const TlsAcceptor>, TlsAcceptor::Errors> TlsAcceptor::open(
    const conf::TlsSettings& settings, std::shared_ptr<const TicketKeys> keys) {
  Errors errors, warnings;
  auto entries = std::make_shared<Entries>();
  for (const conf::CertificateSettings& pair : settings.certificates) {
    auto context = open_entry(settings, pair);
    if (!context) {
      errors.push_back(pair.origin + ": " + context.error());
      continue;
    }
    X509* const certificate = SSL_CTX_get0_certificate(context->get());
    if (const std::string why = why_not_valid_now(certificate); !why.empty())
      warnings.push_back(pair.origin + ": certificate " + pair.certificate + " " + why);
    entries->push_back({std::move(*context), certificate});
  }
  if (!errors.empty()) return std::unexpected(std::move(errors));
  for (std::size_t i = 0; i < entries->size(); ++i)
    for (std::size_t j = 0; j < entries->size(); ++j) {
      if (!may_stand_in((*entries)[j].certificate, (*entries)[i].certificate)) continue;
      const conf::CertificateSettings& pair = settings.certificates[j];
      if (auto loaded = load_pair((*entries)[i].context.get(), pair.certificate, pair.key); !loaded)
        return std::unexpected(Errors{pair.origin + ": " + loaded.error()});
    }
  // All contexts get the same session context: OpenSSL opens a ticket before it looks at the name
  // (SNI) by which a context is chosen.
  TlsFingerprint print;
  print.add_number(static_cast<int>(settings.client_certificate));
  for (const Entry& entry : *entries) {
    print.add_own_chain(entry.context.get());
    print.add_trust(entry.context.get());
  }
  const SessionContext session_context = print.finish();
  for (const Entry& entry : *entries)
    must(SSL_CTX_set_session_id_context(entry.context.get(), session_context.data(),
                                        session_context.size()) == 1);
  const auto acceptor = std::make_shared<TlsAcceptor>();
  acceptor->entries_ = std::move(entries);
  acceptor->warnings_ = std::make_shared<const Errors>(std::move(warnings));
  acceptor->keys_ = std::move(keys);
  TlsFingerprint trust;
  trust.add_number(static_cast<int>(settings.client_certificate));
  trust.add_trust(acceptor->entries_->front().context.get());
  const SessionContext digest = trust.finish();
  std::memcpy(&acceptor->trust_, digest.data(), sizeof acceptor->trust_);
  return acceptor;
}

std::shared_ptr<const TlsAcceptor> TlsAcceptor::with_keys(
    std::shared_ptr<const TicketKeys> keys) const {
  const auto other = std::make_shared<TlsAcceptor>(*this);
  other->keys_ = std::move(keys);
  return other;
}

std::unique_ptr<TlsSession> TlsAcceptor::accept(bool speaks_http2) const {
  const std::int64_t before = tls_memory_of_thread();
  Ssl ssl(SSL_new(entries_->front().context.get()));
  must(ssl && SSL_set_ex_data(ssl.get(), TlsCallbacks::acceptor_index(),
                              const_cast<TlsAcceptor*>(this)) == 1);
  if (speaks_http2)
    must(SSL_set_ex_data(ssl.get(), TlsCallbacks::http2_index(), const_cast<TlsAcceptor*>(this)) ==
         1);
  SSL_set_accept_state(ssl.get());
  auto session = std::make_unique<TlsSession>(std::move(ssl), shared_from_this(),
                                              tls_memory_of_thread() - before);
  session->proof_.trust = trust_;
  return session;
}

namespace {

constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

// When the first certificate of the chain that it was verified by ends.
std::int64_t end_of_client(const SSL* ssl) {
  const X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr) return never;
  if (SSL_session_reused(ssl) == 1) return TlsCallbacks::end_of_proof(SSL_get_session(ssl));
  const STACK_OF(X509)* const chain = SSL_get0_verified_chain(ssl);
  return sk_X509_num(chain) > 0 ? first_end_of(chain) : end_of(certificate);
}

}  // namespace

std::vector<std::int64_t> TlsAcceptor::ends() const {
  std::vector<std::int64_t> ends;
  for (const Entry& entry : *entries_) {
    std::int64_t end = end_of(entry.certificate);
    STACK_OF(X509)* chain = nullptr;
    if (SSL_CTX_get0_chain_certs(entry.context.get(), &chain) == 1 && sk_X509_num(chain) > 0)
      end = std::min(end, first_end_of(chain));
    ends.push_back(end);
  }
  return ends;
}

TlsProof TlsAcceptor::proof_of(const TlsSession& session) const {
  TlsSession::Proof& proof = session.proof_;
  if (proof.end == 0) proof.end = end_of_client(session.ssl_.get());
  if (proof.end != never && std::time(nullptr) >= proof.end) return TlsProof::refuted;
  if (proof.trust == trust_) return TlsProof::good;
  const TlsProof now = verify_anew(session);
  if (now == TlsProof::good) proof.trust = trust_;
  return now;
}

// As ssl_verify_cert_chain() of OpenSSL does in a handshake.
TlsProof TlsAcceptor::verify_anew(const TlsSession& session) const {
  SSL* const ssl = session.ssl_.get();
  SSL_CTX* const context = entries_->front().context.get();  // all have the same authorities
  const int mode = SSL_CTX_get_verify_mode(context);
  X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr)
    return (mode & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0 ? TlsProof::refuted : TlsProof::good;
  if (mode == SSL_VERIFY_NONE) return TlsProof::not_asked;
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> check(X509_STORE_CTX_new(),
                                                                              &X509_STORE_CTX_free);
  must(check && X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context), certificate,
                                    SSL_get_peer_cert_chain(ssl)) == 1);
  X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(check.get()),
                                   SSL_CTX_get_security_level(context));
  must(X509_STORE_CTX_set_default(check.get(), "ssl_client") == 1);
  const bool is_believed = X509_verify_cert(check.get()) == 1;
  ERR_clear_error();
  return is_believed ? TlsProof::good : TlsProof::refuted;
}

// ---- Upstream's side ---------------------------------------------------------------------------

class TlsConnector::Memory {
 public:
  struct FreeSession {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };
  std::unique_ptr<SSL_SESSION, FreeSession> last;
  SessionContext context{};  // in which that was made
};

struct TlsConnector::Use {
  std::shared_ptr<const TlsConnector> connector;
  std::shared_ptr<Memory> memory;
};

std::shared_ptr<TlsConnector::Memory> TlsConnector::make_memory() {
  return std::make_shared<Memory>();
}

int TlsCallbacks::keep_session(SSL* ssl, SSL_SESSION* session) {
  const auto* const use = static_cast<TlsConnector::Use*>(SSL_get_ex_data(ssl, use_index()));
  if (use == nullptr) return 0;
  use->memory->last.reset(session);
  use->memory->context = use->connector->session_context_;
  return 1;  // it is ours now
}

namespace {

SessionContext session_context_of(const conf::UpstreamTlsSettings& settings, SSL_CTX* context) {
  TlsFingerprint print;
  print.add_number(settings.verify ? 1 : 0);
  print.add(settings.server_name);
  print.add_own_chain(context);
  print.add_trust(context);
  // With the system's authorities there is nothing to compare by (they may have changed on the
  // disk): each connector has a context of its own, and resumes nothing of another.
  std::array<char, 32> unique{};
  if (settings.verify && settings.ca_file.empty() &&
      RAND_bytes(reinterpret_cast<unsigned char*>(unique.data()), unique.size()) != 1)
    throw std::system_error(EIO, std::generic_category(), "no random numbers for TLS");
  print.add({unique.data(), unique.size()});
  return print.finish();
}

}  // namespace

std::expected<std::shared_ptr<const TlsConnector>, std::string> TlsConnector::open(
    const conf::UpstreamTlsSettings& settings) {
  const auto connector = std::make_shared<TlsConnector>();
  connector->settings_ = settings;
  std::string& name = connector->settings_.server_name;
  if (name.ends_with('.')) name.pop_back();  // RFC 6066 section 3
  connector->context_ = make_context(TLS_client_method());
  SSL_CTX* const context = connector->context_.get();
  require_version(context, conf::TlsVersion::tls12);
  must(SSL_CTX_set_alpn_protos(context, alpn_http11, alpn_http11_size) == 0);  // here 0 is good
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(context, TlsCallbacks::keep_session);
  if (settings.verify) {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (settings.ca_file.empty()) {
      must(SSL_CTX_set_default_verify_paths(context) == 1);
    } else if (const std::string why = conf::why_not_readable(settings.ca_file); !why.empty()) {
      return std::unexpected("upstream.tls.ca_file " + settings.ca_file +
                             " cannot be read: " + why);
    } else if (SSL_CTX_load_verify_file(context, settings.ca_file.c_str()) != 1) {
      return std::unexpected("upstream.tls.ca_file " + settings.ca_file +
                             " holds no PEM certificates: " + text_of_error());
    }
  }
  if (!settings.certificate.empty())
    if (auto loaded = load_pair(context, settings.certificate, settings.key); !loaded)
      return std::unexpected("upstream.tls: " + loaded.error());
  connector->session_context_ = session_context_of(settings, context);
  return connector;
}

// When a session is resumed, nobody verifies the server's certificate again: the one that was
// verified when the session began must still be good.
bool TlsConnector::may_resume(const Memory& memory) const {
  if (!memory.last || memory.context != session_context_) return false;
  const X509* const certificate = SSL_SESSION_get0_peer(memory.last.get());
  return !settings_.verify || (certificate != nullptr && std::time(nullptr) < end_of(certificate));
}

std::unique_ptr<TlsSession> TlsConnector::connect(const std::string& host,
                                                  std::shared_ptr<Memory> memory,
                                                  bool offers_http2) const {
  const std::int64_t before = tls_memory_of_thread();
  Ssl ssl(SSL_new(context_.get()));
  must(ssl != nullptr);
  const std::string& name = settings_.server_name.empty() ? host : settings_.server_name;
  if (is_ip_address(name)) {
    must(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str()) == 1);
  } else {
    must(SSL_set1_host(ssl.get(), name.c_str()) == 1);
    const bool can_be_asked_for = !name.empty() && name.size() <= TLSEXT_MAXLEN_host_name;
    must(!can_be_asked_for || SSL_set_tlsext_host_name(ssl.get(), name.c_str()) == 1);
  }
  if (may_resume(*memory)) SSL_set_session(ssl.get(), memory->last.get());
  if (offers_http2) must(SSL_set_alpn_protos(ssl.get(), alpn_both, alpn_both_size) == 0);
  SSL_set_connect_state(ssl.get());
  auto use = std::make_shared<Use>(shared_from_this(), std::move(memory));
  must(SSL_set_ex_data(ssl.get(), TlsCallbacks::use_index(), use.get()) == 1);
  return std::make_unique<TlsSession>(std::move(ssl), std::move(use),
                                      tls_memory_of_thread() - before);
}

}  // namespace classgate::proxy::net
