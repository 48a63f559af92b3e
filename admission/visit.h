#pragma once

#include <algorithm>
#include <cstdint>

#include "admission/time.h"
#include "admission/verdict.h"
#include "conf/invariant.h"

namespace classgate::admission {

// One request's life, whoever leads it: an Exchange with sockets and a real clock, a Simulation
// with numbers and a virtual one. Its terms are those of the conf under which it came.
//
//   fresh -> collecting -> waiting -> forwarding -> orphaned
//                     \_______________/  each -> ended
// collecting: its body is still to come. waiting: for a worker. forwarding: it has one; held while
// no server is up, or has a place, to take it. orphaned: forwarding for nobody, since its client
// has left or has had its 504, and the service computes on (on_client_abort = "finish"). A state
// lasts until limit() at most.
//
// The owner tells what has happened (begin, join, go_in, ...: the state changes) and asks what is
// to be done about it (due, client_left, granted: a Step; nothing changes). A step that ends the
// visit is followed by end() when it is done. A value without memory of its own. Any clock, one
// thread.
class Visit {
 public:
  enum class State : std::uint8_t { fresh, collecting, waiting, forwarding, orphaned, ended };

  // What its owner does now. `outcome` is what becomes of the request: its reason is what the
  // client is told.
  struct Step {
    enum class Kind : std::uint8_t {
      none,   // go on; it was too early to ask
      close,  // it never asked for a worker: into the books as abandoned or refused
      leave,  // its place, as `departure`; if its turn has just come, wait for that news instead
      give_back,  // cut it off from the service; the worker goes back with this outcome
      orphan,     // the client has had its ending; then orphan()
    };
    Kind kind = Kind::none;
    Departure departure = Departure::abandoned;
    Outcome outcome{};
  };
  // What the service makes of one that is forwarded, as its owner knows.
  struct AtService {
    bool computes_on = false;  // it would go on for nobody
    bool is_stream = false;
    bool is_tunnel = false;
    bool is_down = false;  // no server is up; asked of one that is held
  };

  State state() const { return state_; }
  bool is(State state) const { return state_ == state; }
  // When the state has lasted for too long; Time::max(): it may last.
  Time limit() const { return limit_; }
  const Terms& terms() const { return terms_; }
  Time request_end() const { return at_ + terms_.request_timeout; }
  Time joined() const { return joined_; }
  bool has_waited() const { return joined_ != Time{}; }
  // How long it may wait, also when it is held: once it has joined.
  Time waits_until() const { return terms_.waits_until(at_, joined_, deadline_); }

  // --- What has happened. ---
  // Its head has come.
  void begin(const Terms& terms, Time at) {
    CLASSGATE_SHARED_INVARIANT(state_ == State::fresh);
    terms_ = terms;
    at_ = at;
    limit_ = request_end();
    state_ = State::collecting;
  }
  // When its answer is of no use any more.
  void wants_answer_by(Time deadline) { deadline_ = deadline; }
  // It has a place in the queue.
  void join(Time now) {
    CLASSGATE_SHARED_INVARIANT(state_ == State::collecting);
    joined_ = now;
    limit_ = waits_until();
    state_ = State::waiting;
  }
  // It has a worker.
  void go_in() {
    CLASSGATE_SHARED_INVARIANT(state_ == State::collecting || state_ == State::waiting);
    limit_ = request_end();
    state_ = State::forwarding;
  }
  // It has a worker and no server; it waits with it, on the terms of one that waits for a worker.
  void hold(Time now) {
    if (!has_waited()) joined_ = now;
    is_held_ = true;
  }
  void stop_holding() { is_held_ = false; }
  bool is_held() const { return is_held_; }
  // Its answer has begun and may last as long as this, whatever the request timeout (a stream; a
  // tunnel: Time::max()).
  void lasts_until(Time limit) { limit_ = limit; }
  // After a Step::Kind::orphan. After a 504 it may go on for one more request timeout; after its
  // client has left until the one that is running ends.
  void orphan(const Outcome& outcome, Time now) {
    CLASSGATE_SHARED_INVARIANT(state_ == State::forwarding);
    if (outcome.kind == Outcome::Kind::failed) limit_ = now + terms_.request_timeout;
    orphan_kind_ = outcome.kind;
    orphan_reason_ = outcome.reason;
    state_ = State::orphaned;
  }
  void end() { state_ = State::ended; }

  // --- What is to be done. ---
  // The limit may be over (or, of one that is held, waits_until()).
  Step due(const AtService& service, Time now) const;
  // Nobody is there any more to hear its end.
  Step client_left(const AtService& service) const;
  // Its turn has come. None: go_in().
  Step granted(Time now) const;
  // The service has done with it, in this way: how its worker goes back.
  Outcome closing(const Outcome& outcome) const {
    return state_ == State::orphaned ? orphan_outcome() : outcome;
  }
  // Its answer is of no use any more.
  bool is_too_late(Time now) const { return deadline_ <= now; }
  // What its client was told or did.
  Outcome orphan_outcome() const { return {orphan_kind_, orphan_reason_}; }

 private:
  Step overdue_at_service(const AtService& service, Time now) const;

  Terms terms_;
  Time at_{};
  Time joined_{};  // the queue, or else those that are held; zero: neither
  Time deadline_ = Time::max();
  Time limit_ = Time::max();
  State state_ = State::fresh;
  bool is_held_ = false;
  Outcome::Kind orphan_kind_ = Outcome::Kind::abandoned;
  conf::Reason orphan_reason_ = conf::Reason::upstream_broken;
};

}  // namespace classgate::admission
