#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admission/gate.h"
#include "admission/route_table.h"
#include "admission/visit.h"
#include "gateway/answer_terms.h"
#include "gateway/client_stream.h"
#include "gateway/clients/quotas.h"
#include "gateway/cors.h"
#include "gateway/exchange_record.h"
#include "gateway/json_items.h"
#include "gateway/letter.h"
#include "gateway/logged_fields.h"
#include "gateway/loop_metrics.h"
#include "gateway/target.h"
#include "proxy/forwarding.h"
#include "proxy/net/timer.h"
#include "proxy/wire/deadline.h"

namespace classgate::gateway {

class Station;

// What has come of a head that cannot be accepted.
struct UnreadableHead {
  std::string_view bytes = {};
  const proxy::wire::Head* head = nullptr;  // Parser::head_so_far(); null: nothing is known
  bool is_whole = false;                    // with all its fields
};

// One request and its answer: the road from the parsed head to the last byte. Read exchange.cpp
// from the top to see what happens to a request, exchange_forwarding.cpp for its answer. Beside the
// road: exchange_head.cpp (what the head says), exchange_answers.cpp (what the gateway itself
// says), exchange_endings.cpp (timeouts, clients that leave, the end). How an answer is framed, and
// whether a connection goes on after it, is no business of its: see ClientStream.
//
//   collecting -> waiting -> forwarding -> ended
// A request whose body came with its head is never seen collecting; one that is refused goes to
// ended from wherever it stands. orphaned is forwarding for nobody: the client has left, or has
// got its 504, and the upstream computes on (on_client_abort = "finish"). A request for a tunnel
// that has no answer yet is never orphaned: nobody would end the tunnel. Owned by its Station; the
// client's stream and the exchange point at each other until one ends.
class Exchange final : private proxy::Forwarding::Client {
 public:
  Exchange(Station& station, std::uint32_t tag);

  // --- What the client's side tells. None destroys the exchange or the stream. ---
  // The head has come; `body_is_here` when the whole body lies in the same read.
  void on_head(ClientStream& client, const proxy::wire::Head& head, bool body_is_here);
  // The head cannot be accepted.
  void on_unreadable(ClientStream& client, conf::Reason reason, const UnreadableHead& so_far = {});
  void on_body(std::string_view part);
  void on_body_part_end();  // of what one read has brought; not the last
  void on_body_end(const std::vector<proxy::wire::Parser::Trailer>& trailers);
  // `retry_after`: of one that is not the client's fault.
  void on_body_fault(conf::Reason reason, admission::Duration retry_after = {});
  void on_client_gone();
  // After begin_tunnel(): what is no HTTP any more.
  void on_tunnel_bytes(std::string_view bytes);
  void on_tunnel_client_ended();
  // The client has taken all that was written.
  void on_client_drained();
  // False while the body must not be read on.
  bool wants_body() const;
  bool is_waiting() const { return visit_.is(State::waiting); }
  // A stream of gRPC, which has its worker: how long it may say nothing is bounded with what the
  // service says (upstream.stream_idle_timeout), not as an upload.
  bool paces_itself() const;

  // --- News from admission, by letter. ---
  void on_granted(admission::Permit permit);
  void on_shed(const admission::Rejection& rejection);
  // After Station::hold(): a server can take it again, or upstream.hold is over.
  void on_hold_over();
  // Likewise: it has waited for as long as it may itself.
  bool is_held() const { return visit_.is_held(); }
  bool has_waited_enough(admission::Time now) const { return visit_.waits_until() <= now; }
  // A limit of the visit may be over.
  void on_due();
  std::uint32_t tag() const { return tag_; }
  const admission::Place& place() const { return place_; }
  WaitingRequest describe_wait() const;

  // --- Memory. ---
  // Tells the station what it holds by now; called when the client connection has been served.
  void count_memory();
  std::size_t held_bytes() const { return counted_; }  // as of then
  // It still collects what a worker will be asked for; nothing but the client's bytes is lost.
  bool is_collecting() const { return visit_.is(State::collecting); }

  // An exception came out of it, or out of what carries it: its upstream connection is closed, its
  // worker or place given back, its client's connection reset.
  void on_fault() override;

