#include "gateway/ops/supervisor.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/printable.h"
#include "gateway/service_manager.h"

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;

constexpr auto status_interval = 5s;
constexpr std::size_t mistakes_logged_max = 20;

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2})
    sigaddset(&set, number);
  return set;
}

proxy::net::Fd open_signals() {
  const sigset_t set = handled_signals();
  return proxy::net::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::vector<std::string> lines_of(const std::vector<conf::Mistake>& mistakes) {
  std::vector<std::string> lines;
  for (const conf::Mistake& mistake : mistakes)
    lines.push_back(fmt::format("{}: {}", mistake.place, mistake.text));
  return lines;
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += conf::printable(line) + "\n";
  return text;
}

// Those that are open already, then those that were inherited, else new ones.
std::expected<OperatorServer::Sockets, std::string> open_sockets(
    const conf::OpsSettings& settings, const OperatorServer::Sockets& open,
    std::vector<proxy::net::ListeningSocket>& inherited_ones) {
  OperatorServer::Sockets sockets;
  for (const conf::Address& address : settings.listen) {
    const auto known = std::ranges::find_if(
        open, [&](const auto& socket) { return socket->wanted.text == address.text; });
    if (known != open.end()) {
      sockets.push_back(*known);
      continue;
    }
    const auto resolved = proxy::net::resolve(address, true);
    const auto inherited = std::ranges::find_if(inherited_ones, [&](const auto& socket) {
      return resolved && (socket.local == *resolved ||
                          (address.port == 0 && socket.local.host() == resolved->host()));
    });
    if (inherited != inherited_ones.end()) {
      inherited->wanted = address;
      sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*inherited)));
      inherited_ones.erase(inherited);
      continue;
    }
    auto opened = proxy::net::listen_on(address);
    if (!opened) return std::unexpected(opened.error());
    sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*opened)));
  }
  return sockets;
}

}  // namespace

void Supervisor::block_signals() {
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a log reader that has gone is no reason to end
  ::signal(SIGXFSZ, SIG_IGN);  // nor is a log that has reached its ulimit
}

Supervisor::Supervisor(Start start, ErrorLog& log, Server& server, Inheritance inheritance)
    : start_(std::move(start)),
      log_(log),
      server_(server),
      inheritance_(std::move(inheritance)),
      signals_(open_signals()),
      signal_watch_(loop_, signals_.get(), [this] { on_signal(); }),
      mailbox_(loop_, [this](DataPathDrained) { on_drained(); }),
      operators_(loop_, [this](const OperatorServer::Request& request,
                               const OperatorServer::Answer& to) { desk_.answer(request, to); }),
      roll_(loop_, server),
      questions_({server, log, operators_, roll_, [this] { return draining_; }}),
      names_(loop_, server),
      drain_timer_(loop_, [this] { on_drain_timeout(); }),
      status_timer_(loop_, [this] { tell_status(); }),
      watchdog_timer_(loop_, [this] { feed_watchdog(); }),
      ticket_timer_(loop_, [this] { rotate_ticket_keys(); }),
      upgrade_timer_(loop_, [this] { on_upgrade_timeout(); }),
      share_timer_(loop_, [this] { share_workers(); }),
      change_timer_(loop_, [this] { on_change_timeout(); }),
      errand_(loop_, [this](Outcome&& outcome) { on_prepared(std::move(outcome)); }),
      kept_sockets_(inheritance_.kept),
      watchdog_interval_(watchdog_interval()) {
  loop_.at_exception([this](const std::exception& thrown) { server_.note_exception(thrown); });
  questions_.take_their_places(desk_);
  take_orders();
  if (inheritance_.handover) predecessor_.emplace(std::move(inheritance_.handover));
}

Supervisor::~Supervisor() {
  if (!control_path_.empty() && !handed_over_) ::unlink(control_path_.c_str());
}

