#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/parser.h"

namespace classgate::proxy {

// One request on its way to one server, and the answer to it, whichever HTTP carries them. Opened
// by UpstreamPool::open(); used by a Forwarding, which decides what becomes of a request that was
// lost. It is over with on_answer_end(), a final on_lost() or cancel(): nothing may be asked of it
// then. On the loop.
class UpstreamStream {
 public:
  // What to send. The views must stay valid until the answer begins or the stream is over.
  struct Request {
    std::string_view head;  // without framing (wire::append_request_head)
    // Names of its fields that no hop may index (RFC 7541 section 7.1.3), a '\n' behind each.
    std::string_view never_indexed = {};
    std::string_view body;  // what is there of it
    bool is_whole = true;   // nothing more will come
    wire::Framing framing = wire::Framing::none;
    std::uint64_t length = 0;  // with Framing::length
    bool is_idempotent = false;
    bool is_head_method = false;
    bool wants_websocket = false;
    bool lacks_host = false;       // the server's own name is said
    bool needs_isolation = false;  // it has been lost with a connection that others shared
    const std::vector<wire::Parser::Trailer>* trailers = nullptr;
  };

  // In which HTTP it goes; `none`: not at all, yet.
  enum class Carrier : std::uint8_t { none, http1, http2 };
  // Whether the server took a request to which no answer came.
  enum class Taken : std::uint8_t { no, perhaps, not_known_yet };
  enum class Lost : std::uint8_t {
    unreachable,     // it could not be connected to: nothing of the request was sent
    elsewhere,       // it needs another connection, no fault of the server's: nothing was sent
    broken,          // no answer, or one that is none
    head_too_large,  // broken, too
  };
  struct Loss {
    Lost what = Lost::broken;
    std::string why;
    int error = 0;  // errno; of one that is unreachable
    Taken taken = Taken::perhaps;
    bool answer_has_begun = false;
    // With its connection, and all that shared it: any of these may be the reason.
    bool with_connection = false;
    // This one alone, on a connection that stays (REFUSED_STREAM): the server may have too much.
    bool was_declined = false;
  };

  // Whoever the answer is for. None of these may destroy the stream.
  class Reader {
   public:
    virtual void on_interim_answer(const wire::Head& head) = 0;
    // The server agrees to WebSocket: what comes from now on, as the answer's body, and what goes
    // by send_raw(), is no HTTP. May cancel().
    virtual void on_switched(const wire::Head& head) = 0;
    virtual void on_answer_body(std::string_view part) = 0;
    // All parts of one read have been handed over: time to write them out.
    virtual void on_answer_part_end() = 0;
    // Of a tunnel: the server has said its last, and may still hear. The answer ends when the
    // client has, too (end_raw()), or the server is gone.
    virtual void on_server_ended() = 0;
    // Whether the answer must stop for now; resume() goes on.
    virtual bool is_answer_blocked() = 0;
    // The server has taken what was given: more of the body may come.
    virtual void on_upload_drained() = 0;
    // An exception came out of one of these or of the stream, which is to be cancelled.
    virtual void on_fault() = 0;

   protected:
    ~Reader() = default;
  };

  // Whoever is responsible for the request. None of these may destroy the stream.
  class Listener {
   public:
    virtual void on_answer_head(const wire::Head& head, wire::Framing framing) = 0;
    virtual void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) = 0;
    // Final, but for Taken::not_known_yet: then await_proof() or cancel() is to follow at once.
    virtual void on_lost(const Loss& loss) = 0;

   protected:
    ~Listener() = default;
  };

  virtual void send(const Request& request) = 0;
  // More of a body that was not whole.
  virtual void send_body(std::string_view part) = 0;
  virtual void end_body(const std::vector<wire::Parser::Trailer>& trailers) = 0;
  // After on_switched(). end_raw(): the client has said its last; what the server still says goes
  // on.
  virtual void send_raw(std::string_view bytes) = 0;
  virtual void end_raw() = 0;
  // Bytes that the server has not taken.
  virtual std::size_t pending() const = 0;
  // The server may have all of the request.
  virtual bool request_is_sent() const = 0;
  // The client can take more of the answer.
  virtual void resume() = 0;
  // Whether it was taken will be known soon: a final on_lost() tells, within a second.
  virtual void await_proof() = 0;
  // Ends it now; nobody is told.
  virtual void cancel() = 0;
  // Nobody waits for the answer any more, which is too late.
  virtual void note_late() {}
  // Bytes of memory, beside itself.
  virtual std::size_t held_bytes() const = 0;

 protected:
  ~UpstreamStream() = default;
};

}  // namespace classgate::proxy
