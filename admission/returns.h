#pragma once

#include <cstdint>

#include "admission/promises.h"
#include "admission/time.h"

namespace classgate::admission {

// When clients that are refused should come back. If all were told the same time they would come at
// once, and most would be refused again; so each is told a time of its own.
//
// Those who were told a time that has not come yet form a line, in thought. Its length, in units of
// cost, is `due_`. The line moves at the pace that can be spared for it: the part of the capacity
// that was not in use in the last seconds, at least a twentieth of the whole. A client is told the
// time when the line before it will have moved on, times a random factor from 0.5 to 1.5:
// Retry-After has whole seconds, and all who are told the same second would come together.
//   After a short burst most of the capacity can be spared, and the times are short.
//   Under a lasting overload little can be spared. Clients that obey are told later and later
//   times, until no more come than can be served; then almost everybody who comes back is let in.
//   If clients do not obey, the line gets no shorter. Nobody is told more than the spread: when the
//   line is longer than that, a random time up to it.
//
// When clients are told apart, each stands in the line once. One that comes back before its time is
// told the rest of it. What it asks for besides is told a later time, by a line of its own, which
// moves at the client's equal part of the pace: a client that floods makes its own wait longer, and
// nobody else's.
// Not thread-safe; deterministic: the same calls give the same times.
class Returns {
 public:
  // The longest that is told beyond the earliest. Zero: everybody is told the earliest.
  void set_spread(Duration spread) { spread_ = spread; }

  struct Capacity {
    double pace = 0;  // in units of cost a second
    double used = 0;  // for so many seconds since the last call, all together, it was all in use
  };
  // The client that is refused, when clients are told apart.
  struct Asker {
    Promise* promise = nullptr;  // what it was told before; null: it is not known who asks
    double clients = 1;          // that asked lately, itself included
    bool is_content = false;     // others ask too, and it asks for less than its equal part
    // Whether it will be known when it comes as it was told. Without a spread all are told the
    // earliest, and nobody is known by it.
    bool note_told(Duration time, Time now) const {
      if (promise == nullptr || promise->noted == Time::min()) return false;
      promise->told.add(now + time, now);
      return true;
    }
  };
  // What a request that is refused now is told. `earliest` is when it could go in if nobody else
  // came.
  Duration next(Duration earliest, double cost, const Capacity& capacity, const Asker& asker,
                Time now);

 private:
  static constexpr double lately = 5;  // seconds
  static constexpr double least_spare = 0.05;

  double at_random();  // from 0 to 1
  double own_wait(Promise& promise, double pace, Time now) const;

  Duration spread_{};
  double due_ = 0;
  Time last_{};
  double used_ = 0;  // lately, of a second
  std::uint64_t random_ = 0;
};

}  // namespace classgate::admission