int Supervisor::run() {
  // Without its operators' sockets the process serves clients all the same: those come first.
  if (auto sockets = open_sockets(server_.settings().ops, {}, inheritance_.operators)) {
    operator_sockets_ = std::move(*sockets);
  } else {
    spdlog::error("{} (ops.listen); serving without it, tried again at a reload", sockets.error());
  }
  open_control(server_.settings().ops, operator_sockets_);
  inheritance_.operators.clear();  // what nobody wanted is closed
  operators_.listen_on(operator_sockets_, server_.settings().ops);

  if (predecessor_) take_over();
  std::string places;
  for (const auto& socket : operator_sockets_)
    places += (places.empty() ? "; operators at " : ", ") + socket->text();
  spdlog::info("classgate {} {}{}", CLASSGATE_VERSION, server_.description(), places);
  server_.start([this] { mailbox_.send({}); });
  notify_ready(server_.description());
  keep_sockets();
  if (has_service_manager()) status_timer_.start(status_interval);
  if (watchdog_interval_ > 0ms) feed_watchdog();
  warn_of_certificates();
  ticket_timer_.start(server_.settings().tls.ticket_rotation);
  names_.begin();
  loop_.run();
  return exit_status_;
}

// ---- Orders ------------------------------------------------------------------------------------

// What operators may have done, by the control socket.
void Supervisor::take_orders() {
  const auto tell_by = [](const Desk::Answer& answer) -> TellChange {
    return [answer](const Change& change) {
      answer({.status = change.ok ? 200 : 409, .body = text_of(change.lines)});
    };
  };
  desk_.add_order("/reload", [=, this](const Desk::Request&, const Desk::Answer& answer) {
    reload(tell_by(answer));
  });
  desk_.add_order("/set", [=, this](const Desk::Request& request, const Desk::Answer& answer) {
    const std::size_t equals = request.body.find('=');
    if (equals == std::string::npos)
      return answer({.status = 400, .body = "the body is KEY=VALUE\n"});
    set(request.body.substr(0, equals), request.body.substr(equals + 1), tell_by(answer));
  });
  desk_.add_order("/upgrade", [this](const Desk::Request&, const Desk::Answer& answer) {
    upgrade([answer](bool ok, const std::string& text) {
      answer({.status = ok ? 200 : 409, .body = text + "\n"});
    });
  });
  desk_.add_order("/drain", [this](const Desk::Request&, const Desk::Answer& answer) {
    if (draining_) return answer({.status = 409, .body = "draining already\n"});
    answer({.body = "draining\n"});
    drain("classgate drain");
  });
}

// ---- Signals -----------------------------------------------------------------------------------

void Supervisor::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info)
    on_signal(static_cast<int>(info.ssi_signo));
}

void Supervisor::on_signal(int number) {
  switch (number) {
    case SIGHUP:
      if (!errand_.is_under_way()) {
        if (const auto why = why_no_change()) return spdlog::error("HUP: reload refused: {}", *why);
        return reload([](const Change&) {});  // the log tells
      }
      reloads_again_ = true;
      spdlog::info("HUP: a change of the conf is under way; a reload follows it");
      return;
    case SIGUSR1:
      server_.reopen_access_log();
      log_.reopen();
      spdlog::info("USR1: the logs are opened anew");
      return;
    case SIGUSR2:
      upgrade([](bool, const std::string&) {});  // the log tells
      return;
    default: break;
  }
  if (!draining_) return drain(sigabbrev_np(number));
  if (handed_over_ && !std::exchange(was_told_to_end_, true)) {
    spdlog::info("{}: this process has handed over and is draining already", sigabbrev_np(number));
    return;
  }
  const admission::Snapshot left = server_.snapshot();
  spdlog::warn("{}: ended at once: {} in flight, {} waiting were cut off", sigabbrev_np(number),
               left.active_workers - left.workers_without_client, left.waiting);
  end(1);
}

// ---- The end -----------------------------------------------------------------------------------

