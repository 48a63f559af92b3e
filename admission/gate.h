#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "admission/controller.h"
#include "admission/explain.h"
#include "admission/pattern_memo.h"
#include "admission/shadow.h"
#include "admission/top_clients.h"

namespace classgate::admission {

class Gate;
struct Memo;

// The right to occupy one worker. Destroying it gives the worker back, whatever path led there;
// finish() says how it went. Move-only; the Gate must outlive it. May be destroyed on any thread.
class [[nodiscard]] Permit {
 public:
  Permit() = default;
  Permit(Gate& gate, const Seat& seat, Duration waited)
      : gate_(&gate), seat_(seat), waited_(waited) {}
  Permit(Permit&& other) noexcept { swap(other); }
  Permit& operator=(Permit&& other) noexcept {
    Permit(std::move(other)).swap(*this);
    return *this;
  }
  ~Permit();

  explicit operator bool() const { return gate_ != nullptr; }
  Time since() const { return seat_.since; }
  Duration waited() const { return waited_; }
  // What would have refused it, but for [observe].
  std::optional<conf::Reason> observed() const { return seat_.observed; }
  void finish(const Outcome& outcome, Time now);
  // From now on the worker works for nobody (its client left, or got its 504); shown in health.
  void orphan();

 private:
  void swap(Permit& other) noexcept {
    std::swap(gate_, other.gate_);
    std::swap(seat_, other.seat_);
    std::swap(waited_, other.waited_);
    std::swap(is_orphan_, other.is_orphan_);
  }
  Gate* gate_ = nullptr;
  Seat seat_;
  Duration waited_{};
  bool is_orphan_ = false;
};

// A place in the queue. Destroying it leaves the line. Move-only.
class [[nodiscard]] Place {
 public:
  Place() = default;
  Place(Gate& gate, Ticket ticket, std::uint32_t number)
      : gate_(&gate), ticket_(ticket), number_(number) {}
  Place(Place&& other) noexcept
      : gate_(std::exchange(other.gate_, nullptr)),
        ticket_(other.ticket_),
        number_(other.number_) {}
  Place& operator=(Place&& other) noexcept {
    Place moved(std::move(other));
    std::swap(gate_, moved.gate_);
    std::swap(ticket_, moved.ticket_);
    std::swap(number_, moved.number_);
    return *this;
  }
  ~Place();

  explicit operator bool() const { return gate_ != nullptr; }
  Ticket ticket() const { return ticket_; }
  // Its place in the line when it came there, 1 the first, as far as could be told.
  std::uint32_t number() const { return number_; }
  // False when the news of its turn is already on the way: wait for that.
  bool leave(Departure why, Time now);
  // The news has come: there is nothing to leave any more.
  void release() { gate_ = nullptr; }

 private:
  Gate* gate_ = nullptr;
  Ticket ticket_;
  std::uint32_t number_ = 0;
};

// How news reaches the waiters of one loop. Called on any thread, with no lock held.
class Waiters {
 public:
  virtual void on_granted(Ticket ticket, std::uint32_t tag, Permit permit) = 0;
  virtual void on_shed(Ticket ticket, std::uint32_t tag, const Rejection& rejection) = 0;

 protected:
  ~Waiters() = default;
};

// The Controller shared by several loops behind one lock. With the lock held only data is moved.
// A seat granted to a waiter travels as a Permit to the waiter's loop; if the waiter has left
// meanwhile, dropping the Permit returns the seat, so that this race needs no second lock. Every
// method may be called on any thread.
class Gate {
 public:
  using Answer = std::variant<Permit, Place, Rejection>;

  // As the Controller has it.
  Gate(const conf::AdmissionSettings& settings, const Ids& ids)
      : controller_(settings, ids),
        shadow_(shadow_of(settings, ids)),
        shadow_settings_(settings.shadow) {}
  explicit Gate(const conf::AdmissionSettings& settings) : Gate(settings, Ids(settings)) {}
  // Asserts that every seat and every place has come home: what comes later would find nothing.
  ~Gate();

  // Names the receiver of news for Arrival::owner == its index; before any request arrives.
  std::uint32_t attach(Waiters& waiters);

  std::optional<Rejection> screen(Arrival& arrival, Time now);
  std::optional<Rejection> screen(Arrival&& arrival, Time now) { return screen(arrival, now); }
  Answer arrive(const Arrival& arrival, Time now);
  // screen() and arrive() in one step, for a request whose body came with its head.
  Answer enter(Arrival& arrival, Time now);
  Answer enter(Arrival&& arrival, Time now) { return enter(arrival, now); }

