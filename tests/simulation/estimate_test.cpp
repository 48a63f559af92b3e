// What a request with a deadline is told as it comes, against what would have become of it:
// services of four kinds at twice what they can do. Where somebody is refused, its place is that of
// the next one that is let in to wait behind it: the line is first come first served, so that the
// turn of that one would have been its turn. Every figure follows from the seed; CLASSGATE_SHOW=1
// prints them all.
//
// Who is refused wrongly is who would have made it. Where all have the same deadline and times
// vary, the line stands just where the rule draws its line: of two that come one after the other
// the first is let in and the second refused, and both have nearly the same chance. Let in those of
// whom 95 % make it, and nearly all that are refused would have made it: no rule escapes that which
// does not know what chance will bring (foresight.h; the last test here shows it). That says
// nothing about the estimate, so there it is asked of deadlines of all lengths; those near the edge
// are refused or let in by a chance there too, which is why less than a certain share can't be had.

#include <iostream>

#include "tests/simulation/estimate_kit.h"
#include "tests/simulation/foresight.h"

namespace classgate::simulation::test {
namespace {

// Those who come at random at a steady rate; each hears by when it wants its answer, of the lengths
// in turn.
class Hurried final : public Traffic {
 public:
  Hurried(const Service& service, double load, Duration length, std::vector<Duration> deadlines,
          const admission::Ids& ids)
      : service_(service),
        rate_(load * service.per_second),
        end_(Time{} + length),
        deadlines_(std::move(deadlines)) {
    for (std::size_t i = 0; i < deadlines_.size(); ++i)
      routes_.push_back(ids.route("/" + std::to_string(i)));
  }
  bool next(Wish& wish) override {
    at_ += Duration(static_cast<Duration::rep>(-std::log(random_.unit()) / rate_ * 1e9));
    if (at_ >= end_) return false;
    const auto kind =
        static_cast<std::size_t>(random_.unit() * static_cast<double>(routes_.size()));
    wish = {};
    wish.at = at_;
    wish.number = static_cast<std::uint32_t>(all.size());
    wish.service = draw(service_.law, random_);
    wish.route = routes_[std::min(kind, routes_.size() - 1)];
    wish.priority = 3;
    all.push_back({at_, {}, {}, wish.service, deadlines_[std::min(kind, routes_.size() - 1)]});
    return true;
  }
  bool after(const Wish& wish, const Ending& ending, Time now, Wish&) override {
    all[wish.number].ended = now;
    all[wish.number].ending = ending;
    return false;
  }
  std::vector<Fate> all;