void Supervisor::drain(const std::string& why) {
  draining_ = true;
  if (successor_) fail_upgrade("this process drains");
  give_up_change("this process drains");
  const auto timeout = server_.settings().drain_timeout;
  const admission::Snapshot now = server_.snapshot();
  // Sockets that were given to us are listened on by whoever gave them: the next one will accept.
  const bool has_successor = server_.sockets_are_given();
  spdlog::info("{}: draining, at most {} ms: {} in flight, {} waiting, {} connections", why,
               timeout.count(), now.active_workers, now.waiting, server_.connections());
  status_timer_.stop();
  names_.end();
  // The process was told to stop, and nobody starts it again by itself. So nobody else shall keep
  // its listening sockets open either: the kernel refuses connections from then on.
  for (const std::string& name : std::exchange(kept_sockets_, {})) notify_let_go(name);
  if (predecessor_) predecessor_->say_let_go();
  notify_stopping(
      fmt::format("draining: {} in flight, {} waiting", now.active_workers, now.waiting));
  drain_timer_.start(timeout);
  server_.drain({.has_successor = has_successor,
                 .grace = has_successor ? server_.settings().handover_grace
                                        : server_.settings().drain_grace});
}

void Supervisor::on_drained() {
  if (!draining_) return;  // it has been taken back meanwhile
  // The other process has the workers that we do not need: those that work for clients that have
  // left are still ours.
  data_path_drained_ = true;
  if (handed_over_ && server_.snapshot().active_workers > 0) return;  // share_workers() looks again
  const admission::Snapshot all = server_.snapshot();
  spdlog::info("drained: {} requests in all, {} processed", all.total, all.processed);
  end(0);
}

void Supervisor::on_drain_timeout() {
  const admission::Snapshot left = server_.snapshot();
  spdlog::warn("drain_timeout is over: {} in flight, {} waiting were cut off",
               left.active_workers - left.workers_without_client, left.waiting);
  end(0);
}

void Supervisor::end(int status) {
  exit_status_ = status;
  loop_.stop();
}

// ---- The conf ----------------------------------------------------------------------------------

// Nothing, when the conf may be changed now.
std::optional<std::string> Supervisor::why_no_change() const {
  if (draining_) return "this process drains: nothing is changed any more";
  if (successor_) return "an upgrade is under way: nothing is changed meanwhile";
  if (errand_.is_under_way())
    return "a change of the conf is under way: ask again when it is done (ops.reload_timeout)";
  return std::nullopt;
}

void Supervisor::reload(TellChange tell) {
  if (const auto why = why_no_change()) return tell({false, {*why}});
  conf::Sources sources = start_.sources;
  sources.run_time.clear();
  Lines forgotten;
  for (const auto& [key, value] : server_.policy().history.set_at_run_time)
    forgotten.push_back(fmt::format("{} = {}, set at run time, gave way to the conf", key, value));
  notify_reloading();
  prepare(
      std::move(sources),
      [this, forgotten = std::move(forgotten)](Outcome&& outcome) {
        ConfHistory history = server_.policy().history;
        history.set_at_run_time.clear();
        return reloaded(std::move(outcome), std::move(history), forgotten);
      },
      [this, tell = std::move(tell)](const Change& change) {
        notify_ready(status_line());
        tell(change);
      });
}

Supervisor::Change Supervisor::reloaded(Outcome&& outcome, ConfHistory history, Lines forgotten) {
  if (!outcome) return refuse(std::move(outcome.error()));
  conf::Loaded loaded = outcome->loaded;
  Change change = apply(std::move(*outcome), std::move(history));
  if (!change.ok) return change;
  start_.sources.run_time.clear();
  std::ranges::move(forgotten, std::back_inserter(change.lines));
  spdlog::info("reloaded: {}", server_.description());
  for (const std::string& line : change.lines) spdlog::warn("reload: {}", line);
  put_in_force(std::move(loaded), change);
  return change;
}

// What a conf that was emptied or cut off no longer says. (A file may be read while it is written.)
Supervisor::Lines Supervisor::lost_by(const conf::Loaded& loaded, const Start& start) {
  const auto is_blank = [](const std::string& text) {
    return text.find_first_not_of(" \t\r\n") == std::string::npos;
  };
  for (const auto& [path, text] : *loaded.texts)
    for (const auto& [known, before] : *start.loaded.texts)
      if (known == path && is_blank(text) && !is_blank(before))
        return {
            fmt::format("{} is empty, and was not: is it being written? To mean it, leave a "
                        "comment in it",
                        path)};
  conf::Sources sources = start.sources;  // without what was set at run time, which ends anyway
  sources.run_time.clear();
  sources.texts = start.loaded.texts;
  const auto before = conf::load(sources);
  return before ? conf::lost_between(*before, loaded) : Lines();
}

