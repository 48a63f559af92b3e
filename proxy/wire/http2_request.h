#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/http2_session.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy::wire {

// The fields of a request as HTTP/2 sends them, made of the head that append_request_head() has
// written. Views of that, and of what is made here, until the next of these. Keeps its memory. On
// one thread.
class Http2Request {
 public:
  struct Facts {
    bool is_encrypted = false;   // by TLS, between us and the server
    std::string_view authority;  // of the server; where the head names no host
    bool says_length = false;
    std::uint64_t length = 0;
    std::string_view never_indexed = {};  // UpstreamStream::Request
  };
  // What only a connection of HTTP/1 knows is left out. Of gRPC it is said that trailers are taken:
  // its servers insist on that (its protocol over HTTP/2, "Request-Headers").
  void take(std::string_view head, const Facts& facts);
  void take_trailers(const std::vector<Parser::Trailer>& trailers);

  const std::vector<Http2Field>& list() const { return list_; }

 private:
  void take_line(std::string_view line);
  bool is_never_indexed(std::string_view name) const;

  std::vector<Http2Field> list_;
  std::string length_;
  std::string_view host_;
  std::string_view never_indexed_;
  bool is_grpc_ = false;
};

}  // namespace classgate::proxy::wire
