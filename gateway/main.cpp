// Wiring: command line, conf, log, server, supervisor. The life of a request is in exchange.cpp,
// that of the process in ops/supervisor.cpp.

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <exception>
#include <sstream>
#include <system_error>
#include <thread>

#include "conf/command_line.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/printable.h"
#include "conf/reader.h"
#include "conf/time_zone.h"
#include "gateway/clients/client_identity.h"
#include "gateway/clients/new_key.h"
#include "gateway/clients/quotas.h"
#include "gateway/clients/secret.h"
#include "gateway/descriptors.h"
#include "gateway/error_log.h"
#include "gateway/history/usage_command.h"
#include "gateway/history/usage_history.h"
#include "gateway/memory_budget.h"
#include "gateway/milestones.h"
#include "gateway/ops/conf_command.h"
#include "gateway/ops/control_client.h"
#include "gateway/ops/errand.h"
#include "gateway/ops/operator_tokens.h"
#include "gateway/ops/supervisor.h"
#include "gateway/planning/forecast.h"
#include "gateway/planning/load.h"
#include "gateway/planning/simulate.h"
#include "gateway/server.h"
#include "proxy/net/sandbox.h"

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

// EX_CONFIG of sysexits.h: to start again at once would not help.
constexpr int exit_bad_conf = 78;

int complain(const std::string& text) {
  conf::print(stderr, fmt::format("classgate: {}\n", text));
  return 1;
}

// A line that stands for others which are not told says so first: "50 more mistakes" (of
// clients.clients_file: conf/known_clients.cpp, conf/clients_together.cpp).
std::size_t mistakes_told_by(std::string_view text) {
  std::size_t more = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), more);
  const bool is_sum =
      error == std::errc{} &&
      text.substr(static_cast<std::size_t>(stop - text.data())).starts_with(" more ");
  return is_sum ? more : 1;
}

int complain(const std::vector<conf::Mistake>& mistakes) {
  std::size_t all = 0;
  for (const conf::Mistake& mistake : mistakes) {
    conf::print(stderr, fmt::format("{}: {}\n", mistake.place, mistake.text));
    all += mistakes_told_by(mistake.text);
  }
  conf::print(stderr, fmt::format("classgate: {} mistake{} in the configuration\n", all,
                                  all == 1 ? "" : "s"));
  return 1;
}

std::string own_program() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : "classgate";
}

// From here on nothing may keep the process: no log whose place hangs, no loop that is stuck. What
// was counted of quotas and for the history has its own time.
constexpr std::chrono::seconds end_time_max{5};
void end_within(std::chrono::seconds time, int status) {
  std::thread([time, status] {
    const auto until = [] {
      return std::max(gateway::Quotas::finishes_until(), gateway::UsageHistory::finishes_until());
    };
    for (bool is_over = false; !is_over;) {
      while (until() > std::chrono::steady_clock::now())
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      std::this_thread::sleep_for(time);
      is_over = until() <= std::chrono::steady_clock::now();
    }
    ::_exit(status);
  }).detach();
}

// Empty: nothing, or nobody has a quota.
std::string check_quotas(const conf::Settings& settings) {
  if (!gateway::Quotas::are_wanted_by(settings)) return {};
  return gateway::QuotaStore::why_not(settings.clients.quota_file);
}

// A line for each that is good, and not as it should be.
std::vector<std::string> warnings_of_quotas(const conf::Settings& settings) {
  std::vector<std::string> warnings;
  struct stat found{};
  const std::string& path = settings.clients.quota_file;
  if (!gateway::Quotas::are_wanted_by(settings) || ::stat(path.c_str(), &found) != 0)
    return warnings;
  // Whoever writes it gives himself what he likes.
  if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    warnings.push_back(
        fmt::format("clients.quota_file: {}: others than its owner can write it: chmod 600", path));
  if (const auto zone = conf::TimeZone::load(settings.clients.time_zone)) {
    const auto now = gateway::Quotas::now();
    std::string to_come = gateway::QuotaStore::warning_of_counts_to_come(
        path, {(*zone)->day_of(now).number, (*zone)->month_of(now).number});
    if (!to_come.empty()) warnings.push_back(std::move(to_come));
  }
  return warnings;
}