// Says what is different now.
void Supervisor::put_in_force(conf::Loaded loaded, Change& change) {
  Lines changes = conf::changes_between(start_.loaded, loaded);
  start_.loaded = std::move(loaded);
  for (std::size_t i = 0; i < changes.size() && i < mistakes_logged_max; ++i)
    spdlog::info("changed: {}", changes[i]);
  if (changes.size() > mistakes_logged_max)
    spdlog::info("changed: {} more", changes.size() - mistakes_logged_max);
  if (changes.empty() && change.lines.empty()) changes.push_back("the conf says nothing else");
  std::ranges::move(changes, std::back_inserter(change.lines));
}

void Supervisor::set(const std::string& name, const std::string& value, TellChange tell) {
  if (const auto why = why_no_change()) return tell({false, {*why}});
  const conf::Key* key = conf::find_key(name);
  if (key != nullptr && key->needs_restart)
    return tell({false, {fmt::format("{} needs a restart: change it in the conf", name)}});
  conf::Sources sources = start_.sources;
  std::erase_if(sources.run_time, [&](const conf::Override& set) { return set.key == name; });
  sources.run_time.push_back({name, value, {}});
  sources.texts = start_.loaded.texts;  // what is in force, whatever the files say by now
  const auto now_set = sources.run_time;
  const auto then = [this, name, value, now_set](Outcome&& outcome) -> Change {
    if (!outcome) return {false, std::move(outcome.error())};
    ConfHistory history = server_.policy().history;
    history.set_at_run_time.clear();
    for (const conf::Override& set : now_set)
      history.set_at_run_time.emplace_back(set.key, set.value);
    const auto before = server_.settings();
    conf::Loaded loaded = outcome->loaded;
    Change change = apply(std::move(*outcome), std::move(history));
    if (!change.ok) return change;
    start_.sources.run_time = now_set;
    start_.loaded = std::move(loaded);
    change.lines.insert(change.lines.begin(),
                        fmt::format("{} = {} until the next reload", name, value));
    spdlog::info("set at run time: {} = {} (it was {})", name, value,
                 conf::find_key(name)->print(before));
    return change;
  };
  prepare(std::move(sources), then, std::move(tell));
}

void Supervisor::prepare(conf::Sources sources, std::function<Change(Outcome&&)> then,
                         TellChange tell) {
  const auto work = [sources = std::move(sources), start = start_, server = server_.in_force(),
                     operators = operator_sockets_]() -> Outcome {
    try {
      return prepare_now(sources, start, server, operators);
    } catch (const std::exception& failure) {
      return std::unexpected(Lines{failure.what()});
    }
  };
  if (!errand_.begin(work))
    return tell({false, {"those before still hang, reading files or looking names up"}});
  then_ = std::move(then);
  tell_change_ = std::move(tell);
  change_timer_.start(server_.settings().ops.reload_timeout);
}

// On a thread of its own: may wait for files and names.
Supervisor::Outcome Supervisor::prepare_now(const conf::Sources& sources, const Start& start,
                                            const Server::InForce& server,
                                            const OperatorServer::Sockets& operators) {
  auto loaded = conf::load(sources);
  if (!loaded) return std::unexpected(lines_of(loaded.error()));
  const bool reads_files = sources.texts == nullptr;  // a reload does
  if (Lines lost = reads_files ? lost_by(*loaded, start) : Lines(); !lost.empty())
    return std::unexpected(std::move(lost));
  const conf::Settings& settings = loaded->settings;
  std::vector<proxy::net::ListeningSocket> none_inherited;
  auto sockets = open_sockets(settings.ops, operators, none_inherited);
  if (!sockets) return std::unexpected(Lines{sockets.error() + " (ops.listen)"});
  auto prepared = Server::prepare(
      settings, server, reads_files ? Server::Files::read_again : Server::Files::as_they_were);
  if (!prepared) {
    Lines lines;
    std::istringstream errors(prepared.error());
    for (std::string line; std::getline(errors, line);) lines.push_back(line);
    return std::unexpected(std::move(lines));
  }
  auto log = ErrorLog::open_target(settings.log);
  if (!log) return std::unexpected(Lines{log.error()});
  return Prepared{std::move(*loaded), std::move(*prepared), std::move(*sockets), std::move(*log)};
}

