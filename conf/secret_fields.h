#pragma once

#include <string>
#include <string_view>

namespace classgate::conf {

// A token (RFC 9110 section 5.1) of at most 128 characters.
bool is_field_name(std::string_view name);
// The name of a field for a comparison: in lower case, and '-' for whatever is no letter and no
// digit, as services behind gateways read it ("X_Api_Key" is "X-Api-Key" for CGI, RFC 3875 section
// 4.1.18, and its heirs).
std::string plain_field_name(std::string_view name);
// What in the name of a field says that its value may be a secret, such as "token" in
// "X-Access-Token" or "apikey" in "XApiKey"; empty: nothing. "tokens" counts them, and an
// Idempotency-Key opens nothing.
std::string secret_word_in(std::string_view name);
// A path as pages, logs and lists of changes show it: the values of its query, which may be
// secrets, are "***". Of "/health?key=a&b" it is "/health?key=***&***".
std::string without_query_values(std::string_view path);

}  // namespace classgate::conf
