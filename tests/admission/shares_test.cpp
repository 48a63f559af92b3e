// Reserved workers: the law of admission/shares.h, told a second time and held against random
// traffic, and a few of its cases by hand.

#include "admission/shares.h"

#include <map>
#include <vector>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

conf::AdmissionSettings with_shares(std::array<double, 5> shares, std::uint32_t workers = 10) {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = workers;
  settings.queue_size = 100;
  settings.request_timeout = settings.queue_timeout = 1h;
  settings.reserve.shares = shares;
  return settings;
}

// Makes a priority known for how long its requests take.
void teach(Controller& controller, int priority, Duration took) {
  const Verdict verdict = enter(controller, request(priority));
  controller.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, start + took);
}

TEST_CASE("quick requests borrow everything and give back first") {
  Controller controller(with_shares({0, 0, 0, 0, 0.2}));
  teach(controller, 3, 50ms);
  std::vector<Seat> seats;
  for (int i = 0; i < 10; ++i)
    seats.push_back(std::get<Admitted>(enter(controller, request(3))).seat);
  CHECK(said(enter(controller, request(3))) == "waits");
  for (int i = 0; i < 3; ++i) CHECK(said(enter(controller, request(5))) == "waits");
  for (const int expected : {5, 5, 3, 5}) {  // its two, then in the order of priority
    controller.finish(Outcome::processed(), seats.back(), start + 1ms);
    seats.pop_back();
    const auto notice = controller.next(start + 1ms);
    REQUIRE(said(notice) == "granted");
    CHECK(std::get<Granted>(notice->news).seat.priority == expected);
  }
}

TEST_CASE(
    "slow requests, and those nobody knows, leave a worker more than the owner wanted lately") {
  Controller controller(with_shares({0.2, 0, 0.4, 0, 0}));
  std::size_t admitted = 0;
  for (int i = 0; i < 12; ++i) admitted += said(enter(controller, request(4))) == "admitted";
  CHECK(admitted == 8);  // one is kept for priority 1, one for priority 3
  CHECK(said(controller.next(start)) == "silence");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(1))) == "admitted");
  CHECK(said(enter(controller, request(1))) == "waits");
}

TEST_CASE("quick requests of a worse priority do not pass slow ones of a better for ever") {
  // Also those of which nobody knows yet how long they take.
  for (const Duration took : {Duration::zero(), Duration(5s)}) {
    Controller controller(with_shares({0.2, 0, 0, 0, 0}));
    teach(controller, 5, 50ms);
    if (took > Duration::zero()) teach(controller, 3, took);
    std::vector<Seat> seats;
    for (int i = 0; i < 10; ++i)
      seats.push_back(std::get<Admitted>(enter(controller, request(5))).seat);
    for (int i = 0; i < 20; ++i) CHECK(said(enter(controller, request(5))) == "waits");
    for (int i = 0; i < 12; ++i) CHECK(said(enter(controller, request(3))) == "waits");
    // One quick one after the other comes back: all go to the better ones, but what is kept for
    // priority 1, which goes round among the quick.
    std::map<int, int> granted;
    for (int i = 0; i < 14; ++i) {
      const auto quick = std::ranges::find(seats, 5, &Seat::priority);
      REQUIRE(quick != seats.end());
      const Seat seat = *quick;
      seats.erase(quick);
      controller.finish(Outcome::processed(), seat, start + 50ms);
      const auto notice = controller.next(start + 50ms);
      REQUIRE(said(notice) == "granted");
      seats.push_back(std::get<Granted>(notice->news).seat);
      ++granted[seats.back().priority];
    }
    CHECK(granted[3] == 9);
    CHECK(granted[5] == 5);
    CHECK(said(enter(controller, request(1))) == "waits");
    const auto quick = std::ranges::find(seats, 5, &Seat::priority);
    controller.finish(Outcome::processed(), *quick, start + 100ms);
    const auto notice = controller.next(start + 100ms);
    REQUIRE(said(notice) == "granted");
    CHECK(std::get<Granted>(notice->news).seat.priority == 1);
  }
}

TEST_CASE("reserves that take all the workers there are keep one of them for nobody") {
  // Under a ceiling, and where there never were more; by a priority that nobody knows.
  Controller under_ceiling(with_shares({0, 0, 0, 0.1, 0}));
  under_ceiling.set_ceiling(Ceilings::Source::upstream, 1);
  Controller few(with_shares({0.1, 0.1, 0, 0, 0.1}, 3));
  for (Controller* const controller : {&under_ceiling, &few}) {
    const Verdict first = enter(*controller, request(3));
    REQUIRE(said(first) == "admitted");
    CHECK(said(enter(*controller, request(3))) == "waits");
    controller->finish(Outcome::processed(), std::get<Admitted>(first).seat, start + 5s);
    CHECK(said(controller->next(start + 5s)) == "granted");  // slow by now, one after the other
    CHECK(said(controller->next(start + 5s)) == "silence");
  }
}

