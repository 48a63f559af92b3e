#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "admission/history/use.h"
#include "conf/reason.h"
#include "gateway/history/usage_names.h"

namespace classgate::gateway {

// Wakes the history's thread before its time: it sleeps for long while there is nothing to count.
// Loops ring it without a lock, so a ring may come too early and be missed: the thread looks by
// itself some seconds later.
class UsageBell {
 public:
  void ring() {
    is_awaited_.store(false, std::memory_order_relaxed);
    wake_.notify_one();
  }
  bool is_awaited() const { return is_awaited_.load(std::memory_order_relaxed); }

  // On the history's thread, with the lock that guards what `is_over` reads. `awaits_use`: whatever
  // ends from now on is to wake it; else only a journal that is half full.
  template <typename IsOver>
  void wait(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds most, bool awaits_use,
            IsOver is_over) {
    is_awaited_.store(awaits_use, std::memory_order_relaxed);
    if (!is_over()) wake_.wait_for(lock, most);
    is_awaited_.store(false, std::memory_order_relaxed);
  }
  // With a question, or the end.
  void notify() { wake_.notify_one(); }

 private:
  std::atomic<bool> is_awaited_{false};
  std::condition_variable wake_;
};

// What one loop tells the history of the requests that ended there: a ring that the loop writes
// and the history's thread empties, a few times a second while there is something, without a lock
// and without memory asked for. Where the ring is full (the history's thread hangs) requests are
// counted in sums only: how they ended, for which reason, with which status and cost and how many
// bytes. So the sums are whole whatever happens; to which client, route and plan such a request
// belonged is then not told. One loop writes, one thread reads.
class UsageJournal {
 public:
  static constexpr std::size_t room = 8'192;

  // Sums of those that found no room; they only grow, one by one: what is read in the middle of a
  // request is made up for by the next look.
  template <typename Number>
  struct SumsOf {
    std::array<Number, history::end_count> ends{};
    std::array<std::array<Number, history::end_count>, conf::reason_count> reasons{};
    std::array<std::array<Number, history::end_count>, 6> statuses{};  // by class; 0: none
    Number cost{};
    Number bytes_in{};
    Number bytes_out{};
    bool operator==(const SumsOf&) const = default;
  };
  using Sums = SumsOf<std::uint64_t>;

  explicit UsageJournal(UsageBell& bell) : bell_(bell) {}

  // On the loop.
  void add(const history::Use& use) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_seen_ >= room) [[unlikely]] {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head - tail_seen_ >= room) return add_to_sums(use);
    }
    place(head) = use;
    head_.store(head + 1, std::memory_order_release);
    if ((head + 1) % (room / 2) == 0 || bell_.is_awaited()) [[unlikely]]
      bell_.ring();
  }

  // On the history's thread: all that there is, in order. Returns how many.
  template <typename Visit>
  std::size_t drain(Visit visit) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    const std::size_t head = head_.load(std::memory_order_acquire);
    for (std::size_t i = tail; i != head; ++i) visit(std::as_const(place(i)));
    tail_.store(head, std::memory_order_release);
    return head - tail;
  }
  // Likewise.
  Sums sums() const;

 private:
  void add_to_sums(const history::Use& use);
  // What lies there before it is written is never read (Use is an implicit-lifetime type).
  history::Use& place(std::size_t number) {
    return reinterpret_cast<history::Use*>(ring_.get())[number % room];
  }

  UsageBell& bell_;
  // Bytes, so that nothing touches them before they are used: pages that are not cost nothing.
  const std::unique_ptr<std::byte[]> ring_ =
      std::make_unique_for_overwrite<std::byte[]>(room * sizeof(history::Use));
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t tail_seen_ = 0;  // the loop's
  alignas(64) std::atomic<std::size_t> tail_{0};
  SumsOf<std::atomic<std::uint64_t>> sums_;  // the loop writes
};

// Of all loops. Owned by what they share.
struct UsageJournals {
  // None: nobody keeps a history.
  explicit UsageJournals(std::size_t loops) {
    for (std::size_t i = 0; i < loops; ++i)
      journals.push_back(std::make_unique<UsageJournal>(bell));
  }
  UsageJournal* of_loop(std::size_t number) const {
    return number < journals.size() ? journals[number].get() : nullptr;
  }

  UsageNames names;
  UsageBell bell;
  std::vector<std::unique_ptr<UsageJournal>> journals;  // by the loops' numbers
};

}  // namespace classgate::gateway
