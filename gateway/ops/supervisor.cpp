// Longer than most: what happens in the life of the process stands here in one place.
#include "gateway/ops/supervisor.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/plans.h"
#include "conf/printable.h"
#include "gateway/milestones.h"
#include "gateway/ops/external_scaler.h"
#include "gateway/service_manager.h"

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;

constexpr auto status_interval = 5s;

sigset_t handled_signals() {
  sigset_t set = signals_that_ask();
  for (const int number : {SIGTERM, SIGINT, SIGQUIT}) sigaddset(&set, number);
  return set;
}

proxy::net::Fd open_signals() {
  const sigset_t set = handled_signals();
  return proxy::net::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Whether one of those before is no longer listened on.
bool has_let_go(const Sockets& before, const Sockets& now) {
  return std::ranges::any_of(
      before, [&](const auto& socket) { return std::ranges::find(now, socket) == now.end(); });
}

std::string text_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += conf::printable(line) + "\n";
  return text;
}

}  // namespace

void Supervisor::block_requests() {
  const sigset_t set = signals_that_ask();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void Supervisor::block_signals() {
  const sigset_t set = handled_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a log reader that has gone is no reason to end
  ::signal(SIGXFSZ, SIG_IGN);  // nor is a log that has reached its ulimit
}

Supervisor::Timers::Timers(Supervisor* of)
    : drain(of->loop_, [of] { of->on_drain_timeout(); }),
      status(of->loop_, [of] { of->tell_status(); }),
      watchdog(of->loop_, [of] { of->feed_watchdog(); }),
      tickets(of->loop_, [of] { of->rotate_ticket_keys(); }) {}

Supervisor::Signals::Signals(Supervisor* of)
    : fd(open_signals()), watch(of->loop_, fd.get(), [of] { of->on_signal(); }) {}

Supervisor::Supervisor(Start start, ErrorLog& log, Server& server, Inheritance inheritance)
    : start_(std::move(start)),
      log_(log),
      server_(server),
      inheritance_(std::move(inheritance)),
      signals_(this),
      mailbox_(loop_, [this](DataPathDrained) { on_drained(); }),
      operators_(
          loop_,
          [this](const OperatorServer::Request& request, const OperatorServer::Responder& to) {
            desk_.answer(request, to);
          },
          [this](const OperatorServer::Request& request) { return answer_call(request); }),
      roll_(loop_, server),
      questions_(
          {server, log, operators_, roll_, forecast_.live, [this] { return ending_.is_draining; }}),
      events_(loop_, server, operators_),
      forecast_{
          .hook{loop_, server},
          .live{loop_, server, [this](const history::DemandReport& report) { on_report(report); }}},
      patterns_(loop_, server),
      watches_{.names{loop_, server}, .tables{loop_, server}},
      timers_(this),
      changes_(loop_, *this, server, log, std::move(start_.sources), std::move(start_.loaded)),
      api_({loop_, server, roll_, access_, changes_, events_, forecast_.live,
            [this] { return ending_.is_draining; }, [this](const std::string& why) { drain(why); },
            [this](const std::string& client) { patterns_.forget(client); }}),
      manager_{.kept_sockets = inheritance_.kept, .watchdog_interval = watchdog_interval()},
      handover_(loop_, *this, server, roll_),
      takeover_(loop_, server, std::move(inheritance_.handover)) {
  loop_.at_exception([this](const std::exception& thrown) { server_.note_exception(thrown); });
  questions_.take_their_places(desk_);
  api_.take_its_places(desk_);
  take_orders();
  desk_.set_guard([this](const Desk::Request& request, Desk::Who who) {
    return access_.objection(request, who, std::chrono::steady_clock::now());
  });
}

Supervisor::~Supervisor() {
  if (!control_path_.empty() && !handover_.has_happened()) ::unlink(control_path_.c_str());
}

int Supervisor::run() {
  // Without its operators' sockets the process serves clients all the same: those come first.
  if (auto sockets = open_operator_sockets(server_.settings().ops, {}, inheritance_.operators)) {
    operator_sockets_ = std::move(*sockets);
  } else {
    log_milestone(spdlog::level::err, "{}; serving without it, tried again at a reload",
                  conf::with_place(changes_.loaded(), sockets.error() + " (ops.listen)"));
  }
  open_control(server_.settings().ops);
  read_tokens();
  operators_.use_certificates(server_.policy().tls.clients);
  inheritance_.operators.clear();  // what nobody wanted is closed
  operators_.listen_on(operator_sockets_, server_.settings().ops);

  if (takeover_.is_under_way()) {
    takeover_.begin();
    const auto is_listened_on = [own = own_sockets()](const auto& name) {
      return own.contains(name);
    };
    if (!std::ranges::all_of(inheritance_.kept, is_listened_on)) takeover_.say_listens_elsewhere();
  }
  loop_.guard([this] { patterns_.begin(); });
  std::string places;
  for (const auto& socket : operator_sockets_)
    places += (places.empty() ? "; operators at " : ", ") + socket->text();
  log_milestone(spdlog::level::info, "classgate {} {}{}", CLASSGATE_VERSION, server_.description(),
                places);
  server_.start([this] { mailbox_.send({}); });
  notify_ready(server_.description());
  keep_sockets();
  if (has_service_manager()) timers_.status.start(status_interval);
  if (manager_.watchdog_interval > 0ms) feed_watchdog();
  warn_of_certificates();
  timers_.tickets.start(server_.settings().tls.ticket_rotation);
  watches_.names.begin();
  watches_.tables.begin();
  forecast_.live.begin();
  changes_.note_start(takeover_.is_under_way() ? "upgrade" : "start");
  loop_.run();
  return ending_.status;
}

// ---- What is forecast --------------------------------------------------------------------------

void Supervisor::on_report(const history::DemandReport& report) {
  forecast_.hook.follow(report);
  operators_.send_to_calls(external_scaler::stream_is_active_path,
                           external_scaler::is_active_message(&report));
}

// As what monitoring asks.
GrpcAnswer Supervisor::answer_call(const OperatorServer::Request& request) {
  if (access_.objection(request, Desk::Who::anybody, std::chrono::steady_clock::now()))
    return {static_cast<unsigned>(GrpcCode::unauthenticated),
            "ops.token_for = \"everything\": authorization has no token that is known"};
  return external_scaler::answer(request.path, request.body, forecast_.live.report().get());
}

// ---- Orders ------------------------------------------------------------------------------------

// What operators may have done, by the control socket.
void Supervisor::take_orders() {
  const auto tell_by = [](const Desk::Responder& answer) -> ConfChanges::TellChange {
    return [answer](const ConfChanges::Change& change) {
      answer({.status = change.ok ? 200 : 409, .body = text_of(change.lines)});
    };
  };
  // The body, if any, is what it is called: "rollback to 3".
  desk_.add_order("/reload",
                  [=, this](const Desk::Request& request, const Desk::Responder& answer) {
                    constexpr std::size_t longest = 100;
                    ConfChanges::Origin origin{.by = who_asked(request)};
                    if (!request.body.empty())
                      origin.what = conf::printable(request.body.substr(0, longest));
                    changes_.reload(tell_by(answer), std::move(origin));
                  });
  desk_.add_order("/set", [=, this](const Desk::Request& request, const Desk::Responder& answer) {
    // The name of a plan may have one, and no value of its keys has.
    const std::size_t equals =
        conf::PlanList::is_key(request.body) ? request.body.rfind('=') : request.body.find('=');
    if (equals == std::string::npos)
      return answer({.status = 400, .body = "the body is KEY=VALUE\n"});
    changes_.set(request.body.substr(0, equals), request.body.substr(equals + 1), tell_by(answer),
                 who_asked(request));
  });
  desk_.add_order("/upgrade", [this](const Desk::Request&, const Desk::Responder& answer) {
    upgrade([answer](bool ok, const std::string& text) {
      answer({.status = ok ? 200 : 409, .body = text + "\n"});
    });
  });
  desk_.add_order("/drain", [this](const Desk::Request&, const Desk::Responder& answer) {
    if (ending_.is_draining) return answer({.status = 409, .body = "draining already\n"});
    answer({.body = "draining\n"});
    drain("classgate drain");
  });
}

// ---- Signals -----------------------------------------------------------------------------------

void Supervisor::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.fd.get(), &info, sizeof info) == sizeof info)
    on_signal(static_cast<int>(info.ssi_signo), info.ssi_uid);
}

