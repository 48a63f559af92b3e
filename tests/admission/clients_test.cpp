// The Controller when it knows who is asking.

#include "admission/explain.h"
#include "tests/admission/kit.h"

#include <vector>

namespace classgate::admission {
namespace {

conf::AdmissionSettings fair_settings() {
  conf::AdmissionSettings settings = small_settings();
  settings.fairness.is_on = true;
  return settings;
}

Arrival request_of(std::uint64_t client, int priority = 3, Time at = start) {
  return {.priority = priority, .at = at, .client = client};
}

Seat seat_of(const Verdict& verdict) { return std::get<Admitted>(verdict).seat; }

// Head and body at once.
std::string ask(Controller& controller, Arrival arrival, Time now = start) {
  if (const auto rejection = controller.screen(arrival, now)) return said(*rejection);
  return said(controller.arrive(arrival, now));
}

TEST_CASE("a client's rate is its own: another one is served on") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 50;
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 2;
  Controller controller(settings);
  CHECK(ask(controller, request_of(1)) == "admitted");
  CHECK(ask(controller, request_of(1)) == "admitted");
  CHECK(ask(controller, request_of(1)) == "client_rate");
  CHECK(ask(controller, request_of(2)) == "admitted");
  CHECK(ask(controller, request_of(1), start + 1s) == "admitted");
}

TEST_CASE("what one bucket cannot pay none pays") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 50;
  settings.rate = 1;
  settings.burst = 3;
  settings.fairness.reserve = 0;  // all of it is there for everybody
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 1;
  settings.route_rates = {{"/a", 1, 2}, {"/b", 0, 1}};
  Controller controller(settings);
  const RouteId a = Ids(settings).route("/a"), b = Ids(settings).route("/b");
  const auto of_route = [](std::uint64_t client, RouteId route) {
    Arrival arrival = request_of(client);
    arrival.route = route;
    return arrival;
  };
  CHECK(ask(controller, of_route(1, a)) == "admitted");
  for (int i = 0; i < 10; ++i) CHECK(ask(controller, of_route(1, a)) == "client_rate");
  CHECK(ask(controller, of_route(2, a)) == "admitted");
  for (std::uint64_t client = 3; client < 10; ++client)
    CHECK(ask(controller, of_route(client, a)) == "route_rate");
  CHECK(ask(controller, of_route(3, b)) == "admitted");
  CHECK(ask(controller, of_route(4, b)) == "rate_limited");
  CHECK(ask(controller, of_route(4, {.slot = 99})) == "rate_limited");
}

TEST_CASE("a paid client's request goes before a free one's, and after a better route's") {
  conf::AdmissionSettings settings = fair_settings();
  settings.queue_size = 10;
  settings.fairness.plans = {{.name = "free", .priority = 4, .clients = {}},
                             {.name = "paid", .priority = 2, .clients = {}}};
  const Ids ids(settings);
  Controller controller(settings, ids);
  const auto of_plan = [&](std::uint64_t client, const char* plan, std::uint32_t tag,
                           int priority = 3) {
    Arrival arrival = request_of(client, priority);
    arrival.plan = ids.plan(plan);
    arrival.tag = tag;
    return arrival;
  };
  Seat seat = seat_of(controller.arrive(of_plan(1, "free", 0), start));
  for (std::uint32_t tag = 1; tag <= 3; ++tag)
    CHECK(ask(controller, of_plan(1, "free", tag)) == "waits");
  CHECK(controller.last_place() == 3);
  CHECK(ask(controller, of_plan(2, "paid", 4)) == "waits");
  CHECK(controller.last_place() == 1);
  CHECK(ask(controller, of_plan(3, "nobody's", 5)) == "waits");
  CHECK(controller.last_place() == 2);
  CHECK(ask(controller, of_plan(1, "free", 6, 1)) == "waits");
  CHECK(controller.last_place() == 1);
  std::vector<std::uint32_t> order;
  while (order.size() < 6) {
    controller.finish(Outcome::processed(), seat, start);
    const auto notice = controller.next(start);
    REQUIRE(said(notice) == "granted");
    order.push_back(notice->tag);
    seat = std::get<Granted>(notice->news).seat;
  }
  CHECK(order == std::vector<std::uint32_t>{6, 4, 5, 1, 2, 3});
}

