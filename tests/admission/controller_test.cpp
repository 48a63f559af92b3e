// The rules in their order, and the books of all that becomes of a request.

#include "admission/controller.h"

#include "tests/admission/house.h"

namespace classgate::admission {
namespace {

TEST_CASE("draining is said before the rate limit and the rate limit before a full queue") {
  auto settings = small_settings();
  settings.queue_size = 0;
  settings.rate = 1;
  settings.burst = 2;
  FullHouse controller(settings);
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
  FullHouse controller(settings);
  for (int i = 0; i < 10; ++i) CHECK(said(enter(controller, request(3))) == "queue_full");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3))) == "admitted");
  for (int i = 0; i < 10; ++i) CHECK(said(enter(controller, request(3))) == "rate_limited");
  controller.finish(Outcome::processed(), a_seat(controller), start);
  CHECK(said(enter(controller, request(3, start + 1s), start + 1s)) == "admitted");
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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
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

// --- the books

TEST_CASE("every outcome of a worker has its own column in the books") {
  auto settings = small_settings();
  settings.workers = 4;
  FullHouse controller(settings);
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
  FullHouse controller(settings);
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
}  // namespace
}  // namespace classgate::admission
