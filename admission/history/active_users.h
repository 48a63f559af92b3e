#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace classgate::history {

// How many users were active at once: of each second of the last hour, and the most of each minute
// of the last day. 80 KiB. Seconds of Unix time that never go back. A value; one thread.
class ActiveUsers {
 public:
  // From `from` until before `until` so many were active.
  void note(std::int64_t from, std::int64_t until, std::uint64_t users) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(users, UINT32_MAX));
    for (std::int64_t at = std::max(from, until - seconds); at < until; ++at)
      seconds_[place(at, seconds)] = {at, count};
    for (std::int64_t minute = std::max(from / 60, until / 60 - minutes);
         minute <= (until - 1) / 60 && from < until; ++minute) {
      Count& here = minutes_[place(minute, minutes)];
      here = {minute, std::max(here.at == minute ? here.users : 0, count)};
    }
  }
  // The most from `from` until before `until`; 0: nobody, or nothing is known of that time.
  std::uint64_t most(std::int64_t from, std::int64_t until) const {
    std::uint64_t users = 0;
    if (until - from < 60) {
      for (std::int64_t at = from; at < until; ++at)
        if (const Count& here = seconds_[place(at, seconds)]; here.at == at)
          users = std::max<std::uint64_t>(users, here.users);
      return users;
    }
    const std::int64_t last = (until - 1) / 60;
    for (std::int64_t minute = std::max(from / 60, last - minutes); minute <= last; ++minute)
      if (const Count& here = minutes_[place(minute, minutes)]; here.at == minute)
        users = std::max<std::uint64_t>(users, here.users);
    return users;
  }

 private:
  static constexpr std::int64_t seconds = 3600;
  static constexpr std::int64_t minutes = 1440;
  struct Count {
    std::int64_t at = -1;
    std::uint32_t users = 0;
  };
  static std::size_t place(std::int64_t at, std::int64_t count) {
    return static_cast<std::size_t>(at % count);
  }
  std::array<Count, seconds> seconds_;
  std::array<Count, minutes> minutes_;
};

}  // namespace classgate::history