TEST_CASE("a reserve holds for its route's priority, whatever the plans say") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 3;
  settings.queue_size = 100;
  settings.reserve.shares[4] = 0.34;
  settings.fairness.plans = {{.name = "paid", .priority = 1, .clients = {}},
                             {.name = "free", .priority = 5, .clients = {}}};
  const Ids ids(settings);
  Controller controller(settings, ids);
  const auto of_plan = [&](std::uint64_t client, const char* plan, int priority) {
    Arrival arrival = request_of(client, priority);
    arrival.plan = ids.plan(plan);
    return arrival;
  };
  const Seat last = seat_of(controller.arrive(of_plan(1, "paid", 5), start));
  for (int i = 0; i < 2; ++i) CHECK(ask(controller, of_plan(1, "paid", 3)) == "admitted");
  for (int i = 0; i < 20; ++i) CHECK(ask(controller, of_plan(1, "paid", 3)) == "waits");
  CHECK(ask(controller, of_plan(2, "free", 5)) == "waits");
  controller.finish(Outcome::processed(), last, start);
  const auto notice = controller.next(start);
  REQUIRE(said(notice) == "granted");
  CHECK(std::get<Granted>(notice->news).seat.priority == 5);  // it is owed
}

TEST_CASE("a client with all its workers waits, and others pass it by") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 3;
  settings.fairness.everybody.workers = 2;
  Controller controller(settings);
  const Seat seat = seat_of(controller.arrive(request_of(1), start));
  CHECK(ask(controller, request_of(1)) == "admitted");
  CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(said(controller.next(start)) == "silence");
  CHECK(ask(controller, request_of(2)) == "admitted");
  controller.finish(Outcome::processed(), seat, start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("a client that gets a plan with more workers need not wait for its old limit") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 10;
  settings.fairness.everybody.workers = 1;
  Controller controller(settings);
  const Seat seat = seat_of(enter(controller, request_of(1)));
  CHECK(ask(controller, request_of(1)) == "waits");
  conf::PlanSettings gold;
  gold.name = "gold";
  gold.workers = 5;
  settings.fairness.plans = {gold};
  controller.reconfigure(settings, start);
  CHECK(said(controller.next(start)) == "silence");
  Arrival as_gold = request_of(1);
  as_gold.plan = Ids(settings).plan("gold");
  CHECK(ask(controller, as_gold) == "admitted");  // the one before it is passed over until ...
  CHECK(said(controller.next(start)) == "silence");
  CHECK(ask(controller, as_gold) == "admitted");
  controller.finish(Outcome::processed(), seat, start);  // ... a worker of its own comes back
  CHECK(said(controller.next(start)) == "granted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("a client's places in the queue may be counted") {
  conf::AdmissionSettings settings = fair_settings();
  settings.queue_size = 10;
  settings.fairness.everybody.queue_size = 2;
  Controller controller(settings);
  CHECK(ask(controller, request_of(1)) == "admitted");
  CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(ask(controller, request_of(1)) == "client_queue");
  CHECK(ask(controller, request_of(2)) == "waits");
}

TEST_CASE("when the queue is full the client with the most waiting gives way to one with less") {
  Controller controller(fair_settings());
  CHECK(ask(controller, request_of(1)) == "admitted");
  for (int i = 0; i < 4; ++i) CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(ask(controller, request_of(1)) == "queue_full");
  CHECK(ask(controller, request_of(2)) == "waits");
  CHECK(said(controller.next(start)) == "fair_share");
  CHECK(ask(controller, request_of(2)) == "waits");
  CHECK(said(controller.next(start)) == "fair_share");
  CHECK(ask(controller, request_of(2)) == "queue_full");  // two each
  CHECK(ask(controller, request_of(1)) == "queue_full");
  CHECK(ask(controller, request_of(3)) == "waits");
}

TEST_CASE("a client's retries beyond its budget do not wait, its first attempts do") {
  conf::AdmissionSettings settings = fair_settings();
  settings.queue_size = 100;
  Controller controller(settings);
  Arrival retry = request_of(1);
  retry.is_retry = true;
  for (int i = 0; i < 4; ++i) ask(controller, retry);
  CHECK(ask(controller, retry) == "retry_budget");
  CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(ask(controller, retry) == "retry_budget");
  Arrival of_another = request_of(2);
  of_another.is_retry = true;
  CHECK(ask(controller, of_another) == "waits");
}

TEST_CASE("a retry too many goes in when a worker is free") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 50;
  Controller controller(settings);
  Arrival retry = request_of(1);
  retry.is_retry = true;
  for (int i = 0; i < 20; ++i) CHECK(ask(controller, retry) == "admitted");
}

