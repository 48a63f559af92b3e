#include "admission/controller.h"

#include <algorithm>
#include <vector>

#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

Ticket wait_in(Controller& controller, const Arrival& arrival, Time now = start) {
  const Verdict verdict = enter(controller, arrival, now);
  REQUIRE(said(verdict) == "waits");
  return std::get<Ticket>(verdict);
}

Controller full_house(const conf::AdmissionSettings& settings) {
  Controller controller(settings);
  for (std::uint32_t i = 0; i < settings.workers; ++i)
    REQUIRE(said(enter(controller, request(1))) == "admitted");
  return controller;
}

// One of those that are taken, since `start`.
Seat a_seat(const Controller& controller) {
  const auto active = controller.snapshot(start).active_by_priority;
  const auto taken = std::ranges::find_if(active, [](std::uint32_t count) { return count > 0; });
  REQUIRE(taken != active.end());
  return {.since = start, .priority = static_cast<int>(taken - active.begin()) + 1};
}

std::uint64_t rejected(const Controller& controller, conf::Reason reason) {
  return controller.snapshot(start).rejected[conf::index_of(reason)];
}

void check_balance(const Controller& controller) {
  const Snapshot books = controller.snapshot(start);
  CHECK(books.total == in_the_books(books));
}

// --- who goes in

TEST_CASE(
    "a worker that was not used teaches nothing, and a turn that came too late is a rejection") {
  Controller controller(small_settings());
  const auto seat = [&] { return std::get<Admitted>(enter(controller, request(3))).seat; };
  controller.finish(Outcome::rejected(conf::Reason::deadline), seat(), start + 5s);
  controller.finish(Outcome::unused(), seat(), start + 5s);
  Outcome tunnel = Outcome::processed();
  tunnel.work = Outcome::no_work;
  controller.finish(tunnel, seat(), start + 40s);
  Snapshot books = controller.snapshot(start + 40s);
  CHECK(books.rejected[conf::index_of(conf::Reason::deadline)] == 1);
  CHECK(sum(books.failed) == 0);
  CHECK(books.abandoned == 1);
  CHECK(books.processed == 1);
  CHECK(books.average_process == Duration::zero());
  // A stream counts until its answer began.
  Outcome stream = Outcome::processed();
  stream.work = 20ms;
  controller.finish(stream, seat(), start + 60s);
  books = controller.snapshot(start + 60s);
  CHECK(books.average_process == 20ms);
  CHECK(books.total == 4);
}

TEST_CASE("one tunnel of 40 s beside requests of 20 ms makes nobody come back much later") {
  auto settings = small_settings();
  settings.workers = 1;
  settings.queue_size = 10;
  settings.retry_after_spread = {};
  Controller controller(settings);
  Time now = start;
  const auto serve = [&](Duration work, Outcome outcome) {
    const Seat seat = std::get<Admitted>(enter(controller, request(3), now)).seat;
    now += work;
    controller.finish(outcome, seat, now);
  };
  // What ten who wait stand for: the time that somebody refused is told.
  const auto told = [&] {
    const Seat seat = std::get<Admitted>(enter(controller, request(3), now)).seat;
    std::vector<Ticket> waiting;
    for (int i = 0; i < 10; ++i)
      waiting.push_back(std::get<Ticket>(enter(controller, request(3), now)));
    const Duration after = std::get<Rejection>(enter(controller, request(3), now)).retry_after;
    for (const Ticket ticket : waiting) controller.leave(ticket, Departure::abandoned, now);
    controller.finish(Outcome::unused(), seat, now);
    return after;
  };
  for (int i = 0; i < 100; ++i) serve(500ms, Outcome::processed());
  CHECK(told() == 5500ms);
  Outcome tunnel = Outcome::processed();
  tunnel.work = Outcome::no_work;
  serve(400s, tunnel);
  CHECK(told() > 5500ms);
  CHECK(told() < 7s);
  // But where all streams are long, that is what a worker is kept for.
  for (int i = 0; i < 400; ++i) serve(400s, tunnel);
  CHECK(told() > 4000s);
  // What was not used stands for nothing.
  const Duration before = told();
  for (int i = 0; i < 100; ++i) serve(1ms, Outcome::unused());
  CHECK(told() == before);
}

