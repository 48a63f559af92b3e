#include "proxy/net/timeout_list.h"

#include <algorithm>

#include "proxy/net/timer.h"

namespace classgate::proxy::net {

void Timeout::cancel() {
  if (next_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

class TimeoutList::Ring {
 public:
  Ring(Loop& loop, std::chrono::milliseconds duration)
      : loop_(loop), duration_(duration), timer_(loop, [this] { fire(); }) {
    anchor_.previous_ = anchor_.next_ = &anchor_;
  }
  ~Ring() {
    while (!is_empty()) anchor_.next_->cancel();
    anchor_.previous_ = anchor_.next_ = nullptr;
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  bool is_empty() const { return anchor_.next_ == &anchor_; }
  std::chrono::milliseconds duration() const { return duration_; }

  void set(Timeout& timeout, Time from) {
    timeout.cancel();
    timeout.due_ = from + duration_;
    timeout.previous_ = anchor_.previous_;
    timeout.next_ = &anchor_;
    anchor_.previous_->next_ = &timeout;
    anchor_.previous_ = &timeout;
    if (!is_armed_) arm();
  }

  bool end_oldest(std::chrono::milliseconds age) {
    if (is_empty() || anchor_.next_->due_ - duration_ + age > loop_.now()) return false;
    end_first();
    return true;
  }

 private:
  void arm() {
    timer_.start_at(anchor_.next_->due_);
    is_armed_ = true;
  }

  void end_first() {
    Timeout& first = *anchor_.next_;
    first.cancel();
    loop_.guard([&first] { first.on_due_(first.owner_); });
  }

  void fire() {
    is_armed_ = false;
    const Time now = loop_.now();
    // A callback may set, cancel or destroy any timeout, so look at the first anew each time; one
    // that is set again while we are here is due later than now and ends the loop.
    while (!is_empty() && anchor_.next_->due_ <= now) end_first();
    if (!is_empty() && !is_armed_) arm();
  }

  Loop& loop_;
  std::chrono::milliseconds duration_;
  Timeout anchor_;  // anchor_.next_ is the first to fall due
  bool is_armed_ = false;
  Timer timer_;
};

TimeoutList::TimeoutList(Loop& loop, std::chrono::milliseconds duration)
    : loop_(loop), current_(std::make_unique<Ring>(loop, duration)) {}

TimeoutList::~TimeoutList() { loop_.assert_on_thread(); }

void TimeoutList::set(Timeout& timeout, Time from) {
  loop_.assert_on_thread();
  current_->set(timeout, from);
}

std::chrono::milliseconds TimeoutList::duration() const { return current_->duration(); }

// Not from within a timeout's callback: a ring that is empty is destroyed here.
void TimeoutList::change_duration(std::chrono::milliseconds duration) {
  loop_.assert_on_thread();
  std::erase_if(former_, [](const auto& ring) { return ring->is_empty(); });
  if (duration == current_->duration()) return;
  auto ring = std::make_unique<Ring>(loop_, duration);  // or nothing has happened
  if (!current_->is_empty()) former_.push_back(std::move(current_));
  current_ = std::move(ring);
}

bool TimeoutList::end_oldest(std::chrono::milliseconds age) {
  loop_.assert_on_thread();
  for (const auto& ring : former_)
    if (ring->end_oldest(age)) return true;
  return current_->end_oldest(age);
}

}  // namespace classgate::proxy::net
