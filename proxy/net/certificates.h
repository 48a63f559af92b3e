#pragma once

// Certificates and their keys, apart from the connections that use them.

#include <openssl/ssl.h>

#include <cstdint>
#include <expected>
#include <string>

namespace classgate::proxy::net {

// What OpenSSL says of what went wrong last on this thread; forgets it.
std::string text_of_error();

// From two PEM files into a context. The error names the file, and what is wrong with it.
std::expected<void, std::string> load_pair(SSL_CTX* context, const std::string& certificate,
                                           const std::string& key);

// Whether `other` is for all the names of `one` and has a key of another kind (ECDSA, RSA). When
// one context has both, OpenSSL chooses by what the client supports.
bool may_stand_in(X509* other, X509* one);

// Empty when it is valid now.
std::string why_not_valid_now(const X509* certificate);

// When the first of them ends, in seconds since 1970. Of a chain that is not empty.
std::int64_t first_end_of(const STACK_OF(X509) * chain);

}  // namespace classgate::proxy::net
