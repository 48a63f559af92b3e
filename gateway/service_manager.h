#pragma once

#include <string>

namespace classgate::gateway {

// What a service manager is told (sd_notify(3)); nothing happens when there is none. The thread
// that runs the Server.
void notify_ready(const std::string& status);
void notify_stopping(const std::string& status);

}  // namespace classgate::gateway
