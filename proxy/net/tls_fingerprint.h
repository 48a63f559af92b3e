#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

struct evp_md_ctx_st;
struct ssl_ctx_st;
struct x509_st;

namespace classgate::proxy::net {

// What a session was made under: which certificates are shown, whether and by whom the other side
// is verified. One that was made under another is not resumed: nothing is verified again then.
using SessionContext = std::array<unsigned char, 32>;

// SHA-256 over the parts, each with its size before it. All throw when there is no memory.
class TlsFingerprint {
 public:
  TlsFingerprint();
  void add(std::string_view part);
  void add_number(int number);
  // The certificates that may be shown, with their chains.
  void add_own_chain(ssl_ctx_st* context);
  // Whom it believes, as it was loaded (not the file, which may be another one by now): authorities
  // and what they have revoked, in any order.
  void add_trust(const ssl_ctx_st* context);
  SessionContext finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// When it ends, in seconds since 1970; 0: it says nothing that can be read.
std::int64_t end_of(const x509_st* certificate);

}  // namespace classgate::proxy::net
