#pragma once

#include <sys/eventfd.h>

#include <cerrno>
#include <functional>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "proxy/net/loop.h"

namespace classgate::proxy::net {

// Letters to one loop. Anybody may send from any thread; they are read on the loop, in order, after
// the event that is being handled; what the reader leaves in one lives until all have been read.
// The eventfd is written only when the box was empty, and not at all for a letter that the loop
// sends itself. With the lock held only data is moved.
template <typename Letter>
class Mailbox {
 public:
  Mailbox(Loop& loop, std::function<void(Letter&)> on_letter)
      : loop_(loop),
        on_letter_(std::move(on_letter)),
        wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (!wake_fd_) throw std::system_error(errno, std::generic_category(), "eventfd");
    // Edge-triggered: a counter that is never read needs no read; each write is a new edge.
    wake_ = make_event(loop.base(), wake_fd_.get(), EV_READ | EV_ET | EV_PERSIST, on_wake, this);
    add_event(wake_.get());
    own_ = make_event(loop.base(), -1, EV_PERSIST, on_wake, this);
  }
  ~Mailbox() { loop_.assert_on_thread(); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // So many letters can lie here while none asks for memory: who sends one of them does not fail.
  // On the loop.
  void reserve(std::size_t count) {
    loop_.assert_on_thread();
    if (!is_reading_) reading_.reserve(count);
    const std::lock_guard lock(mutex_);
    letters_.reserve(count);
  }

  // A letter, or what one can be made of, in its place.
  template <typename Content = Letter>
  void send(Content&& content) {
    bool was_empty;
    {
      const std::lock_guard lock(mutex_);
      was_empty = letters_.empty();
      letters_.emplace_back(std::forward<Content>(content));
    }
    if (!was_empty) return;
    if (loop_.is_running_here())
      event_active(own_.get(), EV_READ, 0);
    else
      wake();
  }

 private:
  static void on_wake(int, short, void* self) { static_cast<Mailbox*>(self)->read_letters(); }

  void wake() {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the loop is awake already.
    [[maybe_unused]] const auto written = ::write(wake_fd_.get(), &one, sizeof one);
  }

  void read_letters() {
    {
      const std::lock_guard lock(mutex_);
      std::swap(letters_, reading_);
    }
    is_reading_ = true;
    for (Letter& letter : reading_) loop_.guard([this, &letter] { on_letter_(letter); });
    is_reading_ = false;
    reading_.clear();  // keeps its memory for the next swap
    // As much as the other, which has grown meanwhile, perhaps.
    loop_.guard([this] { reading_.reserve(capacity()); });
  }

  std::size_t capacity() {
    const std::lock_guard lock(mutex_);
    return letters_.capacity();
  }

  Loop& loop_;
  std::function<void(Letter&)> on_letter_;
  std::mutex mutex_;
  std::vector<Letter> letters_;  // guarded by mutex_
  std::vector<Letter> reading_;
  bool is_reading_ = false;
  Fd wake_fd_;
  Event wake_;
  Event own_;
};

}  // namespace classgate::proxy::net
