#include "proxy/net/websocket_handshake.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <span>
#include <stdexcept>

namespace classgate::proxy::net {
namespace {

std::string base64_of(std::span<const unsigned char> bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  auto* const out = reinterpret_cast<unsigned char*>(text.data());
  // It writes a null character behind the text, where a string has one.
  EVP_EncodeBlock(out, bytes.data(), static_cast<int>(bytes.size()));
  return text;
}

}  // namespace

WebSocketHandshake::WebSocketHandshake() {
  std::array<unsigned char, 16> nonce;  // RFC 6455 section 4.1
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1)
    throw std::runtime_error("no randomness for a key of WebSocket");
  key_ = base64_of(nonce);
}

bool WebSocketHandshake::is_answered_by(std::string_view accept) const {
  const std::string said = key_ + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(said.data()), said.size(), digest.data());
  return base64_of(digest) == accept;
}

}  // namespace classgate::proxy::net
