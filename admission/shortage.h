#pragma once

#include "admission/time.h"

namespace classgate::admission {

// Whether the service is short: lately it could not do all that was asked. It is for half a
// minute after that was last seen, so that those who give way are not let in again at each moment
// in which a worker happens to be free. Not thread-safe.
class Shortage {
 public:
  static constexpr Duration lasts = std::chrono::seconds(30);

  bool note(bool is_seen, Time now) {
    if (is_seen) until_ = now + lasts;
    return is_there(is_seen, now);
  }
  bool is_there(bool is_seen, Time now) const { return is_seen || now < until_; }

 private:
  Time until_ = Time::min();
};

}  // namespace classgate::admission
