// One request's life without a socket and without a service: every state, every ending.

#include "admission/visit.h"

#include <array>
#include <string>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using State = Visit::State;
using StepKind = Visit::Step::Kind;

constexpr Terms terms{.request_timeout = 10s, .queue_timeout = 4s};
constexpr Visit::AtService lets_go{};
constexpr Visit::AtService goes_on{.computes_on = true};

std::string said(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::processed: return "processed";
    case Outcome::Kind::abandoned: return "abandoned";
    case Outcome::Kind::failed: return "failed: " + std::string(conf::word_of(outcome.reason));
    default: return "rejected: " + std::string(conf::word_of(outcome.reason));
  }
}

std::string said(const Visit::Step& step) {
  switch (step.kind) {
    case StepKind::none: return "nothing";
    case StepKind::close: return "close, " + said(step.outcome);
    case StepKind::leave: return "leave, " + said(step.outcome);
    case StepKind::give_back: return "give back, " + said(step.outcome);
    default: return "orphan, " + said(step.outcome);
  }
}

Visit collecting() {
  Visit visit;
  visit.begin(terms, start);
  return visit;
}
Visit waiting_since(Time joined) {
  Visit visit = collecting();
  visit.join(joined);
  return visit;
}
Visit forwarding() {
  Visit visit = collecting();
  visit.go_in();
  return visit;
}
Visit orphaned(const Visit::Step& step, Time now) {
  Visit visit = forwarding();
  REQUIRE(step.kind == StepKind::orphan);
  visit.orphan(step.outcome, now);
  return visit;
}

// Not a nanosecond before its limit is anything due; then, this.
void check_due(const Visit& visit, Time limit, const std::string& step,
               const Visit::AtService& service = lets_go) {
  CHECK(visit.limit() == limit);
  CHECK(said(visit.due(service, limit - 1ns)) == "nothing");
  CHECK(said(visit.due(service, limit)) == step);
}

TEST_CASE(
    "a body that does not come within the request timeout is refused, and never in the line") {
  check_due(collecting(), start + 10s, "close, rejected: client_timeout");
}

TEST_CASE("a wait ends at the first of three: queue timeout, request timeout, deadline") {
  check_due(waiting_since(start), start + 4s, "leave, rejected: queue_timeout");
  check_due(waiting_since(start + 8s), start + 10s, "leave, rejected: queue_timeout");
  Visit urgent = collecting();
  urgent.wants_answer_by(start + 3s);
  CHECK(urgent.limit() == start + 10s);  // its body may come all the same
  urgent.join(start + 1s);
  check_due(urgent, start + 3s, "leave, rejected: deadline");
  CHECK(urgent.due(lets_go, start + 3s).departure == Departure::missed_deadline);
  CHECK(waiting_since(start).due(lets_go, start + 4s).departure == Departure::timed_out);
}

TEST_CASE("of a deadline and a queue timeout at the same moment the deadline is told") {
  Visit visit = collecting();
  visit.wants_answer_by(start + 4s);
  visit.join(start);
  check_due(visit, start + 4s, "leave, rejected: deadline");
}

TEST_CASE("what it waited does not lengthen or shorten what it has at the service") {
  Visit visit = waiting_since(start);
  visit.go_in();
  check_due(visit, start + 10s, "give back, failed: upstream_timeout");
}

TEST_CASE("a turn that comes when the time is over is given back unused") {
  Visit visit = waiting_since(start + 8s);
  CHECK(said(visit.granted(start + 9s)) == "nothing");
  CHECK(said(visit.granted(start + 10s)) == "give back, rejected: queue_timeout");
  // Its queue timeout alone is no reason: here is the worker that it waited for.
  CHECK(said(waiting_since(start).granted(start + 5s)) == "nothing");
  Visit urgent = collecting();
  urgent.wants_answer_by(start + 3s);
  urgent.join(start);
  CHECK(said(urgent.granted(start + 3s - 1ns)) == "nothing");
  CHECK(said(urgent.granted(start + 3s)) == "give back, rejected: deadline");
}

TEST_CASE("a service that computes on for nobody keeps its worker for one more request timeout") {
  Visit visit = forwarding();
  const Visit::Step step = visit.due(goes_on, start + 10s);
  CHECK(said(step) == "orphan, failed: upstream_timeout");
  visit = orphaned(step, start + 10s);
  CHECK(visit.is(State::orphaned));
  check_due(visit, start + 20s, "give back, failed: upstream_timeout", goes_on);
  CHECK(said(visit.closing(Outcome::processed())) == "failed: upstream_timeout");
}

TEST_CASE("after its client has left it keeps its worker until the request timeout that runs") {
  const Visit::Step step = forwarding().client_left(goes_on);
  CHECK(said(step) == "orphan, abandoned");
  const Visit visit = orphaned(step, start + 6s);
  check_due(visit, start + 10s, "give back, abandoned", goes_on);
  CHECK(said(visit.closing(Outcome::failed(conf::Reason::upstream_broken))) == "abandoned");
  CHECK(said(visit.client_left(goes_on)) == "nothing");  // it has left once
}

TEST_CASE("a client that leaves ends its request wherever it stands") {
  CHECK(said(collecting().client_left(lets_go)) == "close, abandoned");
  CHECK(said(waiting_since(start).client_left(lets_go)) == "leave, abandoned");
  CHECK(waiting_since(start).client_left(goes_on).departure == Departure::abandoned);
  CHECK(said(forwarding().client_left(lets_go)) == "give back, abandoned");
  CHECK(said(forwarding().client_left({.is_tunnel = true})) == "give back, processed");
  Visit ended = forwarding();
  ended.end();
  CHECK(said(ended.client_left(goes_on)) == "nothing");
  CHECK(said(ended.due(goes_on, Time::max())) == "nothing");
}

