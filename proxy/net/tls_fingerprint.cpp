#include "proxy/net/tls_fingerprint.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <vector>

#include "proxy/net/tls_memory.h"

namespace classgate::proxy::net {
namespace {

template <typename Item>
std::string encoding_of(const Item* item, int (*encode)(const Item*, unsigned char**)) {
  unsigned char* bytes = nullptr;
  const int size = encode(item, &bytes);
  must(size > 0);
  const auto free = [](unsigned char* memory) { OPENSSL_free(memory); };
  const std::unique_ptr<unsigned char, decltype(free)> owned(bytes, free);
  return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

}  // namespace

TlsFingerprint::TlsFingerprint() : context_(EVP_MD_CTX_new()) {
  must(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}

void TlsFingerprint::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

void TlsFingerprint::add(std::string_view part) {
  const std::uint64_t size = part.size();
  must(EVP_DigestUpdate(context_.get(), &size, sizeof size) == 1 &&
       EVP_DigestUpdate(context_.get(), part.data(), part.size()) == 1);
}

void TlsFingerprint::add_number(int number) { add(std::to_string(number)); }

void TlsFingerprint::add_own_chain(ssl_ctx_st* context) {
  for (long at = SSL_CERT_SET_FIRST; SSL_CTX_set_current_cert(context, at) == 1;
       at = SSL_CERT_SET_NEXT) {
    const X509* const own = SSL_CTX_get0_certificate(context);
    add(own != nullptr ? encoding_of<X509>(own, i2d_X509) : std::string());
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get0_chain_certs(context, &chain);
    for (int i = 0; i < sk_X509_num(chain); ++i)
      add(encoding_of<X509>(sk_X509_value(chain, i), i2d_X509));
  }
}

void TlsFingerprint::add_trust(const ssl_ctx_st* context) {
  std::vector<std::string> all;
  const STACK_OF(X509_OBJECT)* const objects =
      X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    const X509_OBJECT* const object = sk_X509_OBJECT_value(objects, i);
    if (const X509* const certificate = X509_OBJECT_get0_X509(object))
      all.push_back(encoding_of<X509>(certificate, i2d_X509));
    else if (const X509_CRL* const list =
                 X509_OBJECT_get0_X509_CRL(const_cast<X509_OBJECT*>(object)))
      all.push_back(encoding_of<X509_CRL>(list, i2d_X509_CRL));
  }
  std::ranges::sort(all);
  add_number(static_cast<int>(all.size()));
  for (const std::string& one : all) add(one);
}

SessionContext TlsFingerprint::finish() {
  SessionContext digest;
  must(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
  return digest;
}

std::int64_t end_of(const X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return 0;
  return ::timegm(&time);
}

}  // namespace classgate::proxy::net