void Supervisor::on_prepared(Outcome&& outcome) {
  change_timer_.stop();
  conclude_change(std::exchange(then_, nullptr)(std::move(outcome)));
}

void Supervisor::conclude_change(const Change& change) {
  std::exchange(tell_change_, nullptr)(change);
  if (std::exchange(reloads_again_, false) && !draining_) reload([](const Change&) {});
}

void Supervisor::on_change_timeout() {
  errand_.give_up();
  on_prepared(std::unexpected(
      Lines{fmt::format("not all was read, looked up and opened within ops.reload_timeout, {} ms",
                        server_.settings().ops.reload_timeout.count())}));
}

void Supervisor::give_up_change(const std::string& why) {
  if (!errand_.is_under_way()) return;
  errand_.give_up();
  change_timer_.stop();
  then_ = nullptr;
  reloads_again_ = false;
  spdlog::warn("the change of the conf that was under way is given up: {}", why);
  conclude_change({false, {fmt::format("given up: {}", why)}});
}

// All of it or nothing: what can fail has been tried.
Supervisor::Change Supervisor::apply(Prepared&& prepared, ConfHistory history) {
  const conf::Settings settings = prepared.server.settings;
  Change change{.ok = true, .lines = {}};
  if (settings.threads != server_.settings().threads)
    change.lines.push_back(fmt::format("threads = {} needs a restart; {} stay", settings.threads,
                                       server_.settings().threads));
  for (const auto& [key, differs] :
       {std::pair("sandbox", settings.sandbox != server_.settings().sandbox),
        std::pair("core_dumps", settings.core_dumps != server_.settings().core_dumps)})
    if (differs)
      change.lines.push_back(
          fmt::format("{} needs a restart; it stays as it was at the start", key));
  if (server_.sockets_are_given() && settings.listen != server_.settings().listen)
    change.lines.push_back("listen: the service manager's socket unit says where to listen");
  ++history.reloads;
  history.last_failed = false;
  history.last_error.clear();
  history.changed_at = std::chrono::system_clock::now();
  // The lesser first: never has this process more than its predecessor leaves of either.
  use_what_is_left(std::min(server_.settings().admission.workers, settings.admission.workers));
  const auto result = server_.reconfigure(std::move(prepared.server), std::move(history));
  use_what_is_left(server_.settings().admission.workers);
  if (!result) return refuse({result.error()});
  log_.reconfigure(settings.log, std::move(prepared.log));
  open_control(settings.ops, prepared.operators);
  operator_sockets_ = std::move(prepared.operators);
  operators_.listen_on(operator_sockets_, settings.ops);
  if (predecessor_) predecessor_->say_let_go();
  keep_sockets();
  warn_of_certificates();
  ticket_timer_.start(settings.tls.ticket_rotation);
  names_.begin();
  return change;
}

Supervisor::Change Supervisor::refuse(Lines lines) {
  ConfHistory history = server_.policy().history;
  ++history.failed_reloads;
  history.last_failed = true;
  history.last_error.clear();
  for (const std::string& line : lines) history.last_error += line + "\n";
  for (std::size_t i = 0; i < lines.size() && i < mistakes_logged_max; ++i)
    spdlog::error("{}", lines[i]);
  spdlog::error("reload refused, {} mistake{}: the settings from before stay in force",
                lines.size(), lines.size() == 1 ? "" : "s");
  server_.note(std::move(history));
  return {false, std::move(lines)};
}