TEST_CASE(
    "while no server can take it it waits with its worker for as long as it may wait for one") {
  constexpr Visit::AtService is_down{.is_down = true};
  Visit visit = forwarding();
  visit.hold(start + 1s);
  CHECK(visit.waits_until() == start + 5s);
  CHECK(said(visit.due(lets_go, start + 5s - 1ns)) == "nothing");
  CHECK(said(visit.due(is_down, start + 5s)) == "give back, failed: upstream_down");
  CHECK(said(visit.due(lets_go, start + 5s)) == "give back, rejected: queue_timeout");
  // Who has waited for the worker has waited for that long already.
  Visit waited = waiting_since(start);
  waited.go_in();
  waited.hold(start + 2s);
  CHECK(waited.waits_until() == start + 4s);
  waited.stop_holding();
  check_due(waited, start + 10s, "give back, failed: upstream_timeout");
  // Held again, it has waited since the first time.
  waited.hold(start + 7s);
  CHECK(said(waited.due(is_down, start + 7s)) == "give back, failed: upstream_down");
  Visit urgent = collecting();
  urgent.wants_answer_by(start + 3s);
  urgent.go_in();
  urgent.hold(start);
  CHECK(said(urgent.due(lets_go, start + 3s)) == "give back, rejected: deadline");
}

TEST_CASE("a stream has a time of its own, and a tunnel has none") {
  Visit visit = forwarding();
  visit.lasts_until(start + 100s);
  check_due(visit, start + 100s, "give back, failed: stream_too_long",
            {.computes_on = true, .is_stream = true});
  visit.lasts_until(Time::max());
  CHECK(said(visit.due({.is_tunnel = true}, start + 1000h)) == "nothing");
  // For nobody it lasts no longer.
  visit.lasts_until(start + 100s);
  visit.orphan(Outcome::abandoned(), start + 50s);
  check_due(visit, start + 100s, "give back, abandoned", {.is_stream = true});
}

TEST_CASE("terms are those under which it came") {
  Terms current = terms;
  Visit visit;
  visit.begin(current, start);
  current = {.request_timeout = 1s, .queue_timeout = 1s};  // a reload
  visit.join(start + 1s);
  CHECK(visit.limit() == start + 5s);
}

// Any sequence of what can happen leads to an end, in bounded time, and gives back what was had.
TEST_CASE("whatever happens in whatever order, each visit ends and leaves nothing behind") {
  INFO(replay(run().seed));
  Random random(run().seed);
  const auto draw = [&](std::uint64_t sides) { return random.below(sides); };
  std::array<std::uint64_t, 5> taken{};
  for (int i = 0; i < 20'000; ++i) {
    Visit visit;
    Time now = start;
    visit.begin(terms, now);
    if (draw(3) == 0) visit.wants_answer_by(now + std::chrono::milliseconds(draw(12'000)));
    bool has_place = false;
    bool has_worker = false;
    const auto take = [&](const Visit::Step& step) {
      ++taken[static_cast<std::size_t>(step.kind)];
      switch (step.kind) {
        case StepKind::none: return;
        case StepKind::close: REQUIRE((!has_place && !has_worker)); return visit.end();
        case StepKind::leave:
          REQUIRE(has_place);
          has_place = false;
          return visit.end();
        case StepKind::give_back:
          REQUIRE(has_worker);
          has_worker = false;
          return visit.end();
        case StepKind::orphan: REQUIRE(has_worker); return visit.orphan(step.outcome, now);
      }
    };
    const auto go_in = [&] {
      has_place = false;
      has_worker = true;
      const Visit::Step late = visit.granted(now);
      if (late.kind != StepKind::none) return take(late);
      visit.go_in();
    };
    int steps = 0;
    while (!visit.is(State::ended)) {
      REQUIRE(++steps < 1000);
      const Visit::AtService service{.computes_on = draw(2) == 0};
      const bool is_late = draw(4) == 0;
      now += std::chrono::milliseconds(is_late ? 3000 : draw(500));
      const bool client_leaves = draw(8) == 0;
      if (client_leaves) take(visit.client_left(service));
      if (visit.is(State::ended)) continue;
      if (now >= visit.limit()) {  // looked at whatever else happens
        take(visit.due(service, now));
        REQUIRE((visit.is(State::ended) || now < visit.limit()));
      } else if (client_leaves) {
        continue;
      } else if (visit.is(State::collecting)) {
        if (draw(2) == 0) continue;
        if (draw(2) == 0) {
          go_in();
        } else {
          visit.join(now);
          has_place = true;
        }
      } else if (visit.is(State::waiting) && draw(3) == 0) {
        go_in();
      } else if (visit.is(State::forwarding) && draw(6) == 0) {
        visit.is_held() ? visit.stop_holding() : visit.hold(now);
      } else if (has_worker && draw(6) == 0) {
        has_worker = false;  // the service has answered
        visit.end();
      }
    }
    REQUIRE_FALSE(has_place);
    REQUIRE_FALSE(has_worker);
    REQUIRE(now <= start + 26s);  // twice the request timeout, and how late this test looks
  }
  for (const std::uint64_t count : taken) CHECK(count > 0);
}

}  // namespace
}  // namespace classgate::admission
