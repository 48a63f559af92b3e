#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace classgate::admission {

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

// For memory of a table as below: for the pages that lie in it from end to end.
inline void ask_for_huge_pages(void* memory, std::size_t bytes) {
  const auto begin =
      (reinterpret_cast<std::uintptr_t>(memory) + huge_page - 1) / huge_page * huge_page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / huge_page * huge_page;
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
    if (!is_large(count)) return std::allocator<T>().allocate(count);
    if (count > static_cast<std::size_t>(-1) / sizeof(T)) throw std::bad_array_new_length();
    void* const memory = ::operator new(count * sizeof(T), alignment);
    ask_for_huge_pages(memory, count * sizeof(T));
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    is_large(count) ? ::operator delete(memory, alignment)
                    : std::allocator<T>().deallocate(memory, count);
  }
  bool operator==(const HugePages&) const = default;

 private:
  // Else a table of some megabytes would have one such page, or none, and pages of 4 KiB before and
  // behind it.
  static constexpr std::align_val_t alignment{huge_page};
  static bool is_large(std::size_t count) { return count >= huge_page / sizeof(T); }
};

}  // namespace classgate::admission
