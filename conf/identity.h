#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "conf/document.h"
#include "conf/settings.h"
#include "conf/sha256.h"

// What tells clients apart (fairness.identity, a listener's and a route's), and how a [[plan]]
// names one of its clients by it.

namespace classgate::conf {

// "header:NAME", "bearer", "basic", "cookie:NAME", "query:NAME", "jwt:CLAIM", "tls", "tls:san",
// "address", or "address/24/56" with the prefix lengths by which a client is known in IPv4 and
// IPv6.
std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words);
// The value of an `identity` in a table.
std::expected<std::vector<IdentitySource>, std::string> parse_identity_list(const RawValue& raw);
std::string word_of(const IdentitySource& source);
std::string print_identity(const std::vector<IdentitySource>& identity);

// A client of a plan, by what tells who it is: "header:NAME:KEY", "bearer:TOKEN", "basic:USER",
// "cookie:NAME:KEY", "query:NAME:KEY", "tls:SUBJECT" or "address:IP", which may be a network. A key
// may be given by its hash, as sha256:HEX. Without such a word it is what the only source finds,
// when there is only one and it can't be taken for an address. The error does not repeat it: it may
// be a secret.
struct PlanClient {
  IdentitySource source;
  std::string name = {};  // a certificate's subject
  Sha256 key{};           // of what carries_key()
  Network network{};      // of an address
  // As it may be shown, and read again: a key by its hash.
  std::string text() const;
};
std::expected<PlanClient, std::string> read_plan_client(const std::string& text,
                                                        const std::vector<IdentitySource>& sources);
// What "tls:san" takes of a certificate, as it is compared: a DNS name, which is neither a URI nor
// a mail address, is the same in any case (RFC 4343).
std::string plain_alternative_name(std::string_view name);
// Where the token stands of which "jwt:CLAIM" says a claim: "bearer", "header:NAME" or
// "cookie:NAME".
std::expected<IdentitySource, std::string> parse_token_place(const std::string& word);
// All that tell clients apart, of [fairness], of every listener and of every route.
std::vector<IdentitySource> identity_sources(const Settings& settings);
// An "address" without bits is known by those that `from` says: one host would be two clients.
void inherit_prefix(std::vector<IdentitySource>& identity, const std::vector<IdentitySource>& from);
void add_sources(std::vector<IdentitySource>& to, const std::vector<IdentitySource>& more);

}  // namespace classgate::conf
