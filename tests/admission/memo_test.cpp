#include "admission/memo.h"

#include <algorithm>
#include <memory>

#include "admission/gate.h"
#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

conf::AdmissionSettings roomy() {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.fairness.reserve = 0;
  return settings;
}

conf::AdmissionSettings fair() {
  conf::AdmissionSettings settings = roomy();
  settings.fairness.is_on = true;
  return settings;
}

// How many go in at this instant; each gives its worker back at once.
int let_in(Gate& gate, const Arrival& arrival, Time now = start) {
  int count = 0;
  for (; count < 1000; ++count) {
    auto answer = gate.enter(Arrival(arrival), now);
    if (!std::holds_alternative<Permit>(answer)) break;
    std::get<Permit>(answer).finish(Outcome::unused(), now);
  }
  return count;
}

int let_in(Gate&& gate, const Arrival& arrival, Time now = start) {
  return let_in(gate, arrival, now);
}

Arrival arrival_on(RouteId route) {
  return {.priority = 3, .rate_limited = false, .route = route, .at = start};
}

Arrival arrival_from(std::uint64_t client, PlanId plan = {}) {
  return {.priority = 3, .at = start, .client = client, .plan = plan};
}

// A Gate that goes on from what another one has learnt.
struct Next : Gate {
  Next(const conf::AdmissionSettings& settings, const Ids& ids, const Memo& memo)
      : Gate(settings, ids) {
    take_up(memo);
  }
  Next(const conf::AdmissionSettings& settings, const Memo& memo)
      : Next(settings, Ids(settings), memo) {}
};

TEST_CASE("a bucket that was spent is as empty in the next process, and has gained what it gains") {
  auto settings = roomy();
  settings.rate = 1;
  settings.burst = 10;
  Gate gate(settings);
  CHECK(let_in(gate, request(3)) == 10);
  const Memo memo = gate.learnt(start);
  CHECK(let_in(Next(settings, memo), request(3)) == 0);
  CHECK(let_in(Next(settings, memo), request(3), start + 4s) == 4);
  CHECK(let_in(Next(settings, memo), request(3), start + 1h) == 10);
  // As of the time of the memo, whenever the bucket was last looked at.
  CHECK(let_in(Next(settings, gate.learnt(start + 3s)), request(3), start + 4s) == 4);
}

TEST_CASE("a bucket has no more tokens than its new burst, and none of a rate that has gone") {
  auto settings = roomy();
  settings.rate = 1;
  settings.burst = 10;
  Gate gate(settings);
  gate.enter(request(3), start);
  const Memo memo = gate.learnt(start);
  auto smaller = settings;
  smaller.burst = 4;
  CHECK(let_in(Next(smaller, memo), request(3)) == 4);
  auto larger = settings;
  larger.burst = 100;
  CHECK(let_in(Next(larger, memo), request(3)) == 9);
  auto limitless = settings;
  limitless.rate = 0;
  CHECK(let_in(Next(limitless, memo), request(3)) == 1000);
  // Nor does a rate that is new begin with what it did not have.
  CHECK(let_in(Next(settings, Gate(limitless).learnt(start)), request(3)) == 10);
}

TEST_CASE("routes go by their paths: inserted, moved and renamed ones mix nothing up") {
  auto settings = roomy();
  settings.route_rates = {{"/a", 1, 5}, {"/b", 1, 7}};
  Gate gate(settings);
  CHECK(let_in(gate, arrival_on(Ids(settings).route("/a"))) == 5);
  const Memo memo = gate.learnt(start);
  auto other = roomy();
  other.route_rates = {{"/new", 1, 6}, {"/b", 1, 7}, {"/a", 1, 5}};
  const Ids ids(other);
  Next next(other, ids, memo);
  CHECK(let_in(next, arrival_on(ids.route("/new"))) == 6);
  CHECK(let_in(next, arrival_on(ids.route("/b"))) == 7);
  CHECK(let_in(next, arrival_on(ids.route("/a"))) == 0);
}

