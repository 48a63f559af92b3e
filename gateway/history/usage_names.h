#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::gateway {

// Numbers for the names of routes and plans, the same for all loops and for good: a reload adds
// those that are new. Number 0 is "-": no route, everybody's plan. Any thread; loops ask only when
// they adopt a conf.
class UsageNames {
 public:
  static constexpr std::size_t most = 8192;  // then they share the last one

  std::uint16_t number_of(std::string_view name) {
    const std::lock_guard lock(mutex_);
    const auto found = std::ranges::find(names_, name);
    if (found != names_.end()) return static_cast<std::uint16_t>(found - names_.begin());
    if (names_.size() + 1 < most)
      names_.emplace_back(name);
    else if (names_.size() + 1 == most)
      names_.emplace_back("(others)");
    return static_cast<std::uint16_t>(names_.size() - 1);
  }
  std::string name_of(std::uint16_t number) const {
    const std::lock_guard lock(mutex_);
    return number < names_.size() ? names_[number] : "-";
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> names_{"-"};
};

}  // namespace classgate::gateway