TEST_CASE("a free worker takes a request at once") {
  auto settings = small_settings();
  settings.workers = 3;
  Controller controller(settings);
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(5))) == "admitted");
  CHECK(said(enter(controller, request(5))) == "waits");
  CHECK(controller.snapshot(start).active_workers == 3);
}

TEST_CASE("a worker that comes back takes the one who waits") {
  Controller controller = full_house(small_settings());
  const Ticket ticket = wait_in(controller, request(3));
  CHECK(said(controller.next(start)) == "silence");
  controller.finish(Outcome::processed(), a_seat(controller), start + 20ms);
  const auto notice = controller.next(start + 20ms);
  REQUIRE(said(notice) == "granted");
  CHECK(notice->ticket == ticket);
  CHECK(std::get<Granted>(notice->news).seat.since == start + 20ms);
  CHECK(std::get<Granted>(notice->news).waited == 20ms);
  CHECK(said(controller.next(start + 20ms)) == "silence");
  check_balance(controller);
}

TEST_CASE("waiters go in by priority and then in the order they came") {
  auto settings = small_settings();
  settings.queue_size = 10;
  Controller controller = full_house(settings);
  std::vector<Ticket> tickets;
  for (const int priority : {5, 3, 4, 3, 1})
    tickets.push_back(wait_in(controller, request(priority)));
  for (const std::size_t expected : {4U, 1U, 3U, 2U, 0U}) {
    controller.finish(Outcome::processed(), a_seat(controller), start);
    const auto notice = controller.next(start);
    REQUIRE(said(notice) == "granted");
    CHECK(notice->ticket == tickets[expected]);
  }
}

TEST_CASE("a newcomer overtakes only those of a worse priority for a worker that just came back") {
  auto settings = small_settings();
  Controller controller = full_house(settings);
  wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller),
                    start);  // and next() has not been asked yet
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(said(enter(controller, request(3))) == "waits");
  CHECK(said(enter(controller, request(2))) == "admitted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("the owner of a waiter is named in its news") {
  Controller controller = full_house(small_settings());
  Arrival arrival = request(3);
  arrival.owner = 7;
  wait_in(controller, arrival);
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(controller.next(start)->owner == 7);
}

// --- the order of the rules

TEST_CASE("draining is said before the rate limit and the rate limit before a full queue") {
  auto settings = small_settings();
  settings.queue_size = 0;
  settings.rate = 1;
  settings.burst = 2;
  Controller controller = full_house(settings);
  CHECK(said(enter(controller, request(3))) == "queue_full");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3))) == "admitted");  // the last token
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  controller.drain();
  CHECK(said(enter(controller, request(3))) == "draining");
  check_balance(controller);
}

TEST_CASE("a refusal charges no token: not for a full queue nor for the rate nor for draining") {
  auto settings = small_settings();
  settings.queue_size = 0;
  settings.rate = 1;
  settings.burst = 2;
  Controller controller = full_house(settings);
  for (int i = 0; i < 10; ++i) CHECK(said(enter(controller, request(3))) == "queue_full");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3))) == "admitted");
  for (int i = 0; i < 10; ++i) CHECK(said(enter(controller, request(3))) == "rate_limited");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3, start + 1s), start + 1s)) == "admitted");
}

TEST_CASE("a route without a rate limit passes an empty bucket and takes nothing from a full one") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 1;
  settings.burst = 1;
  Controller controller(settings);
  Arrival exempt = request(1);
  exempt.rate_limited = false;
  CHECK(said(enter(controller, exempt)) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  CHECK(said(enter(controller, exempt)) == "admitted");
}

TEST_CASE("a dear request needs as many tokens as it costs or takes none") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 10;
  settings.burst = 5;
  Controller controller(settings);
  Arrival dear = request(3);
  dear.cost = 3;
  CHECK(said(enter(controller, dear)) == "admitted");
  const Verdict second = enter(controller, dear);
  CHECK(said(second) == "rate_limited");
  CHECK(retry_after(second) == 100ms);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
}

// --- the queue

TEST_CASE("a full queue turns away whoever could displace nobody") {
  Controller controller = full_house(small_settings());
  for (int i = 0; i < 4; ++i) wait_in(controller, request(3));
  CHECK(said(enter(controller, request(3))) == "queue_full");
  CHECK(said(enter(controller, request(4))) == "queue_full");
  CHECK(said(enter(controller, request(5))) == "queue_full");
  CHECK(controller.snapshot(start).waiting == 4);
  CHECK(said(controller.next(start)) == "silence");
  check_balance(controller);
}

