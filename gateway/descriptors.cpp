#include "gateway/descriptors.h"

#include <sys/resource.h>

namespace classgate::gateway {

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if not: what there is is counted (connection_limit())
}

}  // namespace classgate::gateway
