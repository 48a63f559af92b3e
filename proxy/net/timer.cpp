#include "proxy/net/timer.h"

#include <utility>

namespace classgate::proxy::net {

Timer::Timer(Loop& loop, std::function<void()> on_due) : loop_(loop), on_due_(std::move(on_due)) {
  Loop::Timers one;
  one.emplace(Time{}, this);
  place_ = one.extract(one.begin());
}

Timer::~Timer() { stop(); }

void Timer::start(std::chrono::milliseconds after) {
  // Before run() and after it no turn makes time stand still.
  const Time now = loop_.is_running_here() ? loop_.now() : std::chrono::steady_clock::now();
  start_at(now + after);
}

void Timer::start_at(Time due) {
  stop();
  loop_.start_timer(*this, due);
}

void Timer::stop() {
  loop_.assert_on_thread();
  if (is_started()) place_ = loop_.timers_.extract(started_);
}

}  // namespace classgate::proxy::net
