#include "admission/history/workers_needed.h"

#include <algorithm>
#include <cmath>

#include "conf/format.h"

namespace classgate::history {

double Work::workers_per_request() const {
  return seconds_per_request > 0 ? seconds_per_cost / seconds_per_request : 0;
}

double Offered::workers() const {
  double busy = 0;
  for (std::size_t i = 0; i < cost.size(); ++i) busy += cost[i] * work[i].seconds_per_cost;
  return busy;
}

// What is said of a load whatever the number of workers.
struct WorkersNeeded::Queue {
  explicit Queue(const Offered& of) : offered(of) {
    double requests = 0;
    double squares = 0;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      const Work& work = of.work[i];
      busy[i] = of.cost[i] * work.seconds_per_cost;
      all += busy[i];
      if (work.seconds_per_request <= 0) continue;
      // A request that takes several workers at once counts as so many requests.
      rates[i] = busy[i] / work.seconds_per_request;
      requests += rates[i];
      for (const Work::Share& share : work.spread)
        squares += rates[i] * share.share * share.seconds * share.seconds;
    }
    // E[S^2] / (2 E[S]) = E[S] (1 + cs^2) / 2: what is left of those at work, in the mean.
    rest = requests > 0 && all > 0 ? squares / (2 * all) : 0;
  }
  // w_p of the workers that are tried.
  double wait_of(std::size_t priority) const {
    double before = 0;
    for (std::size_t i = 0; i < priority; ++i) before += busy[i];
    const double better = before / workers;
    const double up_to = (before + busy[priority]) / workers;
    return rest / workers / ((1 - better) * (1 - up_to));
  }
  const Offered& offered;
  std::array<double, conf::priority_count> busy{};   // workers
  std::array<double, conf::priority_count> rates{};  // a second
  double all = 0;                                    // workers
  double rest = 0;                                   // seconds
  double workers = 0;                                // that are tried
};

// The share of a priority's requests that take longer than they may; of a target for the mean: the
// mean, by what it may be.
double WorkersNeeded::beyond(const Queue& queue, double busy_share, std::size_t priority) const {
  const double most = target_.most / 1e3;
  const double wait = queue.wait_of(priority);
  const Work& work = queue.offered.work[priority];
  const bool is_answer = target_.what == conf::Target::What::answer;
  if (target_.share <= 0) {
    const double mean = busy_share * wait + (is_answer ? work.seconds_per_request : 0);
    return mean / std::max(most, 1e-9);
  }
  const auto waits_longer = [&](double time) {
    if (time < 0) return 1.0;
    return wait > 0 ? busy_share * std::exp(-time / wait) : 0.0;
  };
  if (!is_answer) return waits_longer(most);
  double share = 0;
  for (const Work::Share& one : work.spread) share += one.share * waits_longer(most - one.seconds);
  return share;
}

bool WorkersNeeded::holds(const Queue& queue, double busy_share) const {
  const double allowed = target_.share <= 0 ? 1 : 1 - target_.share;
  constexpr double rounding = 1e-9;
  if (target_.priority > 0)
    return beyond(queue, busy_share, static_cast<std::size_t>(target_.priority - 1)) <=
           allowed + rounding;
  double sum = 0;
  double requests = 0;
  for (std::size_t i = 0; i < queue.rates.size(); ++i) {
    if (queue.rates[i] <= 0) continue;
    sum += queue.rates[i] * beyond(queue, busy_share, i);
    requests += queue.rates[i];
  }
  return requests <= 0 || sum / requests <= allowed + rounding;
}

std::expected<std::uint32_t, std::string> WorkersNeeded::of(const Offered& offered) const {
  Queue queue(offered);
  if (queue.all <= 0) return 0;
  queue.workers = workers_max * 1e3;
  if (!holds(queue, 0))
    return std::unexpected(
        fmt::format("no number of workers holds \"{}\": the work takes longer", target_.text));
  double blocked = 1;  // Erlang's first formula, worker by worker
  for (std::uint32_t workers = 1; workers <= workers_max; ++workers) {
    blocked = queue.all * blocked / (workers + queue.all * blocked);
    queue.workers = workers;
    if (queue.workers <= queue.all) continue;
    const double busy_share = blocked / (1 - queue.all / queue.workers * (1 - blocked));
    if (holds(queue, busy_share)) return workers;
  }
  return std::unexpected(fmt::format("more than {} workers would be needed", workers_max));
}

bool WorkersNeeded::holds(const Offered& offered, std::uint32_t workers) const {
  const auto needed = of(offered);
  return needed && *needed <= workers;
}

std::uint32_t ServersNeeded::decide(std::uint32_t now, std::uint32_t ahead,
                                    double workers_per_server, const Bounds& bounds) {
  const auto servers_of = [&](double workers) { return workers / workers_per_server; };
  floor_ = std::max(floor_ * (1 - bounds.fall), servers_of(std::max(now, ahead)));
  constexpr double rounding = 1e-9;
  const double wanted = std::ceil(floor_ - rounding);
  const std::uint32_t most = std::max(bounds.most, bounds.least);
  return static_cast<std::uint32_t>(
      std::clamp(wanted, static_cast<double>(bounds.least), static_cast<double>(most)));
}

}  // namespace classgate::history
