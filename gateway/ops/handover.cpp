#include "gateway/ops/handover.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "conf/format.h"
#include "gateway/service_manager.h"

extern "C" char** environ;

namespace classgate::gateway {
namespace {

constexpr int first_passed_fd = 3;  // SD_LISTEN_FDS_START
constexpr int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

std::string text_of(int error) { return std::generic_category().message(error); }

// Room for a number that only the child knows: its pid.
std::string with_room_for_pid(const std::string& name) {
  return name + "=" + std::string(10, '\0');
}

// Only what signal-safety(7) allows happens between fork and exec.
void write_pid(char* at, long pid) {
  std::array<char, 10> digits{};
  std::size_t count = 0;
  for (; pid > 0; pid /= 10) digits[count++] = static_cast<char>('0' + pid % 10);
  while (count > 0) *at++ = digits[--count];
  *at = '\0';
}

// What comes through the pipe while a successor starts.
struct News {
  int pid;    // or 0
  int error;  // errno, or 0
};

void tell(int pipe, const News& news) {
  [[maybe_unused]] const auto sent = ::write(pipe, &news, sizeof news);
}

// Room for one descriptor beside the bytes of a message.
struct DescriptorRoom {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> bytes{};
  void add_to(msghdr& message) {
    message.msg_control = bytes.data();
    message.msg_controllen = bytes.size();
  }
};

// The one that came with a message, or -1.
int descriptor_in(msghdr& message) {
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int)))
    return -1;
  int passed = -1;
  std::memcpy(&passed, CMSG_DATA(header), sizeof passed);
  return passed;
}

bool is_ours_alone(std::string_view entry) {
  for (const std::string_view name :
       {"LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_PID="})
    if (entry.starts_with(name)) return true;
  return false;
}

}  // namespace

sigset_t signals_that_ask() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, number);
  return set;
}

std::string socket_name::kept(std::string_view prefix, const proxy::net::SocketAddress& address) {
  constexpr std::size_t longest = 255;  // FDNAME_MAX of systemd
  std::string name(prefix);
  for (const char c : address.text()) {
    if (c > ' ' && c < 0x7f && c != ':' && c != '%')
      name += c;
    else
      name += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name.size() <= longest ? name : std::string();
}

std::expected<Inheritance, std::string> take_inheritance() {
  Inheritance all;
  for (const PassedFd& passed : passed_fds()) {
    if (passed.name.starts_with(socket_name::handover)) {
      all.clients.via_name = passed.name.substr(socket_name::handover.size());
      all.handover.reset(passed.fd);
      ::fcntl(passed.fd, F_SETFD, FD_CLOEXEC);
      continue;
    }
    auto socket = proxy::net::adopt(passed.fd);
    if (!socket) return std::unexpected(socket.error());
    if (passed.name == socket_name::operators ||
        passed.name.starts_with(socket_name::kept_operators)) {
      all.kept.insert(socket_name::kept(socket_name::kept_operators, socket->local));
      all.operators.push_back(std::move(*socket));
      continue;
    }
    if (passed.name == socket_name::clients || passed.name.starts_with(socket_name::kept_clients))
      all.kept.insert(socket_name::kept(socket_name::kept_clients, socket->local));
    else
      all.clients.are_given = true;
    all.clients.sockets.push_back(std::move(*socket));
  }
  return all;
}

void HandoverChannel::say_ready() {
  [[maybe_unused]] const auto sent = ::send(fd_.get(), "R", 1, MSG_NOSIGNAL);
}

void HandoverChannel::say_let_go() {
  [[maybe_unused]] const auto sent = ::send(fd_.get(), "L", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool HandoverChannel::read_let_go() {
  char byte = 0;
  return ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT) == 1 && byte == 'L';
}

void HandoverChannel::say_keeps(std::uint32_t workers, const proxy::net::Fd& learnt) {
  std::string text = std::to_string(workers) + "\n";
  iovec bytes{text.data(), text.size()};
  DescriptorRoom room;
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (learnt) {
    room.add_to(message);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int passed = learnt.get();
    std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  }
  // Full after some thousand numbers that nobody read: the next one tells as much.
  const ssize_t sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && learnt) say_keeps(workers);  // more depends on the number
}

bool HandoverChannel::read_ready() {
  char byte = 0;
  return ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT) == 1 && byte == 'R';
}

std::optional<std::uint32_t> HandoverChannel::wait_keeps(int timeout_ms) {
  pollfd waited{fd_.get(), POLLIN, 0};
  if (::poll(&waited, 1, timeout_ms) <= 0) return std::nullopt;
  return read_keeps();
}

std::optional<std::uint32_t> HandoverChannel::read_keeps() {
  std::array<char, 256> bytes{};
  std::optional<std::uint32_t> last;
  for (;;) {
    iovec part{bytes.data(), bytes.size()};
    DescriptorRoom room;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    room.add_to(message);
    const ssize_t size = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return last;
    if (size <= 0) {
      ended_ = true;
      return 0;
    }
    if (const int passed = descriptor_in(message); passed >= 0) learnt_.reset(passed);
    partial_.append(bytes.data(), static_cast<std::size_t>(size));
    for (std::size_t end; (end = partial_.find('\n')) != std::string::npos;) {
      std::uint32_t workers = 0;
      if (std::from_chars(partial_.data(), partial_.data() + end, workers).ec == std::errc{})
        last = workers;
      partial_.erase(0, end + 1);
    }
  }
}

