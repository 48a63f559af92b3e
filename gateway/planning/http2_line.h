#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/simulation/traffic.h"
#include "gateway/planning/question.h"
#include "proxy/wire/http2_answer_head.h"
#include "proxy/wire/http2_session.h"

namespace classgate::planning {

// HTTP/2 on one connection that `classgate load` has opened: requests in, answers out, as bytes.
// Who reads and writes them tells its requests apart by numbers of his own. One thread.
class Http2Line final : private proxy::wire::Http2Session::Handler {
 public:
  // What became of a request.
  struct Answer {
    std::uint32_t call = 0;
    int status = 0;               // of HTTP; 0: none came
    int grpc_status = none;       // of a call of gRPC
    simulation::Ending ending{};  // where it has a status
    bool was_not_taken = false;   // REFUSED_STREAM, or beyond the last of GOAWAY: it may go again
    static constexpr int none = -1;
  };

  // `streams`: requests at once, at most; the other side may allow fewer.
  Http2Line(std::uint32_t streams, bool calls_grpc);
  ~Http2Line();

  // Requests that it takes now.
  std::size_t room() const;
  // Fields but the pseudo ones. False: no more of them can go on this connection, ever.
  bool ask(std::uint32_t call, const Question& question, std::string_view authority,
           const std::vector<RequestField>& fields);
  // Nobody waits for it any more.
  void leave(std::uint32_t call);

  // False: what came is no HTTP/2, or breaks its rules.
  bool receive(std::string_view bytes);
  // Appends what is to be sent. False as for receive().
  bool take_output(std::string& out);
  // Those that have ended since the last call.
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }
  // All that it still has, when the connection ends.
  std::vector<std::uint32_t> calls() const;

 private:
  class Call;
  // Http2Session::Handler
  void on_frame(const proxy::wire::Http2Session::Frame&) override {}
  proxy::wire::Http2Session::Stream* begin_stream(proxy::wire::Http2StreamId) override {
    return nullptr;
  }
  void on_window_update(std::uint32_t) override {}
  void on_ping_answered() override {}
  void on_go_away(proxy::wire::Http2StreamId, proxy::wire::Http2Error) override {
    is_going_away_ = true;
  }
  void on_reset_sent(proxy::wire::Http2Error) override {}

  void end(Call& call, Answer answer);

  const std::uint32_t streams_;
  const bool calls_grpc_;
  bool is_going_away_ = false;
  std::string out_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Answer> answers_;
  proxy::wire::Http2AnswerHead head_;
  proxy::wire::Http2Session session_;  // last: it tells the others
};

}  // namespace classgate::planning