int run(const conf::Loaded& loaded, gateway::Supervisor::Start start) {
  const conf::Settings& settings = loaded.settings;
  const auto placed = [&loaded](const std::string& line) { return conf::with_place(loaded, line); };
  gateway::fill_standard_descriptors();
  gateway::tune_allocator();
  gateway::raise_descriptor_limit();
  gateway::Supervisor::block_signals();
  auto log = gateway::ErrorLog::open(settings.log);
  if (!log) return complain(placed(log.error()));
  // Before keys are read.
  if (!settings.core_dumps) proxy::net::forbid_core_dumps();
  auto inheritance = gateway::take_inheritance();
  if (!inheritance) {
    gateway::log_milestone(spdlog::level::err, "{}", inheritance.error());
    return 1;
  }
  if (const auto secret = gateway::check_secret(settings.clients); !secret) {
    gateway::log_milestone(spdlog::level::err, "{}", placed(secret.error()));
    return exit_bad_conf;
  }
  if (const std::string wrong = check_quotas(settings); !wrong.empty()) {
    gateway::log_milestone(spdlog::level::err, "{}", placed(wrong));
    return exit_bad_conf;
  }
  for (const std::string& warning : warnings_of_quotas(settings))
    gateway::log_milestone(spdlog::level::warn, "{}", placed(warning));
  auto server = gateway::Server::open(settings, std::move(inheritance->clients));
  if (!server) {
    std::istringstream lines(server.error());
    for (std::string line; std::getline(lines, line);)
      gateway::log_milestone(spdlog::level::err, "{}", placed(line));
    return 1;
  }
  gateway::Supervisor supervisor(std::move(start), *log, **server, std::move(*inheritance));
  // Whatever ends run(): the loops end before the supervisor, to which they report.
  const struct Stopper {
    gateway::Server& server;
    ~Stopper() { server.stop(); }
  } stopper{**server};
  gateway::let_go_of_what_has_begun();
  const int status = supervisor.run();
  end_within(end_time_max, status);
  return status;
}

// What a check can know of certificates and keys beyond the conf: each mistake is one line.
int check_secrets(const conf::Loaded& loaded) {
  const conf::Settings& settings = loaded.settings;
  const auto tls = gateway::open_tls(settings);
  std::string lines = tls ? std::string() : tls.error();
  if (tls && tls->clients)
    for (const std::string& warning : tls->clients->warnings())
      lines += (lines.empty() ? "" : "\n") + warning;
  for (const std::string& wrong : gateway::check_jwt(settings.jwt))
    lines += (lines.empty() ? "" : "\n") + wrong;
  if (const auto secret = gateway::check_secret(settings.clients); !secret)
    lines += (lines.empty() ? "" : "\n") + secret.error();
  if (const auto tokens = gateway::read_operator_tokens(settings.ops.token_file); !tokens)
    lines += (lines.empty() ? "" : "\n") + tokens.error();
  if (const std::string wrong = check_quotas(settings); !wrong.empty())
    lines += (lines.empty() ? "" : "\n") + wrong;
  if (lines.empty()) return 0;
  std::istringstream each(lines);
  for (std::string line; std::getline(each, line);)
    conf::print(stderr, conf::with_place(loaded, line) + "\n");
  return 1;
}

// No mistake of the conf: a start would wait for them.
void warn_of_names(const conf::Settings& settings) {
  for (const proxy::Servers::Name& name : proxy::Servers::look_up(settings.upstream))
    if (!name.endpoints)
      conf::print(stderr,
                  fmt::format("classgate: warning: {} (upstream.servers)\n", name.mistake()));
}

// Good, and unsafe.
void warn_of_secrets(const conf::Loaded& loaded) {
  const conf::Settings& settings = loaded.settings;
  const auto warn = [&](const std::string& warning) {
    conf::print(stderr, fmt::format("classgate: warning: {}\n", conf::with_place(loaded, warning)));
  };
  if (const auto secret = gateway::check_secret(settings.clients); secret && !secret->empty())
    warn(*secret);
  for (const std::string& warning : warnings_of_quotas(settings)) warn(warning);
  if (!gateway::Quotas::are_wanted_by(settings)) return;
  const auto key = gateway::kept_key(settings.clients);
  const auto ids = key ? std::optional(gateway::Quotas::fingerprint_of(*key)) : std::nullopt;
  const auto are_others =
      gateway::QuotaStore::has_counts_by_others(settings.clients.quota_file, ids);
  if (!are_others)
    warn(
        fmt::format("{}; so nobody can tell whether it was counted with the key that "
                    "clients.secret holds",
                    are_others.error()));
  else if (*are_others)
    warn(
        fmt::format("clients.secret: {}: {}, and {} was counted with another: clients would have "
                    "other ids, and their quotas would begin anew. Bring it back from a copy",
                    settings.clients.secret, key ? "is another one" : "is not there",
                    settings.clients.quota_file));
}

// Good, and cannot be meant so.
void warn_of_plans(const conf::Loaded& loaded) {
  for (const conf::Mistake& warning : loaded.warnings)
    conf::print(stderr, fmt::format("classgate: warning: {}: {}\n", warning.place, warning.text));
}

