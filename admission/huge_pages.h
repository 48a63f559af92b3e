#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace classgate::admission {

// For memory of a table as below: for the pages that lie in it from end to end.
inline void ask_for_huge_pages(void* memory, std::size_t bytes) {
  constexpr std::size_t page = std::size_t{2} << 20;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

// The allocator of large tables that are looked at in random places. With pages of 4 KiB every look
// at a table beyond some megabytes misses in the TLB too, which costs more than the memory itself;
// so the kernel is asked for pages of 2 MiB (madvise(2), MADV_HUGEPAGE). Without them nothing is
// lost but time, so that its answer does not matter.
template <typename T>
class HugePages {
 public:
  using value_type = T;
  HugePages() = default;
  template <typename Other>
  explicit(false) HugePages(const HugePages<Other>&) {}

  T* allocate(std::size_t count) {
    T* const memory = std::allocator<T>().allocate(count);
    ask_for_huge_pages(memory, count * sizeof(T));
    return memory;
  }
  void deallocate(T* memory, std::size_t count) { std::allocator<T>().deallocate(memory, count); }
  bool operator==(const HugePages&) const = default;
};

}  // namespace classgate::admission
