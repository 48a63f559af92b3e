#pragma once

#include <functional>

#include "proxy/net/loop.h"

namespace classgate::proxy::net {

// Calls back on the loop whenever a descriptor can be read (level-triggered). For the few
// descriptors that are no streams: signals, other processes. One that ends itself goes to
// Loop::retire().
class Watch final : public Retirable {
 public:
  Watch(Loop& loop, int fd, std::function<void()> on_readable);

 private:
  static void on_event(int, short, void* self) { static_cast<Watch*>(self)->tell(); }
  void tell() { loop_.guard(on_readable_); }
  Loop& loop_;
  std::function<void()> on_readable_;
  Event event_;
};

}  // namespace classgate::proxy::net
