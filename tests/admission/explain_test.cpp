// explain() against what is then said, and what it leaves as it was.

#include "admission/explain.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "admission/gate.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using Answer = Explanation::Kind;

std::string said(const Explanation& explanation) {
  switch (explanation.kind) {
    case Answer::admitted: return "admitted";
    case Answer::waits: return "waits";
    default: return said(explanation.rejection);
  }
}

Arrival request_by(std::uint64_t client, int priority = 3) {
  return {.priority = priority, .at = start, .client = client};
}

TEST_CASE("every bucket that applies is shown with its tokens, and others are not") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 50;
  settings.rate = 10;
  settings.burst = 20;
  settings.route_rates = {{"/a", 4, 5}, {"/b", 0, 1}};
  settings.fairness.is_on = true;
  settings.fairness.everybody.rate = 2;
  settings.fairness.everybody.burst = 3;
  Controller controller(settings);
  Arrival arrival = request_by(7);
  arrival.route = Ids(settings).route("/a");
  CHECK(said(enter(controller, arrival)) == "admitted");
  const Explanation one = controller.explain(arrival, start + 250ms);
  CHECK(one.buckets.all->tokens == 20);
  CHECK(one.buckets.all->rate == 10);
  CHECK(one.buckets.all->burst == 20);
  CHECK(one.buckets.route->tokens == 5);
  CHECK(one.buckets.client->tokens == 2.5);
  arrival.route = Ids(settings).route("/b");
  CHECK_FALSE(controller.explain(arrival, start).buckets.route);
  arrival.rate_limited = false;
  CHECK_FALSE(controller.explain(arrival, start).buckets.all);
  CHECK_FALSE(controller.explain(arrival, start).buckets.client);
}

TEST_CASE("a bucket that is short says for how long, and the longest wait is the Retry-After") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 50;
  settings.rate = 1;
  settings.burst = 3;
  settings.route_rates = {{"/a", 0.5, 3}};
  Controller controller(settings);
  Arrival arrival = request(3);
  arrival.route = Ids(settings).route("/a");
  arrival.cost = 3;
  CHECK(said(enter(controller, arrival)) == "admitted");
  const Explanation refused = controller.explain(arrival, start);
  CHECK(said(refused) == "route_rate");
  CHECK(refused.rejection.retry_after == 6s);
  CHECK(refused.buckets.all->wait == 3s);
  CHECK(refused.buckets.route->wait == 6s);
}

TEST_CASE("a client that nobody knows yet is shown with full buckets and stays unknown") {
  conf::AdmissionSettings settings = small_settings();
  settings.fairness.is_on = true;
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 5;
  settings.fairness.clients_max = 1;
  Controller controller(settings);
  const Explanation first = controller.explain(request_by(7), start);
  CHECK(first.client->number == ClientTable::newcomer);
  CHECK(first.client->tokens == 5);
  CHECK(controller.snapshot(start).clients.known == 0);
  // The only place is taken by one that has something going on: it would share its entry.
  CHECK(said(enter(controller, request_by(8))) == "admitted");
  CHECK(controller.explain(request_by(7), start).client->is_shared());
}

TEST_CASE("what [observe] does not enforce is told beside the verdict") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 2;
  settings.rate = 1;
  settings.burst = 1;
  settings.observe.rate = true;
  Controller controller(settings);
  CHECK(said(enter(controller, request(3))) == "admitted");
  const Explanation explanation = controller.explain(request(3), start);
  CHECK(said(explanation) == "admitted");
  CHECK(explanation.observed == conf::Reason::rate_limited);
}

TEST_CASE("the wait is that of its line, and the work that of its route") {
  conf::AdmissionSettings settings = small_settings();
  Controller controller(settings);
  const auto first = std::get<Admitted>(enter(controller, request(3))).seat;
  controller.finish(Outcome::processed(), first, start + 4s);
  CHECK(said(enter(controller, request(3), start + 4s)) == "admitted");
  const Explanation explanation = controller.explain(request(3), start + 4s);
  CHECK(said(explanation) == "waits");
  CHECK(explanation.place == 1);
  CHECK(explanation.wait == 4s);
  CHECK(explanation.work == 4s);
  CHECK(explanation.active == 1);
}