  void reset();  // ready for the next request, memory kept
  // The gateway ends before the answer: who waits hears that, what is in the service is cut, both
  // are in the log.
  void on_gateway_ending();
  void cut();  // close whatever is open, without a word

 private:
  using State = admission::Visit::State;

  // In the order of the journey.
  bool note_head(const proxy::wire::Head& head);
  bool judge(const proxy::wire::Head& head);
  const admission::Route& find_route();
  void note_known(const proxy::wire::Head& head);
  void write_upstream_head(const proxy::wire::Head& head);
  void choose_request_id(const proxy::wire::Head& head);
  void note_unreadable(conf::Reason reason, const UnreadableHead& so_far);
  void note_origin(const proxy::wire::Head& head);
  void note_client(const proxy::wire::Head& head);
  const std::string& client_name() const;  // for the log, as long as there is a connection
  std::optional<conf::Reason> recognise_client(const proxy::wire::Head& head);
  void note_cost(const proxy::wire::Head& head, const conf::RouteSettings& route);
  void note_repeat(const proxy::wire::Head& head);
  bool is_repeat() const;
  void weigh_body();
  void settle_cost();
  bool count_for_quota();
  void note_use_of_quota(const admission::Outcome& outcome);
  void enter(const proxy::wire::Head& head);
  void screen(const proxy::wire::Head& head);
  void count_demand();
  void ask_for_worker();
  void on_gate_answer(admission::Gate::Answer answer);
  void wait(admission::Place place);
  void go_in(admission::Permit permit);
  void forward();

  bool answers_here(const proxy::wire::Head& head);
  bool is_last_to_get(const proxy::wire::Head& head);
  void answer_here();
  void answer_health();
  void answer_preflight();
  void answer_as_last();
  void answer_with(int status, std::span<const OwnAnswer::Field> fields, std::string_view body);
  void refuse(conf::Reason reason, admission::Duration retry_after = {});
  void refuse_uncounted(conf::Reason reason, admission::Duration retry_after = {}) {
    refuse_uncounted({reason, retry_after});
  }
  void refuse_for(const QuotaState& quota);
  void refuse_uncounted(const admission::Rejection& rejection);
  const Refusals& refusals_here() const;
  std::string_view allowed_methods(conf::Reason reason) const;
  void write_refusal(const admission::Rejection& rejection);

  template <void (Exchange::*on_due)()>
  static void on_timer(void* self);
  void watch(proxy::net::TimeoutList& list, proxy::net::Timeout& timeout);
  admission::Visit::AtService at_service() const;
  void leave_line(const admission::Visit::Step& step);
  void give_up_service(const admission::Visit::Step& step);
  void on_held_too_long(const admission::Outcome& outcome);
  void on_upstream_timeout(const admission::Visit::Step& step);
  void note_timeout();
  void on_stream_silent();
  void end_stream(conf::Reason reason);
  bool begin_stream();
  void count_as_stream();
  void stop_streaming();
  void refuse_switch(const std::string& why);
  void note_call_status(const auto& fields);
  void note_sign_of_life();
  bool is_up_to_service() const;
  void on_reader_window_over();
  bool upstream_computes_on() const;
  void orphan(admission::Outcome outcome);
  void count_work(const admission::Outcome& outcome);
  void give_worker_back(admission::Outcome outcome);
  admission::Duration work_of(const admission::Outcome& outcome) const;
  bool hold_if_useful();
  void hold();
  void stop_holding();
  admission::Duration time_to_come_back() const;
  admission::Duration time_at_service() const;
  void finish();
  void end();
  void release_body();
  void uncount_memory();
  std::size_t priority_index() const { return static_cast<std::size_t>(arrival_.priority - 1); }
  void record();
  void count_in(RouteMetrics& route, PlanMetrics& plan);
  void complete_facts();
  ExchangeTexts texts_by(std::string_view pseudonym) const;
  const std::string& name_told() const;
  void log(const ExchangeTexts& texts);

  struct OwnFields {
    std::string timing;
    std::string policy;
    std::string state;
    std::string soft_quota;
  };
  OwnFields own_fields() const;

