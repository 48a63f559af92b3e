#include "admission/gate.h"

#include <array>

#include "conf/invariant.h"

namespace classgate::admission {

Permit::~Permit() {
  // Nobody has said by finish() how it went: its exchange ended without having used the worker, or
  // its waiter had left before the letter with this permit came.
  if (gate_ != nullptr) finish(Outcome::unused(), seat_.since);
}

void Permit::finish(const Outcome& outcome, Time now) {
  std::exchange(gate_, nullptr)->finish(outcome, seat_, is_orphan_, now);
}

void Permit::orphan() {
  if (is_orphan_) return;
  is_orphan_ = true;
  gate_->orphan();
}

Place::~Place() {
  if (gate_ != nullptr) gate_->leave(ticket_, Departure::abandoned, {});
}

bool Place::leave(Departure why, Time now) {
  if (!gate_->leave(ticket_, why, now)) return false;
  gate_ = nullptr;
  return true;
}

Gate::~Gate() {
  const Snapshot left = snapshot(latest_);
  CLASSGATE_SHARED_INVARIANT(left.waiting == 0);
  CLASSGATE_SHARED_INVARIANT(left.in_flight == 0 && left.active_workers == 0);
  CLASSGATE_SHARED_INVARIANT(left.workers_without_client == 0);
}

std::uint32_t Gate::attach(Waiters& waiters) {
  const Lock lock(mutex_);
  waiters_.push_back(&waiters);
  return static_cast<std::uint32_t>(waiters_.size() - 1);
}

std::optional<Rejection> Gate::screen(Arrival& arrival, Time now) {
  const Lock lock(mutex_);
  latest(now);
  const auto rejection = controller_.screen(arrival, now);
  if (shadow_ && rejection) tell_shadow(arrival, &*rejection, now);
  return rejection;
}

Gate::Answer Gate::arrive(const Arrival& arrival, Time now) {
  Lock lock(mutex_);
  latest(now);
  heed_loan();
  const Verdict verdict = controller_.arrive(arrival, now);
  if (shadow_) tell_shadow(arrival, std::get_if<Rejection>(&verdict), now);
  return answer(verdict, lock, now);
}

std::unique_ptr<Shadow> Gate::shadow_of(const conf::AdmissionSettings& settings, const Ids& ids) {
  return settings.shadow ? std::make_unique<Shadow>(*settings.shadow, ids) : nullptr;
}

void Gate::tell_shadow(const Arrival& arrival, const Rejection* rejection, Time now) {
  const auto refused = rejection != nullptr ? std::optional(rejection->reason) : std::nullopt;
  shadow_->compare(arrival, refused, controller_.usual_work(arrival.route), now);
}

Gate::Answer Gate::enter(Arrival& arrival, Time now) {
  Lock lock(mutex_);
  latest(now);
  heed_loan();
  const Verdict verdict = controller_.decide(arrival, now);
  if (shadow_) tell_shadow(arrival, std::get_if<Rejection>(&verdict), now);
  return answer(verdict, lock, now);
}

Gate::Answer Gate::answer(const Verdict& verdict, Lock& lock, Time now) {
  if (const auto* admitted = std::get_if<Admitted>(&verdict))
    return Permit(*this, admitted->seat, Duration::zero());
  if (const auto* rejection = std::get_if<Rejection>(&verdict)) return *rejection;
  const std::uint32_t number = controller_.last_place();
  spread_news(lock, now);  // someone may have given way
  return Place(*this, std::get<Ticket>(verdict), number);
}

void Gate::finish(const Outcome& outcome, const Seat& seat, bool is_orphan, Time told) {
  Lock lock(mutex_);
  const Time now = latest(told);
  if (is_orphan) controller_.adopt();
  controller_.finish(outcome, seat, now);
  spread_news(lock, now);
}

bool Gate::leave(Ticket ticket, Departure why, Time told) {
  Lock lock(mutex_);
  const Time now = latest(told);
  const bool has_left = controller_.leave(ticket, why, now);
  // It may have been the one that waited for several workers at once, and kept the others waiting.
  if (has_left) spread_news(lock, now);
  return has_left;
}

void Gate::orphan() {
  const Lock lock(mutex_);
  controller_.orphan();
}

void Gate::settle(const Arrival& arrival, Time now) {
  const Lock lock(mutex_);
  controller_.settle(arrival, latest(now));
  if (shadow_) shadow_->settle(arrival, latest(now));
}

void Gate::refuse(conf::Reason reason, Time now) {
  const Lock lock(mutex_);
  controller_.refuse(reason, now);
}

void Gate::abandon() {
  const Lock lock(mutex_);
  controller_.abandon();
}

void Gate::drain() {
  const Lock lock(mutex_);
  controller_.drain();
}

// A shadow whose conf still says the same is kept, with all that it has counted and learnt; it is
// only told the new ids. Else there is a new one.
void Gate::reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
  const bool is_same_shadow =
      settings.shadow && shadow_settings_ && *settings.shadow == *shadow_settings_;
  // Declared before the lock, so that the old shadow, swapped into it, is destroyed without the
  // lock.
  std::unique_ptr<Shadow> shadow = is_same_shadow ? nullptr : shadow_of(settings, ids);
  Lock lock(mutex_);
  now = latest(now);
  if (is_same_shadow) {
    shadow_->reconfigure(*settings.shadow, ids, now);
  } else {
    std::swap(shadow, shadow_);
    shadow_settings_ = settings.shadow;
  }
  controller_.reconfigure(settings, ids, now);
  spread_news(lock, now);  // more workers: waiters go in
}

