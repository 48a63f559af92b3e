#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "gateway/client_stream.h"
#include "proxy/net/gather.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

class RateTexts;
class Refusals;

// HTTP/1 of one answer: how it is framed for this client, and whether the connection goes on after
// it (RFC 9112 sections 6, 7.1 and 9.3). Writes into a Gather and sends nothing. On the loop; a few
// bytes, kept by every connection.
class Http1Answer {
 public:
  // --- Of the request. ---
  // `skipped_max`: a body of that many bytes is rather read and thrown away than waited for by
  // closing the connection. `is_last`: the connection takes no more requests.
  void begin(const proxy::wire::Head& request, bool body_is_here, std::uint64_t skipped_max,
             bool is_last);
  // Where the next message begins is anybody's guess.
  void begin_unreadable();
  void note_body() { waits_for_continue_ = false; }
  void note_request_end() { request_is_whole_ = true; }

  // --- What is said. ---
  struct Circumstances {
    std::string_view date;            // IMF-fixdate
    bool closes = false;              // the gateway drains, say: the client has to come anew
    RateTexts* rate_texts = nullptr;  // the loop's; null: none
  };
  void put_interim(const proxy::wire::Head& head, proxy::net::Gather& to) const;
  void put_switch(const proxy::wire::Head& head, proxy::net::Gather& to);
  void put_head(const proxy::wire::Head& head, proxy::wire::Framing framing,
                std::string_view request_id, const Circumstances& now, proxy::net::Gather& to);
  void put_body(std::string_view part, proxy::net::Gather& to) const;
  void put_end(const std::vector<proxy::wire::Parser::Trailer>& trailers,
               proxy::net::Gather& to) const;
  void put_refusal(const Refusals& texts, const Refusal& refusal, bool says_rate_limit,
                   const Circumstances& now, proxy::net::Gather& to);
  void put_own(const OwnAnswer& answer, const Circumstances& now, proxy::net::Gather& to);

  // --- After it. ---
  bool keeps_connection() const { return !closes_; }
  // Only the end of the connection tells where it ends: closed in order it would look whole.
  bool ends_with_connection() const { return framing_ == proxy::wire::Framing::until_close; }

 private:
  bool is_http_1_0() const { return minor_version_ == 0; }

  std::uint8_t minor_version_ = 1;                             // the client's
  proxy::wire::Framing framing_ = proxy::wire::Framing::none;  // of the answer, once it has a head
  bool closes_ = false;
  bool may_skip_body_ = false;       // of the request
  bool waits_for_continue_ = false;  // the client sends its body when it hears 100 Continue
  bool body_was_here_ = false;       // in the read that brought the head
  bool request_is_whole_ = false;
};

}  // namespace classgate::gateway