void Supervisor::on_signal(int number, std::uint32_t sender) {
  switch (number) {
    case SIGHUP: changes_.reload_by_signal(who_is(sender)); return;
    case SIGUSR1:
      server_.reopen_access_log();
      log_.reopen();
      log_milestone(spdlog::level::info, "USR1: the logs are opened anew");
      return;
    case SIGUSR2:
      upgrade([](bool, const std::string&) {});  // the log tells
      return;
    default: break;
  }
  if (!ending_.is_draining) return drain(sigabbrev_np(number));
  if (handover_.has_happened() && !std::exchange(ending_.was_told_to, true)) {
    log_milestone(spdlog::level::info, "{}: this process has handed over and is draining already",
                  sigabbrev_np(number));
    return;
  }
  const admission::Snapshot left = server_.snapshot();
  log_milestone(spdlog::level::warn, "{}: ended at once: {} in flight, {} waiting were cut off",
                sigabbrev_np(number), left.active_workers - left.workers_without_client,
                left.waiting);
  end(1);
}

// ---- The end -----------------------------------------------------------------------------------

void Supervisor::drain(const std::string& why) {
  ending_.is_draining = true;
  if (handover_.is_under_way()) handover_.fail("this process drains", false);
  changes_.give_up("this process drains");
  const auto timeout = server_.settings().drain_timeout;
  const admission::Snapshot now = server_.snapshot();
  // Sockets that were given to us are listened on by whoever gave them: the next one will accept.
  const bool has_successor = server_.sockets_are_given();
  log_milestone(spdlog::level::info,
                "{}: draining, at most {} ms: {} in flight, {} waiting, {} connections", why,
                timeout.count(), now.active_workers, now.waiting, server_.connections());
  timers_.status.stop();
  watches_.names.end();
  watches_.tables.end();
  forecast_.live.end();
  // The process was told to stop, and nobody starts it again by itself. So nobody else shall keep
  // its listening sockets open either: the kernel refuses connections from then on.
  for (const std::string& name : std::exchange(manager_.kept_sockets, {})) notify_let_go(name);
  takeover_.say_let_go();
  notify_stopping(
      fmt::format("draining: {} in flight, {} waiting", now.active_workers, now.waiting));
  timers_.drain.start(timeout);
  server_.drain({.has_successor = has_successor,
                 .grace = has_successor ? server_.settings().handover_grace
                                        : server_.settings().drain_grace});
}

