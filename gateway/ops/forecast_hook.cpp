#include "gateway/ops/forecast_hook.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/json_text.h"
#include "gateway/ops/forecast_report.h"
#include "gateway/ops/handover.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

using HookClock = std::chrono::steady_clock;

std::string spawn_error_text(int error) { return std::generic_category().message(error); }

// What the child gets: our end of its standard error is closed for it.
class Actions {
 public:
  Actions() { ::posix_spawn_file_actions_init(&actions_); }
  ~Actions() { ::posix_spawn_file_actions_destroy(&actions_); }
  Actions(const Actions&) = delete;
  Actions& operator=(const Actions&) = delete;
  // An error number; 0: none.
  int connect(int input, int errors) {
    int error = ::posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    if (error == 0)
      error =
          ::posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions_, errors, STDERR_FILENO);
    if (error == 0)
      error = ::posix_spawn_file_actions_addclosefrom_np(&actions_, STDERR_FILENO + 1);
    if (error == 0) error = ::posix_spawn_file_actions_addchdir_np(&actions_, "/");
    return error;
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

// A process group of its own, and signals as a program expects them: ours are blocked or ignored.
class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

struct Pipe {
  proxy::net::Fd reads;
  proxy::net::Fd writes;
};
std::optional<Pipe> open_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  Pipe both{proxy::net::Fd(ends[0]), proxy::net::Fd(ends[1])};
  // Ours only: a program does not expect that it could not write now.
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return std::nullopt;
  return both;
}

// The last of what it said.
class LastWords {
 public:
  // False: nothing more comes.
  bool read(int fd) {
    std::array<char, 4096> part{};
    // One that writes faster than we read still hears of its time.
    for (int parts = 0; parts < 16; ++parts) {
      const ssize_t got = ::read(fd, part.data(), part.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      text_.append(part.data(), static_cast<std::size_t>(got));
      if (text_.size() > kept) text_.erase(0, text_.size() - kept);
    }
    return true;
  }
  // The last line that is not empty.
  std::string line() const {
    std::string_view text = text_;
    while (text.ends_with('\n')) text.remove_suffix(1);
    const std::size_t begin = text.rfind('\n');
    if (begin != std::string_view::npos) text.remove_prefix(begin + 1);
    return conf::printable(text);
  }

 private:
  static constexpr std::size_t kept = 300;
  std::string text_;
};

// False: it has not ended by then.
bool wait_for_end(int process, int errors, HookClock::time_point until, LastWords& words) {
  bool speaks = true;
  for (;;) {
    std::array<pollfd, 2> ready{{{.fd = process, .events = POLLIN, .revents = 0},
                                 {.fd = speaks ? errors : -1, .events = POLLIN, .revents = 0}}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - HookClock::now());
    const int count = ::poll(ready.data(), ready.size(),
                             static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (speaks && (ready[1].revents != 0)) speaks = words.read(errors);
    if (ready[0].revents != 0) {
      if (speaks) words.read(errors);
      return true;
    }
    if (count < 0 && errno != EINTR) return false;
    if (HookClock::now() >= until) return false;
  }
}

std::string hook_end_of(pid_t pid) {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0)
    if (errno != EINTR) return "its end is not known: " + spawn_error_text(errno);
  if (info.si_code == CLD_EXITED)
    return info.si_status == 0 ? "" : fmt::format("ended with status {}", info.si_status);
  return fmt::format("was ended by SIG{}", sigabbrev_np(info.si_status));
}

}  // namespace

void HookProcess::began(pid_t pid) {
  const std::lock_guard lock(mutex_);
  pid_ = pid;
}

void HookProcess::is_over() { began(0); }

void HookProcess::kill() {
  const std::lock_guard lock(mutex_);
  if (pid_ > 0) ::kill(-pid_, SIGKILL);
}

