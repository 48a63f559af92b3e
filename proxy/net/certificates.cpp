#include "proxy/net/certificates.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "conf/text_file.h"
#include "proxy/net/tls_fingerprint.h"
#include "proxy/net/tls_memory.h"

namespace classgate::proxy::net {
namespace {

// The DNS names that a certificate is for, in order.
std::vector<std::string> names_of(const X509* certificate) {
  std::vector<std::string> names;
  const auto free = [](GENERAL_NAMES* all) { GENERAL_NAMES_free(all); };
  const std::unique_ptr<GENERAL_NAMES, decltype(free)> all(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      free);
  for (int i = 0; all && i < sk_GENERAL_NAME_num(all.get()); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(all.get(), i), &type);
    if (type != GEN_DNS) continue;
    const auto* const text = static_cast<const ASN1_STRING*>(value);
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  std::ranges::sort(names);
  return names;
}

std::string text_of_time(const ASN1_TIME* time) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), &BIO_free);
  must(text && ASN1_TIME_print(text.get(), time) == 1);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(text.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

}  // namespace

std::string text_of_error() {
  const unsigned long error = ERR_peek_last_error();
  const char* reason = error != 0 ? ERR_reason_error_string(error) : nullptr;
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown error";
}

std::expected<void, std::string> load_pair(SSL_CTX* context, const std::string& certificate,
                                           const std::string& key) {
  if (const std::string why = conf::why_not_readable(certificate); !why.empty())
    return std::unexpected("certificate " + certificate + " cannot be read: " + why);
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return std::unexpected("certificate " + certificate +
                           " is no PEM certificate chain: " + text_of_error());
  if (const std::string why = conf::why_not_readable(key); !why.empty())
    return std::unexpected("key " + key + " cannot be read: " + why);
  // A key with a passphrase would ask for it on the terminal.
  SSL_CTX_set_default_passwd_cb(context, [](char*, int, int, void*) { return -1; });
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const bool is_other_pair = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
    const std::string why = text_of_error();
    if (is_other_pair)
      return std::unexpected("key " + key + " does not belong to certificate " + certificate);
    return std::unexpected("key " + key + " is no PEM private key without a passphrase: " + why);
  }
  if (SSL_CTX_check_private_key(context) != 1)
    return std::unexpected("key " + key + " does not belong to certificate " + certificate + ": " +
                           text_of_error());
  return {};
}

bool may_stand_in(X509* other, X509* one) {
  if (EVP_PKEY_get_base_id(X509_get0_pubkey(other)) == EVP_PKEY_get_base_id(X509_get0_pubkey(one)))
    return false;
  const auto wanted = names_of(one), had = names_of(other);
  return !wanted.empty() && std::ranges::includes(had, wanted);
}

std::string why_not_valid_now(const X509* certificate) {
  if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
    return "has expired: " + text_of_time(X509_get0_notAfter(certificate));
  if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
    return "is not valid yet: " + text_of_time(X509_get0_notBefore(certificate));
  return {};
}

std::int64_t first_end_of(const STACK_OF(X509) * chain) {
  std::int64_t end = end_of(sk_X509_value(chain, 0));
  for (int i = 1; i < sk_X509_num(chain); ++i) end = std::min(end, end_of(sk_X509_value(chain, i)));
  return end;
}

}  // namespace classgate::proxy::net
