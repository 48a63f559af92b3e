#pragma once

#include <optional>

#include "admission/process_times.h"
#include "admission/verdict.h"
#include "admission/wait_queue.h"
#include "conf/settings.h"

namespace classgate::admission {

// Some requests have a deadline: after it, their answer is of no use. Such a request is refused
// when its deadline is over and, with deadlines.refuse_early, when it is likely to be over before
// the answer is there. How long the service will take is estimated: as long as most requests of the
// same route took lately (ProcessTimes, which the rule keeps). One that comes is let in when it is
// likely to make it; one that has waited is refused at its turn only when it is rather unlikely to,
// so that few who were let in hear late that it was in vain. Owned by the Line. Not thread-safe.
class DeadlineRule {
 public:
  explicit DeadlineRule(const conf::AdmissionSettings& settings) { reconfigure(settings); }
  void reconfigure(const conf::AdmissionSettings& settings) {
    refuses_early_ = settings.deadlines.refuse_early;
    only_observes_ = settings.observe.deadlines;
  }

  // Of a request that has just come, has a deadline, and would wait in the queue for so long at
  // most (LinePace::most_of()).
  struct Judgement {
    std::optional<Rejection> rejection = std::nullopt;  // without the place in the line
    bool is_a_try = false;     // let through to learn how long its route takes by now
    bool is_observed = false;  // would be refused, but for [observe]
  };
  Judgement judge(const Arrival& arrival, Duration wait, Time now) const;

  // Of a waiting request that would get a worker now.
  struct Lateness {
    std::optional<conf::Reason> reason;  // to refuse it; none: it is served
    bool is_observed = false;
  };
  Lateness lateness(const Waiter& waiter, Time now) const {
    if (waiter.useful_until <= now) return {conf::Reason::deadline};
    if (waiter.waits_until <= now) return {conf::Reason::queue_timeout};
    if (waiter.useful_until == Time::max() || !refuses_early_) return {};
    return lateness_by_estimate(waiter, now);
  }

  // How long requests of this route keep a worker: the mean, and what most of them keep to. Zero:
  // none has ended yet.
  Duration usual_work(RouteId route) const { return times_.mean(route); }
  Duration most_work(RouteId route) const { return times_.most(route); }
  void note_work(RouteId route, Duration took, Time now) { times_.record(route, took, now); }
  void note_try(RouteId route, Time now) { times_.note_try(route, now); }
  ProcessTime::Learnt learnt_work(RouteId route) const { return times_.learnt(route); }
  void resume_work(RouteId route, const ProcessTime::Learnt& learnt, Time at) {
    times_.resume(route, learnt, at);
  }

 private:
  Lateness lateness_by_estimate(const Waiter& waiter, Time now) const;

  ProcessTimes times_;
  bool refuses_early_ = false;
  bool only_observes_ = false;
};

}  // namespace classgate::admission
