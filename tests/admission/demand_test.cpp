#include "admission/history/demand.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <string>
#include <string_view>

#include "admission/history/demand_forecast.h"
#include "admission/history/service_times.h"
#include "conf/format.h"

namespace classgate::history {
namespace {

using namespace std::chrono_literals;
using SamplerTime = MinuteSampler::Time;

constexpr Slot noon = 29'000'000;  // some minute

Asked at_three(float value) { return {0, 0, value, 0, 0}; }

SamplerTime time_at(Slot minute, std::chrono::milliseconds after = 0ms) {
  return SamplerTime(std::chrono::minutes(minute)) + after;
}

MinuteSampler::Totals totals(double at_priority_three) {
  return {.by_priority = {0, 0, at_priority_three, 0, 0}, .by_plan = {}};
}

TEST_CASE("a minute is what counters have grown by, and one that was not counted is not known") {
  MinuteSampler sampler;
  sampler.begin(totals(100), time_at(noon, 40s));
  CHECK_FALSE(sampler.read(totals(110), time_at(noon + 1, 3ms)));  // 20 s of it
  const auto whole = sampler.read(totals(170), time_at(noon + 2, 5ms));
  REQUIRE(whole);
  CHECK(whole->minute == noon + 1);
  CHECK(sum(whole->asked) == doctest::Approx(60).epsilon(0.001));
  // The machine slept.
  CHECK_FALSE(sampler.read(totals(400), time_at(noon + 5)));
  // Most of it: the rest is as this.
  const auto most = sampler.read(totals(450), time_at(noon + 5, 55s));
  REQUIRE(most);
  CHECK(sum(most->asked) == doctest::Approx(50 * 60.0 / 55));
}

TEST_CASE("two processes that share a minute make one of it, and no request counts twice") {
  MinuteSampler before;
  before.begin(totals(0), time_at(noon));
  const DemandMinute part = before.so_far(totals(30), time_at(noon, 29s));
  CHECK(part.seconds == doctest::Approx(29));
  MinuteSampler after;
  after.begin(totals(0), time_at(noon, 30s));
  after.add_part(part);
  after.add_part({.minute = noon - 1, .asked = at_three(1000), .seconds = 20});  // not of this one
  const auto minute = after.read(totals(29), time_at(noon + 1));
  REQUIRE(minute);
  CHECK(minute->minute == noon);
  CHECK(sum(minute->asked) == doctest::Approx(60));
}

TEST_CASE("two weeks are kept, day by day, and no more memory than that is held") {
  DemandRecord record;
  for (Slot minute = noon; minute < noon + 20 * DemandRecord::day; ++minute)
    if (minute % 7 != 0) record.add(minute, at_three(static_cast<float>(minute % 1'000)));
  CHECK(record.bytes() <= 432'000);
  CHECK(record.last() - record.first() + 1 == DemandRecord::kept);
  CHECK_FALSE(record.at(record.first() - 1));
  CHECK_FALSE(record.at(record.last() + 1));
  const Slot known = noon + 20 * DemandRecord::day - 1;
  REQUIRE(record.at(known));
  CHECK((*record.at(known))[2] == static_cast<float>(known % 1'000));
  CHECK_FALSE(record.add(known, at_three(1)));
  CHECK_FALSE(record.add(known - 5, at_three(1)));
}

TEST_CASE("what is written of demand is read again, with the part of a minute at its end") {
  DemandRecord record;
  record.add(noon, {1, 2.5, 1e6, 0, 0.25});
  record.add(noon + 3, {});
  const DemandMinute part{.minute = noon + 4, .asked = at_three(7), .seconds = 12.5};
  const auto read = read_demand_text(demand_text(record, {}, part));
  REQUIRE(read);
  CHECK(read->record.known() == 2);
  CHECK(*read->record.at(noon) == *record.at(noon));
  CHECK_FALSE(read->record.at(noon + 1));
  REQUIRE(read->part);
  CHECK(read->part->minute == noon + 4);
  CHECK(read->part->seconds == 12.5F);
  CHECK(read->part->asked == at_three(7));
}

TEST_CASE(
    "of a file that is not as it should be nothing is taken, and it is told where it is wrong") {
  DemandRecord record;
  record.add(noon, at_three(5));
  record.add(noon + 1, at_three(6));
  const std::string good = demand_text(record, {}, std::nullopt);
  REQUIRE(read_demand_text(good));
  {
    // Minutes that are still to come are left out, and those before stay.
    const auto whole = read_demand_text(good);
    const Slot last = whole->record.last();
    const auto until_before = read_demand_text(good, last - 1);
    REQUIRE(until_before);
    CHECK(until_before->later >= 1);
    CHECK(until_before->record.known() == whole->record.known() - 1);
  }
  struct Row {
    std::string text;
    std::string why;
  };
  const std::string header = good.substr(0, good.find('\n') + 1);
  const std::string row = fmt::format("{},1,0,0,1,0,0,60\n", noon * 60);
  for (const Row& broken : {
           Row{"", "it breaks off"},
           Row{good.substr(0, good.size() - 1), "it breaks off"},
           Row{"time,value\n", "line 1: not the header"},
           Row{header + row + row, "line 3: not later"},
           Row{header + "x,1,0,0,1,0,0,60\n", "line 2: a column is no number"},
           Row{header + "-60,1,0,0,1,0,0,60\n", "line 2: a column is no number"},
           Row{header + fmt::format("{},nan,0,0,nan,0,0,60\n", noon * 60), "line 2: a column"},
           Row{header + fmt::format("{},2,0,0,1,0,0,60\n", noon * 60), "line 2: the priorities"},
           Row{header + fmt::format("{},1,0,0,1,0,0\n", noon * 60), "line 2: not 8 columns"},
           Row{header + fmt::format("{},1,0,0,1,0,0,60\n", noon * 60 + 1), "line 2: the time"},
           Row{header + fmt::format("{},1,0,0,1,0,0,61\n", noon * 60), "line 2: a minute has"},
           Row{header + fmt::format("{},1,0,0,1,0,0,5\n", noon * 60) +
                   fmt::format("{},1,0,0,1,0,0,60\n", noon * 60 + 60),
               "line 3: goes on behind a part"},
           Row{std::string(demand_text_max + 1, '\n'), "more than"},
       }) {
    const auto read = read_demand_text(broken.text);
    CAPTURE(broken.why);
    REQUIRE_FALSE(read);
    CHECK(read.error().starts_with(broken.why));
  }
}

// ---- By plan -----------------------------------------------------------------------------------

TEST_CASE("as long as nobody has a plan nothing is kept of plans, and the file has none") {
  PlanRecord plans;
  plans.add(noon, {{"-", 5}});
  CHECK(plans.bytes() == 0);
  CHECK(plans.of(noon).empty());
  DemandRecord record;
  record.add(noon, at_three(5));
  const DemandMinute part{
      .minute = noon + 1, .asked = at_three(7), .seconds = 12, .plans = {{"-", 7}, {"idle", 0}}};
  CHECK_FALSE(demand_text(record, plans, part).contains("plan_"));
  plans.add(noon + 1, {{"-", 5}, {"free", 2}});
  CHECK(plans.of(noon + 1) == PlanAsked{{"-", 5}, {"free", 2}});
}

TEST_CASE("plans beyond the eighth are the others, and one that asks no more leaves its place") {
  PlanRecord plans;
  for (int i = 0; i < 12; ++i) plans.add(noon + i, {{fmt::format("plan {}", i), 1}});
  CHECK(plans.name(0) == "plan 0");
  CHECK(plans.name(7) == "plan 7");
  CHECK(plans.of(noon + 7) == PlanAsked{{"plan 7", 1}});
  CHECK(plans.of(noon + 11) == PlanAsked{{"(others)", 1}});
  const PlanAsked some{{"plan 1", 1}, {"plan 8", 2}, {"plan 9", 3}};
  CHECK(plans.folded(some) == PlanAsked{{"plan 1", 1}, {"(others)", 5}});
  CHECK(PlanRecord().folded(some) == some);
  // Two weeks and a day later only the first still asks.
  const Slot later = noon + 15 * PlanRecord::day;
  for (Slot minute = noon + 20; minute < later; minute += 60) plans.add(minute, {{"plan 0", 1}});
  plans.add(later, {{"plan 0", 1}, {"new", 4}});
  CHECK(plans.of(later) == PlanAsked{{"plan 0", 1}, {"new", 4}});
  CHECK(plans.first(0) == noon);
  CHECK(plans.bytes() <= 17 * 5'760);
}

TEST_CASE("memory for plans is bounded, whatever they are called and however many there are") {
  PlanRecord plans;
  for (int day = 0; day < 40; ++day)
    for (int i = 0; i < 50; ++i)
      plans.add(noon + day * PlanRecord::day + i, {{fmt::format("{} {}", day % 3, i), 1}});
  CHECK(plans.bytes() <= 777'600);
}

TEST_CASE("what plans ask for is written and read again, whatever they are called") {
  DemandRecord record;
  PlanRecord plans;
  for (Slot minute = noon; minute < noon + 3; ++minute) {
    record.add(minute, at_three(10));
    plans.add(minute, {{"a,\"b;\n%", 4}, {"gr\u00f6\u00dfer", 1.5}, {"-", 2}});
  }
  const DemandMinute part{
      .minute = noon + 3, .asked = at_three(7), .seconds = 12, .plans = {{"-", 3}, {"new", 2}}};
  const std::string text = demand_text(record, plans, part);
  CHECK(text.starts_with(
      "time,all,priority_1,priority_2,priority_3,priority_4,priority_5,seconds,plan_-,"));
  const auto read = read_demand_text(text);
  REQUIRE(read);
  CHECK(read->record.known() == 3);
  CHECK(read->plans.of(noon + 2) == plans.of(noon + 2));
  REQUIRE(read->part);
  CHECK(read->part->plans == PlanAsked{{"-", 3}, {"new", 2}});
  const std::string header = text.substr(0, text.find('\n'));
  for (const std::string& broken : {
           header + ",plan_-\n",          // twice
           header + ",other\n",           // no plan's
           header + ",plan_%4\n",         // half of a byte
           header + ",plan_\n",           // no name
           header.substr(0, 71) + "x\n",  // another column
       })
    CHECK_FALSE(read_demand_text(broken));
  const std::string row = fmt::format("\n{},1,0,0,1,0,0,60,", noon * 60);
  CHECK(read_demand_text(header + row + "0.5,0.25,0.25,0\n"));
  CHECK(read_demand_text(header + row + "1,1,0,0\n").error() ==
        "line 2: the plans are more than all are");
  CHECK(read_demand_text(header + row + "1,0\n").error() == "line 2: not 12 columns");
}

TEST_CASE("of a minute each plan has what its counter grew by, and two processes share one") {
  MinuteSampler sampler;
  sampler.begin({.by_priority = {}, .by_plan = {{"free", 100}}}, time_at(noon));
  sampler.add_part({.minute = noon, .asked = at_three(5), .seconds = 0, .plans = {{"old", 5}}});
  auto now = totals(60);
  now.by_plan = {{"free", 130}, {"pro", 30}, {"idle", 0}};
  const auto minute = sampler.read(now, time_at(noon + 1));
  REQUIRE(minute);
  CHECK(minute->plans == PlanAsked{{"free", 30}, {"pro", 30}, {"old", 5}});
  // Of 50 s the rest is as these.
  const auto most = sampler.read(now, time_at(noon + 1, 50s));
  REQUIRE(most);
  CHECK(most->plans.empty());
}

// ---- What is told of it ------------------------------------------------------------------------

constexpr std::array<double, WorkDone::buckets - 1> bounds{
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

// Requests of 80 ms.
ServiceTimes some_times() {
  ServiceTimes times(bounds);
  WorkDonePerPriority done{};
  done[2].cost = 1'000;
  done[2].work_seconds = 80;
  done[2].times[6] = 1'000;
  times.learn(done);
  return times;
}

DemandQuestion question_at(Slot last) {
  return {.now = std::chrono::sys_seconds(std::chrono::minutes(last + 1)),
          .target = *conf::parse_time_target("wait p95 <= 100ms for priority 3"),
          .workers_in_force = 50,
          .servers_in_force = 5,
          .workers_per_server = 10,
          .lead_time = 60s};
}

TEST_CASE("with too little known there is no number, and it is told why") {
  DemandForecast forecast(nullptr);
  ServersNeeded servers;
  for (Slot minute = noon; minute < noon + 4; ++minute) forecast.add(minute, at_three(600));
  auto report = report_demand(forecast, some_times(), servers, question_at(noon + 3));
  CHECK(report.why_nothing == "too little is known: 4 of 5 minutes");
  CHECK_FALSE(report.servers);
  forecast.add(noon + 4, at_three(600));
  report = report_demand(forecast, ServiceTimes(bounds), servers, question_at(noon + 4));
  CHECK(report.why_nothing.empty());
  CHECK(report.horizons[0].all.p50 == doctest::Approx(600));
  CHECK(std::isnan(report.horizons[0].all.p90));  // nobody has seen how wrong it is
  CHECK_FALSE(report.workers_needed_now);
  CHECK(report.why_no_workers.starts_with("too few requests have ended"));
  report = report_demand(forecast, some_times(), servers, question_at(noon + 4));
  REQUIRE(report.servers);
  CHECK(report.why_no_workers.empty());
  // It was told of long ago.
  report = report_demand(forecast, some_times(), servers, question_at(noon + 60));
  CHECK_FALSE(report.why_nothing.empty());
  CHECK_FALSE(report.servers);
}

// Three days of a day that goes from 600 a minute at night to 6,600 at its height.
float daily(Slot minute) {
  constexpr double pi = 3.14159265358979;
  const double phase = 2 * pi * static_cast<double>(minute % DemandRecord::day) / DemandRecord::day;
  return static_cast<float>(3'600 - 3'000 * std::cos(phase));
}

TEST_CASE("what comes each day is asked for before it comes, and each priority is told of") {
  DemandForecast forecast(nullptr);
  const Slot begin = noon / DemandRecord::day * DemandRecord::day;
  // At eight in the morning demand rises by a fifth of its height an hour.
  const Slot end = begin + 3 * DemandRecord::day + 8 * 60;
  for (Slot minute = begin; minute < end; ++minute)
    forecast.add(minute, {0, 0, daily(minute), daily(minute) / 2, 0});
  CHECK(forecast.bytes() < 3 * 256 * 1024 + 160 * 1024);
  ServersNeeded servers;
  const auto report = report_demand(forecast, some_times(), servers, question_at(end - 1));
  REQUIRE(report.servers);
  CHECK_FALSE(report.is_cold);
  const double in_an_hour = daily(end + 59) * 1.5;
  CHECK(report.horizons[2].all.p50 == doctest::Approx(in_an_hour).epsilon(0.05));
  CHECK(report.horizons[2].all.p90 >= report.horizons[2].all.p50);
  CHECK(report.horizons[2].by_priority[2]->p50 == doctest::Approx(daily(end + 59)).epsilon(0.05));
  CHECK_FALSE(report.horizons[2].by_priority[0]);
  CHECK(*report.horizons[2].workers > *report.workers_needed_now);
  CHECK(report.horizons[2].error.share < 0.05);
  CHECK(report.horizons[2].error.compared == 1'440);
  CHECK(report.yesterday.size() == 288);
  const auto& past = report.yesterday[100];
  CHECK(past.came ==
        doctest::Approx(1.5 * static_cast<double>(daily(past.minute + 2))).epsilon(0.02));
  CHECK(static_cast<double>(past.told.p50) ==
        doctest::Approx(static_cast<double>(past.came)).epsilon(0.1));
}

TEST_CASE("each plan is told of as each priority is, since it was first asked for under it") {
  DemandForecast forecast(nullptr);
  const Slot begin = noon / DemandRecord::day * DemandRecord::day;
  const Slot end = begin + 3 * DemandRecord::day + 8 * 60;
  for (Slot minute = begin; minute < end; ++minute)
    forecast.add(minute, at_three(daily(minute) + 60),
                 {{"free", daily(minute)}, {minute < end - 20 ? "-" : "new", 60}});
  ServersNeeded servers;
  const auto report = report_demand(forecast, some_times(), servers, question_at(end - 1));
  REQUIRE(report.plans.size() == 3);
  const auto named = [&](std::string_view name) {
    return *std::ranges::find(report.plans, name, &DemandReport::Plan::name);
  };
  CHECK(named("free").lately == doctest::Approx(daily(end - 3)));
  CHECK(named("free").horizons[2].p50 == doctest::Approx(daily(end + 59)).epsilon(0.05));
  CHECK(named("free").horizons[2].p90 >= named("free").horizons[2].p50);
  CHECK(named("-").lately == 0);
  CHECK(named("new").lately == 60);
  CHECK(named("new").horizons[0].p50 == doctest::Approx(60));
  CHECK(std::isnan(named("new").horizons[2].p90));  // nobody has seen how wrong it is
  CHECK(forecast.bytes() < 5 * 256 * 1024 + 320 * 1024);
}

TEST_CASE(
    "that a target will be missed is told before it is, by the minute, and not where it holds") {
  DemandForecast forecast(nullptr);
  const Slot begin = noon / DemandRecord::day * DemandRecord::day;
  const Slot end = begin + 3 * DemandRecord::day + 8 * 60;
  for (Slot minute = begin; minute < end; ++minute)
    forecast.add(minute, at_three(20 * daily(minute)));
  ServersNeeded servers;
  DemandQuestion question = question_at(end - 1);
  const WorkersNeeded needed(*question.target);
  const ServiceTimes times = some_times();
  Offered offered{.cost = {}, .work = times.work()};
  offered.cost[2] = 20 * static_cast<double>(daily(end + 30)) / 60;
  question.workers_in_force = *needed.of(offered);  // enough until half an hour from now, or so
  const auto soon = report_demand(forecast, times, servers, question);
  REQUIRE(soon.missed_at);
  CHECK(*soon.missed_at > question.now + 15min);
  CHECK(*soon.missed_at < question.now + 60min);
  question.workers_in_force *= 2;
  CHECK_FALSE(report_demand(forecast, times, servers, question).missed_at);
  question.workers_in_force = 1;
  CHECK(report_demand(forecast, times, servers, question).missed_at == question.now);
}

TEST_CASE("servers needed rise at once, fall slowly, and never below what comes now needs") {
  ServersNeeded servers;
  const ServersNeeded::Bounds between{.least = 2, .most = 20, .fall = 0.1};
  CHECK(servers.decide(10, 100, 10, between) == 10);
  CHECK(servers.decide(10, 10, 10, between) == 9);
  std::uint32_t now = 9;
  for (int minute = 0; minute < 60; ++minute) {
    const std::uint32_t next = servers.decide(45, 10, 10, between);
    CHECK(next <= now);
    CHECK(next >= 5);
    now = next;
  }
  CHECK(now == 5);
  CHECK(servers.decide(1'000, 0, 10, between) == 20);
  for (int minute = 0; minute < 120; ++minute) now = servers.decide(0, 0, 10, between);
  CHECK(now == 2);
}

TEST_CASE("service times follow what ends, and a priority with few of its own is as all are") {
  ServiceTimes times(bounds);
  CHECK_FALSE(times.are_known());
  WorkDonePerPriority done{};
  done[2] = {.cost = 200, .work_seconds = 8, .times = {}};  // a cost of 2, 80 ms each
  done[2].times[6] = 100;
  done[4] = {.cost = 1, .work_seconds = 20, .times = {}};
  done[4].times[13] = 1;
  times.learn(done);
  REQUIRE(times.are_known());
  const auto work = times.work();
  CHECK(work[2].seconds_per_cost == doctest::Approx(0.04));
  CHECK(work[2].seconds_per_request == doctest::Approx(0.08));
  CHECK(work[2].spread.size() == 1);
  CHECK(work[4].seconds_per_cost == doctest::Approx(28.0 / 201));
  for (int minute = 0; minute < 600; ++minute) times.learn({});  // nothing comes at night
  CHECK(times.work()[2].seconds_per_cost == doctest::Approx(0.04));
}

TEST_CASE("no number of workers holds a target below the work itself, which is told") {
  const ServiceTimes times = some_times();
  Offered offered{.cost = {}, .work = times.work()};
  CHECK(*WorkersNeeded(*conf::parse_time_target("answer p95 <= 50ms")).of(offered) == 0);
  offered.cost[2] = 100;
  const auto none = WorkersNeeded(*conf::parse_time_target("answer p95 <= 50ms")).of(offered);
  REQUIRE_FALSE(none);
  CHECK(none.error().starts_with("no number of workers holds"));
  CHECK(*WorkersNeeded(*conf::parse_time_target("answer p95 <= 100ms")).of(offered) > 8);
  offered.cost[2] = 1e9;
  CHECK_FALSE(WorkersNeeded(*conf::parse_time_target("wait mean <= 50ms")).of(offered));
}

}  // namespace
}  // namespace classgate::history