void Supervisor::on_drained() {
  if (!ending_.is_draining) return;  // it has been taken back meanwhile
  // The other process has the workers that we do not need, once it has been told: those that work
  // for clients that have left are still ours. Without a client that may be before it was told.
  handover_.note_drained();
  if (handover_.has_happened() && (!handover_.has_told() || server_.snapshot().active_workers > 0))
    return;  // it looks again
  const admission::Snapshot all = server_.snapshot();
  log_milestone(spdlog::level::info, "drained: {} requests in all, {} processed", all.total,
                all.processed);
  end(0);
}

void Supervisor::on_drain_timeout() {
  const admission::Snapshot left = server_.snapshot();
  log_milestone(spdlog::level::warn, "drain_timeout is over: {} in flight, {} waiting were cut off",
                left.active_workers - left.workers_without_client, left.waiting);
  end(0);
}

void Supervisor::end(int status) {
  ending_.status = status;
  loop_.stop();
}

// ---- The conf ----------------------------------------------------------------------------------

std::optional<std::string> Supervisor::why_no_change() const {
  if (ending_.is_draining) return "this process drains: nothing is changed any more";
  if (handover_.is_under_way()) return "an upgrade is under way: nothing is changed meanwhile";
  return std::nullopt;
}

std::expected<void, std::string> Supervisor::put_in_force(Server::Preparation&& prepared,
                                                          ConfHistory history) {
  const Sockets before = server_.sockets();
  const auto result = server_.reconfigure(std::move(prepared), std::move(history));
  if (has_let_go(before, server_.sockets())) takeover_.say_listens_elsewhere();
  return result;
}

