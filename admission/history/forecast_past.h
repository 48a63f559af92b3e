#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "conf/time_zone.h"

namespace classgate::history {

// A step of a series, counted from January 1970: slot = seconds since then / step.
using Slot = std::int64_t;

// What a series was, step by step, for as long as seasons ask. A step that nobody measured is NaN.
// Seasons go by the clock of a place: "yesterday at nine" is nine o'clock there, also where the
// clock was changed in between. One thread.
class Past {
 public:
  static constexpr std::chrono::seconds day{86'400};

  // `step` from 1 s to a day; memory is 4 bytes for each step of `kept`.
  Past(std::chrono::seconds step, std::chrono::seconds kept,
       std::shared_ptr<const conf::TimeZone> zone);

  // Slots follow one another; those left out are missing. A gap longer than what is kept empties
  // it.
  void add(Slot slot, double value);

  bool is_empty() const { return first_ == last_ + 1; }
  Slot first() const { return first_; }  // that was ever added, or since the last long gap
  Slot last() const { return last_; }
  std::chrono::seconds step() const { return step_; }
  // Steps in `time`, one at least.
  Slot steps_in(std::chrono::seconds time) const;

  std::size_t bytes() const { return values_.capacity() * sizeof(float); }

  // NaN: missing, too old, or not yet.
  double at(Slot slot) const;
  // Of the known ones among the `count` slots that end with `slot`; NaN: none is known.
  double mean(Slot slot, Slot count) const;
  // Of single values `apart` from each other, in the `time` that ends with `slot`; NaN: none known.
  double quantile(Slot slot, std::chrono::seconds time, std::chrono::seconds apart,
                  double share) const;
  // How much values an hour apart differ, in the mean, in the `time` that ends with `slot`.
  double hourly_change(Slot slot, std::chrono::seconds time) const;
  // The last that is known, at `slot` or before; NaN: none is.
  double last_known(Slot slot) const;
  // The same time on the clock so many days before.
  Slot days_before(Slot slot, int days) const;
  // Seconds on the clock there since some Monday, 0:00.
  std::chrono::seconds time_of_week(Slot slot) const;

 private:
  std::chrono::sys_seconds time_of(Slot slot) const {
    return std::chrono::sys_seconds(step_ * slot);
  }
  std::size_t place_of(Slot slot) const { return static_cast<std::size_t>(slot) % values_.size(); }

  // Several horizons and voices ask for the same quantiles and means of one moment.
  struct Question {
    Slot slot = -1;
    std::chrono::seconds time{};
    std::chrono::seconds apart{};  // zero: the mean is asked for
    double share = 0;
    bool operator==(const Question&) const = default;
  };
  struct Asked {
    Question question;
    double told = 0;
  };
  template <typename Make>
  double asked(const Question& question, Make make) const {
    for (const Asked& one : asked_)
      if (one.question == question) return one.told;
    const double told = make();
    asked_[next_asked_] = {question, told};
    next_asked_ = (next_asked_ + 1) % asked_.size();
    return told;
  }
  double new_mean(Slot slot, Slot count) const;
  double new_quantile(Slot slot, std::chrono::seconds time, std::chrono::seconds apart,
                      double share) const;

  std::chrono::seconds step_;
  std::shared_ptr<const conf::TimeZone> zone_;
  std::vector<float> values_;  // a ring, by slot
  Slot first_ = 0;
  Slot last_ = -1;
  mutable std::array<Asked, 16> asked_{};  // since the last add()
  mutable std::size_t next_asked_ = 0;
};

}  // namespace classgate::history