TEST_CASE("one that takes another's place in a full queue is told so") {
  Controller controller(small_settings());
  CHECK(said(enter(controller, request(5))) == "admitted");
  for (int i = 0; i < 4; ++i) CHECK(said(enter(controller, request(5))) == "waits");
  CHECK(said(controller.explain(request(5), start)) == "queue_full");
  const Explanation better = controller.explain(request(4), start);
  CHECK(said(better) == "waits");
  CHECK(better.displaces);
  CHECK(better.place == 1);
}

TEST_CASE("a gate explains what it then answers") {
  conf::AdmissionSettings settings = small_settings();
  settings.queue_size = 0;
  Gate gate(settings);
  CHECK(gate.explain(request(3), start).kind == Explanation::Kind::admitted);
  const auto permit = gate.enter(request(3), start);
  CHECK(std::holds_alternative<Permit>(permit));
  CHECK(gate.explain(request(3), start).rejection.reason == conf::Reason::queue_full);
  CHECK(gate.snapshot(start).total == 1);
}

// ---- Random traffic ----------------------------------------------------------------------------

// Two controllers get the same traffic. One is asked before each request what it would say to it,
// and about others that never come: it must say the same, and decide as the one that is not asked.
// That one also decides in one step what the first one does in two.
class Twins {
 public:
  explicit Twins(std::uint64_t seed)
      : random_(seed), settings_(random_settings()), asked_(settings_), unasked_(settings_) {}

