#pragma once

#include <memory>
#include <string>

#include "proxy/http2_check.h"
#include "proxy/net/stream.h"
#include "proxy/net/timeout_list.h"
#include "proxy/wire/parser.h"

namespace classgate::proxy {

class UpstreamPool;

// Finds out how a server is without anybody's request, over a connection of its own.
//   probe: can it be connected to (TLS included)? Asks until it can, and is gone then.
//   check: does it answer GET upstream.check.path with a status from 200 to 399? Asks for ever;
//          `fall` failures in a row make it unreachable, `rise` successes reachable again. One that
//          is only late is no failure of a server that has answered a request since it was asked,
//          or that is the last one up and at work: it is busy, and without it there is none.
// A server that speaks HTTP/2 is asked by that (http2_check.h), also as gRPC's health protocol has
// it (upstream.check.grpc).
// What is still to come of an answer is read, so that the connection ends without a reset.
// Owned by the pool.
class ServerCheck final : public net::Retirable,
                          private net::Stream::Handler,
                          private Http2Check::Asker {
 public:
  enum class Kind : std::uint8_t { probe, check };
  ServerCheck(UpstreamPool& pool, std::size_t server, Kind kind);

 private:
  static void on_timeout(void* self);
  void on_readable() override;
  void on_drained() override;
  void on_fault() override;
  void on_http2_answer(const std::string& why) override { conclude(why); }
  void on_http1_instead() override;
  void on_due();
  void ask();
  void ask_by_http1();
  void ask_by_http2();
  void end_http2();
  void read_answer();
  void read_rest();
  void on_late();
  // `why` is empty when it is well.
  void conclude(const std::string& why);

  UpstreamPool& pool_;
  const std::size_t server_;
  const Kind kind_;
  unsigned passes_ = 0;    // in a row
  unsigned failures_ = 0;  // in a row
  wire::Parser parser_;
  std::string answer_;
  net::Time asked_at_{};
  net::Timeout timeout_;               // of the answer, then until the next question
  std::unique_ptr<Http2Check> http2_;  // while its answer is waited for
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<net::Stream> retired_stream_;
};

}  // namespace classgate::proxy