TEST_CASE("a reserve that was used lately is kept as far as it was used") {
  Controller controller(with_shares({0, 0, 0.4, 0, 0}));
  std::vector<Seat> seats;
  for (int i = 0; i < 3; ++i)
    seats.push_back(std::get<Admitted>(enter(controller, request(3))).seat);
  for (const Seat& seat : seats) controller.finish(Outcome::processed(), seat, start + 50ms);
  std::size_t admitted = 0;
  for (int i = 0; i < 12; ++i)
    admitted += said(enter(controller, request(4), start + 1s)) == "admitted";
  CHECK(admitted == 6);  // all 4 of the reserve are kept: 3 and one more
  CHECK(said(enter(controller, request(4), start + 5min)) == "waits");
  std::size_t granted = 0;
  while (said(controller.next(start + 5min)) == "granted") ++granted;
  CHECK(granted == 3);  // that was long ago: all but one
}

TEST_CASE("a reserve is at least one worker and follows the number of workers") {
  const Shares shares(with_shares({0.01, 0, 0.25, 0, 0}).reserve);
  CHECK(shares.reserve(1, 10) == 1);
  CHECK(shares.reserve(2, 10) == 0);
  CHECK(shares.reserve(3, 10) == 2);
  CHECK(shares.reserve(3, 40) == 10);
  CHECK(shares.reserves() == 2);
}

// The law, plainly: everything that happened is kept and looked through.
class Law {
 public:
  explicit Law(const conf::AdmissionSettings& settings) : settings_(settings) {}

  void note_wanted(int priority, std::size_t wanted, Time now) {
    // Turns of a minute that follow each other, or begin anew after a pause.
    auto& [began, peaks] = turns_[priority];
    if (now - began >= 2min)
      began = now, peaks = {0, 0};
    else if (now - began >= 1min)
      began += 1min, peaks = {0, peaks.first};
    peaks.first = std::max(peaks.first, wanted);
  }
  // What quick ones have borrowed, beyond what is held for them.
  std::size_t back_soon_for(int priority, const std::map<int, std::size_t>& active,
                            std::map<int, bool> quick, Time now) const {
    std::size_t soon = 0;
    for (int other = 1; other <= 5; ++other) {
      const std::size_t held = held_for(other, now);
      const std::size_t has = active.at(other);
      if (other != priority && quick[other] && has > held) soon += has - held;
    }
    return soon;
  }
  std::size_t held_for(int priority, Time now) const {
    std::size_t peak = 0;
    if (const auto turns = turns_.find(priority); turns != turns_.end()) {
      const auto& [began, peaks] = turns->second;
      if (now - began < 1min)
        peak = std::max(peaks.first, peaks.second);
      else if (now - began < 2min)
        peak = peaks.first;
    }
    return std::min(reserve(priority), 1 + peak);
  }
  std::size_t kept_against(int priority, const std::map<int, std::size_t>& active, Time now) const {
    std::size_t kept = 0;
    for (int other = 1; other <= 5; ++other) {
      if (other == priority) continue;
      const std::size_t held = held_for(other, now);
      const std::size_t has = active.at(other);
      kept += held > has ? held - has : 0;
    }
    return kept;
  }
  std::size_t reserve(int priority) const {
    const double share = settings_.reserve.shares[static_cast<std::size_t>(priority - 1)];
    if (share <= 0) return 0;
    return std::max<std::size_t>(1, static_cast<std::size_t>(share * settings_.workers + 1e-9));
  }

 private:
  const conf::AdmissionSettings& settings_;
  std::map<int, std::pair<Time, std::pair<std::size_t, std::size_t>>> turns_;
};

