// Deadlines: what cannot be answered in time is refused on arrival, what has become too late while
// it waited is dropped before it takes a worker.

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

Arrival urgent(Duration patience, Time at = start, int priority = 3) {
  Arrival arrival = request(priority, at);
  arrival.deadline = at + patience;
  return arrival;
}

// One worker whose requests have taken 100 ms each, free since `start`.
struct UsedTo100ms : Controller {
  explicit UsedTo100ms(const conf::AdmissionSettings& settings = small_settings())
      : Controller(settings) {
    for (int i = 10; i > 0; --i) {
      const Time began = start - i * 100ms;
      const auto verdict = enter(*this, request(3, began), began);
      finish(Outcome::processed(), std::get<Admitted>(verdict).seat, began + 100ms);
    }
  }
};

TEST_CASE("whoever can be answered in time goes in or waits") {
  UsedTo100ms controller;
  CHECK(said(enter(controller, urgent(100ms), start)) == "admitted");
  CHECK(said(enter(controller, urgent(250ms), start)) == "waits");
}

TEST_CASE(
    "whoever could not be answered in time is refused on arrival and told when to come back") {
  UsedTo100ms controller;
  CHECK(said(enter(controller, request(3), start)) == "admitted");
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(3), start)) == "waits");
  const Verdict verdict = enter(controller, urgent(300ms), start);
  CHECK(said(verdict) == "would_miss_deadline");
  CHECK(retry_after(verdict) == 1s);
  CHECK(said(enter(controller, urgent(800ms), start)) == "waits");
}

TEST_CASE(
    "a tunnel or a stream of 40 s beside short requests makes an idle gateway refuse nobody") {
  // 129 of 176 were refused after one WebSocket.
  const auto after_one_of = [](Duration work) {
    UsedTo100ms controller;
    const Seat seat = std::get<Admitted>(enter(controller, request(3), start)).seat;
    Outcome outcome = Outcome::processed();
    outcome.work = work;
    controller.finish(outcome, seat, start + 40s);
    return said(enter(controller, urgent(150ms, start + 40s), start + 40s));
  };
  CHECK(after_one_of(Outcome::no_work) == "admitted");
  CHECK(after_one_of(100ms) == "admitted");  // then its answer began
  CHECK(after_one_of(Outcome::all_the_time) == "would_miss_deadline");
}

TEST_CASE("those of a worse priority are not ahead of anybody") {
  UsedTo100ms controller;
  CHECK(said(enter(controller, request(3), start)) == "admitted");
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(5), start)) == "waits");
  CHECK(said(enter(controller, urgent(250ms, start, 2), start)) == "waits");
}

TEST_CASE("work that alone takes longer than the deadline is no reason to come back") {
  UsedTo100ms controller;
  const Verdict verdict = enter(controller, urgent(50ms), start);
  CHECK(said(verdict) == "would_miss_deadline");
  CHECK(retry_after(verdict) == Duration::zero());
}

TEST_CASE("once a second one is let through to find out whether such requests have become faster") {
  UsedTo100ms controller;
  const Time later = start + 1s;
  CHECK(said(enter(controller, urgent(50ms, later - 1ms), later - 1ms)) == "would_miss_deadline");
  const Verdict tried = enter(controller, urgent(50ms, later), later);
  REQUIRE(said(tried) == "admitted");
  CHECK(said(enter(controller, urgent(50ms, later), later)) == "would_miss_deadline");
}

TEST_CASE("how long requests take is told by most of them, not by a few that take for ever") {
  ProcessTime time;
  for (int i = 0; i < 2000; ++i) time.record(i % 20 == 0 ? 2s : 50ms, start);
  CHECK(time.mean() > 100ms);
  CHECK(time.most(0) < 65ms);
  CHECK(time.least(0) == time.most(0));
  CHECK(time.least(1) == time.mean());
  CHECK(time.least(3) == time.mean());
  CHECK(time.most(1) > time.mean());
  for (int i = 0; i < 2000; ++i) time.record(400ms, start);  // they take longer now, all of them
  CHECK(time.most(0) > 399ms);
  CHECK(time.most(3) < 401ms);
}

TEST_CASE("one route's slowness is not another's") {
  UsedTo100ms controller;
  Arrival other = urgent(50ms);
  other.route.slot = 7;
  CHECK(said(enter(controller, other, start)) == "admitted");
}