void Supervisor::on_conf_changed(OperatorServer::Sockets sockets, OperatorTokens tokens) {
  const conf::Settings& settings = server_.settings();
  // The settings are in force: what throws (memory has run out) keeps nothing of the rest.
  timers_.tickets.start(settings.tls.ticket_rotation);
  loop_.guard([&] { access_.follow(settings.ops, std::move(tokens)); });
  operators_.use_certificates(server_.policy().tls.clients);
  loop_.guard([&] {
    operators_.listen_on(sockets, settings.ops);
    if (has_let_go(operator_sockets_, sockets)) takeover_.say_listens_elsewhere();
    use_operator_sockets(std::move(sockets));
  });
  loop_.guard([this] { keep_sockets(); });
  loop_.guard([this] { warn_of_certificates(); });
  loop_.guard([this] { watches_.names.begin(); });
  loop_.guard([this] { patterns_.begin(); });
}

// At the start. Clients are served all the same, and nobody has a token.
void Supervisor::read_tokens() {
  auto tokens = read_operator_tokens(server_.settings().ops.token_file);
  if (!tokens)
    log_milestone(spdlog::level::err,
                  "{}; nobody is believed to have a token until a reload finds one",
                  conf::with_place(changes_.loaded(), tokens.error()));
  access_.follow(server_.settings().ops, tokens ? std::move(*tokens) : OperatorTokens());
}

// The new ones stand before an old one goes.
void Supervisor::use_operator_sockets(OperatorServer::Sockets sockets) {
  for (const auto& socket : operator_sockets_) {
    if (std::ranges::find(sockets, socket) != sockets.end()) continue;
    const auto is_in_its_place = [&](const auto& other) { return other->local == socket->local; };
    if (std::ranges::any_of(sockets, is_in_its_place)) {
      // Its path led nowhere, and what the service manager keeps under this name is no use.
      const std::string name = socket_name::kept(socket_name::kept_operators, socket->local);
      if (manager_.kept_sockets.erase(name) > 0) notify_let_go(name);
    } else if (socket->local.storage.ss_family == AF_UNIX) {
      ::unlink(socket->local.text().c_str());
    }
  }
  control_path_.clear();
  for (const auto& socket : sockets)
    if (socket->local.storage.ss_family == AF_UNIX) control_path_ = socket->local.text();
  operator_sockets_ = std::move(sockets);
}

// The control socket at the start. Going without one is told, and is no reason to stop.
void Supervisor::open_control(const conf::OpsSettings& settings) {
  if (settings.control == "off") return;
  auto inherited =
      std::ranges::find_if(inheritance_.operators, [&](const proxy::net::ListeningSocket& socket) {
        return socket.local.text() == settings.control;
      });
  if (inherited != inheritance_.operators.end() && ::access(settings.control.c_str(), F_OK) != 0) {
    // Kept over a crash, but its folder was cleared meanwhile: nobody finds it any more.
    const std::string name = socket_name::kept(socket_name::kept_operators, inherited->local);
    if (manager_.kept_sockets.erase(name) > 0) notify_let_go(name);
    inheritance_.operators.erase(inherited);
    inherited = inheritance_.operators.end();
  }
  if (inherited != inheritance_.operators.end()) {
    operator_sockets_.push_back(
        std::make_shared<const proxy::net::ListeningSocket>(std::move(*inherited)));
    inheritance_.operators.erase(inherited);
  } else if (auto socket = proxy::net::listen_on_path(settings.control)) {
    operator_sockets_.push_back(
        std::make_shared<const proxy::net::ListeningSocket>(std::move(*socket)));
  } else {
    log_milestone(spdlog::level::warn,
                  "{}; `classgate status` and the like cannot reach this process",
                  conf::with_place(changes_.loaded(), socket.error()));
    return;
  }
  control_path_ = settings.control;
}

// ---- Upgrade -----------------------------------------------------------------------------------

void Supervisor::upgrade(const HandOver::Tell& tell) {
  const auto refuse = [&](const std::string& why) {
    log_milestone(spdlog::level::err, "upgrade refused: {}", why);
    tell(false, why);
  };
  if (ending_.is_draining) return refuse("this process drains");
  if (::getpid() == 1)
    return refuse("this process is PID 1, with which everything ends: replace the container");
  if (handover_.is_under_way()) return refuse("an upgrade is under way");
  if (takeover_.is_under_way()) return refuse("this process is still taking over from another");
  changes_.give_up("an upgrade begins, and the new process reads the conf anew");
  handover_.begin(start_.program, start_.arguments, operator_sockets_, tell);
}

