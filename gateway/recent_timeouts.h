#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "admission/time.h"
#include "gateway/clients/sip_hash.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// The requests that the service did not answer in time, for a while (upstream.repeat_window): many
// a client's library asks the same again after a 504, whatever it is told, and the service would
// work in vain once more. Holds hashes only, whose key is of this process, and no more than the
// newest of them. Any thread; the lock is taken for a request that may be such a repeat, or has
// just become one's first.
class RecentTimeouts {
 public:
  static constexpr std::size_t sets = 1024;
  static constexpr std::size_t ways = 4;

  explicit RecentTimeouts(const HashKey& key) : key_(key) {}

  // One client's request as its head tells it: method, target, and the fields, but for those that
  // are of one attempt or one connection. Never 0.
  std::uint64_t head_of(std::uint64_t client, std::string_view address, std::string_view target,
                        const proxy::wire::Head& head) const;

  void add(std::uint64_t head, std::string_view body, admission::Time until);
  // Whether one with such a head is here; false is cheap.
  bool may_have(std::uint64_t head, admission::Time now) const;
  bool has(std::uint64_t head, std::string_view body, admission::Time now) const;

 private:
  struct Entry {
    std::uint64_t head = 0;  // 0: none
    std::uint64_t body = 0;
    admission::Time until{};
  };
  using Set = std::array<Entry, ways>;
  template <typename Is>
  bool has_one(std::uint64_t head, admission::Time now, Is is) const;

  HashKey key_;
  std::atomic<bool> is_empty_{true};
  mutable std::mutex mutex_;
  std::vector<Set> entries_;  // guarded; none before there was a timeout
};

}  // namespace classgate::gateway