std::string run_hook(const HookRun& run, HookProcess& process) {
  constexpr std::chrono::seconds end_time_max{5};  // of one that has been killed
  auto input = sealed_text(run.input);
  auto errors = open_pipe();
  if (!input || !errors) return "no descriptor is left for it";
  ::lseek(input->get(), 0, SEEK_SET);
  Actions actions;
  if (const int error = actions.connect(input->get(), errors->writes.get()); error != 0)
    return spawn_error_text(error);
  const Attributes attributes;
  std::vector<char*> environment;
  for (const std::string& variable : run.environment)
    environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  std::array<char*, 2> arguments{const_cast<char*>(run.program.c_str()), nullptr};
  pid_t pid = 0;
  if (const int error = ::posix_spawn(&pid, run.program.c_str(), actions.get(), attributes.get(),
                                      arguments.data(), environment.data());
      error != 0)
    return spawn_error_text(error);
  process.began(pid);
  errors->writes.reset();
  LastWords words;
  // It is our child and not waited for yet: the number is its own.
  const proxy::net::Fd ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int watched = ended.get();
  const bool is_late = watched < 0 || !wait_for_end(watched, errors->reads.get(),
                                                    HookClock::now() + run.timeout, words);
  if (is_late) process.kill();
  if (is_late && watched >= 0 &&
      !wait_for_end(watched, errors->reads.get(), HookClock::now() + end_time_max, words)) {
    process.is_over();
    return fmt::format("did not end in {} ms, and cannot be killed", run.timeout.count());
  }
  process.is_over();
  std::string problem = hook_end_of(pid);
  if (is_late)
    problem = watched < 0
                  ? "cannot be watched, and was killed"
                  : fmt::format("did not end in {} ms, and was killed", run.timeout.count());
  if (const std::string line = words.line(); !problem.empty() && !line.empty())
    problem += ": " + line;
  return problem;
}

// ---- When it is run ----------------------------------------------------------------------------

namespace {

// Ours alone: settings, sockets that were given to us, and whom we tell that we live.
bool is_for_us_alone(std::string_view variable) {
  return std::ranges::any_of(
      std::array{"CLASSGATE_", "LISTEN_", "NOTIFY_SOCKET=", "WATCHDOG_",
                 "FDSTORE=", "CREDENTIALS_DIRECTORY=", "INVOCATION_ID=", "JOURNAL_STREAM="},
      [&](std::string_view prefix) { return variable.starts_with(prefix); });
}

std::vector<std::string> environment_for(const history::DemandReport& report,
                                         std::optional<std::uint32_t> told) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_for_us_alone(*variable)) all.emplace_back(*variable);
  const auto add = [&](std::string_view name, const std::optional<std::uint32_t>& value) {
    if (value) all.push_back(fmt::format("CLASSGATE_{}={}", name, *value));
  };
  add("SERVERS_NEEDED", report.servers);
  add("SERVERS_NEEDED_BEFORE", told);
  add("SERVERS_NOW", report.servers_now);
  add("WORKERS_NEEDED", report.workers_ahead);
  add("WORKERS_NEEDED_NOW", report.workers_needed_now);
  add("WORKERS_NOW", report.workers_now);
  return all;
}

}  // namespace

ForecastHook::ForecastHook(proxy::net::Loop& loop, const Server& server)
    : server_(server), errand_(loop, [this](const std::string& problem) { on_end(problem); }) {}

void ForecastHook::follow(const history::DemandReport& report) {
  const conf::ForecastSettings& settings = server_.settings().forecast;
  if (settings.hook.empty() || !report.servers || report.servers == told_) return;
  if (errand_.is_under_way()) return;  // the next minute's report will say it
  telling_ = *report.servers;
  HookRun run{.program = settings.hook,
              .environment = environment_for(report, told_),
              .input = json_text(forecast_json(&report, true)),
              .timeout = settings.hook_timeout};
  errand_.begin([run = std::move(run), process = process_] {
    try {
      return run_hook(run, *process);
    } catch (const std::bad_alloc&) {
      return std::string("memory has run out");
    }
  });
}

void ForecastHook::on_end(const std::string& problem) {
  const std::string& hook = server_.settings().forecast.hook;
  if (problem.empty()) {
    told_ = telling_;
    spdlog::info("forecast.hook: {} was told that {} server{} needed", conf::printable(hook),
                 telling_, telling_ == 1 ? " is" : "s are");
  } else if (problem != problem_) {
    spdlog::warn("forecast.hook: {} {}; tried again every minute", conf::printable(hook), problem);
  }
  problem_ = problem;
}

}  // namespace classgate::gateway