TEST_CASE("the newest of the worst gives way to a better one") {
  Controller controller = full_house(small_settings());
  wait_in(controller, request(5));
  const Ticket newest_of_the_worst = wait_in(controller, request(5));
  wait_in(controller, request(4));
  wait_in(controller, request(4));
  CHECK(said(enter(controller, request(3))) == "waits");
  const auto notice = controller.next(start);
  REQUIRE(said(notice) == "displaced");
  CHECK(notice->ticket == newest_of_the_worst);
  CHECK(said(controller.next(start)) == "silence");
  CHECK(controller.snapshot(start).waiting == 4);
  CHECK(rejected(controller, conf::Reason::displaced) == 1);
  check_balance(controller);
}

TEST_CASE("nobody gives way to an equal") {
  Controller controller = full_house(small_settings());
  for (int i = 0; i < 4; ++i) wait_in(controller, request(5));
  CHECK(said(enter(controller, request(5))) == "queue_full");
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(rejected(controller, conf::Reason::displaced) == 2);
}

TEST_CASE("who gave way no longer waits and is told why") {
  auto settings = small_settings();
  settings.queue_size = 1;
  Controller controller = full_house(settings);
  const Ticket displaced = wait_in(controller, request(5));
  wait_in(controller, request(1));
  CHECK_FALSE(controller.leave(displaced, Departure::abandoned, start));
  const auto notice = controller.next(start);
  REQUIRE(said(notice) == "displaced");
  CHECK(std::get<Rejection>(notice->news).retry_after >= 1s);
}

TEST_CASE("without a queue whoever finds no worker is turned away") {
  auto settings = small_settings();
  settings.queue_size = 0;
  Controller controller = full_house(settings);
  for (int priority = 1; priority <= 5; ++priority)
    CHECK(said(enter(controller, request(priority))) == "queue_full");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(5))) == "admitted");
}

Arrival with_body(int priority, std::uint64_t bytes) {
  Arrival arrival = request(priority);
  arrival.bytes = bytes;
  return arrival;
}

TEST_CASE("the bodies of those who wait are bounded together") {
  auto settings = small_settings();
  settings.queue_bytes = {100};
  Controller controller = full_house(settings);
  wait_in(controller, with_body(3, 60));
  CHECK(said(enter(controller, with_body(3, 41))) == "queue_full");
  wait_in(controller, with_body(3, 40));
  CHECK(said(enter(controller, with_body(3, 1))) == "queue_full");
  CHECK(said(enter(controller, with_body(3, 0))) == "waits");
  CHECK(controller.snapshot(start).waiting_bytes == 100);
}

TEST_CASE("a body that is larger than the whole queue never waits but may go in at once") {
  auto settings = small_settings();
  settings.queue_bytes = {100};
  Controller controller(settings);
  CHECK(said(enter(controller, with_body(3, 101))) == "admitted");
  CHECK(said(enter(controller, with_body(1, 101))) == "queue_full");
}

TEST_CASE("several small bodies give way to one large one newest first") {
  auto settings = small_settings();
  settings.queue_bytes = {100};
  Controller controller = full_house(settings);
  const Ticket oldest = wait_in(controller, with_body(5, 40));
  const Ticket middle = wait_in(controller, with_body(5, 30));
  const Ticket newest = wait_in(controller, with_body(5, 30));
  wait_in(controller, with_body(3, 50));
  std::vector<Ticket> displaced;
  while (const auto notice = controller.next(start)) {
    CHECK(said(notice) == "displaced");
    displaced.push_back(notice->ticket);
  }
  CHECK(displaced.size() == 2);
  CHECK(std::ranges::count(displaced, middle) == 1);
  CHECK(std::ranges::count(displaced, newest) == 1);
  CHECK(controller.leave(oldest, Departure::abandoned, start));
  check_balance(controller);
}

TEST_CASE("nobody gives way in vain: not to a body that would not fit even then") {
  auto settings = small_settings();
  settings.queue_bytes = {100};
  Controller controller = full_house(settings);
  wait_in(controller, with_body(2, 60));
  wait_in(controller, with_body(5, 40));
  CHECK(said(enter(controller, with_body(3, 50))) == "queue_full");
  CHECK(said(controller.next(start)) == "silence");
  CHECK(controller.snapshot(start).waiting == 2);
}

