#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// What the head of a request says of its sender, by the sources that anybody can fill in: header,
// bearer, basic, cookie, query. Needs no memory but its own; the head outlives it.
class Credentials {
 public:
  explicit Credentials(const proxy::wire::Head& head) : head_(head) {}

  // It is there twice, or so that we do not read it and the service may ("X_Api_Key"): we would
  // believe one, and the service another.
  bool is_ambiguous(const conf::IdentitySource& source) const;
  // Connection names the field where it stands, so the service does not get it (RFC 9110 section
  // 7.6.1): whom we know by it would be nobody there, or somebody else.
  bool is_withheld(const conf::IdentitySource& source) const;
  // Empty: it is not there, or not to be read. Good until the next one is asked for.
  std::string_view value(const conf::IdentitySource& source);

 private:
  static constexpr std::size_t decoded_max = 1024;
  std::string_view basic_user(std::string_view text);
  std::string_view decoded(std::string_view text);

  const proxy::wire::Head& head_;
  std::array<char, decoded_max> room_;
};

// Whether a parameter of a query, as it is written, has this name to a service that may not mind
// case.
bool is_nearly_parameter(std::string_view written, std::string_view name);

// What WWW-Authenticate says to who is not known (RFC 9110 section 11.6.1): how to say who one is.
// For keys in fields, cookies and queries no scheme is registered: "ApiKey" says where. Nor for
// certificates of TLS ("Certificate"), nor where nothing that one could send tells ("Address"): a
// 401 must say something, and who does not know the scheme asks nobody for a password. A token
// stands in `token_place` (jwt.from); `has_bad_token`: one that was not believed.
std::string challenge_of(
    const std::vector<conf::IdentitySource>& sources,
    const conf::IdentitySource& token_place = {.kind = conf::IdentitySource::Kind::bearer},
    bool has_bad_token = false);

}  // namespace classgate::gateway