std::expected<proxy::net::Fd, std::string> sealed_text(std::string_view text) {
  proxy::net::Fd fd(::memfd_create("classgate-learnt", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return std::unexpected("memfd_create: " + text_of(errno));
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return std::unexpected("write: " + text_of(errno));
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0)
    return std::unexpected("F_ADD_SEALS: " + text_of(errno));
  return fd;
}

std::expected<std::string, std::string> read_sealed_text(const proxy::net::Fd& fd,
                                                         std::size_t bytes_max) {
  // Only of such memory is it known that reading does not wait, and that the size stays.
  const int sealed = ::fcntl(fd.get(), F_GET_SEALS);
  struct stat status{};
  if (sealed < 0 || (sealed & seals) != seals || ::fstat(fd.get(), &status) != 0)
    return std::unexpected("it is no sealed memory");
  if (static_cast<std::uint64_t>(status.st_size) > bytes_max)
    return std::unexpected(fmt::format("it is larger than {} bytes", bytes_max));
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t size =
        ::pread(fd.get(), text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return std::unexpected("read: " + text_of(errno));
    done += static_cast<std::size_t>(size);
  }
  return text;
}

std::expected<Successor, std::string> start_successor(const std::string& program,
                                                      const std::vector<std::string>& arguments,
                                                      std::vector<PassedFd> sockets,
                                                      std::string_view via_name) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return std::unexpected("socketpair: " + text_of(errno));
  proxy::net::Fd ours(pair[0]);
  const proxy::net::Fd theirs(pair[1]);
  sockets.push_back({theirs.get(), std::string(socket_name::handover) + std::string(via_name)});

  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (!is_ours_alone(*entry)) environment.emplace_back(*entry);
  std::string names;
  for (const PassedFd& socket : sockets) names += (names.empty() ? "" : ":") + socket.name;
  environment.push_back("LISTEN_FDNAMES=" + names);
  environment.push_back(fmt::format("LISTEN_FDS={}", sockets.size()));
  const std::array pid_variables{std::string("LISTEN_PID"), std::string("WATCHDOG_PID")};
  std::vector<char*> pid_places;
  for (const std::string& name : pid_variables) environment.push_back(with_room_for_pid(name));
  std::vector<char*> envp;
  for (std::string& entry : environment) envp.push_back(entry.data());
  for (std::size_t i = 0; i < pid_variables.size(); ++i)
    pid_places.push_back(envp[envp.size() - pid_variables.size() + i] + pid_variables[i].size() +
                         1);
  envp.push_back(nullptr);
  std::vector<std::string> words = arguments;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::vector<int> moved(sockets.size());
  const int above = first_passed_fd + static_cast<int>(sockets.size());

  // Two steps, so that the new process is nobody's child but init's: a service manager that is init
  // then sees its end as that of any service. The pipe brings its pid and, if exec fails, the
  // errno.
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return std::unexpected("pipe: " + text_of(errno));
  const proxy::net::Fd reading(pipe[0]);
  proxy::net::Fd writing(pipe[1]);
  const sigset_t early = signals_that_ask();  // nor may they end one that has yet to begin
  const pid_t helper = ::fork();
  if (helper < 0) return std::unexpected("fork: " + text_of(errno));
  if (helper == 0) {
    const pid_t child = ::fork();
    if (child != 0) {
      tell(writing.get(), child > 0 ? News{.pid = child, .error = 0} : News{0, errno});
      ::_exit(0);
    }
    ::sigprocmask(SIG_SETMASK, &early, nullptr);
    for (char* place : pid_places) write_pid(place, ::getpid());
    // Above everything that is passed, the pipe too: no descriptor may be overwritten.
    const int told = ::fcntl(writing.get(), F_DUPFD_CLOEXEC, above);
    for (std::size_t i = 0; i < sockets.size(); ++i)
      moved[i] = ::fcntl(sockets[i].fd, F_DUPFD_CLOEXEC, above);
    for (std::size_t i = 0; i < sockets.size(); ++i)
      ::dup2(moved[i], first_passed_fd + static_cast<int>(i));
    ::execve(program.c_str(), argv.data(), envp.data());
    tell(told, {.pid = 0, .error = errno});
    ::_exit(127);
  }
  writing.reset();
  while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
  }
  int pid = 0;
  int error = 0;
  // Until both have exited or called exec.
  for (News news{}; ::read(reading.get(), &news, sizeof news) == sizeof news;) {
    pid = std::max(pid, news.pid);
    error = std::max(error, news.error);
  }
  if (pid <= 0 || error != 0)
    return std::unexpected(fmt::format("cannot start {}: {}", program, text_of(error)));
  proxy::net::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return std::unexpected(fmt::format("process {} ended before it was ready", pid));
  return Successor{pid, std::move(process), HandoverChannel(std::move(ours))};
}

}  // namespace classgate::gateway
