#include "proxy/net/sandbox.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "proxy/net/handles.h"

// A thread enters the sandbox and tries what an intruder would; the others are as free as before.

namespace classgate::proxy::net::test {
namespace {

// The errno of what this call does in the sandbox, 0 when it succeeds; nothing where there is no
// sandbox (a kernel without it, a build with sanitizers).
template <typename Call>
int error_of(Call call) {
  int error = 0;
  std::thread([&] {
    enter_sandbox();
    errno = 0;
    error = call() < 0 ? errno : 0;
  }).join();
  return error;
}

int close_if_open(int fd) {
  if (fd >= 0) ::close(fd);
  return fd;
}

bool can_be_had() {
  const SandboxState state = try_sandbox();
  if (!state.is_whole()) MESSAGE("no whole sandbox here: " << state.text());
  return state.is_whole();
}

TEST_CASE("in the sandbox no program is started and no process made") {
  if (!can_be_had()) return;
  char* const words[] = {const_cast<char*>("/bin/true"), nullptr};
  CHECK(error_of([&] { return ::execve("/bin/true", words, nullptr); }) == EPERM);
  CHECK(error_of([&] {
          return static_cast<int>(
              ::syscall(__NR_execveat, AT_FDCWD, "/bin/true", words, nullptr, 0));
        }) == EPERM);
  CHECK(error_of([] {
          const pid_t child = ::fork();
          if (child == 0) ::_exit(0);
          return child;
        }) == EPERM);
  CHECK(error_of([] { return static_cast<int>(::syscall(__NR_clone3, nullptr, 0)); }) == ENOSYS);
}

TEST_CASE("in the sandbox nothing is written to files, and read but the system's certificates") {
  if (!can_be_had()) return;
  const auto open = [](const char* path, int flags) {
    return error_of([=] { return close_if_open(::open(path, flags, 0600)); });
  };
  CHECK(open("/etc/passwd", O_RDONLY) == EACCES);
  CHECK(open("/proc/self/maps", O_RDONLY) == EACCES);
  CHECK(open("/dev/null", O_WRONLY) == EPERM);
  CHECK(open("/dev/null", O_RDWR) == EPERM);
  CHECK(open("/tmp", O_TMPFILE | O_WRONLY) == EPERM);
  CHECK(open("/tmp/classgate-sandbox-test", O_RDONLY | O_CREAT) == EPERM);
  CHECK(error_of([] { return ::unlink("/tmp/classgate-sandbox-test"); }) == EPERM);
  if (::access("/etc/ssl/certs", R_OK) == 0)
    CHECK(open("/etc/ssl/certs", O_RDONLY | O_DIRECTORY) == 0);
}

TEST_CASE("in the sandbox there are sockets of the Internet and Unix, and nobody listens on them") {
  if (!can_be_had()) return;
  const auto socket = [](int family, int type) {
    return error_of([=] { return close_if_open(::socket(family, type, 0)); });
  };
  CHECK(socket(AF_INET, SOCK_STREAM) == 0);
  CHECK(socket(AF_UNIX, SOCK_STREAM) == 0);
  CHECK(socket(AF_NETLINK, SOCK_RAW) == EPERM);
  CHECK(socket(AF_PACKET, SOCK_RAW) == EPERM);
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(error_of([&] { return ::listen(fd.get(), 1); }) == EPERM);
}

TEST_CASE("in the sandbox nobody looks into a process, and no memory becomes code") {
  if (!can_be_had()) return;
  CHECK(error_of([] { return static_cast<int>(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }) ==
        EPERM);
  CHECK(error_of([] { return ::kill(::getpid(), 0); }) == EPERM);
  const auto map = [](int rights) {
    return error_of([=] {
      void* const at = ::mmap(nullptr, 4096, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) return -1;
      return ::munmap(at, 4096);
    });
  };
  CHECK(map(PROT_READ | PROT_WRITE) == 0);
  CHECK(map(PROT_READ | PROT_EXEC) == EPERM);
}

TEST_CASE("a system call that nobody has heard of is answered as by a kernel that has not either") {
  if (!can_be_had()) return;
  CHECK(error_of([] { return static_cast<int>(::syscall(__NR_io_uring_setup, 1, nullptr)); }) ==
        ENOSYS);
  CHECK(error_of([] { return static_cast<int>(::syscall(100'000)); }) == ENOSYS);
}

TEST_CASE("the sandbox is the thread's own: the others go on as before") {
  try_sandbox();
  CHECK(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
  const Fd file(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  CHECK(file.get() >= 0);
}

}  // namespace
}  // namespace classgate::proxy::net::test
