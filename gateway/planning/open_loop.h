#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admission/simulation/event_heap.h"
#include "admission/simulation/tally.h"
#include "gateway/planning/answers.h"
#include "gateway/planning/http2_line.h"
#include "gateway/planning/question.h"
#include "gateway/planning/scenario.h"
#include "proxy/net/handles.h"
#include "proxy/net/socket_address.h"
#include "proxy/wire/parser.h"

namespace classgate::planning {

struct LoadOptions {
  proxy::net::SocketAddress to;
  std::string host;  // for the Host field
  std::uint32_t connections_max = 2'000;
  Duration time_max = std::chrono::seconds(60);    // then nothing new is sent
  Duration answer_max = std::chrono::seconds(60);  // then a request counts as failed
  std::string service_time_header;                 // empty: none
  bool tells_clients = false;                      // X-Forwarded-For says which client it is
  std::uint32_t streams = 0;  // at once on a connection, by HTTP/2; 0: HTTP/1.1 is spoken
  bool calls_grpc = false;
  // What each says; none: what its group does.
  std::function<Question(const simulation::Wish&)> question_of = {};
};

// Makes traffic for real. Open loop: each request has the time at which it is due, and its latency
// counts from then, whether the other side, a full table of connections or this program is late:
// what a slow answer delays is never left out (no coordinated omission).
// One thread; everything is bounded: connections, time, and bytes kept of an answer.
class OpenLoop {
 public:
  using Now = std::chrono::steady_clock;

  OpenLoop(const LoadOptions& options, std::vector<Question> groups, simulation::Traffic& traffic);
  ~OpenLoop();

  // Until the traffic ends and everything is answered, or until `on_turn`, which hears how far it
  // is, says false: what is in flight then has no ending.
  void run(const std::function<bool(Duration now)>& on_turn);

  const simulation::Tally& tally() const { return tally_; }
  Duration latest_start() const { return latest_start_; }  // how late a request was sent, at most
  std::uint64_t connections() const { return opened_; }
  const Answers& answers() const { return answers_; }
  std::uint64_t in_flight() const { return active_; }

 private:
  static constexpr std::uint32_t none = 0xffffffff;
  struct Connection {
    proxy::net::Fd fd;
    proxy::wire::Parser parser;
    std::string in;
    std::string out;
    std::size_t written = 0;
    std::uint32_t call = none;
    std::uint64_t body_left = 0;
    bool head_is_here = false;
    bool asked_head = false;  // HEAD: the answer has no body
    bool has_served = false;  // it may have been closed by the other side since
    bool is_connecting = false;
    int connect_error = 0;
    simulation::Ending ending;
    proxy::wire::Framing framing = proxy::wire::Framing::none;
    bool closes = false;
    std::unique_ptr<Http2Line> http2 = nullptr;  // null: HTTP/1.1
    bool is_idle = false;                        // of HTTP/2: it stands in idle_
  };
  struct Call {
    simulation::Wish wish;
    std::uint32_t connection = none;
    std::uint32_t generation = 0;
    std::uint8_t attempts = 0;
    bool is_active = false;
  };

  Time now() const;
  void pull();
  void happen_due();
  void arrive(std::uint32_t slot);
  bool send(std::uint32_t slot);
  std::uint32_t take_connection();
  void start(std::uint32_t connection, std::uint32_t slot);
  void write_request(std::string& out, const simulation::Wish& wish) const;
  void on_ready(std::uint32_t connection, std::uint32_t events);
  std::vector<RequestField> fields_of(const Question& group, const simulation::Wish& wish) const;
  void flush(std::uint32_t connection);
  void read(std::uint32_t connection);
  bool take_answer(std::uint32_t connection);
  void take_head(Connection& connection);
  void answered(std::uint32_t connection);
  void broke(std::uint32_t connection, int fault = Answers::closed);
  void drop(std::uint32_t connection);
  void send_backlog();
  void leave(std::uint32_t slot);
  // Of HTTP/2 (open_loop_http2.cpp).
  void start_stream(std::uint32_t connection, std::uint32_t slot);
  bool take_frames(std::uint32_t connection, std::string_view bytes);
  void settle(std::uint32_t connection, bool is_good);
  void lose_streams(std::uint32_t connection, int fault);
  void take_stream_answers(std::uint32_t connection, Http2Line& line);
  void take_stream_answer(std::uint32_t connection, const Http2Line::Answer& answer);
  void end(std::uint32_t slot, const simulation::Ending& ending);
  void watch(std::uint32_t connection, std::uint32_t events, int operation);
  void plan(simulation::Event::Kind kind, Time at, std::uint32_t slot);
  std::uint32_t take_slot(const simulation::Wish& wish);

  LoadOptions options_;
  std::vector<Question> groups_;
  simulation::Traffic& traffic_;
  simulation::Tally tally_;
  simulation::EventHeap heap_;
  simulation::Wish coming_;
  bool is_coming_ = false;
  std::uint64_t sequence_ = 0;
  std::vector<Call> calls_;
  std::vector<std::uint32_t> free_calls_;
  std::vector<std::unique_ptr<Connection>> connections_;  // none is moved while it is watched
  std::vector<std::uint32_t> free_connections_;
  std::vector<std::uint32_t> idle_;
  std::vector<std::uint32_t> backlog_;  // due, but no connection is to be had; from backlog_at_ on
  std::size_t backlog_at_ = 0;
  std::uint64_t active_ = 0;
  std::uint64_t returning_ = 0;  // clients that will come again
  std::uint64_t opened_ = 0;
  Answers answers_;
  Duration latest_start_{};
  Now::time_point began_{};
  proxy::net::Fd epoll_;
};

}  // namespace classgate::planning
