// Users of one bucket of tokens who come when they were told to, beside one that does not.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <queue>
#include <variant>
#include <vector>

#include "admission/explain.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using Seconds = std::chrono::duration<double>;

struct Bucket {
  double rate, burst;
  bool is_of_route = false;
};

conf::AdmissionSettings settings_of(const Bucket& bucket) {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = settings.queue_size = 1000;
  settings.retry_after_spread = 30s;
  settings.fairness.is_on = true;
  settings.fairness.retry_budget = 0;
  settings.rate = bucket.is_of_route ? 0 : bucket.rate;
  settings.burst = bucket.burst;
  if (bucket.is_of_route) settings.route_rates = {{"/a", bucket.rate, bucket.burst}};
  return settings;
}

struct Served {
  double users = 0, storm = 0;  // a second
  double first_retries = 0;     // of those, the share that was served
  double told = 0;              // on average, in seconds
};

// `users` that think for a second on average, and one that asks every other millisecond. The
// numbers are of the second minute.
Served watch(const Bucket& bucket, std::uint64_t users, bool storms, std::uint64_t seed) {
  constexpr std::uint64_t stormer = 1'000'000;
  constexpr Time from = start + 60s, to = start + 120s;
  Random random(seed);
  Controller controller(settings_of(bucket));
  Ids ids(settings_of(bucket));
  struct Event {
    Time at;
    std::uint64_t client;
    int attempt = 0;
    bool operator>(const Event& other) const { return at > other.at; }
  };
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  const auto think = [&] { return std::chrono::milliseconds(random.between(0, 2'000)); };
  for (std::uint64_t client = 1; client <= users; ++client) events.push({start + think(), client});
  if (storms) events.push({start + 500ms, stormer});
  Served served;
  double retries = 0, refusals = 0;
  TokenBucket contract(bucket.rate, bucket.burst);
  for (; events.top().at < to; events.pop()) {
    const Event event = events.top();
    const Time now = event.at;
    Arrival arrival = request(3, now);
    arrival.client = event.client;
    arrival.rate_limited = !bucket.is_of_route;
    if (bucket.is_of_route) arrival.route = ids.route("/a");
    const Explanation foretold = controller.explain(arrival, now);
    const Verdict verdict = enter(controller, arrival, now);
    const auto* const admitted = std::get_if<Admitted>(&verdict);
    REQUIRE((foretold.kind == Explanation::Kind::admitted) == (admitted != nullptr));
    if (admitted != nullptr) {
      REQUIRE(contract.wait_for(1, now) == 0s);  // never more than the conf says
      contract.take(1);
      controller.finish(Outcome::processed(), admitted->seat, now);
    } else {
      REQUIRE(foretold.rejection.retry_after == retry_after(verdict));
    }
    const bool counts = now >= from;
    if (event.client == stormer) {
      served.storm += counts && admitted != nullptr ? 1 : 0;
      events.push({now + 2ms, stormer});
      continue;
    }
    if (counts && event.attempt == 1) {
      ++retries;
      served.first_retries += admitted != nullptr ? 1 : 0;
    }
    if (admitted != nullptr) {
      served.users += counts ? 1 : 0;
      events.push({now + think(), event.client});
    } else {
      served.told += counts ? Seconds(retry_after(verdict)).count() : 0;
      refusals += counts ? 1 : 0;
      events.push({now + retry_after(verdict) + 1ms, event.client, event.attempt + 1});
    }
  }
  const double seconds = Seconds(to - from).count();
  served.users /= seconds;
  served.storm /= seconds;
  served.first_retries /= std::max(retries, 1.0);
  served.told /= std::max(refusals, 1.0);
  return served;
}

Served watch(const Bucket& bucket, std::uint64_t users, bool storms) {
  constexpr int runs = 4;
  Served sum;
  for (std::uint64_t seed = 1; seed <= runs; ++seed) {
    const Served one = watch(bucket, users, storms, seed);
    sum.users += one.users / runs;
    sum.storm += one.storm / runs;
    sum.first_retries += one.first_retries / runs;
    sum.told += one.told / runs;
  }
  return sum;
}

TEST_CASE("who storms a bucket has its part of it, and lengthens nobody's time") {
  for (const Bucket& bucket : {Bucket{10, 5}, Bucket{10, 5, true}, Bucket{100, 200}}) {
    CAPTURE(bucket.rate);
    CAPTURE(bucket.is_of_route);
    const auto users = static_cast<std::uint64_t>(2 * bucket.rate);
    const Served alone = watch(bucket, users, false), beside = watch(bucket, users, true);
    CHECK(alone.first_retries >= 0.95);
    CHECK(beside.first_retries >= 0.95);
    CHECK(beside.told <= 1.1 * alone.told);
    CHECK(beside.users >= 0.95 * alone.users);
  }
  CHECK(watch({100, 200}, 200, true).storm <= 1.3 * 100 / 201);  // they leave nothing
}

TEST_CASE("what users leave of a bucket goes to who asks for it, told to come later or not") {
  for (const Bucket& bucket : {Bucket{10, 5}, Bucket{100, 200}}) {
    CAPTURE(bucket.rate);
    const auto users = static_cast<std::uint64_t>(bucket.rate / 2);
    const Served beside = watch(bucket, users, true);
    CHECK(beside.users >= 0.95 * watch(bucket, users, false).users);
    CHECK(beside.users + beside.storm >= 0.97 * bucket.rate);
  }
}

TEST_CASE("of a bucket of one token nothing is kept, and who storms has its part") {
  const Bucket bucket{10, 1};
  const Served alone = watch(bucket, 20, false), beside = watch(bucket, 20, true);
  CHECK(beside.storm <= 1.3 * 10 / 21);
  CHECK(beside.users >= 0.9 * alone.users);
  CHECK(beside.told <= 1.1 * alone.told);
}

Arrival asked_by(std::uint64_t client, Time now, std::uint32_t cost = 1) {
  Arrival arrival = request(3, now);
  arrival.client = client;
  arrival.cost = cost;
  return arrival;
}

// An empty bucket, 10 a second and 20 at most, of which two clients were told to come for tokens.
struct Emptied : Controller {
  Emptied() : Controller(settings_of({10, 20})) {
    for (std::uint64_t client = 1; client <= 20; ++client) let_in(client, start);
    told = retry_after(enter(*this, asked_by(100, start), start));
    REQUIRE(said(enter(*this, asked_by(101, start), start)) == "rate_limited");
  }
  void let_in(std::uint64_t client, Time now) {
    const Verdict verdict = enter(*this, asked_by(client, now), now);
    finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now);
  }
  Duration told{};
};

TEST_CASE("a time that was told is for what was asked, and not for more") {
  Emptied controller;
  const Time now = start + std::max<Duration>(controller.told, 1s) + 1ms;
  std::uint64_t newcomer = 1'000;  // as many as may come before those who are expected
  while (controller.explain(asked_by(newcomer, now), now).kind == Explanation::Kind::admitted)
    controller.let_in(newcomer++, now);
  CHECK(newcomer > 1'000);
  CHECK(controller.explain(asked_by(100, now, 1), now).kind == Explanation::Kind::admitted);
  CHECK(controller.explain(asked_by(100, now, 3), now).kind == Explanation::Kind::refused);
}

// What one client gets of a bucket that asks again and again at one instant.
int had_at_once(Emptied& controller, std::uint64_t client, Time now) {
  int had = 0;
  while (controller.explain(asked_by(client, now), now).kind == Explanation::Kind::admitted) {
    controller.let_in(client, now);
    ++had;
  }
  return had;
}

TEST_CASE("what a client is told that it could have is what it gets, however it comes") {
  const auto compare = [](std::uint64_t client, Duration after) {
    Emptied controller;
    const Time now = start + controller.told + after;
    const auto all = controller.allowances(asked_by(client, now), now).all;
    REQUIRE(all);
    CAPTURE(client);
    CAPTURE(all->there);
    CHECK(std::floor(std::max(all->tokens, 0.0) + 1e-9) == had_at_once(controller, client, now));
    return all->there - all->tokens;
  };
  double kept = 0;
  for (const Duration after : {Duration(-50ms), Duration(1ms), Duration(900ms), Duration(1500ms)})
    for (const std::uint64_t client : {1U, 100U, 101U, 1000U}) kept += compare(client, after);
  CHECK(kept > 0);
}

TEST_CASE("where clients are not told apart any more, nothing is kept for anybody") {
  Emptied controller;
  auto settings = settings_of({10, 20});
  settings.fairness.is_on = false;
  controller.reconfigure(settings, start);
  const Time now = start + 3s;  // full again, and both may still come
  int served = 0;
  while (controller.explain(asked_by(0, now), now).kind == Explanation::Kind::admitted) {
    controller.let_in(0, now);
    ++served;
  }
  CHECK(served == 20);
}

TEST_CASE("who storms alone has the whole bucket as soon as nobody else is expected") {
  const Bucket bucket{10, 5};
  CHECK(watch(bucket, 0, true).storm > 9.9);
}

}  // namespace
}  // namespace classgate::admission