  // As Controller::settle().
  void settle(const Arrival& arrival, Time now);
  void refuse(conf::Reason reason, Time now);
  void abandon();
  void drain();
  // As Controller::reconfigure(); the shadow begins anew.
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);
  // As Controller::set_ceiling(); who may go in now hears of it before this returns.
  void set_ceiling(Ceilings::Source source, std::uint32_t workers, Time now);
  void set_kept_elsewhere(std::uint32_t workers, Time now);
  // --- Workers that several gateways have together. ---
  // The time as it is in this moment. Who was stopped for a while (SIGSTOP, a paused machine) finds
  // a turn of its loop begun long ago, and must not begin on a loan that has ended since.
  using Clock = Time (*)();
  // So many of them until a time, and then so many, until the next loan.
  struct Loan {
    std::uint32_t workers = 0;
    Time until{};
    std::uint32_t then = 0;
  };
  // From the first one on no worker is given without a look at the clock.
  void lend(const Loan& loan, Clock clock);
  // One that has a worker is about to begin; asked once more, because what gave it the worker may
  // be long ago. False: others may have got that worker meanwhile.
  bool may_begin() {
    const Clock clock = clock_.load(std::memory_order_acquire);
    return clock == nullptr || clock() < loan_ends_.load(std::memory_order_relaxed) ||
           has_no_more_than_its_own();
  }
  Wanted wanted() const;
  // As Limits::take_uses() and Limits::lend(), for the rates.
  std::vector<Limits::RateUse> take_rate_uses(Time now);
  std::uint32_t clients_asking() const;  // lately, for what all share
  void lend_rates(double part, std::span<const Limits::RateLoan> loans, Time now);

  Snapshot snapshot(Time now) const;
  ClientTable::Counts client_counts() const;  // of the snapshot these alone
  // What enter() would say to this request; changes nothing.
  Explanation explain(const Arrival& arrival, Time now) const;
  // The Retry-After of a request that is refused for want of a worker; its client, or 0.
  Duration return_time(std::uint64_t client, Time now);
  // The token buckets that apply to a request.
  Limits::Buckets allowances(const Arrival& arrival, Time now) const;
  // The clients that have most, at most so many. The lock is not held for the whole table: each
  // client is shown as it was at some instant, not all of them at the same one.
  std::vector<ClientState> top_clients(std::size_t most, Time now) const;
  bool has_waiters() const;
  // What a process that takes over from this one should know (memo.h). The lock is not held for the
  // whole table of clients.
  Memo learnt(Time now) const;
  // Goes on from what another one had learnt. Before any request arrives.
  void take_up(const Memo& memo);
  // What is usual for each client, likewise; it may be taken up at any time, by who knows nothing
  // of them. A client goes by the upper half of its id.
  PatternMemo patterns(Time now) const;
  void take_up(const PatternMemo& memo, Time now);
  std::size_t forget_patterns(std::uint32_t upper_half);
  Time patterns_seen(Time now) const;  // that anybody came last

 private:
  friend class Permit;
  friend class Place;
  using Lock = std::unique_lock<std::mutex>;

  static std::unique_ptr<Shadow> shadow_of(const conf::AdmissionSettings& settings, const Ids& ids);
  void tell_shadow(const Arrival& arrival, const Rejection* rejection, Time now);
  void finish(const Outcome& outcome, const Seat& seat, bool is_orphan, Time told);
  bool leave(Ticket ticket, Departure why, Time now);
  void orphan();
  Answer answer(const Verdict& verdict, Lock& lock, Time now);
  void spread_news(Lock& lock, Time now);
  // With the lock held, before anybody may be let in.
  void heed_loan() {
    if (has_loan_) [[unlikely]]
      end_loan_in_time();
  }
  void end_loan_in_time();
  bool has_no_more_than_its_own();
  void tell(const Notice& notice);

  // A Permit that is dropped brings no time with it: it counts as given back at the latest time
  // with which anybody has called.
  Time latest(Time now) { return latest_ = std::max(latest_, now); }

  mutable std::mutex mutex_;
  Controller controller_;
  std::unique_ptr<Shadow> shadow_;  // null: nobody wants one
  std::shared_ptr<const conf::AdmissionSettings> shadow_settings_;
  Time latest_{};
  std::vector<Waiters*> waiters_;  // fixed once requests arrive
  bool has_loan_ = false;          // that has not ended
  std::uint32_t after_loan_ = 0;
  std::atomic<Time> loan_ends_{};
  std::atomic<Clock> clock_{nullptr};  // null: nothing is shared
};

}  // namespace classgate::admission
