#include "admission/simulation/class_traffic.h"

#include <algorithm>
#include <cmath>

#include "tests/simulation/kit.h"

namespace classgate::simulation::test {
namespace {

std::vector<Wish> all_of(const conf::Workload& workload) {
  const conf::Settings settings;
  ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
  std::vector<Wish> wishes;
  for (Wish wish; traffic.next(wish);) wishes.push_back(wish);
  return wishes;
}

double seconds(Time time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

TEST_CASE("Poisson arrivals come at their rate, with a variance as great as their number") {
  conf::Workload workload;
  workload.duration = 1000s;
  workload.classes = {{.name = "a", .rates = {{0s, 50}}}};
  const std::vector<Wish> wishes = all_of(workload);
  std::vector<double> per_second(1000);
  for (const Wish& wish : wishes) per_second[static_cast<std::size_t>(seconds(wish.at))] += 1;
  double variance = 0;
  for (const double count : per_second) variance += (count - 50) * (count - 50) / 1000;
  CHECK(static_cast<double>(wishes.size()) == doctest::Approx(50'000).epsilon(0.02));
  CHECK(variance == doctest::Approx(50).epsilon(0.15));
}

TEST_CASE("regular arrivals are evenly spaced, through changes of their rate") {
  conf::Workload workload;
  workload.duration = 4s;
  workload.classes = {
      {.name = "a", .rates = {{0s, 10}, {1s, 0}, {2s, 100}, {3s, 5}}, .is_regular = true}};
  std::array<int, 4> counts{};
  for (const Wish& wish : all_of(workload)) ++counts[static_cast<std::size_t>(seconds(wish.at))];
  CHECK(counts[0] >= 9);
  CHECK(counts[0] <= 10);
  CHECK(counts[1] <= 1);  // the one that is due at the change
  CHECK(counts[2] >= 99);
  CHECK(counts[2] <= 101);
  CHECK(counts[3] <= 5);
}

TEST_CASE("bursts come every so often, and the classes come in the order of time") {
  conf::Workload workload;
  workload.duration = 100s;
  conf::WorkloadClass bursty{.name = "b", .clients = 3, .rates = {{0s, 1}}};
  bursty.burst_every = 10s;
  bursty.burst_length = 1s;
  bursty.burst_rate = 200;
  workload.classes = {bursty, {.name = "a", .rates = {{0s, 20}}}};
  const std::vector<Wish> wishes = all_of(workload);
  CHECK(std::ranges::is_sorted(wishes, {}, &Wish::at));
  double in_bursts = 0, between = 0;
  for (const Wish& wish : wishes)
    if (wish.group == 0) (std::fmod(seconds(wish.at), 10) < 1 ? in_bursts : between) += 1;
  CHECK(in_bursts == doctest::Approx(2000).epsilon(0.1));
  CHECK(between == doctest::Approx(90).epsilon(0.4));
}

TEST_CASE("every law has the mean that it says") {
  using Kind = conf::Law::Kind;
  for (const conf::Law& law :
       {conf::Law{Kind::fixed, 50ms, {}, 0}, conf::Law{Kind::exponential, 50ms, {}, 0},
        conf::Law{Kind::uniform, 10ms, 90ms, 0}, conf::Law{Kind::lognormal, 40ms, 200ms, 0},
        conf::Law{Kind::pareto, 50ms, {}, 2.5}}) {
    CAPTURE(conf::print_law(law));
    Random random(3, 1);
    double sum = 0;
    constexpr int draws = 200'000;
    for (int i = 0; i < draws; ++i) sum += std::chrono::duration<double>(draw(law, random)).count();
    CHECK(sum / draws == doctest::Approx(mean_seconds(law)).epsilon(0.02));
  }
}

TEST_CASE(
    "users ask again when they have heard and thought, a refused client when it was told to") {
  conf::Workload workload;
  workload.duration = 100s;
  conf::WorkloadClass people{.name = "p", .users = 2};
  people.think = {conf::Law::Kind::fixed, 5s, {}, 0};
  people.retries = 1;
  people.retry_delay = {conf::Law::Kind::fixed, 1s, {}, 0};
  workload.classes = {people};
  const conf::Settings settings;
  ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
  Wish wish, follow;
  REQUIRE(traffic.next(wish));
  CHECK(wish.at == Time{} + 5s);
  const Time now = Time{} + 6s;
  REQUIRE(traffic.after(wish, {Ending::Kind::served, {}, {}}, now, follow));
  CHECK(follow.at == Time{} + 11s);
  CHECK(follow.attempt == 0);
  REQUIRE(traffic.after(wish, {Ending::Kind::rejected, conf::Reason::queue_full, 3s}, now, follow));
  CHECK(follow.at == Time{} + 10s);
  CHECK(follow.attempt == 1);
  CHECK(follow.service == wish.service);
  // Tried for the last time: it thinks, and asks for the next thing.
  REQUIRE(
      traffic.after(follow, {Ending::Kind::rejected, conf::Reason::queue_full, 3s}, now, follow));
  CHECK(follow.at == Time{} + 11s);
  CHECK(follow.attempt == 0);
  // The end has come.
  CHECK_FALSE(traffic.after(wish, {Ending::Kind::served, {}, {}}, Time{} + 96s, follow));
  CHECK(traffic.client_name(1) == "p-2");
}

TEST_CASE("who obeys Retry-After waits for whole seconds, as the field says it") {
  conf::Workload workload;
  workload.duration = 100s;
  workload.classes = {{.name = "o", .rates = {{0s, 1}}, .retries = 1}};
  workload.classes[0].retry_delay = {conf::Law::Kind::fixed, 0s, {}, 0};
  const conf::Settings settings;
  ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
  Wish wish;
  Wish follow;
  REQUIRE(traffic.next(wish));
  const Ending refused{Ending::Kind::rejected, conf::Reason::queue_full, 2'300ms};
  REQUIRE(traffic.after(wish, refused, Time{} + 10'400ms, follow));
  CHECK(follow.at == Time{} + 13'400ms);
}

}  // namespace
}  // namespace classgate::simulation::test
