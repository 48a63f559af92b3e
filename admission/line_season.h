#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "admission/time.h"

namespace classgate::admission {

// When the last ones went in from a line, and whether that repeats. Where each request takes as
// long as any other, a worker is free again one period after it was taken: who stands behind
// `ahead` others goes in whole periods after one of the last `workers` that went in,
//   turn = time[n - workers + ahead % workers] + (ahead / workers + 1) * period
// to the microsecond, however unevenly those came, alone or in groups. Only where the period varies
// by less than a 64th, and for as many workers as are remembered: with more, the place in the
// period says little. O(1). Not thread-safe.
class LineSeason {
 public:
  // Somebody waits where nobody did: what went in meanwhile is not known here.
  void begin() { seen_ = 0; }
  // Into one of so many workers.
  void move(std::uint32_t workers, Time now) {
    if (workers != workers_) restart(std::max(workers, 1U));
    // One in four tells enough.
    if (at_ % 4 == 0 && seen_ >= workers_ && workers_ <= most) note(since(workers_, now));
    times_[at_++ % most] = now;
    ++seen_;
  }
  bool is_regular() const { return seen_ >= workers_ && period_ > 0 && deviation_ * 64 < period_; }
  // In nanoseconds, of one that is. When the next one is overdue, it is as long again as it already
  // is, and all behind it wait for as much longer.
  double wait_behind(std::size_t ahead, Time now) const {
    const auto whole = static_cast<double>(ahead / workers_ + 1);
    const auto of_last = static_cast<std::uint32_t>(ahead % workers_);
    return std::max(whole * period_ - since(workers_ - of_last, now), 0.0) +
           std::max(since(workers_, now) - period_, 0.0);
  }

 private:
  static constexpr std::uint32_t most = 256;  // a power of two
  // Since the one went in that was so many before the next.
  double since(std::uint32_t before, Time now) const {
    return static_cast<double>((now - times_[(at_ - before) % most]).count());
  }
  void restart(std::uint32_t workers) {
    workers_ = workers;
    seen_ = 0;
    period_ = 0;
    deviation_ = 0;
  }
  void note(double took) {
    if (period_ == 0) period_ = took;
    deviation_ += (std::abs(took - period_) - deviation_) / 16;
    period_ += (took - period_) / 16;
  }

  std::array<Time, most> times_{};
  std::uint32_t at_ = 0;
  std::uint32_t workers_ = 0;
  std::uint32_t seen_ = 0;  // since the line began
  double period_ = 0;       // ns, of some 64 lately
  double deviation_ = 0;    // from it: the mean
};

}  // namespace classgate::admission