void Gate::set_ceiling(Ceilings::Source source, std::uint32_t workers, Time now) {
  Lock lock(mutex_);
  latest(now);
  controller_.set_ceiling(source, workers);
  spread_news(lock, now);
}

void Gate::set_kept_elsewhere(std::uint32_t workers, Time now) {
  Lock lock(mutex_);
  latest(now);
  controller_.set_kept_elsewhere(workers);
  spread_news(lock, now);
}

void Gate::lend(const Loan& loan, Clock clock) {
  Lock lock(mutex_);
  has_loan_ = true;
  after_loan_ = loan.then;
  loan_ends_.store(loan.until, std::memory_order_relaxed);
  clock_.store(clock, std::memory_order_release);
  controller_.set_ceiling(Ceilings::Source::sharing, loan.workers);
  spread_news(lock, latest(clock()));
}

void Gate::end_loan_in_time() {
  if (clock_.load(std::memory_order_relaxed)() < loan_ends_.load(std::memory_order_relaxed)) return;
  has_loan_ = false;
  controller_.set_ceiling(Ceilings::Source::sharing, after_loan_);
}

bool Gate::has_no_more_than_its_own() {
  const Lock lock(mutex_);
  heed_loan();
  return controller_.wanted().in_use <= controller_.limit();
}

Wanted Gate::wanted() const {
  const Lock lock(mutex_);
  return controller_.wanted();
}

std::vector<Limits::RateUse> Gate::take_rate_uses(Time now) {
  const Lock lock(mutex_);
  return controller_.take_rate_uses(latest(now));
}

std::uint32_t Gate::clients_asking() const {
  const Lock lock(mutex_);
  return controller_.clients_asking();
}

void Gate::lend_rates(double part, std::span<const Limits::RateLoan> loans, Time now) {
  const Lock lock(mutex_);
  controller_.lend_rates(part, loans, latest(now));
}

Snapshot Gate::snapshot(Time now) const {
  const Lock lock(mutex_);
  Snapshot snapshot = controller_.snapshot(now);
  if (shadow_) snapshot.shadow = shadow_->counts();
  return snapshot;
}

ClientTable::Counts Gate::client_counts() const {
  const Lock lock(mutex_);
  return controller_.client_counts();
}

Explanation Gate::explain(const Arrival& arrival, Time now) const {
  const Lock lock(mutex_);
  return controller_.explain(arrival, now);
}

std::vector<ClientState> Gate::top_clients(std::size_t most, Time now) const {
  constexpr ClientNumber shown_at_once = 1024;  // some microseconds
  TopClients top(most);
  for (ClientNumber first = 0, end = 1; first < end; first += shown_at_once) {
    const Lock lock(mutex_);
    end = controller_.show_clients(first, shown_at_once, now, top);
  }
  return top.take();
}

bool Gate::has_waiters() const {
  const Lock lock(mutex_);
  return controller_.has_waiters();
}

Duration Gate::return_time(std::uint64_t client, Time now) {
  const Lock lock(mutex_);
  return controller_.return_time(client, latest(now));
}

Limits::Buckets Gate::allowances(const Arrival& arrival, Time now) const {
  const Lock lock(mutex_);
  return controller_.allowances(arrival, now);
}

// Collects the news under the lock and tells it without: whoever hears it may call back.
void Gate::spread_news(Lock& lock, Time now) {
  heed_loan();
  const std::optional<Notice> first = controller_.next(now);
  if (!first) return;
  const std::optional<Notice> second = controller_.next(now);
  if (!second) {  // a worker came back, and one goes in: nearly always
    lock.unlock();
    return tell(*first);
  }
  std::array<Notice, 8> batch{*first, *second};
  for (std::size_t size = 2;; size = 0) {
    heed_loan();
    while (size < batch.size()) {
      const auto notice = controller_.next(now);
      if (!notice) break;
      batch[size++] = *notice;
    }
    lock.unlock();
    for (std::size_t i = 0; i < size; ++i) tell(batch[i]);
    if (size < batch.size()) return;
    lock.lock();
  }
}

void Gate::tell(const Notice& notice) {
  Waiters& waiters = *waiters_[notice.owner];
  if (const auto* granted = std::get_if<Granted>(&notice.news))
    waiters.on_granted(notice.ticket, notice.tag, Permit(*this, granted->seat, granted->waited));
  else
    waiters.on_shed(notice.ticket, notice.tag, std::get<Rejection>(notice.news));
}

}  // namespace classgate::admission
