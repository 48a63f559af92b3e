#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "admission/client_table.h"
#include "admission/token_bucket.h"
#include "admission/verdict.h"

namespace classgate::admission {

// The token buckets: one for all, one for each route that has a rate of its own, one for each
// client (in the ClientTable). A request is charged by every one that applies to it, or by none.
// Owned by the Controller.
class Limits {
 public:
  struct Wait {
    conf::Reason reason = conf::Reason::rate_limited;
    Duration time{};  // zero: all the tokens are there
  };
  // One bucket and what is in it.
  struct Allowance {
    conf::Reason reason = conf::Reason::rate_limited;  // said when there is too little
    double rate = 0;
    double burst = 0;
    double tokens = 0;
  };
  // Those that apply to a request, the narrowest first.
  struct Allowances {
    std::array<Allowance, 3> of{};
    std::size_t count = 0;
    void add(const Allowance& allowance) { of[count++] = allowance; }
  };

  Limits(const conf::AdmissionSettings& settings, ClientTable& clients);
  void reconfigure(const conf::AdmissionSettings& settings, Time now);

  // Of the bucket for all.
  void set_rate(double rate, double burst, Time now) { all_.reconfigure(rate, burst, now); }

  // Until every bucket can pay, and the one that takes longest (of equals the narrowest).
  Wait wait_for(const Arrival& arrival, ClientNumber client, Time now);
  Allowances allowances(const Arrival& arrival, ClientNumber client, Time now);
  // So many tokens were taken from the bucket for all since this was last asked.
  double taken_lately() { return std::exchange(taken_lately_, 0); }
  double rate() const { return all_.rate(); }
  // After wait_for() said zero for the same arrival and time.
  void take(const Arrival& arrival, ClientNumber client);
  // The cost has turned out to be another: so much more, or less, than was taken.
  void settle(const Arrival& arrival, ClientNumber client, double more);

 private:
  struct RouteBucket {
    std::string path;
    TokenBucket bucket;
  };
  TokenBucket* bucket_of(std::uint32_t route) {
    return route < routes_.size() ? &routes_[route].bucket : nullptr;
  }

  TokenBucket all_;
  double taken_lately_ = 0;
  std::vector<RouteBucket> routes_;  // by index; empty when none has a rate
  ClientTable& clients_;
};

}  // namespace classgate::admission