// --- two steps

TEST_CASE("a request in two steps enters the books at its verdict and not before") {
  Controller controller(small_settings());
  CHECK(said(controller.screen(request(3), start)) == "passes");
  CHECK(controller.snapshot(start).total == 0);
  CHECK(said(controller.arrive(request(3), start + 1s)) == "admitted");
  CHECK(controller.snapshot(start).total == 1);
}

TEST_CASE("a queue that filled up during an upload turns it away when it is ready") {
  auto settings = small_settings();
  settings.queue_size = 1;
  Controller controller = full_house(settings);
  CHECK(said(controller.screen(request(3), start)) == "passes");
  wait_in(controller, request(3));
  CHECK(said(controller.arrive(request(3), start)) == "queue_full");
  CHECK(controller.snapshot(start).total == 3);
  check_balance(controller);
}

TEST_CASE("a client that leaves in the middle of its upload enters as abandoned") {
  Controller controller(small_settings());
  CHECK(said(controller.screen(request(3), start)) == "passes");
  controller.abandon();
  CHECK(controller.snapshot(start).total == 1);
  CHECK(controller.snapshot(start).abandoned == 1);
  check_balance(controller);
}

TEST_CASE("a request that is refused for what it is enters the books under its reason") {
  Controller controller(small_settings());
  controller.refuse(conf::Reason::malformed, start);
  CHECK(rejected(controller, conf::Reason::malformed) == 1);
  check_balance(controller);
}

TEST_CASE("draining lets those in who wait and those who passed their head before it") {
  auto settings = small_settings();
  settings.workers = 2;
  Controller controller = full_house(settings);
  wait_in(controller, request(3));
  CHECK(said(controller.screen(request(3), start)) == "passes");
  controller.drain();
  CHECK(said(controller.screen(request(1), start)) == "draining");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(controller.next(start)) == "granted");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(controller.arrive(request(3), start)) == "admitted");
  CHECK(controller.snapshot(start).draining);
}

// --- waiting too long, leaving

TEST_CASE("a waiter who leaves is abandoned and one that waited too long is rejected") {
  Controller controller = full_house(small_settings());
  const Ticket gone = wait_in(controller, request(3));
  const Ticket late = wait_in(controller, request(3));
  CHECK(controller.leave(gone, Departure::abandoned, start));
  CHECK(controller.leave(late, Departure::timed_out, start));
  CHECK_FALSE(controller.leave(gone, Departure::abandoned, start));
  CHECK_FALSE(controller.leave(late, Departure::timed_out, start));
  CHECK(controller.snapshot(start).abandoned == 1);
  CHECK(rejected(controller, conf::Reason::queue_timeout) == 1);
  CHECK(controller.snapshot(start).waiting == 0);
  check_balance(controller);
}

TEST_CASE("a waiter no longer leaves when its turn has come") {
  Controller controller = full_house(small_settings());
  const Ticket ticket = wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK_FALSE(controller.leave(ticket, Departure::abandoned, start));
  CHECK_FALSE(controller.leave(ticket, Departure::timed_out, start));
  CHECK(controller.snapshot(start).active_workers == 1);
  check_balance(controller);
}

TEST_CASE("a waiter whose time is up when its turn comes is told so and the next one goes in") {
  auto settings = small_settings();
  settings.queue_timeout = 5s;
  Controller controller = full_house(settings);
  const Ticket late = wait_in(controller, request(3), start);
  const Ticket in_time = wait_in(controller, request(3, start + 1ns), start + 1ns);
  controller.finish(Outcome::processed(), a_seat(controller), start + 5s);
  const auto first = controller.next(start + 5s);
  CHECK(said(first) == "queue_timeout");
  CHECK(first->ticket == late);
  const auto second = controller.next(start + 5s);
  CHECK(said(second) == "granted");
  CHECK(second->ticket == in_time);
  check_balance(controller);
}