  // proxy::Forwarding::Client
  void on_interim_answer(const proxy::wire::Head& head) override;
  void on_switched(const proxy::wire::Head& head) override;
  void on_answer_head(const proxy::wire::Head& head, proxy::wire::Framing framing) override;
  void on_answer_body(std::string_view part) override;
  void on_server_ended() override;
  void on_answer_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) override;
  void on_answer_failed(proxy::Forwarding::Failure failure, const std::string& why) override;
  void on_answer_part_end() override;
  bool is_answer_blocked() override;
  void on_upload_drained() override;

  // What is known of the request itself.
  struct Request {
    proxy::wire::Framing framing = proxy::wire::Framing::none;
    std::uint64_t length = 0;
    std::uint64_t body_limit = 0;
    std::size_t plain_head_size = 0;  // of head_, without what is left of its deadline
    std::optional<proxy::wire::Deadline> deadline;  // goes on with the request
    bool has_bad_token = false;
    bool is_given_up = false;  // no byte more of it is wanted
    bool is_unreadable = false;
    bool is_head = false;
    bool is_idempotent = false;
    bool says_zero_length = false;
    bool is_whole = false;  // its body is here
    bool body_was_here = false;
    std::optional<AnsweredHere> answered_here = std::nullopt;
    bool body_tells_cost = false;
    bool counts_items = false;  // of its body (items_)
    bool wants_websocket = false;
    bool must_switch = false;  // it came by HTTP/2: nothing else is a success
    bool lacks_host = false;
    bool may_be_repeat = false;        // its body will tell
    std::uint64_t head_of_repeat = 0;  // RecentTimeouts; 0: nobody wants to know
    Cors::Terms cors{};
    // UpstreamStream::Request; null: few requests have such fields.
    std::unique_ptr<std::string> never_indexed{};
  };
  // Memory that is kept for the next request.
  struct Texts {
    std::string method;
    std::string request_id;
    std::string client_behind_proxy;  // the real client's address, when a trusted one names it
    std::string name;                 // of a client that clients.clients_file has
    std::string name_not_valid;       // of one that is not valid now
    NotedFields noted;                // for its line in the log
    std::string origin;               // of a page that may read the answer, as it is told
  };
  // Until a server is up.
  struct Hold {
    admission::Time since{};
    admission::Duration before{};
  };
  struct Quota {
    QuotaCharge charge{};
    std::unique_ptr<const QuotaState> warning{};  // is told with the answer; null: there is none
  };
  struct AnswerState {
    AnswerTerms terms{};
    bool head_has_passed = false;
    bool is_tunnel = false;
    bool is_stream = false;           // answer_terms.h; counted as long as it is one
    bool waits_for_reader = false;    // the service is not read until the client has taken all
    std::uint64_t reader_mark = 0;    // what the client had taken when timers_.reader was set
    admission::Time streams_since{};  // the head of an answer without a length
  };
  struct Timers {
    explicit Timers(Exchange* of);
    void cancel();

    proxy::net::Timeout request;  // of a stream: its whole time
    proxy::net::Timeout queue;
    proxy::net::Timeout silence;               // of a stream
    proxy::net::Timeout reader;                // while the answer waits for its reader
    std::unique_ptr<proxy::net::Timer> exact;  // once there was a limit that no list has
  };

  Station& station_;
  const std::uint32_t tag_;  // what the station knows it by
  ClientStream* client_ = nullptr;
  admission::Visit visit_;  // where it stands, for how long, and what then

  admission::Arrival arrival_;
  RouteMetrics* route_ = nullptr;  // lives as long as the station
  Request request_;
  Target target_;
  Texts texts_;
  std::string head_;         // for the upstream, without framing; of a TRACE what it asked
  std::string body_;         // what has been read of it before the worker came
  std::size_t counted_ = 0;  // bytes held, as the station knows
  std::vector<proxy::wire::Parser::Trailer> trailers_;
  std::unique_ptr<JsonItemCount> items_;  // once a request's items cost: few ask for it

  admission::Place place_;
  Hold hold_;
  Quota quota_;  // of the client's plan, if it has one
  admission::Permit permit_;
  AnswerState answer_;
  ExchangeFacts facts_;

  Timers timers_;
  proxy::Forwarding forwarding_;
};

}  // namespace classgate::gateway
