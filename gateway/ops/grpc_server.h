#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/grpc_refusal.h"
#include "proxy/wire/http2_session.h"

namespace classgate::gateway {

// How a call ends; the message of its answer, or why there is none.
struct GrpcAnswer {
  static constexpr unsigned ok = 0;
  static constexpr unsigned invalid_argument = 3;
  unsigned status = ok;  // google.rpc.Code
  std::string text{};    // of a message its bytes, else what is wrong in plain ASCII
  bool goes_on = false;  // more messages come
};

// One connection of a client of gRPC, by HTTP/2 with prior knowledge (RFC 9113 section 3.3), as
// bytes in and bytes out: no socket and no clock. A call has one message of 64 KiB at most, without
// compression. Bounds: calls_max at once, requests_max in all, then GOAWAY. Not thread-safe.
class GrpcServer final : private proxy::wire::Http2Session::Handler {
 public:
  struct Request {
    std::string path;
    std::string authorization;
    std::string message;
  };
  class Owner {
   public:
    // Within receive(): a call is whole.
    virtual GrpcAnswer on_call(const Request& request) = 0;

   protected:
    ~Owner() = default;
  };

  static constexpr std::uint32_t calls_max = 16;
  static constexpr std::uint32_t requests_max = 100'000;
  static constexpr std::size_t message_max = 64 * 1024;
  // What tells that a client begins so.
  static bool is_begun_by(std::string_view first_bytes);

  explicit GrpcServer(Owner& owner);
  ~GrpcServer();

  // False: what output() gives is the last.
  bool receive(std::string_view bytes);
  // What is to be written now. False: that is the last.
  bool output(std::string& bytes);
  // One more message for each call to that path whose answer goes on.
  void send(std::string_view path, std::string_view message);
  // There is such a call.
  bool goes_on() const;
  // No more calls, please; what has come is answered.
  void go_away() { session_.go_away(proxy::wire::Http2Error::none); }

 private:
  class Call;
  void on_frame(const proxy::wire::Http2Session::Frame&) override {}
  proxy::wire::Http2Session::Stream* begin_stream(proxy::wire::Http2StreamId id) override;
  void on_window_update(std::uint32_t) override {}
  void on_ping_answered() override {}
  void on_reset_sent(proxy::wire::Http2Error) override {}

  Owner& owner_;
  std::string* gathered_ = nullptr;  // within output()
  std::uint32_t requests_ = 0;
  bool has_failed_ = false;
  std::map<proxy::wire::Http2StreamId, std::unique_ptr<Call>> calls_;
  std::unique_ptr<Call> gone_;  // the last, which is still within a call of its own
  proxy::wire::Http2Session session_;
};

}  // namespace classgate::gateway
