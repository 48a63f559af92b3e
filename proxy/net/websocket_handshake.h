#pragma once

#include <string>
#include <string_view>

namespace classgate::proxy::net {

// A client's part of the opening handshake of WebSocket, for clients whose protocol has none
// (RFC 8441 section 5): the key that is asked with, and whether an answer was made for that key and
// not for another one, or for none by a cache (RFC 6455 section 1.3). Any thread.
class WebSocketHandshake {
 public:
  // A key that nobody can foresee. Throws std::runtime_error where there is no randomness.
  WebSocketHandshake();
  // Sec-WebSocket-Key: 24 characters.
  const std::string& key() const { return key_; }
  // By its Sec-WebSocket-Accept; empty: it has none.
  bool is_answered_by(std::string_view accept) const;

 private:
  std::string key_;
};

}  // namespace classgate::proxy::net
