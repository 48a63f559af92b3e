#include "gateway/upstreams.h"

#include <spdlog/spdlog.h>

#include <string>
#include <utility>

namespace classgate::gateway {
namespace {

// Each loop keeps its share of the idle upstream connections, rounded up.
std::size_t idle_share(const conf::Settings& settings) {
  return (settings.upstream.idle_connections + settings.threads - 1) / settings.threads;
}

}  // namespace

Upstreams::Upstreams(proxy::net::Loop& loop, Shared& shared,
                     const std::shared_ptr<const Policy>& policy, bool looks_after)
    : loop_(loop), shared_(shared), looks_after_(looks_after), pool_(make(policy)) {}

std::unique_ptr<proxy::UpstreamPool> Upstreams::make(const std::shared_ptr<const Policy>& policy) {
  const conf::UpstreamSettings& upstream = policy->rules->settings.upstream;
  const auto interval = !upstream.check.is_on() ? upstream.probe_interval : upstream.check.interval;
  const auto on_change = [this, servers = policy->servers, interval](
                             std::size_t server, bool reachable, const std::string& why) {
    if (reachable)
      spdlog::info("upstream {}: reachable", servers->name(server));
    else
      spdlog::error("upstream {}: {}; trying again every {} ms (upstream.servers)",
                    servers->name(server), why, interval.count());
    shared_.fit_workers_to_servers(loop_.now());
  };
  auto pool = std::make_unique<proxy::UpstreamPool>(loop_, policy->servers, upstream,
                                                    idle_share(policy->rules->settings), on_change,
                                                    policy->tls.upstream);
  pool->set_answer_window(policy->rules->settings.client.response_buffer.count);
  pool->at_ejection([servers = policy->servers, after = upstream.eject_after](
                        std::size_t server, std::chrono::milliseconds time) {
    spdlog::error("upstream {}: {} failures in a row: passed over for {} ms (upstream.eject_after)",
                  servers->name(server), after, time.count());
  });
  pool->at_failing([servers = policy->servers, share = upstream.eject_errors](std::size_t server) {
    spdlog::error(
        "upstream {}: {:.0f} % or more of its last {} answers were 5xx "
        "(upstream.eject_errors)",
        servers->name(server), 100 * share, proxy::Servers::answers_in_window);
  });
  pool->at_unasked([servers = policy->servers, pause = upstream.unasked_pause](std::size_t server) {
    spdlog::error(
        "upstream {}: it spoke without being asked: no connection to it is used twice until it has "
        "not for {} ms (upstream.unasked_pause)",
        servers->name(server), pause.count());
  });
  return pool;
}

void Upstreams::begin_service() {
  if (!looks_after_) return;
  pool_->probe_unproven();
  look_after();
}

// What only one loop does, for all.
void Upstreams::look_after() {
  if (looks_after_) pool_->check_all();
}

Upstreams::Change Upstreams::prepare(const Policy& before,
                                     const std::shared_ptr<const Policy>& after) {
  const conf::UpstreamSettings& was = before.rules->settings.upstream;
  const conf::UpstreamSettings& wanted = after->rules->settings.upstream;
  if (before.servers == after->servers && (before.rules == after->rules || was == wanted))
    return {};
  former_.reserve(former_.size() + 1);
  // Connections to servers that stay are kept, unless they may be secured by other certificates
  // now.
  return {.pool = make(after),
          .are_kept = before.tls.upstream == after->tls.upstream && was.tls == wanted.tls};
}

void Upstreams::adopt(Change change, const Policy& policy) {
  if (!change.pool) return pool_->use_tls(policy.tls.upstream);
  pool_->retire();
  former_.push_back(std::exchange(pool_, std::move(change.pool)));
  is_new_ = true;
  proxy::UpstreamPool& last = *former_.back();
  for (const auto& pool : former_)
    if (pool.get() != &last) pool->follow(last, change.are_kept ? pool_.get() : nullptr);
  if (change.are_kept) pool_->take_over(last);
}

void Upstreams::begin() {
  if (!is_new_) return;
  look_after();
  // Every loop asks: the one whose pool was asking may have let go of it by now.
  pool_->probe_unproven();
  is_new_ = false;
}

void Upstreams::end_turn() {
  std::erase_if(former_, [](const auto& pool) { return !pool->is_in_use(); });
}

}  // namespace classgate::gateway
