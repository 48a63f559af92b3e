// When the refused are told to come back.

#include "admission/retry_after.h"

#include <vector>

#include "tests/admission/house.h"

namespace classgate::admission {
namespace {

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
  FullHouse controller(settings);
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
  FullHouse controller(settings);
  controller.finish(Outcome::processed(), a_seat(controller), start + 1ms);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(retry_after(enter(controller, request(3))) == 1s);
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
// --- on its own

TEST_CASE("what is foretold is what is told, and foretelling changes nothing") {
  auto settings = small_settings();
  settings.fairness.is_on = true;
  settings.fairness.clients_max = 100;
  ClientTable clients;
  clients.use(settings.fairness, Ids(settings), start);
  Limits limits(settings, Ids(settings), clients);
  RetryAfter retry_after(settings, clients);
  const RetryAfter::Queue queue{.waiting = 10, .workers = 2, .usual_turn = 1s};
  CHECK(RetryAfter::drain_time(queue) == 5500ms);
  Time now = start;
  for (std::uint64_t i = 0; i < 100; ++i) {
    now += 100ms;
    Arrival arrival = request(3, now);
    arrival.client = 1 + i % 7;  // each asks again and again
    const auto client = clients.look(clients.find_or_add(arrival.client, {}, now).number, now);
    Rejection told{conf::Reason::queue_full, RetryAfter::drain_time(queue)};
    for (int twice = 0; twice < 2; ++twice) {
      Rejection foretold = told;
      retry_after.foretell(foretold, arrival, client, limits, {}, queue, now);
      Rejection once_more = told;
      retry_after.foretell(once_more, arrival, client, limits, {}, queue, now);
      CHECK(foretold.retry_after == once_more.retry_after);
      if (twice == 0) continue;
      retry_after.tell(told, arrival, queue, now);
      CHECK(told.retry_after == foretold.retry_after);
      CHECK(told.retry_after >= 5500ms);
    }
  }
}

TEST_CASE("nobody is told less than a second") {
  CHECK(RetryAfter::drain_time({.waiting = 0, .workers = 50, .usual_turn = 1ms}) == 1s);
  CHECK(RetryAfter::drain_time({.waiting = 0, .workers = 0, .usual_turn = 0ms}) == 1s);
}

}  // namespace
}  // namespace classgate::admission
