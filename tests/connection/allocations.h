#pragma once

#include <cstdint>

namespace classgate::connection_test {

// Whose allocations may fail: the gateway's, while a world plays; not those of what drives it. The
// programs that make them fail (allocation_test.cpp, malloc_test.cpp) stand in for operator new, or
// for what libevent and OpenSSL allocate with; in others this does nothing.
struct Allocations {
  static inline bool are_the_gateways = false;
  static inline std::int64_t seen = 0;       // of the gateway
  static inline std::int64_t first_bad = 0;  // this one fails, by `seen`; 0: none
  static inline std::int64_t bad_count = 1;  // and so many in all

  // Whoever allocates asks before each.
  static bool next_is_bad() {
    if (!are_the_gateways) return false;
    const std::int64_t number = ++seen - first_bad;
    return first_bad != 0 && number >= 0 && number < bad_count;
  }
};

// The code from here to the end of the block is, or is not, the gateway's.
class AllocationsOf {
 public:
  explicit AllocationsOf(bool gateway) : before_(Allocations::are_the_gateways) {
    Allocations::are_the_gateways = gateway;
  }
  ~AllocationsOf() { Allocations::are_the_gateways = before_; }
  AllocationsOf(const AllocationsOf&) = delete;
  AllocationsOf& operator=(const AllocationsOf&) = delete;

 private:
  const bool before_;
};

}  // namespace classgate::connection_test
