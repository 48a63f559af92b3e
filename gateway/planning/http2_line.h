#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/simulation/traffic.h"
#include "gateway/planning/answers.h"
#include "gateway/planning/question.h"
#include "proxy/wire/http2_answer_head.h"
#include "proxy/wire/http2_session.h"

namespace classgate::planning {

// HTTP/2 on one connection that `classgate load` has opened: requests in, answers out, as bytes.
// Who reads and writes them tells its requests apart by numbers of his own. One thread.
// take_answers() tells of each request that ask() took, once, whatever ends it: an answer, a reset,
// the session, or lose(). Only of those that leave() named it doesn't. Any of receive(),
// take_output() and lose() may end some: take_answers() comes after each of them.
class Http2Line final : private proxy::wire::Http2Session::Handler {
 public:
  // What became of a request.
  struct Answer {
    std::uint32_t call = 0;
    int status = 0;               // of HTTP; 0: none came
    int grpc_status = none;       // of a call of gRPC
    simulation::Ending ending{};  // where it has a status
    int fault = Answers::closed;  // where it has none: a key of Answers::faults
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
  // Nothing will come or go any more, whether that was agreed or the other side broke a rule:
  // nghttp2 takes what comes after that in silence.
  bool is_over() const { return session_.is_over(); }
  // Why the other side was not understood, of Answers::faults.
  int fault() const { return is_http1_ ? Answers::only_http1 : Answers::broken_http2; }
  bool is_http1() const { return is_http1_; }
  // Those that have ended since the last call.
  std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }
  // The connection has ended, and with it all that it still has, for that reason of
  // Answers::faults. Then nothing but take_answers().
  void lose(int fault);

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
  void on_reset_sent(proxy::wire::Http2Error error) override {
    using proxy::wire::Http2Error;
    reset_ = error == Http2Error::cancel ? Http2Error::none : error;
  }

  void end(Call& call, Answer answer);

  const std::uint32_t streams_;
  const bool calls_grpc_;
  bool is_going_away_ = false;
  bool is_http1_ = false;
  // Why a stream was reset from here, for what came on it: its end follows.
  proxy::wire::Http2Error reset_ = proxy::wire::Http2Error::none;
  std::string first_;  // bytes that came, as many as tell HTTP/1
  std::string out_;
  std::vector<std::unique_ptr<Call>> calls_;
  std::vector<Answer> answers_;
  proxy::wire::Http2AnswerHead head_;
  proxy::wire::Http2Session session_;  // last: it tells the others
};

}  // namespace classgate::planning
