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

}  // namespace classgate::gateway
