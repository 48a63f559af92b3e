#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>

// Assertions that stay on in release builds: a broken invariant is our own mistake, and going on
// would make it somebody else's. Two kinds:
//   CLASSGATE_INVARIANT         about one connection or exchange: throws BrokenInvariant, which a
//                               loop contains (proxy/net/loop.h): that one is cut, the rest goes on
//   CLASSGATE_SHARED_INVARIANT  about the gate or the books, which everybody shares: ends the
//                               process with a message
// With CLASSGATE_FAULT_INJECTION (sanitizer and debug builds) a test may break any of the first
// kind: `break_invariant` is asked at each.

namespace classgate::conf {

// What was claimed and where; texts of static life.
class BrokenInvariant final : public std::exception {
 public:
  BrokenInvariant(const char* claim, const char* file, int line) noexcept {
    std::snprintf(text_, sizeof text_, "broken invariant: %s (%s:%d)", claim, file, line);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[256];
};

[[noreturn]] inline void end_process(const char* claim, const char* file, int line) noexcept {
  std::fprintf(stderr, "classgate: broken invariant: %s (%s:%d)\n", claim, file, line);
  std::abort();
}

#ifdef CLASSGATE_FAULT_INJECTION
// Null, or a test's: whether the claim at this place is to fail now. Called on any thread.
inline std::atomic<bool (*)(const char* claim, const char* file, int line)> break_invariant =
    nullptr;
inline bool is_to_break(const char* claim, const char* file, int line) {
  const auto breaks = break_invariant.load();
  return breaks != nullptr && breaks(claim, file, line);
}
#define CLASSGATE_BREAKS(claim) ::classgate::conf::is_to_break(#claim, __FILE__, __LINE__)
#else
#define CLASSGATE_BREAKS(claim) false
#endif

}  // namespace classgate::conf

#define CLASSGATE_INVARIANT(claim)                                          \
  do {                                                                      \
    if (!(claim) || CLASSGATE_BREAKS(claim)) [[unlikely]]                   \
      throw ::classgate::conf::BrokenInvariant(#claim, __FILE__, __LINE__); \
  } while (false)

#define CLASSGATE_SHARED_INVARIANT(claim)                         \
  do {                                                            \
    if (!(claim)) [[unlikely]]                                    \
      ::classgate::conf::end_process(#claim, __FILE__, __LINE__); \
  } while (false)
