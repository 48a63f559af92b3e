#include "proxy/net/watch.h"

namespace classgate::proxy::net {

Watch::Watch(Loop& loop, int fd, std::function<void()> on_readable)
    : loop_(loop),
      on_readable_(std::move(on_readable)),
      event_(make_event(loop.base(), fd, EV_READ | EV_PERSIST, on_event, this)) {
  add_event(event_.get());
}

}  // namespace classgate::proxy::net
