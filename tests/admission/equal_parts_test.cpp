#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "admission/controller.h"
#include "tests/admission/kit.h"

// What one client that asks without measure leaves to the others (fairness.reserve, a route's
// client_share), in virtual time, with the limits that are the defaults.

namespace classgate::admission {
namespace {

using namespace std::chrono_literals;
constexpr Time parts_start = Time{} + 1h;
constexpr std::uint64_t flooder = 1;

conf::AdmissionSettings default_settings() {
  conf::AdmissionSettings settings;
  settings.fairness.is_on = true;
  return settings;
}

struct Kind {
  int priority = 3;
  bool rate_limited = true;
  float client_share = 1;
};
const Kind health_kind{.priority = 1, .rate_limited = false, .client_share = 0.2F};

// Requests that keep their workers for `work`, in steps of a millisecond. The flooder has so many
// connections, and asks on each again as soon as it is answered.
class World {
 public:
  World(const conf::AdmissionSettings& settings, Duration work)
      : controller_(settings), work_(work) {}

  void flood(const Kind& kind, std::size_t connections) {
    kind_ = kind;
    connections_ = connections;
  }
  void ask(std::uint64_t client, const Kind& kind) {
    Arrival arrival{.priority = kind.priority,
                    .rate_limited = kind.rate_limited,
                    .client_share = kind.client_share,
                    .at = now_,
                    .client = client};
    ++asked[client];
    if (controller_.screen(arrival, now_)) return;
    const Verdict verdict = controller_.arrive(arrival, now_);
    if (const auto* admitted = std::get_if<Admitted>(&verdict)) go_in(admitted->seat, client);
    if (const auto* ticket = std::get_if<Ticket>(&verdict)) waiting_[ticket->slot] = client;
  }
  void step() {
    while (!busy_.empty() && busy_.front().until <= now_) {
      const Busy done = busy_.front();
      busy_.erase(busy_.begin());
      controller_.finish(Outcome::processed(), done.seat, now_);
      ++served[done.client];
      tell();
    }
    const std::size_t here = in_[flooder];
    // Ten thousand a second, however they are answered.
    for (std::size_t i = here; i < std::min(connections_, here + 10); ++i) ask(flooder, kind_);
    tell();
    now_ += 1ms;
  }
  const Snapshot snapshot() const { return controller_.snapshot(now_); }

  std::map<std::uint64_t, std::uint64_t> asked, served;

 private:
  struct Busy {
    Time until;
    Seat seat;
    std::uint64_t client;
  };
  void go_in(const Seat& seat, std::uint64_t client) {
    busy_.push_back({now_ + work_, seat, client});
    ++in_[client];
  }
  void tell() {
    in_[flooder] = 0;
    while (const auto notice = controller_.next(now_)) {
      const std::uint64_t client = waiting_[notice->ticket.slot];
      waiting_.erase(notice->ticket.slot);
      if (const auto* granted = std::get_if<Granted>(&notice->news)) go_in(granted->seat, client);
    }
    for (const Busy& busy : busy_) in_[flooder] += busy.client == flooder ? 1 : 0;
    for (const auto& [slot, client] : waiting_) in_[flooder] += client == flooder ? 1 : 0;
  }

