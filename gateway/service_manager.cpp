#include "gateway/service_manager.h"

#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include <cstdlib>
#include <memory>
#include <system_error>

#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::gateway {
namespace {

void notify(const std::string& state) {
  const int result = ::sd_notify(0, state.c_str());
  if (result < 0)
    spdlog::warn("cannot tell the service manager {}: {} (NOTIFY_SOCKET)",
                 state.substr(0, state.find('\n')), std::generic_category().message(-result));
}

// A line feed would begin another assignment, such as MAINPID.
std::string status_assignment(const std::string& status) {
  return "STATUS=" + conf::printable(status);
}

}  // namespace

bool has_service_manager() { return std::getenv("NOTIFY_SOCKET") != nullptr; }

void notify_ready(const std::string& status) { notify("READY=1\n" + status_assignment(status)); }

void notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  notify(
      fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1000));
}

void notify_stopping(const std::string& status) {
  notify("STOPPING=1\n" + status_assignment(status));
}
void notify_status(const std::string& status) { notify(status_assignment(status)); }
void notify_alive() { notify("WATCHDOG=1"); }

void notify_main_process(int pid) {
  notify(fmt::format("MAINPID={}", pid));
  if (has_service_manager()) ::sd_notify_barrier(0, 5'000'000);
}

void notify_keep(int fd, const std::string& name) {
  const std::string state = "FDSTORE=1\nFDNAME=" + name;
  const int result = ::sd_pid_notify_with_fds(0, 0, state.c_str(), &fd, 1);
  if (result < 0)
    spdlog::warn("the service manager cannot keep {}: {}", name,
                 std::generic_category().message(-result));
}

void notify_let_go(const std::string& name) { notify("FDSTOREREMOVE=1\nFDNAME=" + name); }

std::chrono::milliseconds watchdog_interval() {
  std::uint64_t microseconds = 0;
  if (::sd_watchdog_enabled(0, &microseconds) <= 0) return {};
  return std::chrono::milliseconds(microseconds / 1000);
}

std::vector<PassedFd> passed_fds() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(1, &names);
  std::vector<PassedFd> fds;
  for (int i = 0; i < count; ++i) {
    const std::unique_ptr<char, decltype(&std::free)> name(names[i], &std::free);
    fds.push_back({SD_LISTEN_FDS_START + i, name.get()});
  }
  std::free(names);
  return fds;
}

}  // namespace classgate::gateway
