#include "gateway/memory_budget.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace classgate::gateway {
namespace {

constexpr std::uint64_t tight_percent = 75;
constexpr std::uint64_t enough_percent = 65;
constexpr std::uint64_t scarce_percent = 90;
constexpr std::uint64_t worth_returning = 8 << 20;  // less is kept for the next peak
constexpr std::chrono::seconds between_returns{1};
constexpr std::chrono::milliseconds between_holes{200};

// Of the program or a library (dl_iterate_phdr(3)): what is mapped to be read or run, never
// written. One with relocations in its text has written there: it stays. Nothing is lost where the
// kernel will not.
int give_back_what_is_read(dl_phdr_info* object, std::size_t, void*) {
  const std::span headers(object->dlpi_phdr, object->dlpi_phnum);
  for (const auto& header : headers) {
    if (header.p_type != PT_DYNAMIC) continue;
    const auto* entry = reinterpret_cast<const ElfW(Dyn)*>(object->dlpi_addr + header.p_vaddr);
    for (; entry->d_tag != DT_NULL; ++entry)
      if (entry->d_tag == DT_TEXTREL ||
          (entry->d_tag == DT_FLAGS && (entry->d_un.d_val & DF_TEXTREL) != 0))
        return 0;
  }
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const auto& header : headers) {
    if (header.p_type != PT_LOAD || (header.p_flags & PF_W) != 0) continue;
    const std::uintptr_t begin = (object->dlpi_addr + header.p_vaddr) / page * page;
    const std::uintptr_t end = object->dlpi_addr + header.p_vaddr + header.p_memsz;
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}

std::uint64_t percent_of(std::uint64_t whole, std::uint64_t percent) {
  return whole / 100 * percent;
}

}  // namespace

MemoryBudget::Grade MemoryBudget::grade() const {
  const std::uint64_t now = used(), most = limit();
  if (now < percent_of(most, tight_percent)) [[likely]]
    return Grade::ample;
  if (now < percent_of(most, scarce_percent)) return Grade::tight;
  return now < most ? Grade::scarce : Grade::used_up;
}

std::uint64_t MemoryBudget::excess() const {
  const std::uint64_t now = used(), enough = percent_of(limit(), enough_percent);
  return grade() == Grade::ample || now < enough ? 0 : now - enough;
}

void MemoryBudget::change(std::int64_t bytes) {
  used_.fetch_add(bytes, std::memory_order_relaxed);
  const std::uint64_t now = used();
  if (now > peak_.load(std::memory_order_relaxed)) peak_.store(now, std::memory_order_relaxed);
  if (has_fallen(now) && !is_to_return_.exchange(true)) work_.release();
  if (bytes > 0 && now >= percent_of(limit(), tight_percent)) [[unlikely]]
    if (!is_tight_.exchange(true)) work_.release();
}

bool MemoryBudget::has_fallen(std::uint64_t now) const {
  const std::uint64_t peak = peak_.load(std::memory_order_relaxed);
  return peak >= worth_returning && now < peak / 2 && peak - now >= worth_returning;
}

void MemoryBudget::ask_others() {
  if (!is_to_ask_.exchange(true)) work_.release();
}

void MemoryCount::tell() {
  budget_.change(std::exchange(untold_, 0));
  look();
}

MemoryKeeper::MemoryKeeper(MemoryBudget& budget, std::function<void()> wake_loops)
    : budget_(budget), wake_loops_(std::move(wake_loops)), thread_([this] { run(); }) {}

MemoryKeeper::~MemoryKeeper() {
  is_ending_ = true;
  end_.release();
  budget_.work_.release();
  thread_.join();
}

void MemoryKeeper::run() {
  ::pthread_setname_np(::pthread_self(), "memory");
  for (;;) {
    budget_.work_.acquire();
    if (is_ending_) return;
    if (budget_.is_to_ask_.exchange(false)) wake_loops_();
    if (budget_.is_tight_) return_holes();
    if (budget_.is_to_return_) give_back();
  }
}

// What has grown, or gave way, has left holes among what others hold: they take memory, a third as
// much as what is held, and nobody counts them.
void MemoryKeeper::return_holes() {
  while (!is_ending_ && budget_.grade() != MemoryBudget::Grade::ample) {
    ::malloc_trim(0);
    if (end_.try_acquire_for(between_holes)) return;
    if (budget_.is_to_ask_.exchange(false)) wake_loops_();
  }
  budget_.is_tight_ = false;
}

// What falls on while it is at it is given back too, a second later.
void MemoryKeeper::give_back() {
  for (std::uint64_t before = 0; !is_ending_;) {
    before = budget_.used();
    ::malloc_trim(0);
    if (end_.try_acquire_for(between_returns)) return;
    if (budget_.is_to_ask_.exchange(false)) wake_loops_();
    if (budget_.used() + worth_returning / 8 >= before) break;
  }
  budget_.peak_ = budget_.used();
  budget_.is_to_return_ = false;
}

// The threshold from which a buffer is a mapping of its own, which goes back with it, would grow
// with each that is freed, to 32 MiB: then nothing goes back.
void tune_allocator() {
  ::mallopt(M_MMAP_THRESHOLD, 256 * 1024);
  ::mallopt(M_TRIM_THRESHOLD, 2 * 1024 * 1024);
}

void let_go_of_what_has_begun() { ::dl_iterate_phdr(give_back_what_is_read, nullptr); }

}  // namespace classgate::gateway
