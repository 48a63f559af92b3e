#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/fields.h"
#include "proxy/wire/message.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy::wire {

// What the gateway knows of a request and tells the upstream.
struct RequestFacts {
  std::string_view target;  // origin form, as judged
  std::string_view host;
  std::string_view client;  // address without port, of whoever sent it to us
  std::string_view request_id;
  bool is_encrypted = false;             // by TLS, between the client and us
  std::string_view client_subject = {};  // of its certificate, verified; empty: none
  bool wants_websocket = false;
  bool sender_is_trusted = false;           // what it says of its own client is believed
  const FieldNames* also_claims = nullptr;  // further fields that only a trusted sender may say
  std::string_view via_name = "classgate";  // who we are in Via (RFC 9110 section 7.6.3)
};

// The request line and fields for the upstream, without framing and without the empty line:
// hop-by-hop fields, framing and Expect dropped, one Host, X-Forwarded-For, -Proto and -Host, Via
// and X-Request-Id added. From a trusted sender X-Forwarded-For and Forwarded (RFC 7239) are
// appended to and the rest of what it says of its client is kept; from any other it is dropped.
// Always HTTP/1.1 and keep-alive. A request that lacks_host() gets none: whoever sends it on says
// whom it asks. Heads are as a Parser has read them, but for fields that were
// left out or came by Head::add(): Head::size bounds what is written.
inline bool lacks_host(const Head& request, const RequestFacts& facts) {
  return facts.host.empty() && !request.has(set_of(FieldId::host));  // HTTP/1.0 may
}
void append_request_head(std::string& out, const Head& request, const RequestFacts& facts);

// A TRACE as it came, for who sent it (RFC 9110 section 9.3.8), without what is secret.
void append_trace(std::string& out, const Head& request);

struct AnswerFacts {
  Framing framing = Framing::none;  // towards this client
  std::uint64_t content_length = 0;
  bool says_length = false;  // also where no body follows (HEAD, 304)
  bool close = false;
  bool says_keep_alive = false;  // HTTP/1.0 clients must be told
  std::string_view request_id;
  std::string_view date;  // said when the upstream did not (RFC 9110 section 6.6.1)
};

// The whole head of an answer for the client, empty line included.
void append_answer_head(std::string& out, const Head& answer, const AnswerFacts& facts);
// The answer that switches to WebSocket (RFC 6455 section 4.2.2).
void append_switch_head(std::string& out, const Head& answer);
// An interim (1xx) answer passed on.
void append_interim_head(std::string& out, const Head& answer);

// The fields that frame a body, with the empty line that ends the head.
void append_length_framing(std::string& out, std::uint64_t length);
void append_chunked_framing(std::string& out);
inline constexpr std::string_view no_framing = "\r\n";

// "1f\r\n" before the data of a chunk; after it goes crlf.
void append_chunk_size(std::string& out, std::size_t size);
inline constexpr std::string_view crlf = "\r\n";
// The last chunk, with trailers.
void append_last_chunk(std::string& out, const std::vector<Parser::Trailer>& trailers);

}  // namespace classgate::proxy::wire
