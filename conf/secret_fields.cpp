#include "conf/secret_fields.h"

#include <algorithm>
#include <array>

namespace classgate::conf {
namespace {

// Alone between dashes: they begin or end harmless secret_words too.
constexpr auto secret_words = std::to_array<std::string_view>(
    {"auth",  "authentication", "authorization", "bearer", "cert",   "certificate", "certs",
     "creds", "dpop",           "hmac",          "jwt",    "jwts",   "key",         "keys",
     "otp",   "pass",           "passphrase",    "pwd",    "saml",   "sid",         "sig",
     "totp",  "assertion",      "certificates",  "oauth",  "oauth2", "pin",         "pincode"});
// Also as the end of a word ("accesstoken", "secretkey").
constexpr auto endings =
    std::to_array<std::string_view>({"apikeys", "auth", "jwt", "key", "token"});
// Anywhere in a word ("sessionid", "clientsecret").
constexpr auto parts = std::to_array<std::string_view>(
    {"apikey", "authoriz", "cookie", "credential", "csrf", "passcode", "passwd", "password",
     "secret", "session", "signature", "xsrf"});
constexpr auto harmless = std::to_array<std::string_view>({"idempotency-key", "x-idempotency-key"});

bool is_secret(std::string_view word) {
  return std::ranges::find(secret_words, word) != secret_words.end() ||
         std::ranges::any_of(endings, [&](auto ending) { return word.ends_with(ending); }) ||
         std::ranges::any_of(parts, [&](auto part) { return word.contains(part); });
}

}  // namespace

bool is_field_name(std::string_view name) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           others.contains(c);
  });
}

std::string plain_field_name(std::string_view name) {
  std::string plain(name);
  for (char& c : plain) {
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c + 32);
    else if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
      c = '-';
  }
  return plain;
}

std::string secret_word_in(std::string_view name) {
  const std::string plain = plain_field_name(name);
  if (std::ranges::find(harmless, plain) != harmless.end()) return {};
  for (std::size_t begin = 0; begin < plain.size();) {
    const std::size_t end = std::min(plain.find('-', begin), plain.size());
    if (const std::string word = plain.substr(begin, end - begin); is_secret(word)) return word;
    begin = end + 1;
  }
  return {};
}

std::string without_query_values(std::string_view path) {
  const std::size_t query = path.find('?');
  if (query == std::string_view::npos) return std::string(path);
  std::string shown(path.substr(0, query + 1));
  for (std::string_view rest = path.substr(query + 1); !rest.empty();) {
    const std::string_view one = rest.substr(0, rest.find('&'));
    const std::size_t equals = one.find('=');
    if (equals != std::string_view::npos) shown += one.substr(0, equals + 1);
    if (!one.empty() && equals != one.size() - 1) shown += "***";
    rest.remove_prefix(one.size());
    if (rest.empty()) break;
    shown += '&';
    rest.remove_prefix(1);
  }
  return shown;
}

}  // namespace classgate::conf
