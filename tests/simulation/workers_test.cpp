#include "admission/history/workers_needed.h"

#include <algorithm>
#include <array>
#include <string>

#include "admission/history/service_times.h"
#include "admission/simulation/draw.h"
#include "tests/simulation/kit.h"

// How many workers the law says that a target needs, beside how many the gateway itself needs,
// tried on every request, as `simulate --plan` does.

namespace classgate::simulation::test {
namespace {

struct Load {
  std::string name;
  double people = 0;  // a second, at priority 3
  double batch = 0;   // at priority 4
  conf::Law service;
  std::string target;
};

conf::Workload workload_of(const Load& load) {
  conf::Workload workload;
  workload.duration = 300s;
  workload.seed = 11;
  workload.upstream.service = load.service;
  conf::WorkloadClass people{.name = "people", .rates = {{0s, load.people}}};
  people.path = "/v1/classify";
  workload.classes = {people};
  if (load.batch > 0)
    workload.classes.push_back(
        {.name = "batch", .path = "/v1/classify/batch", .rates = {{0s, load.batch}}});
  return workload;
}

// As the gateway sees them: in the buckets of its metrics.
history::Offered offered_of(const Load& load) {
  constexpr std::array<double, history::WorkDone::buckets - 1> bounds{
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  history::ServiceTimes times(bounds);
  history::WorkDonePerPriority done{};
  Random random(3, 1);
  for (int i = 0; i < 50'000; ++i) {
    const double seconds = std::chrono::duration<double>(draw(load.service, random)).count();
    history::WorkDone& one = done[2];
    one.cost += 1;
    one.work_seconds += seconds;
    const auto at = std::ranges::lower_bound(bounds, seconds) - bounds.begin();
    one.times[static_cast<std::size_t>(at)] += 1;
  }
  times.learn(done);
  history::Offered offered{.cost = {}, .work = times.work()};
  offered.cost[2] = load.people;
  offered.cost[3] = load.batch;
  return offered;
}

bool holds(const Load& load, const conf::Target& target, std::uint32_t workers) {
  const conf::Workload workload = workload_of(load);
  conf::Settings settings;
  settings.admission.workers = workers;
  settings.admission.queue_size = 200'000;
  settings.admission.rate = 0;
  ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
  Simulation simulation(settings, workload.upstream, traffic);
  run_all(simulation);
  const Tally& tally = simulation.tally();
  const Group& of = target.priority > 0
                        ? tally.by_priority()[static_cast<std::size_t>(target.priority - 1)]
                        : tally.all();
  const measure::Spread& spread = target.what == conf::Target::What::wait ? of.wait : of.latency;
  const auto found = target.share <= 0 ? spread.mean() : spread.told(target.share);
  const double ms = std::chrono::duration<double, std::milli>(found).count();
  return ms <= target.most &&
         static_cast<double>(tally.all().served) >= 0.99 * static_cast<double>(tally.all().arrived);
}

TEST_CASE("the law of workers needed says what the gateway needs when it is tried") {
  using Kind = conf::Law::Kind;
  const conf::Law fixed{Kind::fixed, 80ms, {}, 0};
  const conf::Law exponential{Kind::exponential, 100ms, {}, 0};
  const conf::Law lognormal{Kind::lognormal, 60ms, 300ms, 0};
  const std::string usual = "wait p95 <= 100ms for priority 3";
  for (const Load& load : {
           Load{"few", 10, 0, exponential, usual},
           Load{"usual", 60, 40, exponential, usual},
           Load{"many", 400, 200, exponential, usual},
           Load{"of one length", 100, 50, fixed, usual},
           Load{"of many lengths", 100, 50, lognormal, usual},
           Load{"short waits", 100, 50, exponential, "wait p99 <= 5ms"},
           Load{"the mean", 50, 50, exponential, "wait mean <= 20ms for priority 4"},
           Load{"of answers", 50, 50, exponential, "answer p95 <= 400ms for priority 3"},
       }) {
    const conf::Target target = *conf::parse_time_target(load.target);
    const auto said = history::WorkersNeeded(target).of(offered_of(load));
    REQUIRE(said);
    // A tenth or one worker: with as many more it holds, with fewer by more than that it does not.
    const std::uint32_t margin = std::max(1U, (*said + 5) / 10);
    CAPTURE(load.name);
    CAPTURE(*said);
    CHECK(holds(load, target, *said + margin));
    if (*said > margin + 1) CHECK_FALSE(holds(load, target, *said - margin - 1));
  }
}

}  // namespace
}  // namespace classgate::simulation::test
