#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "admission/time.h"
#include "gateway/planning/answers.h"

namespace classgate::planning {

using admission::Duration;

// One step of the search: so many requests in the service at every moment.
struct KneeStep {
  std::uint32_t at_once = 1;
  Duration least{};  // it lasts so long, and until `answers` were served, ...
  Duration most{};   // ... but not longer, once `answers_least` were, ...
  Duration limit{};  // ... and this in no case
  std::uint64_t answers = 0;
  std::uint64_t answers_least = 0;
  Duration begin_over{};  // they begin over this time, or all would end at once ever after
  Duration patience{};    // how long the last answers are waited for
  bool is_probe = false;  // only whether it is as quick as at first: its backlog has gone

  struct Course {
    Duration elapsed{};
    std::uint64_t served = 0;
    std::uint64_t failed = 0;
    Duration latency{};  // of the latest that was served
  };
  bool is_over(const Course& course) const;
};

// What came of it.
struct KneeMeasure {
  // Of those that were served, in the order of their ends.
  struct Sample {
    Duration began;
    Duration ended;
    std::uint64_t answered_before;  // when it began
    Duration latency() const { return ended - began; }
  };
  std::vector<Sample> samples;
  Duration lasted{};             // until nothing new was asked
  Duration took{};               // until the last answer, or until nobody waited any longer
  std::uint64_t unanswered = 0;  // the service may compute on for these
  Answers answers;
  double busy = 0;  // the share of a processor that asking took
};

// What a service can do, as measured.
struct Knee {
  struct Step {
    std::uint32_t at_once;
    double per_second;
    Duration median;
    Answers answers;
  };
  std::vector<Step> steps;    // how it was looked for
  double capacity = 0;        // requests in it beyond which it does no more a second; 0: not told
  double capacity_least = 0;  // with 95 % confidence
  double capacity_most = 0;
  double per_second_most = 0;  // requests a second that it does at most
  Duration service_mean{};     // of one request when it is not crowded
  Duration service_p95{};
  std::string method;            // how the capacity was told from the measurements
  double loss_when_crowded = 0;  // share of per_second_most that is lost with more in it
  Answers answers;               // of all steps
  std::string why_unknown;       // not empty: there is no capacity that could be believed
};

// Looks for the capacity of a service by keeping more and more requests in it; decides, and neither
// asks nor waits: steps out, measurements in. The capacity is the least number of requests in the
// service with which it does as many a second as it ever does.
//   1. More and more (twice, or four times as many), until that brings no more answers a second.
//      What does not tell yet is measured for longer, not with more.
//   2. In turns, so that a machine that is busy for a while spoils a turn and not the answer: calm,
//      with half of what it can take, and full, with half more than that. By Little's law capacity
//      = rate when full * time when calm. For n answers its error is cv * sqrt(2 / n); where that
//      is too much, and the service takes requests in turn, there is another way: a request begins
//      when c - capacity others, counted from its arrival, have been answered. The capacity is the
//      one for which the times from then on are distributed as when calm.
//   3. A look at a little less and a little more: what slows down when it is crowded does most at a
//      number that it has not been asked with yet.
// Between two steps the service is let to finish: what it still computes for nobody would be taken
// for its capacity. Without confidence it says so.
class KneeSearch {
 public:
  // `time`: how long it may take; half as much again where a service is slow to finish.
  KneeSearch(Duration time, std::uint32_t at_once_max);

  // None: it has ended.
  std::optional<KneeStep> next();
  void add(KneeMeasure measure);  // of the step before
  double progress() const;        // 0 to 1
  // When it has ended, or is ended before, with what is known.
  Knee knee() const;

 private:
  enum class Phase : std::uint8_t { first, widen, turns, less, more, narrow_down, narrow_up, done };
  struct Rated {  // one or more measurements with as many at once
    std::uint32_t at_once = 0;
    double rate = 0;
    double mean = 0;  // seconds
    double median = 0;
    double spread = 0;  // deviation / mean
    std::uint64_t count = 0;
    double served_share = 0;
  };

  Rated rate(const KneeMeasure& measure, std::uint32_t at_once) const;
  KneeStep step(std::uint32_t at_once, std::uint64_t answers) const;
  bool is_refused_by_a_limit(const KneeMeasure& measure);
  void after_first(const Rated& rated);
  void after_widening(const Rated& rated);
  void widen_or_stop(const Rated& rated);
  void bracket();
  void set_bracket(double guess);
  void after_turn(const KneeMeasure& measure, const Rated& rated);
  void judge_turns();
  void after_less(const Rated& rated);
  void after_more(const Rated& rated);
  void after_narrowing(const Rated& rated, bool is_up);
  void verify();
  void look_at_more();
  void end_with(std::string why);
  void end_for_time();
  void finish();
  double error_of(std::uint64_t a, std::uint64_t b) const;
  KneeStep turn(std::uint32_t at_once) const;
  Duration left_at_all() const { return time_ * 29 / 20 - spent_; }
  Duration left() const { return time_ - spent_; }

  Duration time_;
  std::uint32_t at_once_max_;
  Phase phase_ = Phase::first;
  KneeStep step_;
  Duration spent_{};
  Knee knee_;

  bool is_draining_ = false;
  Duration drained_{};
  double first_median_ = 0;
  double latency_ = 0;  // seconds, of the step before

  std::vector<Rated> widened_;
  int without_growth_ = 0;
  bool is_repeated_ = false;
  double spread_ = 0;  // of a service that is not crowded

  struct Turns {  // those with as many in it
    std::uint32_t at_once = 0;
    std::vector<KneeMeasure> measures;
    std::vector<Rated> rated;
  };
  Turns calm_;
  Turns full_;
  int brackets_ = 0;
  std::size_t turns_ = 0;   // of each, at most
  std::uint64_t lost_ = 0;  // that still may be in it after those, and take a place
  double rate_full_ = 0;
  double mean_calm_ = 0;

  std::uint32_t narrow_least_ = 0;  // when looking between two numbers
  std::uint32_t narrow_most_ = 0;
};

}  // namespace classgate::planning
