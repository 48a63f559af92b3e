#include "admission/ceilings.h"

#include <memory>

#include "admission/gate.h"
#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

using Source = Ceilings::Source;

conf::AdmissionSettings settings_of(std::uint32_t workers) {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = workers;
  return settings;
}

TEST_CASE("the least of all ceilings holds, whoever set it and whenever") {
  Controller controller(settings_of(10));
  CHECK(controller.limit() == 10);
  controller.set_ceiling(Source::handover, 7);
  controller.set_ceiling(Source::upstream, 4);
  CHECK(controller.limit() == 4);
  controller.set_ceiling(Source::upstream, 8);
  CHECK(controller.limit() == 7);
  controller.set_ceiling(Source::handover, Ceilings::none);
  CHECK(controller.limit() == 8);
  controller.set_ceiling(Source::upstream, 20);
  CHECK(controller.limit() == 10);
}

TEST_CASE("a reload changes the ceiling of the settings and no other") {
  Controller controller(settings_of(10));
  controller.set_ceiling(Source::handover, 7);
  controller.reconfigure(settings_of(50), start);
  CHECK(controller.limit() == 7);
  controller.set_ceiling(Source::handover, Ceilings::none);
  CHECK(controller.limit() == 50);
}

TEST_CASE("workers that are found by searching stay below every ceiling") {
  conf::AdmissionSettings settings = settings_of(100);
  settings.workers_are_auto = true;
  settings.autos.workers_min = 20;
  settings.autos.workers_max = 100;
  Controller controller(settings);
  CHECK(controller.limit() == 50);
  controller.set_ceiling(Source::upstream, 30);
  CHECK(controller.limit() == 30);
  controller.set_ceiling(Source::upstream, 70);
  CHECK(controller.limit() == 50);
}

TEST_CASE("what another process keeps is taken off the least of all") {
  conf::AdmissionSettings settings = settings_of(100);
  Controller controller(settings);
  controller.set_ceiling(Source::upstream, 8);
  controller.set_kept_elsewhere(3);
  CHECK(controller.limit() == 5);
  controller.set_kept_elsewhere(12);
  CHECK(controller.limit() == 0);
  controller.set_ceiling(Source::upstream, Ceilings::none);
  CHECK(controller.limit() == 88);
  settings.workers_are_auto = true;
  settings.autos.workers_max = 100;
  controller.reconfigure(settings, start);
  CHECK(controller.limit() == 38);  // of the 50 that the search begins with
  controller.set_kept_elsewhere(0);
  CHECK(controller.limit() == 50);
}

TEST_CASE("under a ceiling of none at all everybody waits, and goes in when it rises") {
  Controller controller(settings_of(2));
  controller.set_ceiling(Source::handover, 0);
  CHECK(said(enter(controller, request(3))) == "waits");
  CHECK(said(controller.next(start)) == "silence");
  controller.set_ceiling(Source::handover, 1);
  CHECK(said(controller.next(start)) == "granted");
  CHECK(said(controller.next(start)) == "silence");
}

TEST_CASE("workers beyond a lower ceiling finish, and nobody goes in meanwhile") {
  Controller controller(settings_of(2));
  const Seat first = std::get<Admitted>(enter(controller, request(3))).seat;
  const Seat second = std::get<Admitted>(enter(controller, request(3))).seat;
  CHECK(said(enter(controller, request(3))) == "waits");
  controller.set_ceiling(Source::upstream, 1);
  controller.finish(Outcome::processed(), first, start + 1s);
  CHECK(said(controller.next(start + 1s)) == "silence");
  controller.finish(Outcome::processed(), second, start + 1s);
  CHECK(said(controller.next(start + 1s)) == "granted");
}

// Two processes share the workers in an upgrade: each is narrowed again and again.
TEST_CASE("a ceiling that moves forgets neither what routes take nor what the shadow has counted") {
  conf::AdmissionSettings settings = settings_of(10);
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(settings_of(10));
  Gate gate(settings);
  for (int i = 0; i < 3; ++i) {
    auto answer = gate.enter(request(3), start);
    std::get<Permit>(answer).finish(Outcome::processed(), start + 2s);
  }
  CHECK(gate.explain(request(3), start + 2s).most_work == 2s);
  CHECK(gate.snapshot(start + 2s).shadow.alike == 3);
  for (std::uint32_t workers = 10; workers > 0; --workers)
    gate.set_ceiling(Source::handover, workers, start + 2s);
  CHECK(gate.snapshot(start + 2s).workers == 1);
  CHECK(gate.explain(request(3), start + 2s).most_work == 2s);
  CHECK(gate.snapshot(start + 2s).shadow.alike == 3);
}

TEST_CASE("what is shared is a part of its own, whatever the process before an upgrade keeps") {
  Controller controller(settings_of(10));
  controller.set_kept_elsewhere(7);
  controller.set_ceiling(Source::sharing, 2);
  CHECK(controller.limit() == 2);
  controller.set_ceiling(Source::sharing, 5);
  CHECK(controller.limit() == 3);
  controller.set_kept_elsewhere(0);
  CHECK(controller.limit() == 5);
}

Time clock_now;
Time read_clock() { return clock_now; }

TEST_CASE("nobody begins on a loan that has ended, however old the time is that he comes with") {
  const auto gate = std::make_unique<Gate>(settings_of(10));
  clock_now = start;
  gate->lend({.workers = 2, .until = start + 1s, .then = 1}, read_clock);
  std::vector<Permit> permits;
  const auto comes = [&gate, &permits] {
    auto answer = gate->enter(request(3), start);
    if (auto* permit = std::get_if<Permit>(&answer)) permits.push_back(std::move(*permit));
    return permits.size();
  };
  CHECK(comes() == 1);
  CHECK(gate->may_begin());
  clock_now = start + 1s;  // its process was stopped: its loop's time is what it was
  CHECK(comes() == 1);     // then there is one, which has begun
  CHECK(gate->may_begin());
  gate->lend({.workers = 2, .until = start + 2s, .then = 0}, read_clock);
  CHECK(comes() == 2);
  clock_now = start + 2s;
  CHECK_FALSE(gate->may_begin());  // what gave it its worker is long ago
  CHECK(gate->wanted().in_use == 2);
  permits.clear();
  CHECK(comes() == 0);
  CHECK(gate->wanted().in_use == 0);
}

}  // namespace
}  // namespace classgate::admission
