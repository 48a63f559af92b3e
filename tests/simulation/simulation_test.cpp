#include "admission/simulation/simulation.h"

#include <cmath>

#include "tests/simulation/kit.h"

namespace classgate::simulation::test {
namespace {

conf::Settings settings_with(std::uint32_t workers, std::uint32_t queue_size) {
  conf::Settings settings;
  settings.admission.workers = workers;
  settings.admission.queue_size = queue_size;
  settings.admission.rate = 0;
  return settings;
}

conf::Workload busy_workload() {
  conf::Workload workload;
  workload.duration = 120s;
  workload.seed = 7;
  workload.upstream.capacity = 8;
  workload.upstream.slowdown_beyond = 12;
  workload.upstream.failures = 0.02;
  workload.upstream.service = {conf::Law::Kind::lognormal, 100ms, 900ms, 0};
  conf::WorkloadClass open{.name = "open", .rates = {{0s, 60}, {40s, 200}, {60s, 20}}};
  open.patience = conf::Law{conf::Law::Kind::exponential, 2s, {}, 0};
  open.retries = 2;
  conf::WorkloadClass batch{.name = "batch", .path = "/v1/classify/batch", .rates = {{0s, 30}}};
  batch.upload = 300ms;
  batch.burst_every = 20s;
  batch.burst_length = 2s;
  batch.burst_rate = 300;
  conf::WorkloadClass people{.name = "people", .path = "/health", .users = 40};
  people.think = {conf::Law::Kind::exponential, 1s, {}, 0};
  workload.classes = {open, batch, people};
  return workload;
}

TEST_CASE("whatever happens, the tally agrees with admission's books") {
  for (const auto abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    for (const bool stops : {false, true}) {
      conf::Settings settings = settings_with(16, 50);
      settings.admission.rate = 80;
      settings.admission.request_timeout = 3s;
      settings.admission.queue_timeout = 2s;
      settings.upstream.on_client_abort = abort;
      conf::Workload workload = busy_workload();
      workload.upstream.stops_when_left = stops;
      ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
      Simulation simulation(settings, workload.upstream, traffic);
      run_all(simulation);
      check_books(simulation);
      const Group& all = simulation.tally().all();
      // Nothing that can happen has been missed.
      for (const auto reason : {conf::Reason::rate_limited, conf::Reason::queue_full,
                                conf::Reason::displaced, conf::Reason::queue_timeout})
        CHECK(all.rejected[conf::index_of(reason)] > 0);
      for (const auto reason : {conf::Reason::upstream_timeout, conf::Reason::upstream_broken})
        CHECK(all.failed[conf::index_of(reason)] > 0);
      CHECK(all.abandoned > 0);
      CHECK(all.retries > 0);
      CHECK(simulation.tally().active_most() == 16);
      CHECK(simulation.tally().waiting_most() == 50);
    }
  }
}

// Erlang's formula for the share that waits in M/M/c, and for how long.
TEST_CASE("a queue with random arrivals and services waits as Erlang's formula says") {
  constexpr int servers = 10;
  constexpr double load = 9;  // of 10
  double term = 1, sum = 1;
  for (int k = 1; k < servers; ++k) sum += term *= load / k;
  const double last = term * load / servers * servers / (servers - load);
  const double share = last / (sum + last);
  const double mean_ms = share * 100 / (servers - load);

  conf::Workload workload;
  workload.duration = 20'000s;
  workload.upstream.service = {conf::Law::Kind::exponential, 100ms, {}, 0};
  workload.classes = {{.name = "all", .rates = {{0s, 90}}}};
  const conf::Settings settings = settings_with(servers, 100'000);
  ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
  Simulation simulation(settings, workload.upstream, traffic);
  run_all(simulation);
  const double found =
      std::chrono::duration<double, std::milli>(simulation.tally().all().wait.mean()).count();
  CHECK(found == doctest::Approx(mean_ms).epsilon(0.03));
}

TEST_CASE("workers follow how many servers there are, as the conf or the model says") {
  const auto active_most = [](std::uint32_t per_server, std::uint32_t servers_of_model) {
    conf::Settings settings = settings_with(50, 100);
    settings.admission.workers_per_server = per_server;
    settings.upstream.servers.resize(2, settings.upstream.servers.front());
    std::vector<Wish> wishes;
    for (std::uint32_t client = 0; client < 60; ++client) wishes.push_back(wish(client, 1ms, 1s));
    Script script(std::move(wishes));
    conf::UpstreamModel model;
    model.servers = servers_of_model;
    Simulation simulation(settings, model, script);
    run_all(simulation);
    return simulation.tally().active_most();
  };
  CHECK(active_most(0, 1) == 50);
  CHECK(active_most(8, 1) == 16);
  CHECK(active_most(8, 3) == 24);
  CHECK(active_most(40, 3) == 50);
}

TEST_CASE("the same traffic gives the same course, another seed another one") {
  const auto course = [](std::uint64_t seed) {
    conf::Workload workload = busy_workload();
    workload.seed = seed;
    const conf::Settings settings = settings_with(10, 100);
    ClassTraffic traffic(workload, admission::RouteTable(settings.routes));
    Simulation simulation(settings, workload.upstream, traffic);
    run_all(simulation);
    const Group& all = simulation.tally().all();
    return std::tuple(simulation.now(), simulation.events(), all.served, all.wait.mean(),
                      all.latency.mean());
  };
  CHECK(course(1) == course(1));
  CHECK(course(1) != course(2));
}

TEST_CASE("a request waits for a worker, and the better priority goes first") {
  Wish late = wish(2, 20ms, 10ms);
  late.priority = 1;
  Script script({wish(0, 0ms, 100ms), wish(1, 10ms, 10ms), late});
  Simulation simulation(settings_with(1, 10), {}, script);
  run_all(simulation);
  REQUIRE(script.endings.size() == 3);
  CHECK(script.endings[1].client == 2);
  CHECK(script.endings[1].at == 110ms);
  CHECK(script.endings[2].client == 1);
  CHECK(script.endings[2].at == 120ms);
  check_books(simulation);
}

TEST_CASE("a client that leaves in flight keeps its worker until the service is done") {
  Wish impatient = wish(0, 0ms, 100ms);
  impatient.patience = 30ms;
  Script script({impatient, wish(1, 40ms, 10ms)});
  Simulation simulation(settings_with(1, 10), {}, script);
  run_all(simulation);
  CHECK(script.endings[0].ending.kind == Ending::Kind::abandoned);
  CHECK(script.endings[0].at == 30ms);
  CHECK(script.endings[1].at == 110ms);
}

TEST_CASE("with cancel its worker is free at once, but the service computes on unless it stops") {
  for (const bool stops : {false, true}) {
    Wish impatient = wish(0, 0ms, 100ms);
    impatient.patience = 30ms;
    Script script({impatient, wish(1, 40ms, 10ms)});
    conf::Settings settings = settings_with(1, 10);
    settings.upstream.on_client_abort = conf::OnClientAbort::cancel;
    conf::UpstreamModel model;
    model.capacity = 1;
    model.stops_when_left = stops;
    Simulation simulation(settings, model, script);
    run_all(simulation);
    CHECK(script.endings[1].at == (stops ? 50ms : 110ms));
  }
}

TEST_CASE("after its 504 a request keeps its worker for one more request timeout at most") {
  conf::Settings settings = settings_with(1, 10);
  settings.admission.request_timeout = 100ms;
  settings.admission.queue_timeout = 1s;
  Script script({wish(0, 0ms, 1s), wish(1, 120ms, 10ms), wish(2, 190ms, 10ms)});
  Simulation simulation(settings, {}, script);
  run_all(simulation);
  CHECK(script.endings[0].ending.reason == conf::Reason::upstream_timeout);
  CHECK(script.endings[0].at == 100ms);
  // The worker comes back at 200 ms: the second goes in, the third behind it.
  CHECK(script.endings[1].at == 210ms);
  CHECK(script.endings[2].at == 220ms);
  check_books(simulation);
}

TEST_CASE("an upstream serves so many at once and takes longer when too many are in it") {
  conf::UpstreamModel model;
  model.capacity = 2;
  Script in_turn({wish(0, 0ms, 100ms), wish(1, 0ms, 100ms), wish(2, 0ms, 100ms)});
  Simulation first(settings_with(10, 10), model, in_turn);
  run_all(first);
  CHECK(in_turn.endings[1].at == 100ms);
  CHECK(in_turn.endings[2].at == 200ms);

  model = {};
  model.slowdown_beyond = 2;
  model.slowdown_power = 2;
  Script crowded(
      {wish(0, 0ms, 100ms), wish(1, 0ms, 100ms), wish(2, 0ms, 100ms), wish(3, 0ms, 100ms)});
  Simulation second(settings_with(10, 10), model, crowded);
  run_all(second);
  CHECK(crowded.endings[2].at == 225ms);  // (3/2)^2
  CHECK(crowded.endings[3].at == 400ms);  // (4/2)^2
}

TEST_CASE(
    "a group that is not full waits from when its first came, not from when a server is free") {
  // As Triton's max_queue_delay counts. It began anew after each group.
  conf::UpstreamModel model;
  model.batch = 4;
  model.batch_wait = 50ms;
  Script script(
      {wish(0, 0ms, 100ms), wish(1, 60ms, 100ms), wish(2, 260ms, 100ms), wish(3, 390ms, 100ms)});
  Simulation simulation(settings_with(8, 10), model, script);
  run_all(simulation);
  REQUIRE(script.endings.size() == 4);
  CHECK(script.endings[0].at == 150ms);
  CHECK(script.endings[1].at == 250ms);  // had waited for longer, and begins as the server is free
  CHECK(script.endings[2].at == 410ms);
  CHECK(script.endings[3].at == 540ms);  // waits for the rest, 30 ms
}

TEST_CASE("a route's deadline and workers hold as in the gateway") {
  conf::Settings settings = settings_with(2, 10);
  settings.routes = {{.path = "/batch", .cost_per_worker = 10},
                     {.path = "/brief", .deadline = 50ms}};
  Wish batch = wish(0, 0ms, 100ms);
  batch.cost = 20;
  batch.route = admission::Ids(settings).route("/batch");
  Wish brief = wish(1, 10ms, 10ms);
  brief.route = admission::Ids(settings).route("/brief");
  Script script({batch, brief});
  Simulation simulation(settings, {}, script);
  run_all(simulation);
  REQUIRE(script.endings.size() == 2);
  CHECK(script.endings[0].client == 1);  // both workers were taken for the whole of its time
  CHECK(script.endings[0].ending.reason == conf::Reason::deadline);
  CHECK(script.endings[0].at == 60ms);
  CHECK(script.endings[1].at == 100ms);
  check_books(simulation);
}

TEST_CASE("a simulation that is given up in the middle takes everything back first") {
  // One works, two wait: the worker that comes back must not go to one that goes as well.
  Script script({wish(0, 0ms, 100ms), wish(1, 1ms, 10ms), wish(2, 2ms, 10ms)});
  Simulation simulation(settings_with(1, 10), {}, script);
  CHECK(simulation.advance(3));
  CHECK(simulation.books().waiting == 2);
  CHECK(simulation.books().in_flight == 1);
}  // ~Gate asserts that all came home

TEST_CASE("an upload asks for its worker when it is here") {
  Wish slow = wish(0, 0ms, 10ms);
  slow.upload = 50ms;
  Script script({slow, wish(1, 10ms, 10ms)});
  Simulation simulation(settings_with(1, 10), {}, script);
  run_all(simulation);
  CHECK(script.endings[0].client == 1);
  CHECK(script.endings[1].at == 60ms);
}

}  // namespace
}  // namespace classgate::simulation::test
