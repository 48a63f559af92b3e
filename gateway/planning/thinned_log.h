#pragma once

#include <cstdint>
#include <string>

#include "conf/settings.h"

namespace classgate::planning {

// Whether a log of our own lacks lines of accepted requests, as far as the conf and it tell.
class ThinnedLog {
 public:
  explicit ThinnedLog(const conf::LogSettings& settings)
      : sample_(settings.sample), lines_max_(settings.access_lines_max) {}
  void add(std::int64_t time_ns);  // of a line
  // Why; empty: it does not seem to.
  std::string why() const;

 private:
  double sample_;
  std::uint64_t lines_max_;
  std::int64_t second_ = 0;  // that of the latest lines, and how many these are
  std::uint64_t lines_ = 0;
  std::uint64_t full_seconds_ = 0;
};

}  // namespace classgate::planning