  Controller controller_;
  const Duration work_;
  Time now_ = parts_start;
  Kind kind_;
  std::size_t connections_ = 0;
  std::vector<Busy> busy_;  // in the order in which they end
  std::map<std::uint32_t, std::uint64_t> waiting_;
  std::map<std::uint64_t, std::size_t> in_;
};

// Of ten clients that ask for 33 requests a second together, beside the flood: answered.
double share_served(const Kind& flooded, const Kind& asked, Duration work) {
  World world(default_settings(), work);
  world.flood(flooded, 100);
  for (int ms = 0; ms < 1000; ++ms) world.step();
  for (int ms = 0; ms < 8000; ++ms) {
    if (ms % 30 == 0 && ms < 6000) world.ask(2 + static_cast<std::uint64_t>(ms / 30 % 10), asked);
    world.step();
  }
  double good_asked = 0, good_served = 0;
  for (std::uint64_t client = 2; client < 12; ++client) {
    good_asked += static_cast<double>(world.asked[client]);
    good_served += static_cast<double>(world.served[client]);
  }
  return good_served / good_asked;
}

TEST_CASE("a flood by one client leaves others 95 % at least, whatever it floods") {
  for (const Kind& flooded :
       {health_kind, Kind{.priority = 3}, Kind{.priority = 4}, Kind{.priority = 5}})
    for (const Kind& asked : {health_kind, Kind{.priority = 3}}) {
      CAPTURE(flooded.priority);
      CAPTURE(asked.priority);
      CHECK(share_served(flooded, asked, 20ms) >= 0.95);
      CHECK(share_served(flooded, asked, 400ms) >= 0.95);
    }
}

TEST_CASE("who asks alone has the whole burst and the whole rate") {
  World world(default_settings(), 1ms);
  for (int i = 0; i < 300; ++i) world.ask(flooder, {});
  for (int ms = 0; ms < 10'000; ++ms) {
    world.step();
    for (int i = 0; i < 3; ++i) world.ask(flooder, {});
  }
  for (int ms = 0; ms < 100; ++ms) world.step();
  CHECK(world.served[flooder] >= 200 + 999);
  CHECK(world.served[flooder] <= 200 + 1001);
}

TEST_CASE("what others do not ask for goes to who asks for more than its part") {
  World world(default_settings(), 1ms);
  for (int ms = 0; ms < 10'000; ++ms) {
    world.step();
    for (int i = 0; i < 3; ++i) world.ask(flooder, {});
    if (ms % 100 == 0) world.ask(2, {});  // ten a second
  }
  CHECK(world.served[2] >= 99);
  CHECK(world.served[flooder] >= 150 + 10 * 90 - 1);
  CHECK(world.served[flooder] + world.served[2] <= 200 + 1001);
}

TEST_CASE("two that ask without measure share the rate, by their weights") {
  conf::AdmissionSettings settings = default_settings();
  World world(settings, 1ms);
  for (int ms = 0; ms < 20'000; ++ms) {
    world.step();
    for (const std::uint64_t client : {2UL, 3UL}) world.ask(client, {});
  }
  CHECK(world.served[2] + world.served[3] >= 2000);
  CHECK(world.served[2] >= 900);
  CHECK(world.served[3] >= 900);
}

TEST_CASE("beyond its share of the workers a client's request on such a route goes last") {
  conf::AdmissionSettings settings = default_settings();
  settings.workers = 10;  // two of them for one client on /health
  World world(settings, 50ms);
  for (int i = 0; i < 5; ++i) world.ask(flooder, health_kind);
  CHECK(world.snapshot().active_by_priority == std::array<std::uint32_t, 5>{2, 0, 0, 0, 3});
  for (int ms = 0; ms < 60; ++ms) world.step();
  CHECK(world.served[flooder] == 5);  // and is served
  world.ask(flooder, health_kind);
  CHECK(world.snapshot().active_by_priority == std::array<std::uint32_t, 5>{1, 0, 0, 0, 0});
}

// So many uploads, each charged 1; when all stream, each is found to cost so much more.
void settle_uploads(Controller& controller, std::uint64_t client, int count, std::int32_t more) {
  std::vector<Seat> seats;
  Arrival arrival{.priority = 3, .at = parts_start, .client = client};
  for (int i = 0; i < count; ++i) {
    REQUIRE_FALSE(controller.screen(arrival, parts_start));
    seats.push_back(std::get<Admitted>(controller.arrive(arrival, parts_start)).seat);
  }
  arrival.cost += static_cast<std::uint32_t>(more);
  arrival.cost_found = more;
  for (const Seat& seat : seats) {
    controller.settle(arrival, parts_start);
    controller.finish(Outcome::processed(), seat, parts_start);
  }
}

TEST_CASE("what one client's uploads turn out to cost is its own debt") {
  // 50 uploads, each charged 1 and found to cost 1000: the bucket of all owed 49,718 tokens.
  Controller controller(default_settings());
  settle_uploads(controller, flooder, 50, 999);
  const auto ask = [&](std::uint64_t client, Time now) {
    Arrival arrival{.priority = 3, .at = now, .client = client};
    const auto rejection = controller.screen(arrival, now);
    if (!rejection) controller.abandon();
    return rejection;
  };
  CHECK(said(ask(2, parts_start)) == "rate_limited");
  CHECK(ask(2, parts_start)->tokens == doctest::Approx(-200));  // one burst, no more
  CHECK_FALSE(ask(2, parts_start + 2100ms));                    // 201 tokens later
  // 50 * 1000 tokens, of which the bucket had 200 and owes 200: the rest is owed by one alone.
  for (const Duration later : {2100ms, 10'000ms, 495'000ms}) {
    const auto refused = ask(flooder, parts_start + later);
    REQUIRE(refused);
    CHECK(said(*refused) == "client_rate");
    CHECK(refused->tokens ==
          doctest::Approx(-49'600 + 100 * std::chrono::duration<double>(later).count()));
    CHECK(refused->retry_after == std::chrono::ceil<std::chrono::nanoseconds>(496s - later));
  }
  CHECK_FALSE(ask(flooder, parts_start + 496'001ms));
}

TEST_CASE("nobody owes more than an hour of the rate, and a bucket of all no more than a burst") {
  conf::AdmissionSettings settings = default_settings();
  settings.rate = 10;
  settings.burst = 10;
  Controller controller(settings);
  settle_uploads(controller, flooder, 5, 1'000'000);
  Arrival arrival{.priority = 3, .at = parts_start, .client = flooder};
  CHECK(controller.screen(arrival, parts_start)->retry_after == 3600s);
  // Who is not told apart: the others wait for two bursts at most.
  settings.fairness.is_on = false;
  Controller plain(settings);
  settle_uploads(plain, 0, 5, 1'000'000);
  CHECK(plain.screen({.at = parts_start}, parts_start)->tokens == doctest::Approx(-10));
  CHECK_FALSE(plain.screen({.at = parts_start + 1100ms}, parts_start + 1100ms));
}

// Its budget of retries is looked at as well, and with it its account is brought up to date.
TEST_CASE("who asks again counts among those who ask, in each turn") {
  Controller controller(default_settings());
  Time now = parts_start;
  const auto passes = [&](std::uint64_t client, bool is_retry) {
    Arrival arrival{.priority = 3, .at = now, .client = client, .is_retry = is_retry};
    return !controller.screen(arrival, now);
  };
  for (int turn = 0; turn < 4; ++turn, now += 11s) {
    CHECK(passes(flooder, false));
    CHECK(passes(2, true));
  }
  for (int i = 0; i < 1'000; ++i) passes(flooder, false);
  CHECK(passes(3, false));
}

TEST_CASE("nobody is told apart: nobody has parts") {
  conf::AdmissionSettings settings;
  World world(settings, 1ms);
  for (int i = 0; i < 300; ++i) world.ask(0, {});
  for (int i = 0; i < 20; ++i) world.ask(0, health_kind);
  CHECK(world.snapshot().active_workers == 50);
  CHECK(world.snapshot().waiting_by_priority[0] == 20);
}

}  // namespace
}  // namespace classgate::admission
