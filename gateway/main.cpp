// Wiring: command line, conf, log, server, signals. The life of a request is in exchange.cpp.

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

#include "conf/command_line.h"
#include "conf/reader.h"
#include "gateway/error_log.h"
#include "gateway/server.h"
#include "gateway/service_manager.h"

namespace {

using namespace classgate;

extern "C" char** environ;

std::vector<std::pair<std::string, std::string>> environment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

int complain(const std::string& text) {
  fmt::print(stderr, "classgate: {}\n", text);
  return 1;
}

int complain(const std::vector<conf::Mistake>& mistakes) {
  for (const conf::Mistake& mistake : mistakes)
    fmt::print(stderr, "{}: {}\n", mistake.place, mistake.text);
  fmt::print(stderr, "classgate: {} mistake{} in the configuration\n", mistakes.size(),
             mistakes.size() == 1 ? "" : "s");
  return 1;
}

// Ends the process when it must end: on the first signal drain, on the second, or when the time is
// over, at once.
class Lifecycle {
 public:
  Lifecycle() : drained_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);  // a log reader that has gone is no reason to end
    ::signal(SIGXFSZ, SIG_IGN);  // nor is a log that has reached its ulimit
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  int run(gateway::Server& server, std::chrono::milliseconds drain_timeout) {
    server.start([this] {
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto written = ::write(drained_.get(), &one, sizeof one);
    });
    gateway::notify_ready(server.description());
    const int first = wait_for_signal(-1);
    const admission::Snapshot before = server.snapshot();
    spdlog::info("{}: draining, at most {} ms: {} in flight, {} waiting, {} connections",
                 sigabbrev_np(first), drain_timeout.count(), before.active_workers, before.waiting,
                 server.connections());
    gateway::notify_stopping(
        fmt::format("draining: {} in flight, {} waiting", before.active_workers, before.waiting));
    server.drain();
    const int second = wait_for_signal(static_cast<int>(drain_timeout.count()));
    const admission::Snapshot after = server.snapshot();
    if (second > 0) {
      spdlog::warn("{}: ended at once: {} in flight, {} waiting were cut off", sigabbrev_np(second),
                   after.active_workers - after.workers_without_client, after.waiting);
      return 1;
    }
    if (second == time_is_over)
      spdlog::warn("drain_timeout is over: {} in flight, {} waiting were cut off",
                   after.active_workers - after.workers_without_client, after.waiting);
    else
      spdlog::info("drained: {} requests in all, {} processed", after.total, after.processed);
    return 0;
  }

 private:
  static constexpr int drained = 0;
  static constexpr int time_is_over = -1;

  // The signal's number, `drained` or `time_is_over`.
  int wait_for_signal(int timeout_ms) {
    std::array<pollfd, 2> waited{{{signals_.get(), POLLIN, 0}, {drained_.get(), POLLIN, 0}}};
    for (;;) {
      const int ready = ::poll(waited.data(), waited.size(), timeout_ms);
      if (ready < 0) continue;  // EINTR: nothing else can happen here
      if (ready == 0) return time_is_over;
      signalfd_siginfo info{};
      if (::read(signals_.get(), &info, sizeof info) == sizeof info)
        return static_cast<int>(info.ssi_signo);
      return drained;
    }
  }

  proxy::net::Fd drained_;
  proxy::net::Fd signals_;
};

int run(const conf::Settings& settings) {
  Lifecycle lifecycle;  // blocks the signals before there is a second thread
  const auto log = gateway::ErrorLog::open(settings.log);
  if (!log) return complain(log.error());
  auto server = gateway::Server::open(settings);
  if (!server) {
    spdlog::error("{}", server.error());
    return 1;
  }
  spdlog::info("classgate {} {}", CLASSGATE_VERSION, (*server)->description());
  const int status = lifecycle.run(**server, settings.drain_timeout);
  (*server)->stop();
  return status;
}

int start(int argc, char** argv) {
  const auto command = conf::parse_command_line(argc, argv);
  if (!command) return complain(command.error());
  using Mode = conf::CommandLine::Mode;
  switch (command->mode) {
    case Mode::help: fmt::print("{}", conf::help_text()); return 0;
    case Mode::version: fmt::print("{}", conf::version_text()); return 0;
    case Mode::build: fmt::print("{}", conf::build_text()); return 0;
    default: break;
  }
  const auto loaded = conf::load({.conf_path = command->conf_path,
                                  .environment = environment(),
                                  .command_line = command->overrides});
  if (!loaded) return complain(loaded.error());
  if (command->mode == Mode::check) {
    fmt::print(stderr, "classgate: {}: the configuration is good\n", command->conf_path);
    return 0;
  }
  if (command->mode == Mode::print_config) {
    fmt::print("{}", conf::print(*loaded));
    return 0;
  }
  return run(loaded->settings);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return start(argc, argv);
  } catch (const std::exception& failure) {
    return complain(failure.what());
  }
}
