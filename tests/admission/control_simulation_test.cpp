// Random traffic in virtual time with deadlines, the adaptive discipline, reserved workers and
// automatic limits, in every mixture. After every event:
//   permits out <= the limit (when it has fallen: never more than before); waiters <= queue_size;
//   every arrival gets exactly one ending; the books balance and agree with ours;
//   nobody goes in after its deadline, or is told of a deadline that has not passed;
//   nobody is shed before it has waited for target_wait, or without the adaptive discipline.
// Clocks jump, deadlines are absurd, limits change. The law of the reserves: shares_test.cpp.

#include <algorithm>
#include <vector>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using conf::Reason;

conf::AdmissionSettings random_control_settings(Random& random) {
  conf::AdmissionSettings settings;
  settings.workers = static_cast<std::uint32_t>(random.between(5, 60));
  settings.queue_size = static_cast<std::uint32_t>(random.below(200));
  settings.rate = random.chance(70) ? 0 : 500;
  settings.discipline = random.chance(60) ? conf::Discipline::adaptive : conf::Discipline::fifo;
  settings.target_wait = std::chrono::milliseconds(random.between(1, 200));
  settings.deadlines.refuse_early = random.chance(70);
  settings.workers_are_auto = random.chance(50);
  settings.rate_is_auto = random.chance(30);
  if (settings.rate_is_auto) settings.rate = 2'000;
  settings.autos.workers_min = 5;
  for (double& share : settings.reserve.shares)
    share = random.chance(50) ? 0 : 0.05 * static_cast<double>(random.below(4));
  settings.reserve.lend_time = std::chrono::milliseconds(random.between(10, 1'000));
  settings.observe.deadlines = random.chance(10);
  settings.observe.shedding = random.chance(10);
  settings.observe.rate = random.chance(10);
  settings.queue_timeout = std::chrono::milliseconds(random.between(50, 5'000));
  return settings;
}

class Mixture {
 public:
  explicit Mixture(std::uint64_t seed)
      : random_(seed), settings_(random_control_settings(random_)), controller_(settings_) {}

  void run(int events) {
    most_ = controller_.limit();
    for (int i = 0; i < events; ++i) {
      pass_time();
      if (random_.chance(60))
        arrive();
      else if (random_.below(500) == 0)
        controller_.reconfigure(settings_ = random_control_settings(random_), now_);
      else if (random_.below(200) == 0)
        controller_.set_ceiling(
            random_.chance(50) ? Ceilings::Source::upstream : Ceilings::Source::handover,
            random_.chance(40) ? Ceilings::none : static_cast<std::uint32_t>(random_.below(40)));
      else if (random_.chance(80))
        finish();
      else
        leave();
      listen();
      check();
    }
    while (!seats_.empty() || controller_.has_waiters()) {
      pass_time();
      seats_.empty() ? leave() : finish();
      listen();
      check();
    }
    REQUIRE(std::ranges::none_of(requests_, [](const Request& each) { return !each.has_ended; }));
  }
  const ReasonCounts& rejected() const { return rejected_; }

 private:
  struct Request {
    Time joined;
    Time deadline;
    bool has_ended = false;
  };
  struct Waiting {
    Ticket ticket;
    std::uint32_t request;
  };
  struct Work {
    Seat seat;
    std::uint32_t request;
  };

  void pass_time() {
    now_ += std::chrono::microseconds(random_.below(3'000));
    if (random_.below(2'000) == 0) now_ += std::chrono::seconds(random_.below(200));
    if (random_.below(200) == 0) now_ -= std::chrono::milliseconds(random_.below(20));
  }

  Time random_deadline() {
    if (random_.chance(40)) return Time::max();
    if (random_.chance(3)) return Time::min();
    if (random_.chance(3)) return Time::max() - 1ns;
    return now_ + std::chrono::milliseconds(random_.below(800)) - 5ms;
  }

  void arrive() {
    const auto number = static_cast<std::uint32_t>(requests_.size());
    Arrival arrival = request(static_cast<int>(random_.between(1, 5)), now_);
    arrival.deadline = random_deadline();
    arrival.route.slot = static_cast<std::uint32_t>(random_.below(8));
    arrival.tag = number;
    requests_.push_back({now_, arrival.deadline});
    if (const auto rejection = controller_.screen(arrival, now_)) return end(number, *rejection);
    const Verdict verdict = controller_.arrive(arrival, now_);
    if (const auto* rejection = std::get_if<Rejection>(&verdict)) return end(number, *rejection);
    if (const auto* admitted = std::get_if<Admitted>(&verdict))
      return begin(number, admitted->seat);
    waiting_.push_back({std::get<Ticket>(verdict), number});
  }

  void begin(std::uint32_t number, const Seat& seat) {
    REQUIRE(requests_[number].deadline > now_);
    seats_.push_back({seat, number});
  }

  void end(std::uint32_t number, const Rejection& rejection) {
    const Request& request = requests_[number];
    if (rejection.reason == Reason::deadline) REQUIRE(request.deadline <= now_);
    if (rejection.reason == Reason::would_miss_deadline) {
      REQUIRE(request.deadline < Time::max());
      REQUIRE(settings_.deadlines.refuse_early);
      REQUIRE_FALSE(settings_.observe.deadlines);
    }
    if (rejection.reason == Reason::shed) {
      REQUIRE(now_ - request.joined >= settings_.target_wait);
      REQUIRE(settings_.discipline == conf::Discipline::adaptive);
      REQUIRE_FALSE(settings_.observe.shedding);
    }
    if (rejection.reason == Reason::rate_limited) REQUIRE_FALSE(settings_.observe.rate);
    ++rejected_[conf::index_of(rejection.reason)];
    end(number);
  }
  void end(std::uint32_t number) {
    REQUIRE_FALSE(requests_[number].has_ended);
    requests_[number].has_ended = true;
  }

  void finish() {
    if (seats_.empty()) return;
    const std::size_t chosen = random_.below(seats_.size());
    std::swap(seats_[chosen], seats_.back());
    const Work work = seats_.back();
    seats_.pop_back();
    const Outcome outcome =
        random_.chance(90) ? Outcome::processed() : Outcome::failed(Reason::upstream_timeout);
    controller_.finish(outcome, work.seat, now_);
    end(work.request);
    ++ended_;
  }

  void leave() {
    if (waiting_.empty()) return;
    const Waiting left = waiting_[random_.below(waiting_.size())];
    if (!controller_.leave(left.ticket, Departure::abandoned, now_)) return;
    forget(left.request);
    end(left.request);
    ++abandoned_;
  }

  void listen() {
    while (const auto notice = controller_.next(now_)) {
      forget(notice->tag);
      if (const auto* granted = std::get_if<Granted>(&notice->news))
        begin(notice->tag, granted->seat);
      else
        end(notice->tag, std::get<Rejection>(notice->news));
    }
  }
  void forget(std::uint32_t number) {
    const auto found = std::ranges::find(waiting_, number, &Waiting::request);
    REQUIRE(found != waiting_.end());
    waiting_.erase(found);
  }

  void check() {
    const Snapshot books = controller_.snapshot(now_);
    most_ = std::max<std::size_t>(books.workers, std::min(most_, seats_.size()));
    REQUIRE(seats_.size() <= most_);
    places_ = std::max<std::size_t>(settings_.queue_size, std::min(places_, waiting_.size()));
    REQUIRE(waiting_.size() <= places_);
    REQUIRE(books.total == requests_.size());
    REQUIRE(books.total == in_the_books(books));
    REQUIRE(books.rejected == rejected_);
    REQUIRE(books.abandoned == abandoned_);
    REQUIRE(books.processed + sum(books.failed) == ended_);
    REQUIRE(books.active_workers == seats_.size());
    REQUIRE(books.waiting == waiting_.size());
    bool has_reserves = false;
    for (const double share : settings_.reserve.shares) has_reserves |= share > 0;
    if (!has_reserves) REQUIRE((waiting_.empty() || seats_.size() >= books.workers));
  }

  Random random_;
  conf::AdmissionSettings settings_;
  Controller controller_;
  Time now_ = start;
  std::vector<Request> requests_;
  std::vector<Waiting> waiting_;
  std::vector<Work> seats_;
  std::size_t most_ = 0;
  std::size_t places_ = 0;
  ReasonCounts rejected_{};
  std::uint64_t ended_ = 0;
  std::uint64_t abandoned_ = 0;
};

TEST_CASE("random traffic with every control in every mixture breaks no invariant") {
  constexpr int events_in_a_round = 3'000;
  const auto rounds = std::max<std::uint64_t>(run().events / 30'000, 5);
  ReasonCounts rejected{};
  for (std::uint64_t round = 0; round < rounds; ++round) {
    INFO(replay(run().seed + round));
    Mixture mixture(run().seed + round);
    mixture.run(events_in_a_round);
    for (std::size_t i = 0; i < rejected.size(); ++i) rejected[i] += mixture.rejected()[i];
  }
  for (const Reason reason : {Reason::deadline, Reason::would_miss_deadline, Reason::shed,
                              Reason::queue_timeout, Reason::queue_full}) {
    CAPTURE(conf::word_of(reason));
    if (rounds >= 50) CHECK(rejected[conf::index_of(reason)] >= rounds);
  }
}

}  // namespace
}  // namespace classgate::admission
