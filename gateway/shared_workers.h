#pragma once

#include <algorithm>
#include <chrono>

#include "admission/gate.h"
#include "gateway/sharing/sharing.h"

namespace classgate::gateway {

// The gate, as the one that shares its workers with other gateways sees it. Owned by the Server.
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

  // A request that its client has left, or that got its 504, keeps its worker for one more
  // request_timeout at most (upstream.on_client_abort).
  static Sharing::Limits limits_of(const conf::Settings& settings) {
    return {settings.admission.workers, 2 * settings.admission.request_timeout};
  }

 private:
  admission::Gate& gate_;
};

}  // namespace classgate::gateway
