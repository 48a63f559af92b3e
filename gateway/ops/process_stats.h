#pragma once

#include <cstdint>

namespace classgate::gateway {

// What the kernel says about this process (proc(5)); a number that cannot be read is 0.
struct ProcessStats {
  double cpu_seconds = 0;
  double start_time = 0;  // seconds since 1970
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};
ProcessStats read_process_stats();

}  // namespace classgate::gateway