TEST_CASE("a deadline that is over already is a deadline missed") {
  UsedTo100ms controller;
  CHECK(said(enter(controller, urgent(0ms), start)) == "deadline");
  CHECK(said(enter(controller, urgent(-5h), start)) == "deadline");
  CHECK(said(controller.arrive(urgent(1ms), start + 2ms)) == "deadline");  // after its upload
}

TEST_CASE("without early refusal only a deadline that is over counts") {
  auto settings = small_settings();
  settings.deadlines.refuse_early = false;
  UsedTo100ms controller(settings);
  CHECK(said(enter(controller, urgent(1ms), start)) == "admitted");
}

TEST_CASE("whose deadline has passed is dropped at its turn before it takes the worker") {
  Controller controller(small_settings());
  const Verdict first = enter(controller, request(3), start);
  REQUIRE(said(enter(controller, urgent(200ms), start)) == "waits");
  REQUIRE(said(enter(controller, request(3), start)) == "waits");
  controller.finish(Outcome::failed(conf::Reason::upstream_broken), std::get<Admitted>(first).seat,
                    start + 201ms);
  CHECK(said(controller.next(start + 201ms)) == "deadline");
  CHECK(said(controller.next(start + 201ms)) == "granted");
  const Snapshot books = controller.snapshot(start + 201ms);
  CHECK(books.total == in_the_books(books));
}

TEST_CASE("whose turn comes too late to be answered in time does not take the worker") {
  UsedTo100ms controller;
  const Verdict first = enter(controller, request(3), start);
  REQUIRE(said(enter(controller, urgent(210ms), start)) == "waits");
  controller.finish(Outcome::failed(conf::Reason::upstream_broken), std::get<Admitted>(first).seat,
                    start + 150ms);
  CHECK(said(controller.next(start + 150ms)) == "would_miss_deadline");
}

TEST_CASE("a waiter that leaves at its deadline is counted under that reason") {
  Controller controller(small_settings());
  enter(controller, request(3), start);
  const Verdict verdict = enter(controller, urgent(200ms), start);
  CHECK(controller.leave(std::get<Ticket>(verdict), Departure::missed_deadline, start + 200ms));
  CHECK(controller.snapshot(start).rejected[conf::index_of(conf::Reason::deadline)] == 1);
}

TEST_CASE("observed deadlines are counted and not kept") {
  auto settings = small_settings();
  settings.observe.deadlines = true;
  UsedTo100ms controller(settings);
  CHECK(said(enter(controller, urgent(50ms), start)) == "admitted");
  const Snapshot books = controller.snapshot(start);
  CHECK(books.observed[conf::index_of(conf::Reason::would_miss_deadline)] == 1);
  CHECK(sum(books.rejected) == 0);
}

TEST_CASE("a request is observed once, whatever else would refuse it later") {
  auto settings = small_settings();
  settings.observe.deadlines = true;
  UsedTo100ms controller(settings);
  const Verdict first = enter(controller, request(3), start);
  // It would miss its deadline as it comes, and still at its turn.
  REQUIRE(said(enter(controller, urgent(150ms), start)) == "waits");
  controller.finish(Outcome::processed(), std::get<Admitted>(first).seat, start + 100ms);
  const auto notice = controller.next(start + 100ms);
  REQUIRE(said(notice) == "granted");
  CHECK(std::get<Granted>(notice->news).seat.observed == conf::Reason::would_miss_deadline);
  CHECK(sum(controller.snapshot(start + 100ms).observed) == 1);
}

TEST_CASE("what is refused for another reason is not observed") {
  auto settings = small_settings();
  settings.observe.deadlines = true;
  settings.queue_size = 0;
  UsedTo100ms controller(settings);
  REQUIRE(said(enter(controller, request(3), start)) == "admitted");
  CHECK(said(enter(controller, urgent(150ms), start)) == "queue_full");
  CHECK(sum(controller.snapshot(start).observed) == 0);
}

TEST_CASE("an observed rate limit is counted and not kept") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 1;
  settings.burst = 1;
  settings.observe.rate = true;
  Controller controller(settings);
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(3), start)) == "admitted");
  CHECK(controller.snapshot(start).observed[conf::index_of(conf::Reason::rate_limited)] == 2);
}

}  // namespace
}  // namespace classgate::admission
