#pragma once

#include <optional>

#include "admission/process_times.h"
#include "admission/verdict.h"
#include "admission/wait_queue.h"
#include "conf/settings.h"

namespace classgate::admission {

// Whether a request whose answer is wanted by a certain time should go in at all: not when that
// time is over, nor (deadlines.refuse_early) when it will be before such an answer is there. How
// long one takes is what most of its route's took lately, so the rule keeps that, too
// (ProcessTimes). Owned by the Controller. Not thread-safe.
class DeadlineRule {
 public:
  explicit DeadlineRule(const conf::AdmissionSettings& settings) { reconfigure(settings); }
  void reconfigure(const conf::AdmissionSettings& settings) {
    refuses_early_ = settings.deadlines.refuse_early;
    only_observes_ = settings.observe.deadlines;
  }

  // On a head that has a deadline and would wait for so long.
  struct Judgement {
    std::optional<Rejection> rejection = std::nullopt;  // without the place in the line
    bool is_a_try = false;     // let through to learn how long its route takes by now
    bool is_observed = false;  // was not refused for it: [observe]
  };
  Judgement judge(const Arrival& arrival, Duration wait, Time now) const;

  // On one whose turn it is.
  struct Lateness {
    std::optional<conf::Reason> reason;  // not to serve it
    bool is_observed = false;
  };
  Lateness lateness(const Waiter& waiter, Time now) const {
    if (waiter.useful_until <= now) return {conf::Reason::deadline};
    if (waiter.waits_until <= now) return {conf::Reason::queue_timeout};
    if (waiter.useful_until == Time::max() || !refuses_early_) return {};
    return lateness_by_estimate(waiter, now);
  }

  // What such requests take; zero: none has ended. By the mean, and what most of them keep to.
  Duration usual_work(RouteId route) const { return times_.mean(route); }
  Duration most_work(RouteId route) const { return times_.most(route); }
  void note_work(RouteId route, Duration took, Time now) { times_.record(route, took, now); }
  void note_try(RouteId route, Time now) { times_.note_try(route, now); }

 private:
  Lateness lateness_by_estimate(const Waiter& waiter, Time now) const;

  ProcessTimes times_;
  bool refuses_early_ = false;
  bool only_observes_ = false;
};

}  // namespace classgate::admission