TEST_CASE("the request timeout counts from the head however late the request began to wait") {
  auto settings = small_settings();
  settings.request_timeout = 10s;
  settings.queue_timeout = 5s;
  for (const auto& [ready, last_moment] :
       {std::pair{start, start + 5s}, std::pair{start + 8s, start + 10s}}) {
    Controller controller = full_house(settings);
    wait_in(controller, request(3, start), ready);
    wait_in(controller, request(3, start), ready);
    controller.finish(Outcome::processed(), a_seat(controller), last_moment - 1ns);
    CHECK(said(controller.next(last_moment - 1ns)) == "granted");
    controller.finish(Outcome::processed(), a_seat(controller), last_moment);
    CHECK(said(controller.next(last_moment)) == "queue_timeout");
  }
}

// --- when to come back

TEST_CASE("the time to come back after a 429 is when the tokens will be there") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 4;
  settings.burst = 1;
  Controller controller(settings);
  CHECK(said(enter(controller, request(3))) == "admitted");
  const Verdict verdict = enter(controller, request(3), start + 100ms);
  CHECK(said(verdict) == "rate_limited");
  CHECK(retry_after(verdict) == 150ms);
  CHECK(said(enter(controller, request(3), start + 250ms - 1ns)) == "rate_limited");
  CHECK(said(enter(controller, request(3), start + 250ms)) == "admitted");
}

TEST_CASE("the time to come back after a 503 follows the rate at which workers come back") {
  auto settings = small_settings();
  settings.workers = 2;
  settings.queue_size = 3;
  Controller controller = full_house(settings);
  CHECK(controller.drain_time() == 1s);  // nothing is known yet
  controller.finish(Outcome::processed(), a_seat(controller), start + 4s);
  CHECK(said(enter(controller, request(3), start + 4s)) == "admitted");
  CHECK(controller.drain_time() == 2s);  // two workers of 4 s each: one comes back every 2 s
  for (int i = 0; i < 3; ++i) wait_in(controller, request(3, start + 4s), start + 4s);
  const Verdict verdict = enter(controller, request(3), start + 4s);
  CHECK(said(verdict) == "queue_full");
  CHECK(retry_after(verdict) == 8s);
  controller.drain();
  CHECK(retry_after(enter(controller, request(3), start + 4s)) > 8s);  // after that one
}

TEST_CASE("the time to come back after a 503 is at least a second") {
  auto settings = small_settings();
  settings.queue_size = 0;
  Controller controller = full_house(settings);
  controller.finish(Outcome::processed(), a_seat(controller), start + 1ms);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(retry_after(enter(controller, request(3))) == 1s);
}

// --- the books

TEST_CASE("every outcome of a worker has its own column in the books") {
  auto settings = small_settings();
  settings.workers = 4;
  Controller controller = full_house(settings);
  controller.finish(Outcome::processed(), a_seat(controller), start);
  controller.finish(Outcome::abandoned(), a_seat(controller), start);
  controller.finish(Outcome::failed(conf::Reason::upstream_broken), a_seat(controller), start);
  controller.finish(Outcome::failed(conf::Reason::upstream_timeout), a_seat(controller), start);
  const Snapshot books = controller.snapshot(start);
  CHECK(books.total == 4);
  CHECK(books.processed == 1);
  CHECK(books.abandoned == 1);
  CHECK(books.failed[conf::index_of(conf::Reason::upstream_broken)] == 1);
  CHECK(books.failed[conf::index_of(conf::Reason::upstream_timeout)] == 1);
  CHECK(sum(books.failed) == 2);
  CHECK(books.active_workers == 0);
  check_balance(controller);
}

TEST_CASE("the snapshot tells limits and queue and how long waiting and working took") {
  auto settings = small_settings();
  settings.workers = 2;
  Controller controller = full_house(settings);
  wait_in(controller, request(3));
  wait_in(controller, request(5));
  CHECK(controller.snapshot(start).waiting_by_priority ==
        std::array<std::size_t, 5>{0, 0, 1, 0, 1});
  controller.finish(Outcome::processed(), a_seat(controller), start + 300ms);
  CHECK(said(controller.next(start + 300ms)) == "granted");
  controller.finish(Outcome::processed(), a_seat(controller), start + 500ms);
  const Snapshot books = controller.snapshot(start + 500ms);
  CHECK(books.workers == 2);
  CHECK(books.queue_limit == 4);
  CHECK(books.active_workers == 1);
  CHECK(books.waiting == 1);
  CHECK(books.average_wait == 100ms);  // of 0, 0 and 300 ms
  CHECK(books.average_process == 400ms);
  CHECK(books.wait.p50 == 0ms);
  CHECK(books.wait.p99 >= 300ms);
  CHECK(books.wait.p99 < 338ms);
  CHECK(books.process.p99 >= 500ms);
  CHECK(controller.snapshot(start + 1h).process.p99 == 0ms);  // long ago
  CHECK(controller.snapshot(start + 1h).average_process == 400ms);
}