// Good, and of little use.
void warn_of_loops_that_keep_nothing(const conf::Loaded& loaded) {
  const conf::OpsSettings& ops = loaded.settings.ops;
  if (ops.why_max == 0 || ops.why_max >= loaded.settings.threads) return;
  const std::string warning = fmt::format(
      "ops.why_max: {} are fewer than threads, {}, which share them: `classgate why` finds nothing "
      "of those that keep none. Write a multiple of threads, or 0",
      ops.why_max, loaded.settings.threads);
  conf::print(stderr, fmt::format("classgate: warning: {}\n", conf::with_place(loaded, warning)));
}

// Good, and unsafe.
void warn_of_names_that_anybody_has(const conf::Settings& settings) {
  const auto sources = conf::identity_sources(settings);
  for (const conf::PlanSettings& plan : settings.admission.fairness.plans)
    for (const std::string& text : plan.clients) {
      const auto client = conf::read_plan_client(text, sources);
      if (!client || client->source.kind != conf::IdentitySource::Kind::basic) continue;
      conf::print(stderr,
                  fmt::format("classgate: warning: plan \"{}\": {}: classgate does not verify "
                              "passwords: whoever gives this name is this client{}\n",
                              plan.name, text,
                              plan.quota.is_any() ? ", and uses its quota up"
                              : settings.clients.unknown == conf::UnknownClients::refuse
                                  ? ", and is not refused"
                                  : ""));
      break;
    }
}

// Good, and unsafe.
void warn_of_strangers(const conf::Settings& settings) {
  const auto sources = conf::identity_sources(settings);
  if (settings.clients.unknown == conf::UnknownClients::own &&
      std::ranges::any_of(sources, [](const auto& source) { return carries_key(source.kind); }))
    conf::print(stderr,
                "classgate: warning: clients.unknown = \"own\": whoever invents another key is "
                "another client, with full buckets, each time; \"address\", \"shared\" or "
                "\"refuse\" are safe\n");
}

int start(int argc, char** argv) {
  const auto command = conf::parse_command_line(argc, argv);
  if (!command) return complain(command.error());
  using Mode = conf::CommandLine::Mode;
  switch (command->mode) {
    case Mode::help:
      fmt::print("{}",
                 command->command.empty() ? conf::help_text() : conf::help_text(command->command));
      return 0;
    case Mode::version: fmt::print("{}", conf::version_text()); return 0;
    case Mode::keys: fmt::print("{}", conf::keys_text()); return 0;
    case Mode::control: return gateway::control(*command, environment());
    case Mode::load: return planning::load(*command, environment());
    case Mode::forecast: return planning::forecast(*command, environment());
    case Mode::simulate: return planning::simulate(*command, environment());
    case Mode::usage: return gateway::usage(*command, environment());
    case Mode::conf_history: return gateway::tell_conf_history(*command, environment());
    case Mode::conf_show: return gateway::show_kept_conf(*command, environment());
    case Mode::conf_rollback: return gateway::roll_back(*command, environment());
    case Mode::new_key: return gateway::print_new_key(command->arguments.back());
    case Mode::build: fmt::print("{}", conf::build_text()); return 0;
    default: break;
  }
  const conf::Sources sources{.conf_path = command->conf_path,
                              .environment = environment(),
                              .command_line = command->overrides,
                              .run_time = {}};
  if (command->mode == Mode::run) gateway::Supervisor::block_requests();
  const auto loaded = conf::load(sources);
  if (!loaded) {
    const int status = complain(loaded.error());
    return command->mode == Mode::run ? exit_bad_conf : status;
  }
  if (command->mode == Mode::check) {
    if (const int wrong = check_secrets(*loaded); wrong != 0) return wrong;
    warn_of_names(loaded->settings);
    warn_of_secrets(*loaded);
    warn_of_plans(*loaded);
    warn_of_loops_that_keep_nothing(*loaded);
    warn_of_strangers(loaded->settings);
    warn_of_names_that_anybody_has(loaded->settings);
    conf::print(stderr,
                fmt::format("classgate: {}: the configuration is good\n", command->conf_path));
    return 0;
  }
  if (command->mode == Mode::print_config) {
    conf::print(stdout, conf::print(*loaded));
    return 0;
  }
  const int status = run(*loaded, {.sources = sources,
                                   .loaded = *loaded,
                                   .program = own_program(),
                                   .arguments = std::vector<std::string>(argv, argv + argc)});
  // A reload that was given up may still be reading: no destructor may take away what it uses.
  if (gateway::errands_out > 0) ::_exit(status);
  return status;
}

}  // namespace

// A full disk or a reader that has gone: an answer that is not whole is none.
static int flushed(int status) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  const int now = errno;
  const int before = conf::print_error();
  const int error = before != 0 ? before : now != 0 ? now : EIO;
  return complain("standard output: " + std::generic_category().message(error));
}

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);  // write(2) tells
  try {
    return flushed(start(argc, argv));
  } catch (const std::exception& failure) {
    return complain(failure.what());
  }
}
