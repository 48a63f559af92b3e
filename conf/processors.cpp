#include "conf/processors.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>

namespace classgate::conf {
namespace {

namespace fs = std::filesystem;

std::optional<double> first_number(const fs::path& file) {
  std::ifstream in(file);
  double number = 0;
  if (!(in >> number)) return std::nullopt;
  return number;
}

// "max 100000", or "150000 100000"; in microseconds.
std::optional<double> quota_of_v2(const fs::path& folder) {
  std::ifstream in(folder / "cpu.max");
  double quota = 0;
  double period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// -1: none.
std::optional<double> quota_of_v1(const fs::path& folder) {
  const auto quota = first_number(folder / "cpu.cfs_quota_us");
  const auto period = first_number(folder / "cpu.cfs_period_us");
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return *quota / *period;
}

// The least from `path` up to the root of the hierarchy. In a container the path may be the host's,
// of which only the root is to be seen.
template <typename QuotaOf>
void look_upwards(const fs::path& root, const std::string& path, QuotaOf quota_of,
                  std::optional<double>& least) {
  fs::path relative = fs::path(path).relative_path();
  for (;;) {
    const auto quota = quota_of(root / relative);
    if (quota && (!least || *quota < *least)) least = quota;
    if (relative.empty()) return;
    relative = relative.parent_path();
  }
}

bool has_cpu_controller(const std::string& controllers) {
  std::istringstream in(controllers);
  for (std::string word; std::getline(in, word, ',');)
    if (word == "cpu") return true;
  return false;
}

}  // namespace

unsigned processors_of_quota(const fs::path& membership, const fs::path& hierarchy) {
  std::ifstream in(membership);
  std::optional<double> least;
  for (std::string line; std::getline(in, line);) {  // number:controllers:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      look_upwards(hierarchy, path, quota_of_v2, least);
    } else if (has_cpu_controller(controllers)) {
      look_upwards(hierarchy / controllers, path, quota_of_v1, least);
      look_upwards(hierarchy / "cpu", path, quota_of_v1, least);
    }
  }
  return least ? static_cast<unsigned>(std::clamp(std::ceil(*least), 1.0, 1e6)) : 0;
}

static unsigned look_for_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // More processors than the set has room for: what the library counts.
  const unsigned by_affinity = ::sched_getaffinity(0, sizeof set, &set) == 0
                                   ? static_cast<unsigned>(CPU_COUNT(&set))
                                   : std::thread::hardware_concurrency();
  const unsigned by_quota = processors_of_quota("/proc/self/cgroup", "/sys/fs/cgroup");
  return std::max(by_quota == 0 ? by_affinity : std::min(by_affinity, by_quota), 1U);
}

// As it was when it was asked first: the number of loops is settled at the start.
unsigned usable_processors() {
  static const unsigned found = look_for_processors();
  return found;
}

}  // namespace classgate::conf
