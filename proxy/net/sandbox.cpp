#include "proxy/net/sandbox.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <openssl/x509.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <system_error>
#include <thread>
#include <vector>

#include "proxy/net/handles.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CLASSGATE_HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define CLASSGATE_HAS_SANITIZER 1
#endif
#endif
#ifndef CLASSGATE_HAS_SANITIZER
#define CLASSGATE_HAS_SANITIZER 0
#endif

namespace classgate::proxy::net {
namespace {

// A sanitizer reads /proc, writes reports and stops threads, all of which the sandbox forbids: in
// such a build most of it is left out.
constexpr bool has_sanitizer = CLASSGATE_HAS_SANITIZER != 0;

#if defined(__x86_64__)
constexpr std::uint32_t own_architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t own_architecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t own_architecture = 0;  // no filter is written for it
#endif

std::string text_of(int error) { return std::generic_category().message(error); }

// ---- seccomp -----------------------------------------------------------------------------------

// Calls that a loop, its memory and its C library make. The kernel remembers of each that it is
// allowed (Linux 5.11), so that the order costs nothing.
constexpr auto allowed = std::to_array<int>({
    __NR_epoll_ctl,
    __NR_epoll_pwait,
    __NR_epoll_create1,
    __NR_read,
    __NR_write,
    __NR_readv,
    __NR_writev,
    __NR_recvfrom,
    __NR_recvmsg,
    __NR_sendto,
    __NR_sendmsg,
    __NR_accept,
    __NR_accept4,
    __NR_connect,
    __NR_getsockopt,
    __NR_setsockopt,
    __NR_getsockname,
    __NR_getpeername,
    __NR_shutdown,
    __NR_close,
    __NR_ppoll,
    __NR_eventfd2,
    __NR_timerfd_create,
    __NR_timerfd_settime,
    __NR_timerfd_gettime,
    __NR_pipe2,
    __NR_dup,
    __NR_dup3,
    __NR_fcntl,
    __NR_ioctl,
    __NR_futex,
    __NR_munmap,
    __NR_mremap,
    __NR_madvise,
    __NR_brk,
    __NR_membarrier,
    __NR_clock_gettime,
    __NR_clock_getres,
    __NR_gettimeofday,
    __NR_clock_nanosleep,
    __NR_nanosleep,
    __NR_getrandom,
    __NR_fstat,
    __NR_newfstatat,
    __NR_statx,
    __NR_lseek,
    __NR_pread64,
    __NR_getdents64,
    __NR_readlinkat,
    __NR_faccessat,
    __NR_getcwd,
    __NR_sched_yield,
    __NR_sched_getaffinity,
    __NR_getcpu,
    __NR_getpid,
    __NR_gettid,
    __NR_getppid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_getrusage,
    __NR_sysinfo,
    __NR_uname,
    __NR_tgkill,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_sigaltstack,
    __NR_restart_syscall,
    __NR_exit,
    __NR_exit_group,
    __NR_set_robust_list,
    __NR_rseq,
#ifdef __x86_64__
    // Older names of some of the same.
    __NR_epoll_wait,
    __NR_poll,
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
    __NR_time,
    __NR_arch_prctl,
#endif
});

// What an intruder wants first: refused in so many words. All that is not named here is ENOSYS.
constexpr auto forbidden = std::to_array<int>({
    __NR_execve,
    __NR_execveat,
    __NR_clone,
    __NR_ptrace,
    __NR_process_vm_readv,
    __NR_process_vm_writev,
    __NR_bind,
    __NR_listen,
    __NR_kill,
    __NR_tkill,
    __NR_unlinkat,
    __NR_renameat2,
    __NR_mkdirat,
    __NR_linkat,
    __NR_symlinkat,
    __NR_fchmod,
    __NR_fchmodat,
    __NR_fchownat,
    __NR_truncate,
    __NR_mount,
    __NR_unshare,
    __NR_setns,
    __NR_chroot,
    __NR_bpf,
    __NR_perf_event_open,
    __NR_keyctl,
    __NR_setuid,
    __NR_setgid,
    __NR_capset,
    __NR_prctl,
#ifdef __x86_64__
    __NR_open,
    __NR_creat,
    __NR_fork,
    __NR_vfork,
    __NR_unlink,
    __NR_rename,
    __NR_mkdir,
#endif
});

// Allowed when `argument`, of which only the bits in `mask` count, is one of these.
struct Condition {
  int call;
  unsigned argument;
  std::uint32_t mask;
  std::initializer_list<std::uint32_t> values;
};

class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    jump_if(own_architecture, 1, 0);
    end(SECCOMP_RET_ERRNO | ENOSYS);
    load(offsetof(seccomp_data, nr));
  }
  void allow(int call) {
    jump_if(static_cast<std::uint32_t>(call), 0, 1);
    end(SECCOMP_RET_ALLOW);
  }
  void forbid(int call) {
    jump_if(static_cast<std::uint32_t>(call), 0, 1);
    end(SECCOMP_RET_ERRNO | EPERM);
  }
  // Only the lower half is looked at: the kernel takes these arguments as 32 bits.
  void allow_if(const Condition& condition) {
    const auto count = static_cast<std::uint8_t>(condition.values.size());
    jump_if(static_cast<std::uint32_t>(condition.call), 0, static_cast<std::uint8_t>(4 + count));
    load(offsetof(seccomp_data, args) + 8 * condition.argument + low_half);
    code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, condition.mask));
    std::uint8_t left = count;
    for (const std::uint32_t value : condition.values) jump_if(value, left--, 0);
    end(SECCOMP_RET_ERRNO | EPERM);
    end(SECCOMP_RET_ALLOW);
  }
  void otherwise(std::uint32_t action) { end(action); }

  // 0, or the errno.
  int apply() {
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return ::syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0 ? 0 : errno;
  }

 private:
  static constexpr std::uint32_t low_half = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4;
  void load(std::size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  }
  void jump_if(std::uint32_t value, std::uint8_t if_equal, std::uint8_t if_not) {
    code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, if_equal, if_not));
  }
  void end(std::uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }

  std::vector<sock_filter> code_;
};