OperatorServer::Sockets Supervisor::on_handed_over(int successor) {
  ending_.is_draining = true;
  patterns_.hand_on();
  watches_.names.end();
  watches_.tables.end();
  forecast_.live.end();
  timers_.status.stop();
  timers_.watchdog.stop();
  operators_.stop_listening();
  timers_.drain.start(server_.settings().drain_timeout);
  loop_.guard([&] {
    log_milestone(spdlog::level::info,
                  "upgrade: process {} takes over; draining, at most {} ms: {} connections",
                  successor, server_.settings().drain_timeout.count(), server_.connections());
    if (manager_.watchdog_interval > 0ms) notify_alive();  // for both
    notify_main_process(successor);
  });
  return std::exchange(operator_sockets_, {});
}

void Supervisor::on_taken_back(OperatorServer::Sockets operators) {
  timers_.drain.stop();
  ending_.is_draining = ending_.was_told_to = false;
  operator_sockets_ = std::move(operators);
  operators_.listen_on(operator_sockets_, server_.settings().ops);
  notify_main_process(::getpid());
  if (has_service_manager()) timers_.status.start(1s);
  if (manager_.watchdog_interval > 0ms) feed_watchdog();
  watches_.names.begin();
  watches_.tables.begin();
  loop_.guard([this] { patterns_.begin(); });
  forecast_.live.begin();
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

// What is listened on now, by the names under which it is passed on. What a socket unit gave us it
// holds itself.
std::map<std::string, int> Supervisor::own_sockets() const {
  std::map<std::string, int> all;
  const auto add = [&](std::string_view prefix, const proxy::net::ListeningSocket& socket) {
    if (std::string name = socket_name::kept(prefix, socket.local); !name.empty())
      all.emplace(std::move(name), socket.fd.get());
  };
  if (!server_.sockets_are_given())
    for (const auto& socket : server_.sockets()) add(socket_name::kept_clients, *socket);
  for (const auto& socket : operator_sockets_) add(socket_name::kept_operators, *socket);
  return all;
}

void Supervisor::keep_sockets() {
  if (!has_service_manager()) return;
  const auto wanted = own_sockets();
  for (const auto& [name, fd] : wanted)
    if (!manager_.kept_sockets.contains(name)) notify_keep(fd, name);
  for (const std::string& name : manager_.kept_sockets)
    if (!wanted.contains(name)) notify_let_go(name);
  manager_.kept_sockets.clear();
  for (const auto& [name, fd] : wanted) manager_.kept_sockets.insert(name);
}

void Supervisor::tell_status() {
  timers_.status.start(status_interval);
  std::string status = status_line();
  if (status == manager_.last_status) return;
  notify_status(status);
  manager_.last_status = std::move(status);
}

// A policy is not changed any more while draining.
void Supervisor::rotate_ticket_keys() {
  timers_.tickets.start(server_.settings().tls.ticket_rotation);
  if (ending_.is_draining) return;
  server_.rotate_ticket_keys();
  operators_.use_certificates(server_.policy().tls.clients);
}

// Expired or not valid yet: clients will complain, but serving nobody would help none of them.
void Supervisor::warn_of_certificates() const {
  if (const auto& acceptor = server_.policy().tls.clients)
    for (const std::string& warning : acceptor->warnings())
      log_milestone(spdlog::level::err, "{}", warning);
}

void Supervisor::feed_watchdog() {
  timers_.watchdog.start(manager_.watchdog_interval / 2);
  roll_.ask_turns(manager_.watchdog_interval / 4,
                  [this](bool every_loop) { note_turns(every_loop); });
}

void Supervisor::note_turns(bool every_loop) {
  if (handover_.has_happened()) return;  // the other process is watched now
  if (every_loop)
    notify_alive();
  else
    log_milestone(spdlog::level::err, "an event loop does not turn: the watchdog is not fed");
}

}  // namespace classgate::gateway