TEST_CASE("an attempt that comes again under the same name is a retry") {
  conf::AdmissionSettings settings = fair_settings();
  settings.queue_size = 100;
  Controller controller(settings);
  Arrival attempt = request_of(1);
  attempt.attempt = 12345;
  CHECK(ask(controller, attempt) == "admitted");
  for (int i = 0; i < 3; ++i) CHECK(ask(controller, attempt) == "waits");
  CHECK(ask(controller, attempt) == "retry_budget");
  attempt.attempt = 12346;
  CHECK(ask(controller, attempt) == "waits");
}

TEST_CASE("the same name again after the window is no retry, and each use begins it anew") {
  conf::AdmissionSettings settings = fair_settings();
  settings.queue_size = 100;
  settings.fairness.retry_budget = 0;
  settings.fairness.retry_window = 60s;
  Controller controller(settings);
  Arrival attempt = request_of(1);
  attempt.attempt = 12345;
  const auto is_retry = [&](Time now) { return controller.explain(attempt, now).is_retry; };
  CHECK_FALSE(is_retry(start));
  ask(controller, attempt);
  CHECK(is_retry(start));
  CHECK(is_retry(start + 59s));
  CHECK_FALSE(is_retry(start + 60s));
  ask(controller, attempt, start + 59s);
  CHECK(is_retry(start + 118s));
  settings.fairness.retry_window = 0s;
  controller.reconfigure(settings, start + 59s);
  CHECK_FALSE(is_retry(start + 59s));
}

TEST_CASE("who wants several workers waits until they are free, and nobody passes by") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 4;
  Controller controller(settings);
  std::vector<Seat> seats;
  for (int i = 0; i < 2; ++i) seats.push_back(seat_of(controller.arrive(request_of(1), start)));
  Arrival batch = request_of(2);
  batch.workers = 3;
  CHECK(ask(controller, batch) == "waits");
  CHECK(ask(controller, request_of(1)) == "waits");
  CHECK(said(controller.next(start)) == "silence");
  controller.finish(Outcome::processed(), seats[0], start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(controller.snapshot(start).active_workers == 4);
  CHECK(controller.snapshot(start).in_flight == 2);
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("who wants more workers than there are takes all") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 4;
  Controller controller(settings);
  Arrival batch = request_of(2);
  batch.workers = 1'000;
  const Seat seat = seat_of(controller.arrive(batch, start));
  CHECK(seat.workers == 4);
  controller.finish(Outcome::processed(), seat, start);
  CHECK(controller.snapshot(start).active_workers == 0);
}

TEST_CASE("identities that are switched off leave those who wait their places") {
  conf::AdmissionSettings settings = fair_settings();
  settings.workers = 1;
  settings.fairness.everybody.workers = 1;
  Controller controller(settings);
  const Seat seat = seat_of(controller.arrive(request_of(1), start));
  CHECK(ask(controller, request_of(1)) == "waits");
  settings.fairness = {};
  controller.reconfigure(settings, start);
  CHECK(ask(controller, request_of(1)) == "waits");
  controller.finish(Outcome::processed(), seat, start);
  const auto plain = controller.next(start);
  CHECK(said(plain) == "granted");
  controller.finish(Outcome::processed(), std::get<Granted>(plain->news).seat, start);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(controller.snapshot(start).waiting == 0);
}

}  // namespace
}  // namespace classgate::admission
