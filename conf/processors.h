#pragma once

#include <filesystem>

namespace classgate::conf {

// How many processors this process may use at once, 1 or more: those of its affinity
// (sched_getaffinity(2)), or fewer where the quota of its cgroup, or of one above it, is less: the
// next whole number.
unsigned usable_processors();

// The quota alone; 0: none. `membership` is /proc/self/cgroup, `hierarchy` /sys/fs/cgroup: version
// 2 (cpu.max), 1 (cpu.cfs_quota_us, cpu.cfs_period_us) or both (cgroups(7)).
unsigned processors_of_quota(const std::filesystem::path& membership,
                             const std::filesystem::path& hierarchy);

}  // namespace classgate::conf
