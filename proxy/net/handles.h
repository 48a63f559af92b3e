#pragma once

// RAII for every C handle of the net layer. Raw *_free and close() stand nowhere else.

#include <event2/event.h>
#include <unistd.h>

#include <memory>
#include <utility>

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
