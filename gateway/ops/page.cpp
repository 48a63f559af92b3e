#include "gateway/ops/page.h"

#include <cstdint>
#include <string>
#include <string_view>

#include "conf/format.h"
#include "conf/sha256.h"
#include "gateway/ops/page_text.h"

namespace classgate::gateway {
namespace {

// RFC 4648 section 4.
std::string base64_of(const conf::Sha256& hash) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < hash.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = i; k < i + 3; ++k) bits = bits << 8 | (k < hash.size() ? hash[k] : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k > hash.size() ? '=' : digits[bits >> (18 - 6 * k) & 63];
  }
  return text;
}

// Of what stands between the first `open` and the `close` behind it.
std::string hash_of(std::string_view open, std::string_view close) {
  const std::size_t begin = page_text.find(open) + open.size();
  return base64_of(conf::sha256(page_text.substr(begin, page_text.find(close, begin) - begin)));
}

std::string make_fields() {
  return fmt::format(
      "Content-Security-Policy: default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; "
      "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
      "frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: "
      "no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
      "Cross-Origin-Resource-Policy: same-origin\r\n",
      hash_of("<script>", "</script>"), hash_of("<style>", "</style>"));
}

}  // namespace

OperatorServer::Reply the_page() {
  static const std::string fields = make_fields();
  return {
      .content_type = "text/html; charset=utf-8", .body = std::string(page_text), .fields = fields};
}

}  // namespace classgate::gateway
