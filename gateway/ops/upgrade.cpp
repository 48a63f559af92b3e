// An upgrade, as the supervisors of both processes see it (ops/handover.h has the protocol).

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "gateway/ops/supervisor.h"
#include "gateway/service_manager.h"

namespace classgate::gateway {

using admission::Ceilings;

constexpr std::chrono::milliseconds share_interval{20};
constexpr int predecessor_wait_ms = 15'000;  // it may be waiting for its service manager

// ---- The process that is replaced --------------------------------------------------------------

void Supervisor::upgrade(std::function<void(bool ok, const std::string& text)> tell) {
  const auto refuse = [&](const std::string& why) {
    spdlog::error("upgrade refused: {}", why);
    tell(false, why);
  };
  if (draining_) return refuse("this process drains");
  if (::getpid() == 1)
    return refuse("this process is PID 1, with which everything ends: replace the container");
  if (successor_) return refuse("an upgrade is under way");
  if (predecessor_) return refuse("this process is still taking over from another");
  changes_.give_up("an upgrade begins, and the new process reads the conf anew");
  std::vector<PassedFd> sockets;
  const char* const clients = server_.sockets_are_given() ? "given" : socket_name::clients;
  for (const auto& socket : server_.sockets()) sockets.push_back({socket->fd.get(), clients});
  for (const auto& socket : operator_sockets_)
    sockets.push_back({socket->fd.get(), socket_name::operators});
  auto successor = start_successor(start_.program, start_.arguments, std::move(sockets),
                                   server_.shared().via_name);
  if (!successor) return refuse(successor.error());
  spdlog::info("upgrade: started {} as process {}", start_.program, successor->pid);
  tell_upgrade_ = std::move(tell);
  successor_.emplace(std::move(*successor));
  successor_channel_watch_ = std::make_unique<proxy::net::Watch>(
      loop_, successor_->channel.fd().get(), [this] { on_successor_says(); });
  successor_process_watch_ = std::make_unique<proxy::net::Watch>(loop_, successor_->process.get(),
                                                                 [this] { on_successor_ended(); });
  upgrade_timer_.start(server_.settings().ops.upgrade_timeout);
}

void Supervisor::on_successor_says() {
  if (!successor_) return;  // given up in this very turn
  if (handed_over_) {
    if (successor_->channel.read_let_go()) return let_go_of_sockets();
    loop_.retire(std::move(successor_channel_watch_));  // on_successor_ended() will tell
    return;
  }
  if (successor_->channel.read_ready()) return hand_over();
  loop_.retire(std::move(successor_channel_watch_));  // closed: on_successor_ended() will tell
}

void Supervisor::on_successor_ended() {
  if (!successor_) return;
  loop_.retire(std::move(successor_process_watch_));
  if (handed_over_) {
    if (successor_->channel.read_let_go()) let_go_of_sockets();
    spdlog::error("process {}, which took over, has ended", successor_->pid);
    if (!lent_sockets_.empty()) take_back();
    return;
  }
  fail_upgrade(fmt::format("process {} ended before it was ready; its own messages say why",
                           successor_->pid));
}

void Supervisor::on_upgrade_timeout() {
  fail_upgrade(fmt::format("process {} was not ready within ops.upgrade_timeout", successor_->pid));
}

void Supervisor::fail_upgrade(const std::string& why) {
  upgrade_timer_.stop();
  // By descriptor: the number may be another process's by now.
  ::syscall(SYS_pidfd_send_signal, successor_->process.get(), SIGKILL, nullptr, 0);
  loop_.retire(std::move(successor_channel_watch_));
  loop_.retire(std::move(successor_process_watch_));
  successor_.reset();
  spdlog::error("upgrade failed: {}; this process serves on", why);
  if (tell_upgrade_) std::exchange(tell_upgrade_, nullptr)(false, why);
}

// The other one is ready: it accepts from now on, and we finish what we have.
void Supervisor::hand_over() {
  upgrade_timer_.stop();
  handed_over_ = draining_ = true;
  lent_sockets_ = server_.sockets();
  lent_operator_sockets_ = operator_sockets_;
  names_.end();
  spdlog::info("upgrade: process {} takes over; draining, at most {} ms: {} connections",
               successor_->pid, server_.settings().drain_timeout.count(), server_.connections());
  if (watchdog_interval_ > std::chrono::milliseconds(0)) notify_alive();  // for both
  notify_main_process(successor_->pid);
  status_timer_.stop();
  watchdog_timer_.stop();
  if (tell_upgrade_)
    std::exchange(tell_upgrade_, nullptr)(
        true, fmt::format("process {} took over from {}", successor_->pid, ::getpid()));
  operators_.stop_listening();
  operator_sockets_.clear();
  kept_workers_ = server_.settings().admission.workers;
  grace_over_ = std::chrono::steady_clock::now() + server_.settings().handover_grace;
  drain_timer_.start(server_.settings().drain_timeout);
  server_.drain({.has_successor = true, .grace = server_.settings().handover_grace});
  // Only when no loop accepts any more is it known how many workers we need.
  roll_.ask_turns(std::chrono::seconds(1), [this](bool) {
    if (handed_over_) share_workers();
  });
}

// It ends in order, or listens elsewhere: what nobody accepts on is to be closed.
void Supervisor::let_go_of_sockets() {
  lent_sockets_.clear();
  lent_operator_sockets_.clear();
}

// The one that took over has died. Nothing is lost yet: what connected meanwhile waits in the
// backlog of the sockets, which are still open here.
void Supervisor::take_back() {
  spdlog::error("upgrade: taken back: process {} accepts again", ::getpid());
  loop_.retire(std::move(successor_channel_watch_));
  successor_.reset();
  told_workers_.reset();
  drain_timer_.stop();
  share_timer_.stop();
  handed_over_ = draining_ = data_path_drained_ = was_told_to_end_ = false;
  server_.set_ceiling(Ceilings::Source::handover, Ceilings::none);
  server_.resume(std::exchange(lent_sockets_, {}));
  operator_sockets_ = std::exchange(lent_operator_sockets_, {});
  operators_.listen_on(operator_sockets_, server_.settings().ops);
  notify_main_process(::getpid());
  if (has_service_manager()) status_timer_.start(std::chrono::seconds(1));
  if (watchdog_interval_ > std::chrono::milliseconds(0)) feed_watchdog();
  names_.begin();
}

// We keep as many workers as we have use for; the other process has the rest. Only ever fewer.
// During the grace each connection may still ask; after it some may still be uploading, and one
// worker is kept for those, unless it is the only one there is.
void Supervisor::share_workers() {
  const admission::Snapshot now = server_.snapshot();
  const auto used = static_cast<std::uint32_t>(
      std::min<std::size_t>(now.active_workers + now.waiting, kept_workers_));
  const bool in_grace = std::chrono::steady_clock::now() < grace_over_;
  const std::uint32_t spare = server_.settings().admission.workers > 1 ? 1 : 0;
  const std::uint32_t may_ask = std::min(server_.connections(), in_grace ? kept_workers_ : spare);
  const std::uint32_t needed = std::max(used, may_ask);
  if (needed < kept_workers_) {
    server_.set_ceiling(Ceilings::Source::handover, needed);
    // Workers beyond the new limit come back one by one as their requests end: the other process is
    // told of those only that are back.
    kept_workers_ = std::max(needed, server_.snapshot().active_workers);
  }
  const std::uint32_t keeps = std::max(kept_workers_, server_.snapshot().active_workers);
  if (std::exchange(told_workers_, keeps) != keeps && successor_)
    successor_->channel.say_keeps(keeps);
  if (data_path_drained_ && server_.snapshot().active_workers == 0) return on_drained();
  share_timer_.start(share_interval);
}

// ---- The process that takes over ---------------------------------------------------------------

// Everything is open; the other one stops accepting and says how many workers it keeps.
void Supervisor::take_over() {
  predecessor_->say_ready();
  // Until the old process says how many workers it keeps, it has all of them.
  predecessor_keeps_ =
      predecessor_->wait_keeps(predecessor_wait_ms).value_or(server_.settings().admission.workers);
  use_what_is_left(server_.settings().admission.workers);
  predecessor_watch_ = std::make_unique<proxy::net::Watch>(loop_, predecessor_->fd().get(),
                                                           [this] { take_more_workers(); });
}

void Supervisor::take_more_workers() {
  const auto kept = predecessor_->read_keeps();
  if (!kept) return;
  predecessor_keeps_ = *kept;
  use_what_is_left(server_.settings().admission.workers);
  if (!predecessor_->has_ended()) return;
  spdlog::info("upgrade: the process before has ended");
  loop_.retire(std::move(predecessor_watch_));
  predecessor_.reset();
}

// Of so many. Possibly none at first: what comes waits until the other one gives some back.
void Supervisor::use_what_is_left(std::uint32_t workers) {
  const std::uint32_t kept = std::min(predecessor_keeps_, workers);
  server_.set_ceiling(Ceilings::Source::handover, kept > 0 ? workers - kept : Ceilings::none);
}

}  // namespace classgate::gateway