TEST_CASE("the last overload is the last time that the queue turned someone away") {
  auto settings = small_settings();
  settings.queue_size = 0;
  settings.rate = 1;
  settings.burst = 2;
  Controller controller(settings);
  controller.refuse(conf::Reason::malformed, start);
  CHECK(controller.snapshot(start).since_last_overload == Duration::max());
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "queue_full");
  CHECK(controller.snapshot(start + 7s).since_last_overload == 7s);
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  CHECK(controller.snapshot(start + 9s).since_last_overload == 9s);
}

TEST_CASE("workers without a client are counted until they come back") {
  auto settings = small_settings();
  settings.workers = 2;
  Controller controller = full_house(settings);
  controller.orphan();
  CHECK(controller.snapshot(start).workers_without_client == 1);
  CHECK(controller.snapshot(start).active_workers == 2);
  controller.adopt();
  controller.finish(Outcome::abandoned(), a_seat(controller), start);
  CHECK(controller.snapshot(start).workers_without_client == 0);
}

TEST_CASE("loops whose turns began at different times leave no negative durations") {
  Controller controller = full_house(small_settings());
  wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller), start - 1ms);
  const auto notice = controller.next(start - 1ms);
  REQUIRE(said(notice) == "granted");
  CHECK(std::get<Granted>(notice->news).waited == 0ns);
  CHECK(controller.snapshot(start).average_process == 0ns);
}

TEST_CASE("fewer workers let everybody finish and take nobody in before there is a free one") {
  auto settings = small_settings();
  settings.workers = 2;
  Controller controller = full_house(settings);
  wait_in(controller, request(3));
  settings.workers = 1;
  controller.reconfigure(settings, start);
  CHECK(controller.snapshot(start).active_workers == 2);
  CHECK(controller.snapshot(start).workers == 1);
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(controller.next(start)) == "silence");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(controller.next(start)) == "granted");
}

TEST_CASE("with no worker at all everybody waits, and the time to come back is still told") {
  auto settings = small_settings();
  settings.workers = 0;
  settings.queue_size = 1;
  Controller controller(settings);
  wait_in(controller, request(3));
  CHECK(said(controller.next(start)) == "silence");
  const auto verdict = enter(controller, request(3));
  REQUIRE(said(verdict) == "queue_full");
  CHECK(std::get<Rejection>(verdict).retry_after == 1s);
  settings.workers = 1;
  controller.reconfigure(settings, start);
  CHECK(said(controller.next(start)) == "granted");
}

TEST_CASE("more workers let waiters in at once") {
  auto settings = small_settings();
  Controller controller = full_house(settings);
  wait_in(controller, request(3));
  settings.workers = 2;
  controller.reconfigure(settings, start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("a queue that is made smaller drops nobody, and a newcomer displaces no more than one") {
  auto settings = small_settings();
  Controller controller = full_house(settings);
  for (int i = 0; i < 4; ++i) wait_in(controller, request(4));
  settings.queue_size = 1;
  controller.reconfigure(settings, start);
  CHECK(said(controller.next(start)) == "silence");
  CHECK(controller.snapshot(start).waiting == 4);
  CHECK(said(enter(controller, request(4))) == "queue_full");
  CHECK(said(enter(controller, request(3))) == "waits");
  CHECK(said(controller.next(start)) == "displaced");
  CHECK(said(controller.next(start)) == "silence");
  CHECK(controller.snapshot(start).waiting == 4);
}

TEST_CASE("tokens survive a new rate, as far as the new burst holds them") {
  auto settings = small_settings();
  settings.workers = 100;
  settings.rate = 1;
  settings.burst = 3;
  Controller controller(settings);
  CHECK(said(enter(controller, request(3))) == "admitted");
  settings.rate = 2;
  settings.burst = 10;
  controller.reconfigure(settings, start);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  CHECK(said(enter(controller, request(3), start + 500ms)) == "admitted");
}

}  // namespace
}  // namespace classgate::admission
