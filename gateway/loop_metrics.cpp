#include "gateway/loop_metrics.h"

#include <algorithm>

#include "gateway/exchange_record.h"

namespace classgate::gateway {

namespace {

constexpr auto bounds_ns = [] {
  std::array<admission::Duration::rep, DurationHistogram::bounds.size()> table{};
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<admission::Duration::rep>(DurationHistogram::bounds[i] * 1e9);
  return table;
}();

}  // namespace

void DurationHistogram::record(admission::Duration duration) {
  // Most waits are none at all.
  const auto bucket =
      duration.count() <= bounds_ns.front()
          ? 0
          : std::ranges::lower_bound(bounds_ns, duration.count()) - bounds_ns.begin();
  buckets_[static_cast<std::size_t>(bucket)].add();
  sum_ns_.add(static_cast<std::uint64_t>(std::max<admission::Duration::rep>(duration.count(), 0)));
}

RouteMetrics& LoopMetrics::route(const std::string& name, int priority) {
  const std::lock_guard lock(mutex_);
  const auto found = by_name_.find({name, priority});
  if (found != by_name_.end()) return *found->second;
  if (routes_.size() >= routes_max) return routes_.back();
  RouteMetrics& route = routes_.emplace_back();
  route.name = routes_.size() == routes_max ? "(others)" : name;
  route.priority = priority;
  try {
    by_name_.emplace(std::pair(std::string_view(route.name), priority), &route);
  } catch (...) {
    routes_.pop_back();
    throw;
  }
  return route;
}

PlanMetrics& LoopMetrics::plan(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(plans_, name, &PlanMetrics::name);
  if (found != plans_.end()) return *found;
  if (plans_.size() >= plans_max) return plans_.back();
  PlanMetrics& plan = plans_.emplace_back();
  try {
    plan.name = plans_.size() == plans_max ? "(others)" : name;
  } catch (...) {
    plans_.pop_back();
    throw;
  }
  return plan;
}

void LoopMetrics::count(const ExchangeFacts& facts, RouteMetrics& route, PlanMetrics& plan) {
  const auto ending = static_cast<std::size_t>(facts.ending);
  route.endings[ending].add();
  plan.endings[ending].add();
  if (facts.verdict == Verdict::admitted) {
    plan.cost.add(facts.cost);
    plan.times.record(facts.total);
  } else if (facts.verdict == Verdict::rejected && facts.reason) {
    plan.refusals[conf::index_of(*facts.reason)].add();
  }
  if (facts.is_own_answer && facts.status >= 200)
    own_answers[static_cast<std::size_t>(facts.status / 100 - 2)].add();
  received_bytes.add(facts.bytes_in);
  sent_bytes.add(facts.bytes_out);
  if (facts.retries > 0) retries.add(facts.retries);
  if (facts.retry_was_denied) retries_denied.add();
  if (facts.was_isolated) retries_isolated.add();
  if (facts.carried_by != Carrier::none)
    (facts.carried_by == Carrier::http2 ? carried_by_http2 : carried_by_http1).add();
  if (facts.grpc_status >= 0)
    grpc_calls[std::min<std::size_t>(static_cast<std::size_t>(facts.grpc_status), 16)].add();
}

void LoopMetrics::count(TokenLook token, std::optional<TokenFault> fault, KeyLook key) {
  if (fault)
    token_checks[index_of(*fault)].add();
  else if (token != TokenLook::none)
    token_checks[static_cast<std::size_t>(token) - 1].add();
  if (key != KeyLook::none) key_checks[static_cast<std::size_t>(key) - 1].add();
}

void LoopMetrics::for_each_route(const std::function<void(const RouteMetrics&)>& visit) const {
  const std::lock_guard lock(mutex_);
  for (const RouteMetrics& route : routes_) visit(route);
}

void LoopMetrics::for_each_plan(const std::function<void(const PlanMetrics&)>& visit) const {
  const std::lock_guard lock(mutex_);
  for (const PlanMetrics& plan : plans_) visit(plan);
}

}  // namespace classgate::gateway
