#pragma once

#include <cstdint>

#include "admission/promises.h"
#include "admission/time.h"

namespace classgate::admission {

// When those who are refused should come back, so that they don't all come at once: to be refused
// together again. Each is told a time of its own.
//
// Those who have been told and are not yet due are `due_`. They are let in one after the other by
// the pace of what can be spared: the part of the capacity that was left over in the last seconds,
// at least a twentieth. After a short burst that is most of it, and everybody is told about the
// time when it is his turn (half to half again of it, at random: a field says whole seconds, and
// the crowd of one second would come back as one). Under a lasting overload it is little: the
// clients that obey come back ever later, until what comes fits in, and then almost everybody who
// comes back is let in. Where nobody obeys, nobody is told more than the spread: then any time up
// to that.
//
// Where clients are told apart, each stands in the line once. Who comes back before its turn keeps
// it, and what else it asks for stands behind that, in a line of its own that moves at its part of
// the pace: whoever floods lengthens its own wait and nobody else's.
// Not thread-safe; deterministic: the same calls, the same times.
class Returns {
 public:
  // Over how long they come back. Zero: everybody is told the earliest.
  void set_spread(Duration spread) { spread_ = spread; }

  struct Capacity {
    double pace = 0;  // in units of cost a second
    double used = 0;  // all of it was in use for so many seconds since the last call, together
  };
  // Whose request it is, where clients are told apart.
  struct Asker {
    Promise* promise = nullptr;  // what it was told of this line; null: nobody knows who asks
    double clients = 1;          // that ask lately, it among them
    bool is_content = false;     // while others ask, with less than its part of the pace
  };
  // For one who is refused now: from `earliest` on, when it could go in if nobody else came.
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
