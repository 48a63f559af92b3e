#include "proxy/net/deadline_list.h"

#include <algorithm>

namespace classgate::proxy::net {

void Deadline::cancel() {
  if (next_ == nullptr) return;
  previous_->next_ = next_;
  next_->previous_ = previous_;
  previous_ = next_ = nullptr;
}

DeadlineList::DeadlineList(Loop& loop, std::chrono::milliseconds duration)
    : loop_(loop), duration_(duration), timer_(evtimer_new(loop.base(), on_timer, this)) {
  anchor_.previous_ = anchor_.next_ = &anchor_;
}

DeadlineList::~DeadlineList() {
  while (anchor_.next_ != &anchor_) anchor_.next_->cancel();
  anchor_.previous_ = anchor_.next_ = nullptr;
}

void DeadlineList::set(Deadline& deadline, Time from) {
  deadline.cancel();
  deadline.due_ = from + duration_;
  deadline.previous_ = anchor_.previous_;
  deadline.next_ = &anchor_;
  anchor_.previous_->next_ = &deadline;
  anchor_.previous_ = &deadline;
  if (!is_armed_) arm();
}

void DeadlineList::arm() {
  using namespace std::chrono;
  const auto left = std::max<microseconds>(ceil<milliseconds>(anchor_.next_->due_ - loop_.now()),
                                           milliseconds(1));
  const timeval tv{static_cast<time_t>(left.count() / 1'000'000),
                   static_cast<suseconds_t>(left.count() % 1'000'000)};
  evtimer_add(timer_.get(), &tv);
  is_armed_ = true;
}

bool DeadlineList::end_oldest(std::chrono::milliseconds age) {
  if (anchor_.next_ == &anchor_ || anchor_.next_->due_ - duration_ + age > loop_.now())
    return false;
  end_first();
  return true;
}

void DeadlineList::end_first() {
  Deadline& first = *anchor_.next_;
  first.cancel();
  first.on_due_(first.owner_);
}

void DeadlineList::fire() {
  is_armed_ = false;
  const Time now = loop_.now();
  // A callback may set, cancel or destroy any deadline, so look at the first anew each time; one
  // that is set again while we are here is due later than now and ends the loop.
  while (anchor_.next_ != &anchor_ && anchor_.next_->due_ <= now) end_first();
  if (anchor_.next_ != &anchor_ && !is_armed_) arm();
}

}  // namespace classgate::proxy::net
