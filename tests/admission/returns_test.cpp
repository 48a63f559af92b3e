// When the refused are told to come back: each at a time of its own.

#include "admission/returns.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// Refuses `count` at one instant.
std::vector<Duration> refuse(Returns& returns, int count, const Returns::Capacity& capacity,
                             Time now = start, Duration earliest = 1s) {
  std::vector<Duration> told;
  for (int i = 0; i < count; ++i) told.push_back(returns.next(earliest, 1, capacity, {}, now));
  return told;
}

// How long after the earliest, on average.
Duration mean_after(const std::vector<Duration>& told, Duration earliest) {
  Duration sum{};
  for (const Duration one : told) sum += one - earliest;
  return sum / static_cast<Duration::rep>(told.size());
}
bool is_about(Duration found, Duration wanted) {
  return found > wanted * 9 / 10 && found < wanted * 11 / 10;
}

TEST_CASE("after a burst each is told about the time when it is his turn") {
  Returns returns;
  returns.set_spread(30s);
  const auto told = refuse(returns, 1000, {.pace = 100});
  CHECK(told.front() == 1s);  // the earliest
  // The last is due after ten seconds: half as long, to half as long again.
  for (std::size_t i = 0; i < told.size(); ++i) {
    const Duration due = static_cast<Duration::rep>(i) * 10ms;
    CHECK(told[i] >= 1s + due / 2);
    CHECK(told[i] <= 1s + due * 3 / 2);
  }
  CHECK(is_about(mean_after(told, 1s), 5s));
  // Not one like the other: whole seconds would bring them back together.
  CHECK_FALSE(std::ranges::is_sorted(told));
}

