#pragma once

#include <memory>
#include <vector>

#include "gateway/policy.h"
#include "gateway/shared.h"
#include "proxy/net/loop.h"
#include "proxy/upstream_pool.h"

namespace classgate::gateway {

// The connections of one loop to the service: the pool of the policy in force, and those of former
// policies while requests use them, which stay with the one they began with. On the loop.
class Upstreams {
 public:
  // `looks_after`: it is this loop that asks the servers how they are, for all.
  Upstreams(proxy::net::Loop& loop, Shared& shared, const std::shared_ptr<const Policy>& policy,
            bool looks_after);

  // Of the policy in force.
  proxy::UpstreamPool& pool() { return *pool_; }
  // Another than the policy's own, for tests that have servers without sockets; before any request.
  void use(std::unique_ptr<proxy::UpstreamPool> pool) { pool_ = std::move(pool); }

  // A change of the policy in two steps. The first asks for the memory that the second needs, which
  // nothing stops.
  struct Change {
    std::unique_ptr<proxy::UpstreamPool> pool;  // null: the one in force stays
    bool are_kept = false;                      // connections to servers that stay
  };
  Change prepare(const Policy& before, const std::shared_ptr<const Policy>& after);
  void adopt(Change change, const Policy& policy);
  // Has a new pool ask its servers, as begin_service() does from the start. May throw for want of
  // memory: once more then, with the next attempt to adopt.
  void begin();
  void begin_service();
  void end_turn();

 private:
  std::unique_ptr<proxy::UpstreamPool> make(const std::shared_ptr<const Policy>& policy);
  void look_after();

  proxy::net::Loop& loop_;
  Shared& shared_;
  const bool looks_after_;
  std::unique_ptr<proxy::UpstreamPool> pool_;
  std::vector<std::unique_ptr<proxy::UpstreamPool>> former_;  // while they are in use
  bool is_new_ = false;                                       // pool_ has not begun to ask
};

}  // namespace classgate::gateway