 private:
  const Service& service_;
  double rate_;
  Time at_{};
  Time end_;
  std::vector<Duration> deadlines_;
  std::vector<admission::RouteId> routes_;
  Random random_{7, 1};
};

struct Found {
  std::size_t asked = 0;
  std::size_t refused = 0;    // for their deadline
  std::size_t at_once = 0;    // of those, within 50 ms
  std::size_t wrongly = 0;    // of those, would have made it
  std::size_t far_wrong = 0;  // of those, with a quarter of its deadline to spare
  std::size_t in_time = 0;    // served before their deadline
  std::size_t too_late = 0;   // served after it
  double early() const { return share(at_once, refused); }
  double wrong() const { return share(wrongly, refused); }
  // Of those for whom it was in vain, that heard it late, or as the answer came.
  double in_vain() const { return share(refused - at_once + too_late, refused + too_late); }
};

Found look_at(const std::vector<Fate>& all, const Service& service, Time from) {
  Found found;
  Time turn = Time::max();      // of the next that waited
  Time answered = Time::max();  // likewise, of a service that answers in groups
  for (auto one = all.rbegin(); one != all.rend() && one->came >= from; ++one) {
    ++found.asked;
    found.refused += one->is_refused();
    found.at_once += one->is_refused_at_once();
    found.in_time += one->is_in_time();
    found.too_late += one->is_served() && !one->is_in_time();
    if (one->is_served()) {
      turn = one->ended - one->service;
      answered = one->ended;
    } else if (!one->is_refused_at_once()) {
      turn = one->ended;  // refused as it was its turn
      answered = one->ended + one->service;
    }
    if (!one->is_refused() || turn == Time::max()) continue;
    const Time would_end = service.batch > 0 ? answered : turn + one->service;
    found.wrongly += would_end <= one->came + one->deadline;
    found.far_wrong += would_end <= one->came + one->deadline * 3 / 4;
  }
  return found;
}

struct Run {
  std::vector<Fate> all;
  Found found;
};

Run played(const Service& service, const std::vector<Duration>& deadlines) {
  conf::Settings settings;
  settings.admission.workers = service.workers;
  settings.admission.queue_size = 100'000;
  settings.admission.rate = 0;
  settings.admission.fairness.is_on = false;
  for (std::size_t i = 0; i < deadlines.size(); ++i)
    settings.routes.push_back(
        {.path = "/" + std::to_string(i),
         .deadline = std::chrono::duration_cast<std::chrono::milliseconds>(deadlines[i])});
  conf::UpstreamModel model;
  model.service = service.law;
  model.batch = service.batch;
  Hurried traffic(service, 2, 120s, deadlines, admission::Ids(settings));
  Simulation simulation(settings, model, traffic);
  run_all(simulation);
  check_books(simulation);
  const Found found = look_at(traffic.all, service, Time{} + 10s);
  return {std::move(traffic.all), found};
}

std::vector<Duration> many_deadlines(const Service& service) {
  std::vector<Duration> lengths;
  for (int i = 1; i <= 20; ++i) lengths.push_back(one_deadline(service) * i / 10);
  return lengths;
}

void show(const Service& service, bool is_one, const Run& run) {
  if (!is_shown()) return;
  const Found& found = run.found;
  std::cerr << service.name << (is_one ? ", one deadline" : ", of all lengths") << ": early "
            << found.early() << ", would have made it " << found.wrong()
            << ", with a quarter to spare " << share(found.far_wrong, found.refused) << ", in vain "
            << found.in_vain() << ", in time " << share(found.in_time, found.asked);
  if (service.batch == 0) {
    const WithoutForesight best(run.all, service, Time{} + 10s, 400, 150);
    std::cerr << " | wrong at best, without foresight, at as many in vain "
              << best.least_wrong(found.in_vain()) << ", at 5 % " << best.least_wrong(.05)
              << " | in time of an oracle " << served_by_an_oracle(run.all, service);
  }
  std::cerr << "\n";
}

TEST_CASE("of those refused for their deadline at twice the load nearly all hear it as they come") {
  for (const Service& service : services())
    for (const bool is_one : {true, false}) {
      const Run run =
          played(service, is_one ? std::vector{one_deadline(service)} : many_deadlines(service));
      const Found& found = run.found;
      CAPTURE(service.name);
      CAPTURE(is_one);
      CHECK(found.early() >= 0.95);
      CHECK(share(found.in_time, found.asked) >= 0.47);  // what the service can do: 0.5
      CHECK(found.in_vain() <= 0.06);
      if (!is_one) CHECK(share(found.far_wrong, found.refused) <= 0.03);
      // The goal is 0.03; where times vary it is missed.
      if (service.law.kind == conf::Law::Kind::fixed)
        CHECK(found.wrong() <= 0.03);
      else if (!is_one)
        CHECK(found.wrong() <= 0.13);
      show(service, is_one, run);
    }
}

TEST_CASE("where times vary, no rule without foresight refuses few wrongly for one deadline") {
  for (const Service& service : services()) {
    if (service.law.kind == conf::Law::Kind::fixed) continue;
    const Run run = played(service, {one_deadline(service)});
    const WithoutForesight best(run.all, service, Time{} + 10s, 60, 60);
    CAPTURE(service.name);
    CHECK(best.least_wrong(0.05) > 0.5);
    CHECK(best.least_wrong(0.2) > 0.3);  // nor one that lets four times as many wait in vain
    CHECK(served_by_an_oracle(run.all, service) > 0.5);
  }
}

}  // namespace
}  // namespace classgate::simulation::test
