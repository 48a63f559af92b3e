#include "proxy/net/loop.h"

#include <algorithm>
#include <cstdio>
#include <new>
#include <stdexcept>
#include <utility>

#include "proxy/net/timer.h"

namespace classgate::proxy::net {
namespace {

// No locks: a loop belongs to one thread, letters come by mailbox. The environment is ignored so
// that EVENT_* variables can't change the backend under an operator.
EventBase make_base() {
  std::unique_ptr<event_config, decltype(&event_config_free)> config(event_config_new(),
                                                                     &event_config_free);
  if (!config) throw std::runtime_error("libevent: out of memory");
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV);
  // Edge-triggered registration and EPOLLRDHUP are what Stream is built on.
  event_config_require_features(config.get(), EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
  EventBase base(event_base_new_with_config(config.get()));
  if (!base) throw std::runtime_error("libevent: no event backend with edge triggering (epoll)");
  return base;
}

}  // namespace

Loop::Loop()
    : base_(make_base()),
      clock_(make_event(base_.get(), -1, 0, on_clock, this)),
      read_scratch_(std::make_unique_for_overwrite<char[]>(scratch_size)) {
  const timeval far{1'000'000, 0};
  if (evtimer_add(clock_.get(), &far) != 0) throw std::bad_alloc();
  evtimer_del(clock_.get());
}

Loop::~Loop() {
  assert_on_thread();
  destroy_retired();
}

void Loop::run() {
  assert_on_thread();
  thread_ = &mark_of_this_thread;
  stopped_ = false;
  now_is_valid_ = false;  // of a time before
  while (!stopped_) {
    const int wait = deferred_.empty() ? 0 : EVLOOP_NONBLOCK;
    due_.swap(deferred_);
    event_base_loop(base_.get(), EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | wait);
    call_due();
    end_turn();
  }
  thread_ = nullptr;
}

// Never at once: one that starts itself anew would keep the turn from ending.
void Loop::start_timer(Timer& timer, Time due) {
  if (now_is_valid_) due = std::max(due, now_ + std::chrono::nanoseconds(1));
  timer.place_.key() = due;
  timer.started_ = timers_.insert(std::move(timer.place_));
  if (due < clock_is_for_) arm_clock();
}

// For the first of them. It is not moved when that one is stopped but looks again when it fires.
void Loop::arm_clock() {
  using namespace std::chrono;
  const Time due = timers_.begin()->first;
  const Time now = is_running_here() ? this->now() : steady_clock::now();
  const auto left = std::max(ceil<milliseconds>(due - now), milliseconds(1));
  const timeval tv{static_cast<time_t>(left.count() / 1000),
                   static_cast<suseconds_t>(left.count() % 1000 * 1000)};
  if (evtimer_add(clock_.get(), &tv) == 0) clock_is_for_ = due;
}

void Loop::call_timers() {
  clock_is_for_ = Time::max();
  const Time now = this->now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    Timer& timer = *timers_.begin()->second;
    timer.stop();
    guard(timer.on_due_);
  }
  if (!timers_.empty() && timers_.begin()->first < clock_is_for_) arm_clock();
}

void Loop::call_next_turn(Deferred& deferred) {
  assert_on_thread();
  if (deferred.is_deferred_) return;
  deferred_.push_back(&deferred);
  deferred.is_deferred_ = true;  // not when there is no memory for it
}

void Loop::forget_deferred(Deferred& deferred) {
  assert_on_thread();
  if (!std::exchange(deferred.is_deferred_, false)) return;
  std::ranges::replace(deferred_, &deferred, nullptr);
  std::ranges::replace(due_, &deferred, nullptr);
}

void Loop::call_due() {
  for (std::size_t i = 0; i < due_.size(); ++i) {
    Deferred* const deferred = due_[i];
    if (deferred == nullptr) continue;
    deferred->is_deferred_ = false;
    guard([deferred] { deferred->on_next_turn(); });
  }
  due_.clear();
}

void Loop::end_turn() {
  for (const auto& hook : turn_end_hooks_) guard(hook);
  destroy_retired();
  now_is_valid_ = false;
}

// Destroying one may retire another.
void Loop::destroy_retired() {
  while (first_retired_ != nullptr) {
    Retirable* next = std::exchange(first_retired_, nullptr);
    last_retired_ = nullptr;
    while (next != nullptr) {
      const std::unique_ptr<Retirable> gone(std::exchange(next, next->next_retired_));
    }
  }
}

// Within a handler: says what was thrown.
void Loop::contain() noexcept {
  const auto tell = [this](const std::exception& thrown) {
    if (on_exception_) return on_exception_(thrown);
    std::fprintf(stderr, "classgate: %s\n", thrown.what());
  };
  try {
    try {
      throw;
    } catch (const std::exception& thrown) {
      tell(thrown);
    } catch (...) {
      tell(std::runtime_error("an exception of no known kind"));
    }
  } catch (...) {
    std::fputs("classgate: an exception that could not be told\n", stderr);
  }
}

Time Loop::read_clock() {
  now_is_valid_ = true;
  return now_ = std::chrono::steady_clock::now();
}

}  // namespace classgate::proxy::net