TEST_CASE("random traffic: workers are taken, lent and given back as the law says") {
  std::size_t owed_turns = 0, idle_for_owner = 0, borrowed = 0;
  for (std::uint64_t round = 0; round < 60; ++round) {
    INFO(replay(run().seed + round));
    Random random(run().seed + round);
    conf::AdmissionSettings settings = small_settings();
    settings.workers = static_cast<std::uint32_t>(random.between(5, 30));
    settings.queue_size = 30;
    settings.request_timeout = settings.queue_timeout = 24h;
    for (double& share : settings.reserve.shares)
      share = random.chance(50) ? 0 : 0.04 * static_cast<double>(random.below(5));
    Controller controller(settings);
    Law law(settings);
    struct Work {
      Seat seat;
      Time end;
    };
    std::vector<Work> works;
    std::map<int, std::size_t> active{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}};
    std::map<int, bool> is_quick;  // all requests of a priority are, or none
    for (int priority = 1; priority <= 5; ++priority) is_quick[priority] = random.chance(60);
    std::map<int, bool> is_known;
    Time now = start;
    const auto begin = [&](const Seat& seat) {
      ++active[seat.priority];
      works.push_back({seat, now + std::chrono::milliseconds(
                                       is_quick[seat.priority] ? random.between(1, 100) : 1500)});
    };
    const auto free = [&] { return settings.workers - works.size(); };
    // As of the last look: a snapshot is for people, and dear.
    decltype(Snapshot::waiting_by_priority) waiters{};
    const auto look = [&] { waiters = controller.snapshot(now).waiting_by_priority; };
    const auto waiting = [&](int priority) {
      return waiters[static_cast<std::size_t>(priority - 1)];
    };
    const auto is_owed = [&](int priority) { return active[priority] < law.reserve(priority); };
    const auto may_borrow = [&](int priority) {
      const bool borrows_freely = is_quick[priority] && is_known[priority];
      bool has_reserves = false;
      for (const double share : settings.reserve.shares) has_reserves |= share > 0;
      std::map<int, bool> quick;
      for (int other = 1; other <= 5; ++other) quick[other] = is_quick[other] && is_known[other];
      return borrows_freely || !has_reserves ||
             free() + law.back_soon_for(priority, active, quick, now) >
                 std::min<std::size_t>(law.kept_against(priority, active, now),
                                       settings.workers - 1);
    };
    const auto listen = [&] {
      for (;;) {
        int expected = 0;
        if (free() > 0) {
          look();
          for (int priority = 5; priority >= 1; --priority)
            if (waiting(priority) > 0 && may_borrow(priority)) expected = priority;
          for (int priority = 5; priority >= 1; --priority)
            if (waiting(priority) > 0 && is_owed(priority)) expected = priority;
        }
        const auto notice = controller.next(now);
        if (!notice) {
          REQUIRE(expected == 0);
          if (free() > 0 && controller.has_waiters()) ++idle_for_owner;
          return;
        }
        const auto* granted = std::get_if<Granted>(&notice->news);
        if (granted == nullptr) continue;  // displaced
        REQUIRE(granted->seat.priority == expected);
        is_owed(expected) ? ++owed_turns : ++borrowed;
        begin(granted->seat);
      }
    };
    for (int event = 0; event < 1500; ++event) {
      now += std::chrono::milliseconds(random.below(30));
      if (random.below(300) == 0) now += 90s;
      for (std::size_t i = 0; i < works.size();) {
        if (works[i].end > now) {
          ++i;
          continue;
        }
        const Seat seat = works[i].seat;
        works[i] = works.back();
        works.pop_back();
        --active[seat.priority];
        is_known[seat.priority] = true;
        // It took as long as its kind does, however late we look.
        controller.finish(Outcome::processed(),
                          {now - (is_quick[seat.priority] ? 50ms : 1500ms), seat.priority}, now);
        listen();
      }
      const int priority = static_cast<int>(random.between(1, 5));
      look();
      const std::size_t before = waiting(priority);
      const bool goes_in = before == 0 && free() > 0 && [&] {
        // As if it waited: nobody owed before it, nobody better that may borrow.
        for (int other = 1; other <= 5; ++other) {
          const bool waits = other == priority || waiting(other) > 0;
          if (waits && is_owed(other)) return other == priority;
        }
        for (int other = 1; other <= 5; ++other) {
          const bool waits = other == priority || waiting(other) > 0;
          if (waits && may_borrow(other)) return other == priority;
        }
        return false;
      }();
      const Verdict verdict = enter(controller, request(priority, now), now);
      REQUIRE(std::holds_alternative<Admitted>(verdict) == goes_in);
      bool has_reserves = false;
      for (const double share : settings.reserve.shares) has_reserves |= share > 0;
      if (has_reserves && !std::holds_alternative<Rejection>(verdict))
        law.note_wanted(priority, active[priority] + before + 1, now);
      if (const auto* admitted = std::get_if<Admitted>(&verdict)) begin(admitted->seat);
      listen();
      REQUIRE(works.size() <= settings.workers);
      REQUIRE(controller.snapshot(now).active_workers == works.size());
    }
  }
  // A simulation in which none of this happens would prove nothing.
  CHECK(owed_turns > 1000);
  CHECK(borrowed > 1000);
  CHECK(idle_for_owner > 100);
}

}  // namespace
}  // namespace classgate::admission
