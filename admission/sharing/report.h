#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "conf/settings.h"

namespace classgate::sharing {

// What gateways before one service say to each other, by way of a ledger that all can reach. Seats
// are workers of the service: who holds one may have a request there.

// As the ledger's engine tells it, since an epoch of its own: the only clock that all share.
using LedgerTime = std::chrono::microseconds;

constexpr std::size_t priorities = conf::priority_count;

// What one gateway could use, by priority, the best first.
struct Demand {
  std::array<std::uint32_t, priorities> wanted{};  // seats: in use, and waited for
  // How many clients these are of, by their weights: seats are divided as if all came to one.
  std::array<std::uint32_t, priorities> weight{};
};

// Of one gateway, about every 50 to 100 ms.
struct Report {
  std::string member;        // a name for each process: who starts anew is another one
  std::uint64_t number = 0;  // from 1 on: one that comes after a newer one is not heard
  std::string ledger;        // as the last answer had it; empty: it has none yet
  // When it was sent, as far as the last answer and the time since tell; zero: there was none. One
  // that has been under way for longer than a lease is not heard.
  LedgerTime sent{};
  // A promise, from before this was sent until the answer is there: it has no more in use.
  std::uint32_t cap = 0;
  std::uint32_t floor = 0;                      // as the last answer had it
  std::uint32_t floors = 0;                     // likewise
  std::uint32_t members = 0;                    // likewise
  std::uint32_t in_use = 0;                     // at most `cap`
  std::uint32_t workers = 0;                    // of its conf: for all together
  std::chrono::microseconds request_timeout{};  // what it starts is over then, whatever happens
  Demand demand;
};

// What the ledger says to it.
struct Share {
  bool is_heard = false;      // false: it came too late; of the rest only `told` counts
  LedgerTime told{};          // the engine's clock
  std::string ledger{};       // which one answered: its state, on this server
  std::uint32_t seats = 0;    // it may have in use
  std::uint32_t target = 0;   // less: as many more are to be given back as become idle
  std::uint32_t floor = 0;    // it may have when it has long heard nothing
  std::uint32_t floors = 0;   // of all together
  std::uint32_t members = 0;  // gateways there are
};

// Times that all must agree on.
struct Terms {
  std::chrono::microseconds lease = std::chrono::seconds(1);
  // For so long a gateway that cannot reach the ledger goes on with its floor, and the others leave
  // it that.
  std::chrono::microseconds away_max = std::chrono::minutes(10);
};

}  // namespace classgate::sharing
