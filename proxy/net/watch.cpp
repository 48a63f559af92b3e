#include "proxy/net/watch.h"

namespace classgate::proxy::net {

Watch::Watch(Loop& loop, int fd, std::function<void()> on_readable)
    : loop_(loop),
      on_readable_(std::move(on_readable)),
      event_(make_event(loop.base(), fd, EV_READ | EV_PERSIST, on_event, this)) {
  event_add(event_.get(), nullptr);
}

Timer::Timer(Loop& loop, std::function<void()> on_due)
    : loop_(loop), on_due_(std::move(on_due)), event_(make_timer(loop.base(), on_event, this)) {}

void Timer::start(std::chrono::milliseconds after) {
  const timeval tv{static_cast<time_t>(after.count() / 1000),
                   static_cast<suseconds_t>(after.count() % 1000 * 1000)};
  evtimer_add(event_.get(), &tv);
}

void Timer::stop() { evtimer_del(event_.get()); }

}  // namespace classgate::proxy::net
