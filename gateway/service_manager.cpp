#include "gateway/service_manager.h"

#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <system_error>

namespace classgate::gateway {
namespace {

void notify(const std::string& state, const std::string& status) {
  const int result = ::sd_notify(0, (state + "\nSTATUS=" + status).c_str());
  if (result < 0)
    spdlog::warn("cannot tell the service manager {}: {} (NOTIFY_SOCKET)", state,
                 std::generic_category().message(-result));
}

}  // namespace

void notify_ready(const std::string& status) { notify("READY=1", status); }
void notify_stopping(const std::string& status) { notify("STOPPING=1", status); }

}  // namespace classgate::gateway
