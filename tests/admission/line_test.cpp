// Who waits for a worker, and who gets it.

#include "admission/line.h"

#include <algorithm>
#include <vector>

#include "tests/admission/house.h"

namespace classgate::admission {
namespace {

// --- who goes in

TEST_CASE("a free worker takes a request at once") {
  auto settings = small_settings();
  settings.workers = 3;
  Controller controller(settings);
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(5))) == "admitted");
  CHECK(said(enter(controller, request(5))) == "waits");
  CHECK(controller.snapshot(start).active_workers == 3);
}

TEST_CASE("a worker that comes back takes the one who waits") {
  FullHouse controller(small_settings());
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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
  wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller),
                    start);  // and next() has not been asked yet
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(said(enter(controller, request(3))) == "waits");
  CHECK(said(enter(controller, request(2))) == "admitted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("the owner of a waiter is named in its news") {
  FullHouse controller(small_settings());
  Arrival arrival = request(3);
  arrival.owner = 7;
  wait_in(controller, arrival);
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(controller.next(start)->owner == 7);
}

// --- the queue

TEST_CASE("a full queue turns away whoever could displace nobody") {
  FullHouse controller(small_settings());
  for (int i = 0; i < 4; ++i) wait_in(controller, request(3));
  CHECK(said(enter(controller, request(3))) == "queue_full");
  CHECK(said(enter(controller, request(4))) == "queue_full");
  CHECK(said(enter(controller, request(5))) == "queue_full");
  CHECK(controller.snapshot(start).waiting == 4);
  CHECK(said(controller.next(start)) == "silence");
  check_balance(controller);
}

TEST_CASE("the newest of the worst gives way to a better one") {
  FullHouse controller(small_settings());
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
  FullHouse controller(small_settings());
  for (int i = 0; i < 4; ++i) wait_in(controller, request(5));
  CHECK(said(enter(controller, request(5))) == "queue_full");
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(said(enter(controller, request(4))) == "waits");
  CHECK(rejected(controller, conf::Reason::displaced) == 2);
}

TEST_CASE("who gave way no longer waits and is told why") {
  auto settings = small_settings();
  settings.queue_size = 1;
  FullHouse controller(settings);
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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
  wait_in(controller, with_body(2, 60));
  wait_in(controller, with_body(5, 40));
  CHECK(said(enter(controller, with_body(3, 50))) == "queue_full");
  CHECK(said(controller.next(start)) == "silence");
  CHECK(controller.snapshot(start).waiting == 2);
}

// --- waiting too long, leaving

TEST_CASE("a waiter who leaves is abandoned and one that waited too long is rejected") {
  FullHouse controller(small_settings());
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
  FullHouse controller(small_settings());
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
  FullHouse controller(settings);
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
    FullHouse controller(settings);
    wait_in(controller, request(3, start), ready);
    wait_in(controller, request(3, start), ready);
    controller.finish(Outcome::processed(), a_seat(controller), last_moment - 1ns);
    CHECK(said(controller.next(last_moment - 1ns)) == "granted");
    controller.finish(Outcome::processed(), a_seat(controller), last_moment);
    CHECK(said(controller.next(last_moment)) == "queue_timeout");
  }
}

TEST_CASE("workers without a client are counted until they come back") {
  auto settings = small_settings();
  settings.workers = 2;
  FullHouse controller(settings);
  controller.orphan();
  CHECK(controller.snapshot(start).workers_without_client == 1);
  CHECK(controller.snapshot(start).active_workers == 2);
  controller.adopt();
  controller.finish(Outcome::abandoned(), a_seat(controller), start);
  CHECK(controller.snapshot(start).workers_without_client == 0);
}

TEST_CASE("loops whose turns began at different times leave no negative durations") {
  FullHouse controller(small_settings());
  wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller), start - 1ms);
  const auto notice = controller.next(start - 1ms);
  REQUIRE(said(notice) == "granted");
  CHECK(std::get<Granted>(notice->news).waited == 0ns);
  CHECK(controller.snapshot(start).average_process == 0ns);
}

TEST_CASE("who brings terms waits on those, whatever the conf says by now") {
  auto settings = small_settings();
  settings.queue_timeout = 1s;
  FullHouse controller(settings);
  Arrival patient = request(3);
  patient.terms = Terms{.request_timeout = 10s, .queue_timeout = 5s};
  const Ticket ticket = wait_in(controller, patient);
  wait_in(controller, request(3));
  controller.finish(Outcome::processed(), a_seat(controller), start + 5s - 1ns);
  const auto notice = controller.next(start + 5s - 1ns);
  REQUIRE(said(notice) == "granted");
  CHECK(notice->ticket == ticket);
  controller.finish(Outcome::processed(), a_seat(controller), start + 5s - 1ns);
  CHECK(said(controller.next(start + 5s - 1ns)) == "queue_timeout");
}

// --- another conf

TEST_CASE("fewer workers let everybody finish and take nobody in before there is a free one") {
  auto settings = small_settings();
  settings.workers = 2;
  FullHouse controller(settings);
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
  FullHouse controller(settings);
  wait_in(controller, request(3));
  settings.workers = 2;
  controller.reconfigure(settings, start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("a queue that is made smaller drops nobody, and a newcomer displaces no more than one") {
  auto settings = small_settings();
  FullHouse controller(settings);
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
// --- on its own

// A line needs no intake: only whom it could ask about clients, and who tells when to come back.
struct Service {
  explicit Service(const conf::AdmissionSettings& settings)
      : retry_after(settings, clients), line(settings, clients, retry_after) {}
  Verdict arrive(int priority, Time now = start) {
    return line.arrive(request(priority, now), no_client, now);
  }
  ClientTable clients;
  RetryAfter retry_after;
  Line line;
};

TEST_CASE("a line alone lets in, makes wait, turns away, and its books balance") {
  auto settings = small_settings();
  settings.queue_size = 1;
  Service service(settings);
  const Verdict first = service.arrive(3);
  REQUIRE(said(first) == "admitted");
  CHECK(said(service.arrive(3)) == "waits");
  CHECK(said(service.arrive(3)) == "queue_full");
  service.line.finish(Outcome::processed(), std::get<Admitted>(first).seat, start + 1s);
  CHECK(said(service.line.next(start + 1s)) == "granted");
  CHECK(said(service.line.next(start + 1s)) == "silence");
  Snapshot books;
  service.line.write_to(books, start + 1s);
  CHECK(books.total == 3);
  CHECK(books.total == in_the_books(books));
}

TEST_CASE("two services have lines of their own: one that is full keeps nobody from the other") {
  auto settings = small_settings();
  settings.queue_size = 0;
  Service busy(settings);
  Service idle(settings);
  CHECK(said(busy.arrive(3)) == "admitted");
  CHECK(said(busy.arrive(1)) == "queue_full");
  CHECK(said(idle.arrive(5)) == "admitted");
}

}  // namespace
}  // namespace classgate::admission
