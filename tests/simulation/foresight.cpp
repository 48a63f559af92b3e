#include "tests/simulation/foresight.h"

#include <functional>
#include <queue>

namespace classgate::simulation::test {
namespace {

using Ends = std::priority_queue<Time, std::vector<Time>, std::greater<>>;

// A law, as the ascending list of what was drawn from it.
class Draws {
 public:
  explicit Draws(const conf::Law& law) {
    Random random(11, 3);
    for (Duration& time : times_) time = draw(law, random);
    std::ranges::sort(times_);
  }
  // What one takes in all that has taken so long.
  Duration longer_than(Duration age, Random& random) const {
    const auto first = std::ranges::upper_bound(times_, age);
    const auto left = static_cast<double>(times_.end() - first);
    if (left == 0) return age;
    return first[static_cast<std::ptrdiff_t>(random.unit() * left)];
  }

 private:
  std::vector<Duration> times_ = std::vector<Duration>(20'000);
};

// What was known as one came: since when requests are in the service, and how many wait. Those that
// turn out to wait in vain are not among them, which helps the rule.
struct Known {
  std::vector<Duration> ages;
  std::size_t waiting = 0;
};

Known known_at(const std::vector<Fate>& fates, std::size_t which) {
  Known known;
  const Time now = fates[which].came;
  for (std::size_t i = which; i-- > 0;) {
    const Fate& other = fates[i];
    if (!other.is_served() || other.ended <= now) continue;
    const Time turn = other.ended - other.service;
    if (turn <= now)
      known.ages.push_back(now - turn);
    else
      ++known.waiting;
  }
  return known;
}

double chance_of(const Known& known, const Service& service, const Draws& draws, Duration deadline,
                 std::size_t paths, Random& random) {
  std::size_t made_it = 0;
  for (std::size_t path = 0; path < paths; ++path) {
    std::vector<Time> ends;
    for (const Duration age : known.ages)
      ends.push_back(Time{} + draws.longer_than(age, random) - age);
    while (ends.size() < service.workers) ends.push_back(Time{});
    Ends workers(std::greater<>(), std::move(ends));
    for (std::size_t i = 0; i < known.waiting; ++i) {
      const Time turn = workers.top();
      workers.pop();
      workers.push(turn + draws.longer_than(Duration(-1), random));
    }
    made_it += workers.top() + draws.longer_than(Duration(-1), random) <= Time{} + deadline;
  }
  return share(made_it, paths);
}

}  // namespace

double served_by_an_oracle(const std::vector<Fate>& fates, const Service& service) {
  Ends workers(std::greater<>(), std::vector<Time>(service.workers));
  std::size_t served = 0;
  for (const Fate& fate : fates) {
    const Time end = std::max(workers.top(), fate.came) + fate.service;
    if (end > fate.came + fate.deadline) continue;
    workers.pop();
    workers.push(end);
    ++served;
  }
  return share(served, fates.size());
}

WithoutForesight::WithoutForesight(const std::vector<Fate>& fates, const Service& service,
                                   Time from, std::size_t sample, std::size_t paths) {
  const Draws draws(service.law);
  Random random(5, 4);
  const auto first = static_cast<std::size_t>(
      std::ranges::lower_bound(fates, from, {}, &Fate::came) - fates.begin());
  const std::size_t step = std::max<std::size_t>((fates.size() - first) / sample, 1);
  for (std::size_t i = first; i < fates.size(); i += step)
    chances_.push_back(
        chance_of(known_at(fates, i), service, draws, fates[i].deadline, paths, random));
  std::ranges::sort(chances_);
}

double WithoutForesight::least_wrong(double in_vain) const {
  double let_in = 0;
  for (const double chance : chances_) let_in += 1 - chance;
  double wrong = 0;
  double refused = 0;
  for (const double chance : chances_) {
    if (let_in <= in_vain * (refused + let_in)) break;
    wrong += chance;
    let_in -= 1 - chance;
    ++refused;
  }
  return refused == 0 ? 0 : wrong / (refused + let_in);
}

}  // namespace classgate::simulation::test
