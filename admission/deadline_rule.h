#pragma once

#include <algorithm>
#include <optional>

#include "admission/process_times.h"
#include "admission/verdict.h"
#include "admission/wait_queue.h"
#include "conf/settings.h"

namespace classgate::admission {

// How sure one wants to be that a request makes its deadline before it is let in. Who is let in and
// does not make it hears late that it was in vain; who is refused to be on the safe side would
// often have made it. Both cannot be had: so the caution is as small as can be while 4.5 % of those
// for whom it was in vain hear it late:
//   refused at once:      caution -= step * 0.045
//   let in, and too late: caution += step * (1 - 0.045)
// which stands still at that share (a stochastic approximation of a quantile; Robbins and Monro,
// "A stochastic approximation method", 1951). Where all have the same deadline the line ends up as
// long as it can be, whoever is let in is let in at its end, and the caution has to be large; where
// deadlines differ, few are close to the edge, and it is small, down to 0: refused is who is more
// likely to miss it than not. 1: the seven in eight of LinePace, the mean and two deviations of
// ProcessTime. It begins between the two, as what happens in vain is learnt of late. A value. Not
// thread-safe.
class Caution {
 public:
  double value() const { return value_; }
  void note_refused() { value_ = std::max(value_ - step * late_share, 0.0); }
  void note_in_vain() { value_ = std::min(value_ + step * (1 - late_share), most); }

 private:
  static constexpr double late_share = 0.045;
  static constexpr double step = 1. / 64;
  static constexpr double most = 3;
  double value_ = 0.75;
};

// Some requests have a deadline: after it, their answer is of no use. Such a request is refused
// when its deadline is over and, with deadlines.refuse_early, when it is likely to be over before
// the answer is there. How long the service will take is estimated: as long as most requests of the
// same route took lately (ProcessTimes, which the rule keeps). One that comes is let in when it is
// likely to make it; one that has waited is refused at its turn only when it is likelier to be in
// vain than not, or, with caution, when not even the mean is left, so that few who were let in
// hear late that it was in vain, and few workers are kept by what is. Owned by the Line. Not
// thread-safe.
class DeadlineRule {
 public:
  explicit DeadlineRule(const conf::AdmissionSettings& settings) { reconfigure(settings); }
  void reconfigure(const conf::AdmissionSettings& settings) {
    refuses_early_ = settings.deadlines.refuse_early;
    only_observes_ = settings.observe.deadlines;
  }

  // Of a request that has just come, has a deadline, and would wait in the queue for so long at
  // most (LinePace::most_of() with this caution()).
  struct Judgement {
    std::optional<Rejection> rejection = std::nullopt;  // without the place in the line
    bool is_a_try = false;     // let through to learn how long its route takes by now
    bool is_observed = false;  // would be refused, but for [observe]
  };
  Judgement judge(const Arrival& arrival, Duration wait, Time now) const;
  double caution() const { return caution_.value(); }
  // What came of it: one was refused as it came; one that was let in has not made it.
  void note_refused() { caution_.note_refused(); }
  void note_in_vain() { caution_.note_in_vain(); }

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

  // How long requests of this route keep a worker: the mean, and what is counted on. Zero: none has
  // ended yet.
  Duration usual_work(RouteId route) const { return times_.mean(route); }
  Duration most_work(RouteId route) const { return times_.most(route, caution()); }
  void note_work(RouteId route, Duration took, Time now) { times_.record(route, took, now); }
  void note_try(RouteId route, Time now) { times_.note_try(route, now); }
  ProcessTime::Learnt learnt_work(RouteId route) const { return times_.learnt(route); }
  void resume_work(RouteId route, const ProcessTime::Learnt& learnt, Time at) {
    times_.resume(route, learnt, at);
  }

 private:
  Lateness lateness_by_estimate(const Waiter& waiter, Time now) const;

  ProcessTimes times_;
  Caution caution_;
  bool refuses_early_ = false;
  bool only_observes_ = false;
};

}  // namespace classgate::admission
