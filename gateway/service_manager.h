#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::gateway {

// What a service manager is told (sd_notify(3)) and what it gave us; nothing happens when there is
// none. The main thread.
bool has_service_manager();
void notify_ready(const std::string& status);
void notify_reloading();  // notify_ready() ends it
void notify_stopping(const std::string& status);
void notify_status(const std::string& status);
void notify_alive();
// From now on that process is the service. Returns when the manager has heard it.
void notify_main_process(int pid);

// The manager keeps this descriptor, and gives it back under this name to the next process when
// this one ends without having been told to stop (FDSTORE=1, sd_pid_notify_with_fds(3)).
void notify_keep(int fd, const std::string& name);
void notify_let_go(const std::string& name);

// How often notify_alive() is expected; zero: not at all (sd_watchdog_enabled(3)).
std::chrono::milliseconds watchdog_interval();

// A descriptor that one process opened for the next, under a name.
struct PassedFd {
  int fd;
  std::string name;
};
// Those that were passed to us (sd_listen_fds_with_names(3)).
std::vector<PassedFd> passed_fds();

}  // namespace classgate::gateway
