#include "gateway/planning/knee_traffic.h"

#include <algorithm>

#include "admission/simulation/draw.h"

namespace classgate::planning {

using admission::Time;
using simulation::Ending;
using simulation::Wish;

bool KneeTraffic::next(Wish& wish) {
  if (begun_ == step_.at_once || is_over_) return false;
  wish = make(Time{} + step_.begin_over * begun_++ / step_.at_once);
  return true;
}

bool KneeTraffic::after(const Wish& wish, const Ending& ending, Time now, Wish& follow) {
  // Errors come back at once: who gets one asks again after as long as an answer takes.
  constexpr Duration pause_least = std::chrono::milliseconds(10);
  const bool is_served = ending.status / 100 == 2;
  --open_;
  all_[wish.client].is_open = false;
  if (is_served) {
    note(wish.client, now);
    latency_ = now.time_since_epoch() - all_[wish.client].at;
    ++served_;
  } else {
    ++failed_;
  }
  if (is_over(now)) return false;
  follow = make(is_served ? now : now + std::max(step_.begin_over, pause_least));
  return true;
}

bool KneeTraffic::is_over(Time now) {
  if (!is_over_ && step_.is_over({.elapsed = now.time_since_epoch(),
                                  .served = served_,
                                  .failed = failed_,
                                  .latency = latency_})) {
    is_over_ = true;
    lasted_ = now.time_since_epoch();
  }
  return is_over_;
}

KneeMeasure KneeTraffic::measure(Time now) && {
  measure_.lasted = is_over_ ? lasted_ : now.time_since_epoch();
  measure_.took = now.time_since_epoch();
  for (std::uint32_t i = 0; i < all_.size(); ++i)
    if (all_[i].is_open && all_[i].at <= now.time_since_epoch()) {
      note(i, now);
      ++measure_.unanswered;
    }
  if (measure_.unanswered > 0) measure_.answers.faults[Answers::too_late] = measure_.unanswered;
  return std::move(measure_);
}

Wish KneeTraffic::make(Time at) {
  Wish wish;
  wish.at = at;
  wish.priority = 3;
  if (service_ != nullptr) wish.service = simulation::draw(*service_, random_);
  wish.client = static_cast<std::uint32_t>(all_.size());
  all_.push_back({at.time_since_epoch(), measure_.samples.size(), true});
  ++open_;
  return wish;
}

void KneeTraffic::note(std::uint32_t number, Time now) {
  measure_.samples.push_back(
      {all_[number].at, now.time_since_epoch(), all_[number].answered_before});
}

}  // namespace classgate::planning