TEST_CASE("how long requests of a route take is known to the next process, by path") {
  auto settings = roomy();
  settings.route_rates = {{"/gone", 1, 5}, {"/slow", 1, 5}};
  const Ids ids(settings);
  Controller controller(settings, ids);
  const auto work = [&](RouteId route, Duration took) {
    controller.finish(Outcome::processed(),
                      std::get<Admitted>(enter(controller, arrival_on(route))).seat, start + took);
  };
  work(ids.route("/slow"), 4s);
  work(ids.route("/gone"), 9s);
  const PolicyMemo memo = controller.learnt(start);
  auto other = roomy();
  other.route_rates = {{"/new", 1, 5}, {"/slow", 1, 5}};
  const Ids others(other);
  Controller next(other, others);
  next.take_up(memo, start);
  CHECK(next.usual_work(others.route("/slow")) == 4s);
  // What nobody knows is as long as a worker is kept usually, here too, and not what the route that
  // has gone took.
  CHECK(next.usual_work(others.route("/new")) == controller.usual_work(RouteId{}));
  CHECK(next.usual_work(RouteId{}) == controller.usual_work(RouteId{}));
  CHECK(next.usual_work(RouteId{}) > Duration::zero());
  CHECK(next.drain_time() == controller.drain_time());
  // It goes on learning from there, as one that has seen a single request.
  for (int i = 1; i <= 9; ++i) {
    const Time now = start + i * 1h;
    const Verdict verdict = enter(next, arrival_on(others.route("/slow")), now);
    next.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now + 1s);
  }
  CHECK(next.usual_work(others.route("/slow")) < 2s);
}

TEST_CASE(
    "a client that has spent its tokens has none in the next process, by the name of its plan") {
  auto settings = fair();
  settings.fairness.plans = {{.name = "free", .rate = 1, .burst = 3, .clients = {}},
                             {.name = "gold", .rate = 1, .burst = 9, .clients = {}}};
  Gate gate(settings);
  const Ids ids(settings);
  CHECK(let_in(gate, arrival_from(7, ids.plan("gold"))) == 9);
  CHECK(let_in(gate, arrival_from(8, ids.plan("free"))) == 3);
  gate.enter(arrival_from(6, ids.plan("gold")), start);
  const Memo memo = gate.learnt(start);
  auto other = settings;
  other.fairness.plans = {{.name = "gold", .rate = 2, .burst = 9, .clients = {}},
                          {.name = "new", .rate = 1, .burst = 4, .clients = {}},
                          {.name = "free", .rate = 1, .burst = 3, .clients = {}}};
  const Ids others(other);
  Next next(other, others, memo);
  CHECK(let_in(next, arrival_from(7, others.plan("gold"))) == 0);
  CHECK(let_in(next, arrival_from(8, others.plan("free"))) == 0);
  CHECK(let_in(next, arrival_from(6, others.plan("gold"))) == 8);
  CHECK(let_in(next, arrival_from(9, others.plan("gold"))) == 9);
  CHECK(let_in(next, arrival_from(7, others.plan("gold")), start + 2s) == 4);
  CHECK(next.snapshot(start).clients.known == 4);
  // One whose plan has gone is on everybody's terms, and still has spent what it had.
  auto without = fair();
  without.fairness.everybody.rate = 1;
  without.fairness.everybody.burst = 100;
  CHECK(let_in(Next(without, memo), arrival_from(7)) == 0);
}

TEST_CASE("a client's retries are as few in the next process") {
  auto settings = fair();
  settings.workers = 1;
  settings.fairness.retry_budget = 0.1;
  Gate gate(settings);
  const auto holder = gate.enter(arrival_from(1), start);  // the worker
  Arrival again = arrival_from(7);
  again.is_retry = true;
  const auto retry = [&](Gate& at) { return said(at.screen(Arrival(again), start)); };
  for (int i = 0; i < 3; ++i) CHECK(retry(gate) == "passes");
  CHECK(retry(gate) == "retry_budget");
  Next next(settings, gate.learnt(start));
  const auto other = next.enter(arrival_from(1), start);
  CHECK(retry(next) == "retry_budget");
}

TEST_CASE(
    "of the clients those are passed on that would gain most by being forgotten, and no more") {
  auto settings = fair();
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 3;
  settings.workers = 1;
  settings.queue_size = 0;
  Controller controller(settings);
  constexpr std::uint64_t more = PolicyMemo::clients_max + 5'000;
  const auto spend = [&](std::uint64_t client) {
    controller.finish(Outcome::unused(),
                      std::get<Admitted>(enter(controller, arrival_from(client))).seat, start);
  };
  for (std::uint64_t client = 1; client <= more; ++client) {
    spend(client);
    if (client % 2 == 0) spend(client);
  }
  Debtors debtors(PolicyMemo::clients_max);
  CHECK(controller.show_debtors(0, more + 1, start, debtors) == more);
  const auto accounts = debtors.take();
  CHECK(accounts.size() == PolicyMemo::clients_max);
  const auto of_two =
      std::ranges::count_if(accounts, [](const auto& it) { return it.id % 2 == 0; });
  CHECK(of_two == more / 2);
  // Who has all that a newcomer gets is not passed on.
  Debtors later(PolicyMemo::clients_max);
  controller.show_debtors(0, more + 1, start + 10s, later);
  CHECK(later.take().empty());
}

