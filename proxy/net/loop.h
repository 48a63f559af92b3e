#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "conf/invariant.h"
#include "proxy/net/handles.h"

namespace classgate::proxy::net {

using Time = std::chrono::steady_clock::time_point;

// Whatever may be given to Loop::retire().
class Retirable {
 public:
  virtual ~Retirable() = default;

 private:
  friend class Loop;
  Retirable* next_retired_ = nullptr;  // nothing is retired twice, and none needs memory for it
};

class Timer;

// Who can be called again in the next turn.
class Deferred {
 public:
  virtual void on_next_turn() = 0;

 protected:
  Deferred() = default;
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;
  ~Deferred() = default;  // its owner has told forget_deferred()

 private:
  friend class Loop;
  bool is_deferred_ = false;
};

// One event loop on one thread. While it runs, everything that lives on it is touched only by its
// thread: a call from any other ends the process (assert_on_thread()), because what it would race
// with is everybody's who is served here. Before run() and after it the loop is whoever's builds it
// and tears it down. Time stands still within one turn (now() reads the clock once a turn), and
// nothing is destroyed while one of its methods may be on the stack: its owner gives it to
// retire(), and it is destroyed when the turn ends.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Takes turns until stop(). The calling thread becomes the loop's.
  void run();
  // Ends run() after this turn. (From another thread, send it a letter.)
  void stop() {
    assert_on_thread();
    stopped_ = true;
  }

  Time now() {
    assert_on_thread();
    return now_is_valid_ ? now_ : read_clock();
  }
  void retire(std::unique_ptr<Retirable> object) noexcept {
    assert_on_thread();
    Retirable* const last = object.release();
    if (last == nullptr) return;
    (last_retired_ == nullptr ? first_retired_ : last_retired_->next_retired_) = last;
    last_retired_ = last;
  }
  // Calls it once more after the events of the next turn: everybody else has theirs first.
  // (libevent's own event_active() would call it again before it looks at any other socket.)
  void call_next_turn(Deferred& deferred);
  void forget_deferred(Deferred& deferred);
  // No exception crosses a callback: whatever `deed` throws is told to the hook of at_exception(),
  // and `undo` ends what the deed belonged to (a connection, an exchange), so that everybody else
  // goes on. Every callback of the net layer runs in here; an owner that knows better what must end
  // has a guard of its own within. For nothing while nothing is thrown.
  template <typename Deed, typename Undo>
  void guard(Deed&& deed, Undo&& undo) noexcept {
    try {
      deed();
    } catch (...) {
      contain();
      try {
        undo();
      } catch (...) {
        contain();
      }
    }
  }
  template <typename Deed>
  void guard(Deed&& deed) noexcept {
    guard(std::forward<Deed>(deed), [] {});
  }
  // Told what was thrown, before what it concerns is ended; must not throw. Without a hook it goes
  // to standard error.
  void at_exception(std::function<void(const std::exception&)> hook) {
    assert_on_thread();
    on_exception_ = std::move(hook);
  }
  // Called at the end of every turn in which something happened, e.g. to hand a batch on.
  void at_turn_end(std::function<void()> hook) {
    assert_on_thread();
    turn_end_hooks_.push_back(std::move(hook));
  }

  // Memory for one read, and for heads being written; valid until the next use by anybody, so what
  // must last longer than the current call is copied out.
  std::span<char> read_scratch() {
    assert_on_thread();
    return {read_scratch_.get(), scratch_size};
  }
  static constexpr std::size_t scratch_size = 64 * 1024;
  // The same for what is put together to be written in one piece: a TLS record, or small parts.
  std::span<char> record_scratch() {
    assert_on_thread();
    return {record_scratch_.get(), record_size};
  }
  static constexpr std::size_t record_size = 16 * 1024;  // RFC 8446 section 5.1

  // Every event of libevent's is made with it.
  event_base* base() {
    assert_on_thread();
    return base_.get();
  }
  // True only within run(), on its thread. May be asked on any.
  bool is_running_here() const {
    return thread_.load(std::memory_order_relaxed) == &mark_of_this_thread;
  }
  // True before run() and after it too: a loop is built and torn down by one thread.
  bool is_current_thread() const {
    const void* const thread = thread_.load(std::memory_order_relaxed);
    return thread == nullptr || thread == &mark_of_this_thread;
  }
  // For what lives on the loop and asks it for nothing.
  void assert_on_thread() const { CLASSGATE_SHARED_INVARIANT(is_current_thread()); }

 private:
  Time read_clock();
  friend class Timer;
  using Timers = std::multimap<Time, Timer*>;

  void start_timer(Timer& timer, Time due);
  void arm_clock();
  void call_timers();
  static void on_clock(int, short, void* self) { static_cast<Loop*>(self)->call_timers(); }
  void call_due();
  void end_turn();
  void destroy_retired();
  void contain() noexcept;

  EventBase base_;
  // Those that are started, by when they are due; each brings its node with it. Of libevent's own
  // timers there is this one: its heap, which it grows when a timer is added and may find no memory
  // for, has had room for it since the loop was made.
  Timers timers_;
  Event clock_;
  Time clock_is_for_ = Time::max();
  std::unique_ptr<char[]> read_scratch_;
  std::unique_ptr<char[]> record_scratch_ = std::make_unique_for_overwrite<char[]>(record_size);
  Retirable* first_retired_ = nullptr;  // owned, in the order in which they came
  Retirable* last_retired_ = nullptr;
  std::vector<Deferred*> deferred_;  // for the next turn
  std::vector<Deferred*> due_;       // for this one; null: forgotten
  std::vector<std::function<void()>> turn_end_hooks_;
  std::function<void(const std::exception&)> on_exception_;
  Time now_{};
  bool now_is_valid_ = false;
  bool stopped_ = false;
  // Its address is the thread's: cheaper to ask for than pthread_self().
  static constinit inline thread_local char mark_of_this_thread = 0;
  std::atomic<const void*> thread_ = nullptr;  // of run(); null before and after
};

}  // namespace classgate::proxy::net
