#pragma once

#include <cstdint>

namespace classgate::connection_test {

// Whose operator new may fail: the gateway's, while a world plays; not that of what drives it. The
// program that makes it fail (allocation_test.cpp) replaces operator new; in others this does
// nothing.
struct Allocations {
  static inline bool are_the_gateways = false;
  static inline std::int64_t seen = 0;       // of the gateway
  static inline std::int64_t first_bad = 0;  // this one fails, by `seen`; 0: none
  static inline std::int64_t bad_count = 1;  // and so many in all
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
