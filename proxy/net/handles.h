#pragma once

// RAII for every C handle of the net layer. Raw *_free and close() stand nowhere else.

#include <event2/event.h>
#include <event2/event_struct.h>
#include <unistd.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include "conf/invariant.h"

namespace classgate::proxy::net {

struct FreeEventBase {
  void operator()(event_base* base) const { event_base_free(base); }
};
using EventBase = std::unique_ptr<event_base, FreeEventBase>;

struct FreeEvent {
  void operator()(event* e) const { event_free(e); }
};
// Freeing an event also takes it out of its base.
using Event = std::unique_ptr<event, FreeEvent>;
// Throws std::bad_alloc: libevent says so with a null pointer, which its other calls do not check.
inline Event make_event(event_base* base, evutil_socket_t fd, short what,
                        event_callback_fn on_event, void* self) {
  Event made(event_new(base, fd, what, on_event, self));
  if (!made) throw std::bad_alloc();
  return made;
}
// Throws as well: without memory, or when the kernel watches no more (epoll_ctl(2)).
inline void add_event(event* made) {
  if (event_add(made, nullptr) != 0)
    throw std::runtime_error("libevent: cannot watch a descriptor");
}

// An event within its owner, for those of which there are many: no allocation of its own. Neither
// copies nor moves, because libevent keeps its address.
class EmbeddedEvent {
 public:
  EmbeddedEvent() = default;
  EmbeddedEvent(const EmbeddedEvent&) = delete;
  EmbeddedEvent& operator=(const EmbeddedEvent&) = delete;
  ~EmbeddedEvent() { remove(); }

  // Once. False when libevent cannot watch the descriptor.
  bool watch(event_base* base, int fd, short what, event_callback_fn on_event, void* self) {
    CLASSGATE_INVARIANT(!is_watched_);
    is_watched_ = event_assign(&event_, base, fd, what, on_event, self) == 0 &&
                  event_add(&event_, nullptr) == 0;
    return is_watched_;
  }
  void remove() {
    if (std::exchange(is_watched_, false)) event_del(&event_);
  }

 private:
  event event_;
  bool is_watched_ = false;
};

// A file descriptor that is closed when its owner goes.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace classgate::proxy::net