TEST_CASE("who is passed on takes no place of another, and stays in its part of the table") {
  auto settings = fair();
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 3;
  settings.fairness.clients_max = 100;
  settings.fairness.unknown_max = 100;
  Gate gate(settings);
  for (std::uint64_t client = 1; client <= 60; ++client) {
    let_in(gate, arrival_from(client));
    Arrival known = arrival_from(1000 + client);
    known.client_kind = ClientKind::known;
    let_in(gate, known);
  }
  const Memo memo = gate.learnt(start);
  CHECK(memo.policy.clients.size() == 120);
  Next next(settings, memo);
  CHECK(next.snapshot(start).clients.known == 120);
  CHECK(next.snapshot(start).clients.unknown == 60);
  CHECK(let_in(next, arrival_from(60)) == 0);
  auto smaller = settings;
  smaller.fairness.unknown_max = 50;
  Next tight(smaller, memo);
  CHECK(tight.snapshot(start).clients.unknown == 50);
  CHECK(tight.snapshot(start).clients.forgotten_early == 0);
  CHECK(tight.snapshot(start).clients.not_remembered == 0);
}

TEST_CASE("what \"auto\" has found goes on in the next process, within its bounds") {
  auto settings = roomy();
  settings.rate = 1000;
  settings.rate_is_auto = settings.workers_are_auto = true;
  settings.autos.workers_max = 100;
  Controller controller(settings);
  PolicyMemo memo = controller.learnt(start);
  CHECK(memo.rate == 1000);
  CHECK(memo.workers == 50);
  memo.rate = 70;
  memo.workers = 20;
  controller.take_up(memo, start);
  CHECK(controller.snapshot(start).rate == 70);
  CHECK(controller.limit() == 20);
  memo.workers = 1'000'000;
  memo.rate = 1e12;
  controller.take_up(memo, start);
  CHECK(controller.limit() == 100);
  CHECK(controller.snapshot(start).rate == 1000);
  settings.rate_is_auto = settings.workers_are_auto = false;
  Controller fixed(settings);
  memo.rate = memo.workers = 3;
  fixed.take_up(memo, start);
  CHECK(fixed.snapshot(start).rate == 1000);
  CHECK(fixed.limit() == 1000);
}

TEST_CASE("the counts of the shadow go on in the next process, and so do its own buckets") {
  auto settings = roomy();
  auto stricter = settings;
  stricter.rate = 1;
  stricter.burst = 2;
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(stricter);
  Gate gate(settings);
  for (int i = 0; i < 5; ++i) gate.enter(request(3), start);
  const auto limited = conf::index_of(conf::Reason::rate_limited);
  CHECK(gate.snapshot(start).shadow.would_refuse[limited] == 3);
  const Memo memo = gate.learnt(start);
  Next next(settings, memo);
  CHECK(next.snapshot(start).shadow.alike == 2);
  CHECK(next.snapshot(start).shadow.would_refuse[limited] == 3);
  next.enter(request(3), start);
  CHECK(next.snapshot(start).shadow.would_refuse[limited] == 4);
  // Where one has none, nothing is taken.
  auto plain = settings;
  plain.shadow = nullptr;
  CHECK_FALSE(Next(plain, memo).snapshot(start).shadow.is_on);
  CHECK(Next(settings, Gate(plain).learnt(start)).snapshot(start).shadow.alike == 0);
}

TEST_CASE("whatever a memo says, no bucket holds more than its burst or owes more than it may") {
  auto settings = fair();
  settings.rate = 10;
  settings.burst = 5;
  settings.route_rates = {{"/a", 1, 5}};
  settings.fairness.everybody.rate = 2;
  settings.fairness.everybody.burst = 3;
  for (const double level : {-1e15, -1.0, 0.0, 1e15}) {
    CAPTURE(level);
    PolicyMemo memo{.tokens = level, .usual_turn = Duration::max(), .plans = {""}};
    memo.routes.push_back({"/a", {Duration::max(), Duration::max(), 0xffffffff}, level});
    memo.clients.push_back({.id = 7,
                            .tokens = level,
                            .retries = static_cast<float>(level),
                            .credit = static_cast<float>(level)});
    memo.clients.push_back({.id = 8, .plan = 1});
    memo.clients.push_back({.id = 0});
    Controller controller(settings);
    controller.take_up(memo, start);
    Arrival arrival = arrival_from(7);
    arrival.route = Ids(settings).route("/a");
    const Limits::Buckets found = controller.allowances(arrival, start);
    CHECK(found.all->tokens <= 5);
    CHECK(found.all->tokens >= -5);
    CHECK(found.route->tokens <= 5);
    CHECK(found.route->tokens >= -5);
    CHECK(found.client->tokens <= 3);
    CHECK(found.client->tokens >= -2 * 3600);
    CHECK(controller.snapshot(start).clients.known == 1);
    CHECK(controller.usual_work(arrival.route) <= std::chrono::days(30));
  }
}

}  // namespace
}  // namespace classgate::admission
