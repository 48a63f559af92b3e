#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admission/verdict.h"
#include "conf/network.h"
#include "gateway/clients/client_identity.h"
#include "proxy/net/tls_session.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

class Refusals;

// Who sends the requests of one connection.
struct ClientFacts {
  conf::IpAddress ip;   // the other end, or whom its PROXY header named
  std::string address;  // the same as text
  std::shared_ptr<const ClientIdentities::Listener> listener = nullptr;  // where it connected
  const proxy::net::TlsSession* tls = nullptr;  // null without TLS, or not yet
  bool is_trusted = false;                      // what it says of its own clients is believed
  bool speaks_http2 = false;
  bool calls_grpc = false;  // its request is a call: what is not 200 would tell it nothing
  // Of its certificate, as of the last head: a reload, or time, may have made it worth nothing.
  proxy::net::TlsProof proof = proxy::net::TlsProof::good;

  // Whose certificate says who it is; null: none does.
  const proxy::net::TlsSession* proven() const {
    return proof == proxy::net::TlsProof::good ? tls : nullptr;
  }
};

// What the gateway says in the service's place, in full.
struct Refusal {
  const admission::Rejection& rejection;
  std::string_view request_id;
  std::string_view allow;         // methods; for method_refused
  std::string_view own_fields;    // further lines, each with its CRLF
  std::uint64_t cost = 0;         // of a quota's unit; for quota
  bool without_body = false;      // HEAD
  bool has_bad_token = false;     // unknown_client, by its token
  bool gives_up_request = false;  // no byte more of it is wanted, small as it may be
};
struct OwnAnswer {
  struct Field {
    std::string_view name;
    std::string_view value;
  };
  int status = 200;
  std::span<const Field> fields;
  std::string_view body;
  bool without_body = false;  // HEAD; its length is said all the same
};

// What an Exchange may say to its client: one request and its answer, whichever HTTP carries them.
// The Exchange decides what is answered; how that is framed, and whether the connection goes on
// after it, is decided behind this. What is said is written with the next flush(), all at once. On
// the loop; none of these destroys the exchange or the stream, and only finish() begins another
// exchange.
class ClientStream {
 public:
  const ClientFacts& client() const { return facts_; }

  // --- The answer, in this order. ---
  virtual void send_interim(const proxy::wire::Head& head) = 0;  // any number; 1xx but 100 and 101
  // `framing`: how the service frames the body that follows, or none.
  virtual void send_head(const proxy::wire::Head& head, proxy::wire::Framing framing,
                         std::string_view request_id) = 0;
  // `part` must stay where it is until flush().
  virtual void send_body(std::string_view part) = 0;
  virtual void send_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) = 0;
  // Instead of all of these. They flush.
  virtual void send_refusal(const Refusals& texts, const Refusal& refusal) = 0;
  virtual void send_own(const OwnAnswer& answer) = 0;
  virtual void flush() = 0;
  // All has been said, and the exchange has forgotten this stream.
  virtual void finish() = 0;

  // --- Or its other ends. ---
  // The answer can't be completed: the client sees that, and where its protocol has words for it
  // hears why. The exchange is forgotten.
  virtual void cut(conf::Reason why) = 0;
  // The same, with all that the client has not taken yet, and its connection with it.
  virtual void reset() = 0;

  // --- A tunnel (WebSocket): what comes from now on is for Exchange::on_tunnel_bytes(). ---
  // False, and nothing has been said: the service has not agreed to what it was asked for.
  [[nodiscard]] virtual bool begin_tunnel(const proxy::wire::Head& head) = 0;
  // The service has said its last; so has the gateway, when the client has taken all of it.
  virtual void end_tunnel_output() = 0;

  // --- Flow control. ---
  // A worker takes the body as it comes: more of it may be read (Exchange::wants_body()).
  virtual void stream_body() = 0;
  struct Progress {
    std::size_t pending = 0;  // bytes that the client has not taken
    std::uint64_t taken = 0;  // and those that it has, since the connection began
  };
  virtual Progress progress() const = 0;

 protected:
  ~ClientStream() = default;
  ClientFacts facts_;
};

}  // namespace classgate::gateway
