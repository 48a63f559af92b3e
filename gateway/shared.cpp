#include "gateway/shared.h"

#include <spdlog/spdlog.h>

#include "conf/format.h"
#include "conf/invariant.h"

namespace classgate::gateway {

// Never expected, so each is an error in the log.
void Shared::note_exception(const std::exception& thrown) {
  const bool is_invariant = dynamic_cast<const conf::BrokenInvariant*>(&thrown) != nullptr;
  (is_invariant ? invariants_broken : exceptions_contained).fetch_add(1, std::memory_order_relaxed);
  spdlog::critical("{}: what it concerns (a connection, a request) is cut, all else is served on",
                   thrown.what());
}

void Shared::follow(std::shared_ptr<const Policy> policy, admission::Time now) {
  {
    const std::lock_guard lock(fitting_);
    std::swap(newest_, policy);
  }
  fit_workers_to_servers(now);
}

// With a limit or with workers for each server there are no more workers than places in those that
// are up; the queue is the gate's business. Without any the limit does not matter: nobody gets so
// far. One after the other, so that the last word is the truth.
void Shared::fit_workers_to_servers(admission::Time now) {
  const std::lock_guard lock(fitting_);
  if (!newest_) return;  // before the first
  const conf::Settings& settings = newest_->rules->settings;
  const std::uint64_t up = std::max<std::size_t>(newest_->servers->reachable_count(), 1);
  std::uint64_t places = admission::Ceilings::none;
  for (const std::uint64_t each :
       {settings.upstream.requests_per_server, settings.admission.workers_per_server})
    if (each != 0) places = std::min(places, each * up);
  gate.set_ceiling(admission::Ceilings::Source::upstream, static_cast<std::uint32_t>(places), now);
}

}  // namespace classgate::gateway
