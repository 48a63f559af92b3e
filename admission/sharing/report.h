#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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

// A thousandth of a token, as of requests a second; parts are millionths of a rate.
using Millitokens = std::uint64_t;
constexpr std::uint32_t whole_rate = 1'000'000;  // in parts

// A rate that gateways have together. Each has a part of it for good; tokens that it has no use for
// it gives to the others.
struct RateReport {
  std::string id;
  Millitokens limit = 0;     // a second, of all together: 1 to 10^9
  Millitokens given = 0;     // tokens that it had, and has no more
  std::uint32_t part = 0;    // it gains that by itself, of `whole_rate`
  std::uint32_t wanted = 0;  // it could use that, likewise
  std::uint32_t weight = 0;  // clients that ask: as for seats
};
struct RateShare {
  std::uint32_t part = 0;   // it should have; what it gains beyond that others need more
  Millitokens granted = 0;  // of the others', for it
  Millitokens limit = 0;    // a second, of all together: the least that anybody's conf says
};

// Of one gateway, about every 50 to 100 ms.
struct Report {
  std::string member;        // a name for each process: who starts anew is another one
  std::uint64_t number = 0;  // from 1 on: one that comes after a newer one is not heard
  std::uint64_t heard = 0;   // the last one whose answer has come; 0: none
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
  std::vector<RateReport> rates{};  // at most `rates_max`, no id twice
};
constexpr std::size_t rates_max = 32;  // of one gateway

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
  std::uint64_t before = 0;   // the report that was heard before this one, as far as it is known
  std::vector<RateShare> rates{};  // as they were reported
};

// Times that all must agree on.
struct Terms {
  std::chrono::microseconds lease = std::chrono::seconds(1);
  // For so long a gateway that cannot reach the ledger goes on with its floor, and the others leave
  // it that.
  std::chrono::microseconds away_max = std::chrono::minutes(10);
};

}  // namespace classgate::sharing
