#include "gateway/clients/cut_files.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>

namespace classgate::gateway {
namespace {

std::atomic<std::uint64_t> cut_files{0};
thread_local volatile sig_atomic_t survives = 0;
std::uintptr_t page_size = 4096;

// Only what may be done in a signal handler: mmap(2) is a system call and nothing else.
void on_bus_error(int number, siginfo_t* info, void*) {
  if (survives != 0 && info->si_code == BUS_ADRERR) {
    const auto page = reinterpret_cast<std::uintptr_t>(info->si_addr) / page_size * page_size;
    void* const zeros = ::mmap(reinterpret_cast<void*>(page), page_size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros != MAP_FAILED) {
      cut_files.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  ::signal(number, SIG_DFL);  // the fault comes again, and ends the process
}

}  // namespace

void survive_cut_files() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_size = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action{};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, nullptr);
  });
  survives = 1;
  // Blocked, the signal of a fault would end the process.
  sigset_t bus;
  ::sigemptyset(&bus);
  ::sigaddset(&bus, SIGBUS);
  ::pthread_sigmask(SIG_UNBLOCK, &bus, nullptr);
}

std::uint64_t cut_files_seen() { return cut_files.load(std::memory_order_relaxed); }

}  // namespace classgate::gateway
