#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <semaphore>
#include <thread>

namespace classgate::gateway {

// What is held for clients on all loops together, against client.memory: connections, TLS sessions,
// heads, bodies and answers, by what their buffers take and not by what is in them. Shared by all
// threads. How full it is decides what is done:
//
//   ample    < 75 %   nothing
//   tight    < 90 %   whoever has held most for longest gives way, until 65 %; less is held for
//                     slow readers; the holes between what is held go back to the system
//   scarce   < 100 %  and no connection is accepted
//   used_up           and what would grow is refused
class MemoryBudget {
 public:
  enum class Grade : std::uint8_t { ample, tight, scarce, used_up };

  explicit MemoryBudget(std::uint64_t limit) : limit_(limit) {}

  void set_limit(std::uint64_t bytes) { limit_.store(bytes, std::memory_order_relaxed); }
  std::uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }
  std::uint64_t used() const {
    const std::int64_t used = used_.load(std::memory_order_relaxed);
    return used > 0 ? static_cast<std::uint64_t>(used) : 0;
  }
  Grade grade() const;
  // What must go until it is enough; 0 while it is ample.
  std::uint64_t excess() const;
  void change(std::int64_t bytes);

  // A loop has nothing more to give, and it is not enough: the others should look.
  void ask_others();

 private:
  friend class MemoryKeeper;
  bool has_fallen(std::uint64_t used) const;

  std::atomic<std::int64_t> used_{0};
  std::atomic<std::uint64_t> limit_;
  std::atomic<std::uint64_t> peak_{0};  // since memory was given back
  std::atomic<bool> is_to_return_{false};
  std::atomic<bool> is_to_ask_{false};
  std::atomic<bool> is_tight_{false};  // and the keeper is at it
  std::counting_semaphore<> work_{0};
};

// One loop's part of it. Told of every change, it tells the budget in batches: a request that comes
// and goes costs no shared write. On the loop.
class MemoryCount {
 public:
  explicit MemoryCount(MemoryBudget& budget) : budget_(budget) {}

  void change(std::int64_t bytes) {
    untold_ += bytes;
    if (untold_ >= batch || untold_ <= -batch) [[unlikely]]
      tell();
  }
  // As of the last look() or batch.
  MemoryBudget::Grade grade() const { return grade_; }
  bool is_tight() const { return grade_ != MemoryBudget::Grade::ample; }
  bool is_used_up() const { return grade_ == MemoryBudget::Grade::used_up; }
  void look() { grade_ = budget_.grade(); }
  void tell();
  bool has_untold() const { return untold_ != 0; }
  MemoryBudget& budget() { return budget_; }

 private:
  static constexpr std::int64_t batch = 64 * 1024;

  MemoryBudget& budget_;
  std::int64_t untold_ = 0;
  MemoryBudget::Grade grade_ = MemoryBudget::Grade::ample;
};

// A thread that has what is no work for a loop: it gives memory back to the system, while it is
// tight and after a peak, and wakes loops that hold what others lack.
class MemoryKeeper {
 public:
  MemoryKeeper(MemoryBudget& budget, std::function<void()> wake_loops);
  ~MemoryKeeper();
  MemoryKeeper(const MemoryKeeper&) = delete;
  MemoryKeeper& operator=(const MemoryKeeper&) = delete;

 private:
  void run();
  void return_holes();
  void give_back();

  MemoryBudget& budget_;
  const std::function<void()> wake_loops_;
  std::binary_semaphore end_{0};
  std::atomic<bool> is_ending_{false};
  std::thread thread_;
};

// Once, before there are threads: what malloc keeps, and what it gives back by itself.
void tune_allocator();

// Once, when all is begun: pages of the program and its libraries that only the start has needed
// (relocations' tables, options, the conf's reader, certificates) are no part of this process any
// more; what is needed again comes back from the page cache (madvise(2), MADV_DONTNEED of a file
// that is mapped to be read).
void let_go_of_what_has_begun();

}  // namespace classgate::gateway
