#include "gateway/wall_time.h"

#include <fmt/chrono.h>

#include "conf/format.h"

namespace classgate::gateway {

std::string wall_time_text(std::chrono::system_clock::time_point at) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(at)), ms.count() % 1000);
}

}  // namespace classgate::gateway
