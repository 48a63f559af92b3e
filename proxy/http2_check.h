#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http1_upstream.h"
#include "proxy/http2_upstream_connection.h"
#include "proxy/upstream_stream.h"

namespace classgate::proxy {

class UpstreamPool;

// One question of a ServerCheck by HTTP/2, on a connection of its own: GET upstream.check.path, or
// grpc.health.v1.Health/Check for the server as a whole (gRPC's health checking protocol). Owned by
// the check; retired when its answer has come or is not waited for any more.
class Http2Check final : public net::Retirable,
                         private UpstreamStream::Listener,
                         private UpstreamStream::Reader,
                         private Http2UpstreamConnection::Owner {
 public:
  class Asker {
   public:
    // Once. `why` is empty when the server is well.
    virtual void on_http2_answer(const std::string& why) = 0;
    // Once, instead: the server speaks HTTP/1 (ALPN).
    virtual void on_http1_instead() = 0;

   protected:
    ~Asker() = default;
  };

  Http2Check(UpstreamPool& pool, Asker& asker, std::size_t server);
  // Once. Returns an errno value, or 0.
  int ask();
  // Its asker hears nothing any more.
  void stop();

 private:
  // UpstreamStream::Listener
  void on_answer_head(const wire::Head& head, wire::Framing framing) override;
  void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) override;
  void on_lost(const UpstreamStream::Loss& loss) override;
  // UpstreamStream::Reader
  void on_interim_answer(const wire::Head&) override {}
  void on_switched(const wire::Head&) override {}
  void on_answer_body(std::string_view part) override;
  void on_answer_part_end() override {}
  void on_server_ended() override {}
  bool is_answer_blocked() override { return false; }
  void on_upload_drained() override {}
  void on_fault() override;
  // Http2UpstreamConnection::Owner
  void on_stream_over(Http2UpstreamConnection&, const Http2Upstream&) override {}
  void on_http1_chosen(std::unique_ptr<UpstreamConnection> connection) override;
  void on_connection_over(Http2UpstreamConnection& connection) override;

  void answer(const std::string& why);

  UpstreamPool& pool_;
  Asker* asker_;  // null: it has heard
  const std::size_t server_;
  const bool is_grpc_;
  std::string head_;
  std::string body_;         // of gRPC: its first bytes
  std::string grpc_status_;  // as the head says it, or the trailers
  int status_ = 0;
  bool chose_http1_ = false;
  UpstreamStream* stream_ = nullptr;  // null: not asked, or over
  std::unique_ptr<Http2UpstreamConnection> connection_;
};

// What an answer to grpc.health.v1.Health/Check says: empty when it is SERVING. `body`: the message
// with its prefix, or as much of it as there is.
std::string why_not_serving(std::string_view grpc_status, std::string_view body);

}  // namespace classgate::proxy
