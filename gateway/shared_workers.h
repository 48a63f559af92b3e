#pragma once

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "admission/gate.h"
#include "gateway/sharing/sharing.h"

namespace classgate::gateway {

// The gate, as the one that shares its workers and rates with other gateways sees it. Owned by the
// Server.
class SharedWorkers final : public Sharing::Workers {
 public:
  explicit SharedWorkers(admission::Gate& gate) : gate_(gate) {}

  Use use() const override {
    const admission::Wanted wanted = gate_.wanted();
    return {.in_use = wanted.in_use,
            .demand = {.wanted = wanted.workers, .weight = wanted.clients}};
  }
  void lend(std::uint32_t workers, proxy::net::Time until, std::uint32_t then) override {
    gate_.lend({workers, until, then}, [] { return std::chrono::steady_clock::now(); });
  }

  RateUses take_rate_uses(proxy::net::Time now) override {
    RateUses uses{.clients = gate_.clients_asking()};
    for (admission::Limits::RateUse& use : gate_.take_rate_uses(now))
      uses.rates.push_back({.id = std::move(use.route),
                            .rate = use.rate,
                            .burst = use.burst,
                            .tokens = use.tokens,
                            .asked = use.asked,
                            .spilled = use.spilled});
    return uses;
  }
  void lend_rates(double part, const std::vector<sharing::RateHolding::Loan>& loans,
                  proxy::net::Time now) override {
    std::vector<admission::Limits::RateLoan> rates;
    for (const sharing::RateHolding::Loan& loan : loans)
      rates.push_back({loan.id, loan.rate, loan.until, loan.whole});
    gate_.lend_rates(part, rates, now);
  }

  // A request that its client has left, or that got its 504, keeps its worker for one more
  // request_timeout at most (upstream.on_client_abort).
  static Sharing::Limits limits_of(const conf::Settings& settings) {
    return {settings.admission.workers, 2 * settings.admission.request_timeout};
  }

 private:
  admission::Gate& gate_;
};

}  // namespace classgate::gateway
