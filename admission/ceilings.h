#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <ranges>

namespace classgate::admission {

// How many workers may be in force at once, as several sources have it: none knows of the others,
// and the least of what they say holds. Zero is a ceiling too: nobody goes in, who comes waits.
// Owned by the Line. Not thread-safe; O(sources) to set, nothing to read.
class Ceilings {
 public:
  enum class Source : std::uint8_t {
    settings,  // admission.workers: Controller::reconfigure() sets it
    upstream,  // places in the servers that are up (upstream.requests_per_server)
    handover,  // what we leave to the other process of an upgrade (gateway/ops/upgrade.cpp)
    sharing,   // what this gateway has of those that several have together (Gate::lend())
  };
  static constexpr std::uint32_t none = static_cast<std::uint32_t>(-1);

  void set(Source source, std::uint32_t workers) {
    by_source_[static_cast<std::size_t>(source)] = workers;
    least_ = std::ranges::min(by_source_ | std::views::take(own_source_count));
  }
  // But for what is shared.
  std::uint32_t least() const { return least_; }

  // So many of the workers in force belong to another process that serves the same service
  // (upgrade).
  void set_kept_elsewhere(std::uint32_t workers) { kept_elsewhere_ = workers; }
  // How many workers are in force in this process, when so many are wanted. What it has of shared
  // ones is its own: the other process of an upgrade has a part of its own.
  std::uint32_t share_of(std::uint32_t workers) const {
    const std::uint32_t most = std::min(workers, least_);
    return std::min(most - std::min(most, kept_elsewhere_),
                    by_source_[static_cast<std::size_t>(Source::sharing)]);
  }

 private:
  static constexpr std::size_t own_source_count = 3;
  std::array<std::uint32_t, own_source_count + 1> by_source_{none, none, none, none};
  std::uint32_t least_ = none;
  std::uint32_t kept_elsewhere_ = 0;
};

}  // namespace classgate::admission