// The control socket, added to the others. Going without one is told, and is no reason to stop.
void Supervisor::open_control(const conf::OpsSettings& settings, OperatorServer::Sockets& sockets) {
  const bool is_wanted = settings.control != "off";
  const auto has_path = [&](const auto& socket) {
    return socket->local.text() == settings.control;
  };
  const auto known = std::ranges::find_if(operator_sockets_, has_path);
  if (is_wanted && known != operator_sockets_.end()) {
    if (std::ranges::find(sockets, *known) == sockets.end()) sockets.push_back(*known);
    return;
  }
  if (!control_path_.empty()) ::unlink(control_path_.c_str());
  control_path_.clear();
  if (!is_wanted) return;
  auto inherited =
      std::ranges::find_if(inheritance_.operators, [&](const proxy::net::ListeningSocket& socket) {
        return socket.local.text() == settings.control;
      });
  if (inherited != inheritance_.operators.end() && ::access(settings.control.c_str(), F_OK) != 0) {
    // Kept over a crash, but its folder was cleared meanwhile: nobody finds it any more.
    const std::string name = socket_name::kept(socket_name::kept_operators, inherited->local);
    if (kept_sockets_.erase(name) > 0) notify_let_go(name);
    inheritance_.operators.erase(inherited);
    inherited = inheritance_.operators.end();
  }
  if (inherited != inheritance_.operators.end()) {
    sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*inherited)));
    inheritance_.operators.erase(inherited);
  } else if (auto socket = proxy::net::listen_on_path(settings.control)) {
    sockets.push_back(std::make_shared<const proxy::net::ListeningSocket>(std::move(*socket)));
  } else {
    spdlog::warn("{}; `classgate status` and the like cannot reach this process", socket.error());
    return;
  }
  control_path_ = settings.control;
}

// ---- The service manager -----------------------------------------------------------------------

std::string Supervisor::status_line() const {
  const admission::Snapshot now = server_.snapshot();
  std::string line = fmt::format(
      "{} of {} workers busy, {} waiting; {} requests: {} processed, {} rejected, {} failed",
      now.active_workers, now.workers, now.waiting, now.total, now.processed,
      admission::sum(now.rejected), admission::sum(now.failed));
  const ConfHistory& history = server_.policy().history;
  if (history.last_failed)
    line += "; the last reload was refused: " +
            history.last_error.substr(0, history.last_error.find('\n'));
  return line;
}

// What is listened on now, and nothing else. What a socket unit gave us it holds itself.
void Supervisor::keep_sockets() {
  if (!has_service_manager()) return;
  std::set<std::string> wanted;
  const auto keep = [&](std::string_view prefix, const proxy::net::ListeningSocket& socket) {
    std::string name = socket_name::kept(prefix, socket.local);
    if (name.empty()) return;
    if (!kept_sockets_.contains(name)) notify_keep(socket.fd.get(), name);
    wanted.insert(std::move(name));
  };
  if (!server_.sockets_are_given())
    for (const auto& socket : server_.sockets()) keep(socket_name::kept_clients, *socket);
  for (const auto& socket : operator_sockets_) keep(socket_name::kept_operators, *socket);
  for (const std::string& name : kept_sockets_)
    if (!wanted.contains(name)) notify_let_go(name);
  kept_sockets_ = std::move(wanted);
}

void Supervisor::tell_status() {
  std::string status = status_line();
  if (status != last_status_) {
    notify_status(status);
    last_status_ = std::move(status);
  }
  status_timer_.start(status_interval);
}

// A policy is not changed any more while draining.
void Supervisor::rotate_ticket_keys() {
  if (!draining_) server_.rotate_ticket_keys();
  ticket_timer_.start(server_.settings().tls.ticket_rotation);
}

// Expired or not valid yet: clients will complain, but serving nobody would help none of them.
void Supervisor::warn_of_certificates() const {
  if (const auto& acceptor = server_.policy().tls.clients)
    for (const std::string& warning : acceptor->warnings()) spdlog::error("{}", warning);
}

void Supervisor::feed_watchdog() {
  roll_.ask_turns(watchdog_interval_ / 4, [this](bool every_loop) { note_turns(every_loop); });
  watchdog_timer_.start(watchdog_interval_ / 2);
}

void Supervisor::note_turns(bool every_loop) {
  if (handed_over_) return;  // the other process is watched now
  if (every_loop)
    notify_alive();
  else
    spdlog::error("an event loop does not turn: the watchdog is not fed");
}

}  // namespace classgate::gateway
