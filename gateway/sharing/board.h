#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::gateway {

// What went wrong with the ledger's engine, as far as an operator has something else to do about
// it.
enum class SharingFailure : std::uint8_t {
  unreachable,  // no connection, or it broke
  slow,         // no answer in time
  refused,      // user or password (NOAUTH, WRONGPASS), or what the user may do (NOPERM)
  read_only,    // a replica (READONLY), or one of a cluster that has not the key (MOVED)
  busy,         // it loads its memory (LOADING), runs a long script (BUSY), has no master
  full,         // it has no memory left (OOM), or the ledger no place (members_max)
  malformed,    // an answer that is none, or an error that says nothing of these
};
constexpr std::size_t sharing_failure_count = 7;
constexpr std::array<std::string_view, sharing_failure_count> sharing_failure_words{
    "unreachable", "slow", "refused", "read_only", "busy", "full", "malformed"};
constexpr std::string_view word_of(SharingFailure kind) {
  return sharing_failure_words[static_cast<std::size_t>(kind)];
}

// How it goes with the workers and rates that several gateways have together.
struct SharingHealth {
  enum class State : std::uint8_t {
    off,    // nothing is shared: the conf does not want it
    ok,     // it has its part by the ledger, beside others
    alone,  // likewise, and there is nobody else
    away,   // it has heard nothing of the ledger for as long as its lease is
  };
  static constexpr std::array<std::string_view, 4> state_words{"off", "ok", "alone", "away"};

  State state = State::off;
  std::string name{};                             // of this gateway, as the ledger has it
  std::string server{};                           // that was asked last
  std::uint32_t workers = 0;                      // of the conf: of all together
  std::uint32_t seats = 0;                        // it may have in use
  std::uint32_t floor = 0;                        // it may have when it hears nothing
  std::uint32_t members = 0;                      // gateways there are
  std::uint64_t exchanges = 0;                    // that were answered
  std::chrono::microseconds took{};               // the last of them
  std::chrono::steady_clock::time_point heard{};  // when; zero: never
  std::array<std::uint64_t, sharing_failure_count> failures{};
  std::string problem{};  // what stands in the way now, one line; empty: nothing
  struct Rate {
    std::string route{};  // its path; empty: the rate for all
    double rate = 0;      // a second, of all together: the least that anybody's conf says
    double of_conf = 0;   // that this one's says
    double here = 0;      // of `rate`, what this gateway may use now
  };
  std::vector<Rate> rates{};  // that are shared: the first sharing::rates_max
  // All that the ledger knows, about once a second.
  struct Gateway {
    std::string name{};
    std::uint32_t seats = 0;  // that it has, or that are kept for it
    std::uint32_t in_use = 0;
    std::uint32_t floor = 0;
    std::uint32_t workers = 0;          // of its conf
    std::chrono::milliseconds lease{};  // that is left; below zero: for so long it is silent
  };
  std::vector<Gateway> gateways{};
  std::uint32_t kept = 0;  // workers for such as nobody sees any more: silent ones, and forgotten
};
constexpr std::string_view word_of(SharingHealth::State state) {
  return SharingHealth::state_words[static_cast<std::size_t>(state)];
}

// Where it is told. One writer; read on any thread, which copies under the lock and nothing else.
class SharingBoard {
 public:
  void tell(const SharingHealth& health) {
    const std::lock_guard lock(mutex_);
    health_ = health;
  }
  SharingHealth health() const {
    const std::lock_guard lock(mutex_);
    return health_;
  }

 private:
  mutable std::mutex mutex_;
  SharingHealth health_;
};

}  // namespace classgate::gateway