  void run(int events) {
    for (int i = 0; i < events; ++i) {
      now_ += std::chrono::microseconds(random_.below(20'000));
      if (random_.below(2'000) == 0) now_ += 1h;
      if (random_.chance(3)) now_ -= 1ms;
      something_happens();
      listen();
    }
  }
  std::set<std::string> heard;

 private:
  conf::AdmissionSettings random_settings() {
    conf::AdmissionSettings settings;
    settings.workers = static_cast<std::uint32_t>(random_.between(1, 8));
    settings.workers_are_auto = random_.chance(20);
    settings.queue_size = static_cast<std::uint32_t>(random_.below(20));
    if (random_.chance(20)) settings.queue_bytes = {500};
    settings.rate = random_.chance(50) ? 0 : 60;
    settings.burst = 20;
    settings.rate_is_auto = settings.rate > 0 && random_.chance(30);
    settings.request_timeout = 2s;
    settings.queue_timeout = random_.chance(50) ? 2s : 200ms;
    if (random_.chance(30)) settings.discipline = conf::Discipline::adaptive;
    if (random_.chance(30)) settings.reserve.shares = {0.2, 0, 0.3, 0, 0};
    settings.observe = {random_.chance(10), random_.chance(20), random_.chance(10),
                        random_.chance(20)};
    if (random_.chance(30)) settings.route_rates = {{"/a", 30, 10}, {"/b", 0, 1}};
    settings.fairness.is_on = random_.chance(70);
    settings.fairness.clients_max = static_cast<std::uint32_t>(random_.between(2, 40));
    settings.fairness.everybody.rate = random_.chance(50) ? 0 : 20;
    settings.fairness.everybody.burst = 5;
    settings.fairness.everybody.workers = static_cast<std::uint32_t>(random_.below(4));
    settings.fairness.everybody.queue_size = static_cast<std::uint32_t>(random_.below(6));
    if (random_.chance(50))
      settings.fairness.reserve = 0.1 * static_cast<double>(random_.below(10));
    settings.fairness.pattern = {.is_on = random_.chance(40),
                                 .newcomer = 5,
                                 .floor = 2,
                                 .learning = 0ms,
                                 .clients_max = static_cast<std::uint32_t>(random_.between(2, 40))};
    if (random_.chance(50)) settings.target_wait = 10ms;
    settings.fairness.plans.push_back({.name = "gold", .rate = 50, .weight = 4, .clients = {}});
    return settings;
  }

  void something_happens() {
    if (random_.below(500) == 0) {
      settings_ = random_settings();
      asked_.reconfigure(settings_, now_);
      return unasked_.reconfigure(settings_, now_);
    }
    if (random_.chance(38) && !flights_.empty()) return finish();
    if (random_.chance(8) && !waiting_.empty()) return leave();
    const Arrival arrival = random_arrival();
    (void)asked_.explain(random_arrival(), now_ + 1s);  // of one that never comes
    const Explanation explanation = asked_.explain(arrival, now_);
    const ReasonCounts observed_before = asked_.snapshot(now_).observed;
    const Verdict verdict = enter(asked_, arrival, now_);
    REQUIRE(said(explanation) == said(verdict));
    if (explanation.kind == Answer::refused)
      REQUIRE(explanation.rejection.retry_after == retry_after(verdict));
    if (explanation.kind == Answer::admitted)
      REQUIRE(explanation.wanted == std::get<Admitted>(verdict).seat.workers);
    if (explanation.kind == Answer::waits) REQUIRE(explanation.place > 0);
    if (explanation.observed)
      heard.insert("observed " + std::string(conf::word_of(*explanation.observed)));
    ReasonCounts observed_now = observed_before;
    if (explanation.observed) ++observed_now[conf::index_of(*explanation.observed)];
    REQUIRE(asked_.snapshot(now_).observed == observed_now);
    if (const auto* admitted = std::get_if<Admitted>(&verdict))
      REQUIRE(admitted->seat.observed == explanation.observed);
    if (explanation.displaces) heard.insert("displaces");
    if (explanation.is_a_try) heard.insert("a try");
    if (explanation.client && explanation.client->is_shared()) heard.insert("shared");
    if (const auto& pattern = explanation.pattern)
      heard.insert(pattern->ground == ClientPatterns::Look::Ground::shared ? "pattern shared"
                                                                           : "pattern");
    heard.insert(said(verdict));
    take(arrival, verdict);
  }

  Arrival random_arrival() {
    const std::uint64_t client = random_.chance(5)    ? 0
                                 : random_.chance(50) ? 1
                                 : random_.chance(70) ? random_.between(2, 9)
                                                      : random_.between(10, 1'000'000);
    Arrival arrival{
        .priority = static_cast<int>(random_.between(1, 5)),
        .rate_limited = random_.chance(90),
        .cost = static_cast<std::uint32_t>(random_.chance(95) ? 1 : random_.below(30)),
        .route = {.slot = static_cast<std::uint32_t>(random_.below(4))},
        .bytes = random_.below(100),
        .at = now_,
        .client = client,
        .plan = {.slot = static_cast<std::uint32_t>(random_.chance(95) ? client % 2 : 7)},
        .is_retry = random_.chance(15),
        .attempt = random_.below(50),
        .workers = static_cast<std::uint16_t>(random_.chance(90) ? 1 : random_.below(20))};
    if (random_.chance(40)) arrival.deadline = now_ + std::chrono::milliseconds(random_.below(800));
    if (random_.chance(10)) arrival.client_share = 0.5F;
    if (random_.chance(5)) arrival.cost_found = static_cast<std::int32_t>(random_.below(9)) - 4;
    return arrival;
  }

  void take(const Arrival& arrival, const Verdict& verdict) {
    Arrival same = arrival;
    const Verdict of_twin = unasked_.decide(same, now_);
    REQUIRE(said(of_twin) == said(verdict));
    if (const auto* admitted = std::get_if<Admitted>(&verdict)) {
      REQUIRE(admitted->seat.client == std::get<Admitted>(of_twin).seat.client);
      flights_.push_back(admitted->seat);
    } else if (const auto* ticket = std::get_if<Ticket>(&verdict)) {
      REQUIRE(*ticket == std::get<Ticket>(of_twin));
      waiting_.push_back(*ticket);
    } else {
      REQUIRE(retry_after(verdict) == retry_after(of_twin));
    }
  }

  void finish() {
    const std::size_t at = random_.below(flights_.size());
    asked_.finish(Outcome::processed(), flights_[at], now_);
    unasked_.finish(Outcome::processed(), flights_[at], now_);
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void leave() {
    const std::size_t at = random_.below(waiting_.size());
    asked_.leave(waiting_[at], Departure::abandoned, now_);
    unasked_.leave(waiting_[at], Departure::abandoned, now_);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void listen() {
    for (;;) {
      const auto notice = asked_.next(now_);
      const auto of_twin = unasked_.next(now_);
      REQUIRE(said(notice) == said(of_twin));
      if (!notice) return;
      REQUIRE(notice->ticket == of_twin->ticket);
      std::erase(waiting_, notice->ticket);
      if (const auto* granted = std::get_if<Granted>(&notice->news))
        flights_.push_back(granted->seat);
    }
  }

  Random random_;
  conf::AdmissionSettings settings_;
  Controller asked_;
  Controller unasked_;
  Time now_ = start;
  std::vector<Seat> flights_;
  std::vector<Ticket> waiting_;
};

TEST_CASE("what explain() says is what is then said, and asking changes nothing") {
  const std::set<std::string> words = {"admitted",
                                       "waits",
                                       "rate_limited",
                                       "route_rate",
                                       "client_rate",
                                       "client_queue",
                                       "retry_budget",
                                       "queue_full",
                                       "would_miss_deadline",
                                       "deadline",
                                       "displaces",
                                       "a try",
                                       "shared",
                                       "pattern shared",
                                       "client_pattern",
                                       "observed client_pattern",
                                       "observed rate_limited",
                                       "observed would_miss_deadline"};
  std::set<std::string> heard;
  const auto is_unheard = [&](const std::string& word) { return !heard.contains(word); };
  // Some are rare: it goes on until each was said.
  constexpr std::uint64_t rounds = 150;
  for (std::uint64_t round = 0;
       round < rounds || (round < 20 * rounds && std::ranges::any_of(words, is_unheard)); ++round) {
    INFO(replay(run().seed + round));
    Twins twins(run().seed + round);
    twins.run(1'500);
    heard.merge(twins.heard);
  }
  for (const std::string& word : words) {
    CAPTURE(word);
    CHECK(heard.contains(word));
  }
}

TEST_CASE("while it drains everything is refused, and explain() says so") {
  Controller controller(small_settings());
  controller.drain();
  const Explanation explanation = controller.explain(request(1), start);
  CHECK(said(explanation) == "draining");
  CHECK(explanation.rejection.retry_after == retry_after(enter(controller, request(1))));
}

TEST_CASE("where everybody is alike, the place is that in the order in which they go in") {
  INFO(replay(run().seed));
  Random random(run().seed);
  for (int round = 0; round < 200; ++round) {
    conf::AdmissionSettings settings = small_settings();
    settings.workers = static_cast<std::uint32_t>(random.between(1, 3));
    settings.queue_size = 30;
    Controller controller(settings);
    std::vector<Seat> seats;
    const auto random_request = [&] { return request(static_cast<int>(random.between(1, 5))); };
    for (std::uint64_t i = random.between(3, 25); i > 0; --i) {
      const Verdict verdict = enter(controller, random_request());
      if (const auto* admitted = std::get_if<Admitted>(&verdict)) seats.push_back(admitted->seat);
    }
    const Arrival arrival = random_request();
    const std::size_t place = controller.explain(arrival, start).place;
    const Ticket ticket = std::get<Ticket>(enter(controller, arrival));
    for (std::size_t gone_in = 1;; ++gone_in) {
      controller.finish(Outcome::processed(), seats.back(), start);
      const auto notice = controller.next(start);
      REQUIRE(notice.has_value());
      seats.back() = std::get<Granted>(notice->news).seat;
      if (notice->ticket != ticket) continue;
      CHECK(gone_in == place);
      break;
    }
  }
}

}  // namespace
}  // namespace classgate::admission