int enter_seccomp() {
  Filter filter;
  for (const int call : allowed) filter.allow(call);
  constexpr std::uint32_t all = ~0U;
  constexpr std::uint32_t writing = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
  filter.allow_if({__NR_openat, 2, writing, {O_RDONLY}});
  filter.allow_if({__NR_mmap, 2, PROT_EXEC, {0}});
  filter.allow_if({__NR_mprotect, 2, PROT_EXEC, {0}});
  filter.allow_if({__NR_socket, 0, all, {AF_INET, AF_INET6, AF_UNIX}});
  for (const int call : forbidden) filter.forbid(call);
  filter.otherwise(SECCOMP_RET_ERRNO | ENOSYS);
  return filter.apply();
}

// ---- Landlock ----------------------------------------------------------------------------------

// Every right over files that this kernel knows to withhold, by the version of its interface.
std::uint64_t file_rights(long version) {
  std::uint64_t rights = (1ULL << 13) - 1;  // up to making symbolic links
  if (version >= 2) rights |= 1ULL << 13;   // linking to another folder
  if (version >= 3) rights |= 1ULL << 14;   // truncating
  if (version >= 5) rights |= 1ULL << 15;   // ioctl(2) on devices
  return rights;
}

void allow_reading(int rules, const char* path) {
  if (path == nullptr || *path == '\0') return;
  const Fd place(::open(path, O_PATH | O_CLOEXEC));
  if (!place) return;  // what is not there is not read
  const bool is_folder(Fd(::openat(place.get(), ".", O_PATH | O_CLOEXEC | O_DIRECTORY)));
  landlock_path_beneath_attr beneath{};
  beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
  if (is_folder) beneath.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
  beneath.parent_fd = place.get();
  ::syscall(__NR_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
}

int enter_landlock() {
  const long version =
      ::syscall(__NR_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) return errno;
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = file_rights(version);
  const Fd rules(static_cast<int>(::syscall(__NR_landlock_create_ruleset, &attributes,
                                            sizeof attributes.handled_access_fs, 0)));
  if (!rules) return errno;
  const std::initializer_list<const char*> places{
      X509_get_default_cert_dir(), X509_get_default_cert_file(),
      std::getenv(X509_get_default_cert_dir_env()), std::getenv(X509_get_default_cert_file_env()),
      // Where the links in these lead.
      "/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
      "/etc/localtime", "/usr/share/zoneinfo"};
  for (const char* path : places) allow_reading(rules.get(), path);
  return ::syscall(__NR_landlock_restrict_self, rules.get(), 0) == 0 ? 0 : errno;
}

}  // namespace

std::string SandboxState::text() const {
  if (is_whole()) return "seccomp and Landlock";
  const std::string has = has_seccomp ? "seccomp" : has_landlock ? "Landlock" : "nothing";
  return has + ", without " + why_not;
}

SandboxState enter_sandbox() {
  if constexpr (has_sanitizer) return {.why_not = "the rest: built with sanitizers"};
  SandboxState state;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    state.why_not = "the rest: PR_SET_NO_NEW_PRIVS: " + text_of(errno);
    return state;
  }
  const auto note = [&](const char* what, int error) {
    if (error == 0) return true;
    state.why_not +=
        (state.why_not.empty() ? "" : ", ") + std::string(what) + ": " + text_of(error);
    return false;
  };
  // First this one: the filter does not know its calls.
  state.has_landlock = note("Landlock", enter_landlock());
  state.has_seccomp = note("seccomp", own_architecture == 0 ? ENOSYS : enter_seccomp());
  return state;
}

SandboxState try_sandbox() {
  SandboxState state;
  std::thread([&state] { state = enter_sandbox(); }).join();
  return state;
}

bool forbid_core_dumps() {
  // With a sanitizer the process is there to be looked into: it does so itself.
  return !has_sanitizer && ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

}  // namespace classgate::proxy::net