TEST_CASE("those who were due make room for the next") {
  Returns returns;
  returns.set_spread(30s);
  refuse(returns, 500, {.pace = 100});
  const Duration next = refuse(returns, 1, {.pace = 100}, start + 4s).front();
  CHECK(next >= 1'500ms);
  CHECK(next <= 2'500ms);
  CHECK(refuse(returns, 1, {.pace = 100}, start + 1h).front() == 1s);
}

TEST_CASE("when all of the capacity is used for long, little is spared for those who come back") {
  Returns returns;
  returns.set_spread(1h);
  Time now = start;
  for (int second = 0; second < 60; ++second) {
    now += 1s;
    refuse(returns, 1, {.pace = 100, .used = 1}, now);
  }
  // A twentieth of 100 a second: the thousandth is due after 200 seconds.
  CHECK(is_about(mean_after(refuse(returns, 1'000, {.pace = 100}, now, 0s), 0s), 100s));
}

TEST_CASE("nobody is told more than the spread: beyond that, any time up to it") {
  Returns returns;
  returns.set_spread(30s);
  auto told = refuse(returns, 100'000, {.pace = 100});
  told.erase(told.begin(), told.begin() + 3'000);
  CHECK(*std::ranges::max_element(told) <= 31s);
  // Even: each tenth of the time holds a tenth of them.
  for (int tenth = 0; tenth < 10; ++tenth) {
    const auto count = std::ranges::count_if(
        told, [&](Duration at) { return at > 1s + tenth * 3s && at <= 1s + (tenth + 1) * 3s; });
    CHECK(count > 9'000);
    CHECK(count < 10'500);
  }
}

TEST_CASE("the spread can be switched off, and needs to know the capacity") {
  Returns off;
  off.set_spread(0s);
  CHECK(refuse(off, 1000, {.pace = 1}).back() == 1s);
  Returns unknown;
  unknown.set_spread(30s);
  CHECK(refuse(unknown, 1000, {.pace = 0}).back() == 1s);
}

TEST_CASE("who comes back before its turn keeps it") {
  Returns returns;
  returns.set_spread(30s);
  refuse(returns, 500, {.pace = 100});
  Promise promise;
  const Returns::Asker asker{.promise = &promise};
  const Duration told = returns.next(100ms, 1, {.pace = 100}, asker, start);
  REQUIRE(told > 2s);
  // Whether it was polite or not costs it no more than what it asks for itself.
  for (int i = 1; i <= 10; ++i) {
    const Time now = start + i * 100ms;
    const Duration left = returns.next(100ms, 1, {.pace = 100}, asker, now);
    CHECK(left >= 100ms);
    CHECK(left <= told - i * 100ms + i * 15ms);  // half as long again as its place in its own line
  }
}

TEST_CASE("a promise is not kept for longer than a newcomer would wait") {
  Returns returns;
  returns.set_spread(1h);
  refuse(returns, 1000, {.pace = 1, .used = 1});
  Promise promise;
  const Returns::Asker asker{.promise = &promise};
  CHECK(returns.next(1s, 1, {.pace = 1}, asker, start) > 400s);
  // Nothing has been used since: the line has gone home.
  CHECK(returns.next(1s, 1, {.pace = 1}, asker, start + 1000s) == 1s);
}

TEST_CASE("a crowd behind one identity comes back at the pace as well") {
  Returns returns;
  returns.set_spread(30s);
  Promise promise;
  std::vector<Duration> told;
  for (int i = 0; i < 1000; ++i)
    told.push_back(returns.next(1s, 1, {.pace = 100}, {.promise = &promise}, start));
  CHECK(told.front() == 1s);
  CHECK(is_about(mean_after(told, 1s), 5s));
  for (int i = 0; i < 100'000; ++i)
    told.push_back(returns.next(1s, 1, {.pace = 100}, {.promise = &promise}, start));
  CHECK(*std::ranges::max_element(told) <= 31s);
}

// What a polite client is told, once a second, beside one that comes back at once, 7,000 times a
// second for two seconds, and for ten seconds after; and what the other one hears.
struct Beside {
  std::vector<Duration> polite;
  Duration storming{};
};
Beside watch_beside(bool storms, double rate) {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.rate = rate;
  settings.burst = rate;
  settings.fairness.is_on = true;
  settings.fairness.reserve = 0;  // so that a polite one is refused at all
  Controller controller(settings);
  Beside beside;
  const auto ask = [&](std::uint64_t client, Time now) -> std::optional<Duration> {
    Arrival arrival = request(3, now);
    arrival.client = client;
    const Verdict verdict = enter(controller, arrival, now);
    if (const auto* admitted = std::get_if<Admitted>(&verdict)) {
      controller.finish(Outcome::processed(), admitted->seat, now);
      return std::nullopt;
    }
    return retry_after(verdict);
  };
  // Somebody has taken what there was, in both worlds.
  for (int i = 0; i < static_cast<int>(rate); ++i) ask(7, start);
  for (int ms = 0; ms < 12'000; ++ms) {
    const Time now = start + ms * 1ms;
    if (storms && ms < 2'000)
      for (int i = 0; i < 7; ++i)
        beside.storming = std::max(beside.storming, ask(1, now).value_or(0ms));
    if (ms % 1000 != 500) continue;
    beside.polite.push_back(ask(2, now).value_or(0ms));
  }
  return beside;
}

TEST_CASE("a client that comes back at once lengthens its own wait and nobody else's") {
  for (const double rate : {2.0, 100.0}) {
    CAPTURE(rate);
    const Beside calm = watch_beside(false, rate);
    const Beside stormy = watch_beside(true, rate);
    CHECK(stormy.storming > 10s);
    for (std::size_t i = 0; i < calm.polite.size(); ++i) {
      CAPTURE(i);
      // At most the time in which its part, one of three, gains what it asks for; with the jitter.
      CHECK(stormy.polite[i] <=
            calm.polite[i] + std::chrono::milliseconds(static_cast<int>(3 * 1500 / rate)));
    }
    CHECK(stormy.polite.back() == 0ms);
  }
}

TEST_CASE("absurd costs and a clock that stands or jumps are survived") {
  Returns returns;
  returns.set_spread(30s);
  CHECK(returns.next(1s, 4e9, {.pace = 1e-3, .used = 1e9}, {}, start) <= 31s);
  CHECK(returns.next(1s, 1, {.pace = 1e6}, {}, start - 1h) <= 31s);
  CHECK(returns.next(1s, 1, {.pace = 1e6}, {}, Time::max()) <= 31s);
}

TEST_CASE("a crowd that is refused at the rate limit comes back at the rate") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.rate = 10;
  settings.burst = 1;
  Controller controller(settings);
  CHECK(said(enter(controller, request(3))) == "admitted");
  std::vector<Duration> told;
  for (int i = 0; i < 100; ++i) told.push_back(retry_after(enter(controller, request(3))));
  CHECK(told.front() == 100ms);
  CHECK(is_about(mean_after(told, 100ms), 5s));
}

TEST_CASE("a crowd that is refused at a route's own rate comes back at that rate") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.rate = 0;
  settings.route_rates = {{"/slow", 10, 1}, {"/fast", 100, 1}};
  Controller controller(settings);
  const auto told_on = [&](std::string_view path) {
    Arrival arrival = request(3);
    arrival.route = Ids(settings).route(path);
    std::vector<Duration> told;
    CHECK(said(enter(controller, arrival)) == "admitted");
    for (int i = 0; i < 100; ++i) {
      const Verdict verdict = enter(controller, arrival);
      REQUIRE(said(verdict) == "route_rate");
      told.push_back(retry_after(verdict));
    }
    return told;
  };
  const auto slow = told_on("/slow"),
             fast = told_on("/fast");  // the crowd of one is not the other's
  CHECK(slow.front() == 100ms);
  CHECK(is_about(mean_after(slow, 100ms), 5s));
  CHECK(fast.front() == 10ms);
  CHECK(is_about(mean_after(fast, 10ms), 500ms));
}

TEST_CASE("what was taken under another rate does not make the new one look used up") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.route_rates = {{"/a", 0, 1}, {"/b", 0, 1}};
  Controller controller(settings);
  const RouteId route = Ids(settings).route("/b");
  const auto served = [&](Time now) {
    Arrival arrival = request(3, now);
    arrival.route = route;
    arrival.cost = 1'000'000;
    const Verdict verdict = enter(controller, arrival, now);
    controller.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now);
  };
  for (int i = 0; i < 100; ++i) served(start + i * 10ms);
  settings.route_rates = {{"/b", 100, 1}};  // it has moved, and is limited now
  const Time later = start + 1s;
  controller.reconfigure(settings, later);
  Arrival arrival = request(3, later);
  arrival.route = route;
  std::vector<Duration> told;
  for (int i = 0; i < 101; ++i) {
    const Verdict verdict = enter(controller, arrival, later);
    if (said(verdict) == "route_rate") told.push_back(retry_after(verdict));
  }
  REQUIRE(told.size() == 100);
  CHECK(is_about(mean_after(told, told.front()), 500ms));
}

// 2,000 clients at a service for 1,000 requests a second; each asks, thinks for a second (on
// average) and asks again, which is twice as much as it can serve; who is refused comes back when
// it was told to. In each second of the second minute: how many came back.
struct ReturningCrowd {
  std::vector<int> returned = std::vector<int>(60);
  int first_retries = 0;
  int admitted = 0;
};

ReturningCrowd watch_crowd(std::chrono::milliseconds spread) {
  Random random(7);
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 1000;
  settings.rate = 1000;
  settings.burst = 100;
  settings.retry_after_spread = spread;
  Controller controller(settings);
  struct Client {
    Time at;
    int attempts = 0;
    bool operator>(const Client& other) const { return at > other.at; }
  };
  std::priority_queue<Client, std::vector<Client>, std::greater<>> clients;
  for (int i = 0; i < 2'000; ++i) clients.push({start + i * 500us});
  ReturningCrowd crowd;
  while (true) {
    const Client client = clients.top();
    clients.pop();
    const Time now = client.at;
    if (now >= start + 120s) return crowd;
    const Verdict verdict = enter(controller, request(3, now), now);
    const auto* admitted = std::get_if<Admitted>(&verdict);
    if (now >= start + 60s && client.attempts > 0)
      ++crowd.returned[static_cast<std::size_t>((now - start - 60s) / 1s)];
    if (now >= start + 60s && client.attempts == 1) {
      ++crowd.first_retries;
      crowd.admitted += admitted != nullptr ? 1 : 0;
    }
    if (admitted != nullptr) {
      controller.finish(Outcome::processed(), admitted->seat, now);
      clients.push({now + std::chrono::milliseconds(random.between(1, 2'000))});
    } else {
      // Whole seconds, as the field says it.
      const Duration told = std::chrono::ceil<std::chrono::seconds>(retry_after(verdict));
      clients.push({now + told, client.attempts + 1});
    }
  }
}

TEST_CASE("clients that obey are let in when they come back, and come back evenly") {
  const ReturningCrowd crowd = watch_crowd(30s);
  CHECK(crowd.first_retries > 500);
  CHECK(crowd.admitted >= crowd.first_retries * 9 / 10);
  int sum = 0;
  for (const int returned : crowd.returned) sum += returned;
  CHECK(*std::ranges::max_element(crowd.returned) <= 2 * sum / 60);
  // Told the earliest, they are refused again and again.
  const ReturningCrowd together = watch_crowd(0s);
  CHECK(together.admitted < together.first_retries * 9 / 10);
}

}  // namespace
}  // namespace classgate::admission
