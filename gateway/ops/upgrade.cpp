#include "gateway/ops/upgrade.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "conf/format.h"
#include "gateway/history/usage_history.h"
#include "gateway/milestones.h"
#include "gateway/ops/conf_changes.h"
#include "gateway/ops/memo_text.h"
#include "gateway/service_manager.h"

namespace classgate::gateway {

using admission::Ceilings;

constexpr std::chrono::milliseconds share_interval{20};
constexpr int predecessor_wait_ms = 15'000;  // it may be waiting for its service manager

namespace {

// Empty: all that was counted is where the other process finds it, or will be in a moment.
std::string line_of_unwritten_quotas(const Server& server) {
  const auto& quotas = server.policy().quotas;
  if (!quotas || !quotas->is_held_up()) return {};
  return fmt::format(
      "clients.quota_file {} cannot be written now: what process {} has counted in the last {} s "
      "is "
      "not in it, and not known to the new one. It is tried until that process ends and for {} s "
      "then, and lost after that: see who has the file locked (fuser)",
      quotas->path(), ::getpid(), std::max<std::int64_t>(quotas->behind(Quotas::now()), 1),
      Server::patience_beside_successor.count());
}

// Likewise of the history.
std::string line_of_unwritten_history(const Server& server) {
  const std::uint64_t waiting = server.usage() ? server.usage()->numbers().rows_waiting : 0;
  if (waiting == 0) return {};
  return fmt::format(
      "the history cannot be written now: {} rows wait in process {}, and are not told by the new "
      "one. It is tried until that process ends and for {} s then, and they are lost after that: "
      "see who has history.db locked (fuser)",
      waiting, ::getpid(), Server::patience_beside_successor.count());
}

}  // namespace

// ---- The process that is replaced --------------------------------------------------------------

HandOver::HandOver(proxy::net::Loop& loop, Owner& owner, Server& server, RollCall& roll)
    : loop_(loop),
      owner_(owner),
      server_(server),
      roll_(roll),
      timer_(loop, [this] { on_timeout(); }),
      share_timer_(loop, [this] { share_workers(); }) {}

void HandOver::begin(const std::string& program, const std::vector<std::string>& arguments,
                     const OperatorServer::Sockets& operators, Tell tell) {
  std::vector<PassedFd> sockets;
  const char* const clients = server_.sockets_are_given() ? "given" : socket_name::clients;
  for (const auto& socket : server_.sockets()) sockets.push_back({socket->fd.get(), clients});
  for (const auto& socket : operators)
    sockets.push_back({socket->fd.get(), socket_name::operators});
  auto successor =
      start_successor(program, arguments, std::move(sockets), server_.shared().via_name);
  if (!successor) {
    log_milestone(spdlog::level::err, "upgrade refused: {}", successor.error());
    return tell(false, successor.error());
  }
  log_milestone(spdlog::level::info, "upgrade: started {} as process {}", program, successor->pid);
  tell_ = std::move(tell);
  successor_.emplace(std::move(*successor));
  timer_.start(server_.settings().ops.upgrade_timeout);  // first: it ends what is begun, whatever
  channel_watch_ = std::make_unique<proxy::net::Watch>(loop_, successor_->channel.fd().get(),
                                                       [this] { on_successor_says(); });
  process_watch_ = std::make_unique<proxy::net::Watch>(loop_, successor_->process.get(),
                                                       [this] { on_successor_ended(); });
}

void HandOver::on_successor_says() {
  if (!successor_) return;  // given up in this very turn
  if (has_happened_) {
    if (successor_->channel.read_let_go()) return let_go_of_sockets();
    loop_.retire(std::move(channel_watch_));  // on_successor_ended() will tell
    return;
  }
  if (successor_->channel.read_ready()) return hand_over();
  loop_.retire(std::move(channel_watch_));  // closed: on_successor_ended() will tell
}

void HandOver::on_successor_ended() {
  if (!successor_) return;
  loop_.retire(std::move(process_watch_));
  if (has_happened_) {
    if (successor_->channel.read_let_go()) let_go_of_sockets();
    log_milestone(spdlog::level::err, "process {}, which took over, has ended", successor_->pid);
    if (!lent_sockets_.empty()) take_back();
    return;
  }
  fail(fmt::format("process {} ended before it was ready; its own messages say why",
                   successor_->pid));
}

void HandOver::on_timeout() {
  fail(fmt::format("process {} was not ready within ops.upgrade_timeout", successor_->pid));
}

void HandOver::fail(const std::string& why, bool serves_on) {
  timer_.stop();
  // By descriptor: the number may be another process's by now.
  ::syscall(SYS_pidfd_send_signal, successor_->process.get(), SIGKILL, nullptr, 0);
  loop_.retire(std::move(channel_watch_));
  loop_.retire(std::move(process_watch_));
  successor_.reset();
  log_milestone(spdlog::level::err, "upgrade failed: {}{}", why,
                serves_on ? "; this process serves on" : "");
  if (tell_) std::exchange(tell_, nullptr)(false, why);
}

// The other one is ready: it accepts from now on, and we finish what we have.
void HandOver::hand_over() {
  lent_sockets_ = server_.sockets();
  timer_.stop();
  has_happened_ = true;
  lent_operator_sockets_ = owner_.on_handed_over(successor_->pid);
  // What throws (memory has run out) does not hold up the rest.
  loop_.guard([this] {
    std::string text = fmt::format("process {} took over from {}", successor_->pid, ::getpid());
    for (const std::string& line : lines_of_forgotten(server_.policy().history)) {
      log_milestone(spdlog::level::warn, "upgrade: {}", line);
      text += "\n" + line;
    }
    for (const std::string& line :
         {line_of_unwritten_quotas(server_), line_of_unwritten_history(server_)}) {
      if (line.empty()) continue;
      log_milestone(spdlog::level::warn, "upgrade: {}", line);
      text += "\n" + line;
    }
    if (tell_) std::exchange(tell_, nullptr)(true, text);
  });
  kept_workers_ = server_.snapshot().workers;
  most_ = kept_workers_ > 1 ? kept_workers_ - std::max(kept_workers_ / 4, 1U) : kept_workers_;
  grace_over_ = std::chrono::steady_clock::now() + server_.settings().handover_grace;
  server_.drain({.has_successor = true, .grace = server_.settings().handover_grace});
  // Only when no loop accepts any more is it known how many workers we need.
  roll_.ask_turns(std::chrono::seconds(1), [this](bool) {
    if (has_happened_) share_workers();
  });
}

// None when it cannot be passed on: the other one begins without it.
proxy::net::Fd HandOver::what_is_learnt() {
  proxy::net::Fd passed;
  loop_.guard([&] {
    const auto text = memo_of(server_);
    auto memory = text ? sealed_text(*text) : std::unexpected(text.error());
    if (memory)
      passed = std::move(*memory);
    else
      spdlog::warn("upgrade: what this process has learnt is not passed on: {}", memory.error());
  });
  return passed;
}

// It ends in order, or listens elsewhere: what nobody accepts on is to be closed.
void HandOver::let_go_of_sockets() {
  lent_sockets_.clear();
  lent_operator_sockets_.clear();
}

// The one that took over has died. Nothing is lost yet: what connected meanwhile waits in the
// backlog of the sockets, which are still open here.
void HandOver::take_back() {
  log_milestone(spdlog::level::err,
                "upgrade: taken back: process {} accepts again, with the settings it had",
                ::getpid());
  loop_.retire(std::move(channel_watch_));
  successor_.reset();
  told_workers_.reset();
  share_timer_.stop();
  has_happened_ = is_drained_ = false;
  server_.set_ceiling(Ceilings::Source::handover, Ceilings::none);
  server_.resume(std::exchange(lent_sockets_, {}));
  owner_.on_taken_back(std::exchange(lent_operator_sockets_, {}));
}

// We keep as many workers as we have use for, but for a quarter: who comes to the other process,
// perhaps with a better priority, does not wait until our whole queue is served. Only ever fewer.
// During the grace each connection may still ask; after it some may still be uploading, and one
// worker is kept for those, unless it is the only one there is.
void HandOver::share_workers() {
  const admission::Snapshot now = server_.snapshot();
  const auto used = static_cast<std::uint32_t>(
      std::min<std::size_t>(now.active_workers + now.waiting, kept_workers_));
  const bool in_grace = std::chrono::steady_clock::now() < grace_over_;
  const std::uint32_t spare = server_.settings().admission.workers > 1 ? 1 : 0;
  const std::uint32_t may_ask = std::min(server_.connections(), in_grace ? kept_workers_ : spare);
  const std::uint32_t needed = std::min(std::max(used, may_ask), most_);
  if (needed < kept_workers_) {
    server_.set_ceiling(Ceilings::Source::handover, needed);
    // Workers beyond the new limit come back one by one as their requests end: the other process is
    // told of those only that are back.
    kept_workers_ = std::max(needed, server_.snapshot().active_workers);
  }
  const std::uint32_t keeps = std::max(kept_workers_, server_.snapshot().active_workers);
  const bool is_first = !told_workers_;
  if (std::exchange(told_workers_, keeps) != keeps && successor_)
    successor_->channel.say_keeps(keeps, is_first ? what_is_learnt() : proxy::net::Fd());
  if (is_drained_ && server_.snapshot().active_workers == 0) return owner_.on_last_worker_back();
  share_timer_.start(share_interval);
}

// ---- The process that takes over ---------------------------------------------------------------

TakeOver::TakeOver(proxy::net::Loop& loop, Server& server, proxy::net::Fd handover)
    : loop_(loop), server_(server) {
  if (handover) predecessor_.emplace(std::move(handover));
}

// Everything is open; the other one stops accepting and says how many workers it keeps.
void TakeOver::begin() {
  predecessor_->say_ready();
  // Until the old process says how many workers it keeps, it has all of them: what comes waits.
  server_.set_kept_elsewhere(
      predecessor_->wait_keeps(predecessor_wait_ms).value_or(Ceilings::none));
  loop_.guard([this] { take_up_learnt(); });
  watch_ = std::make_unique<proxy::net::Watch>(loop_, predecessor_->fd().get(),
                                               [this] { take_more_workers(); });
}

// What does not come, or is not understood, is learnt anew.
void TakeOver::take_up_learnt() {
  const proxy::net::Fd passed = predecessor_->take_learnt();
  if (!passed) return;
  const auto text = read_sealed_text(passed, learnt_bytes_max);
  const auto taken = text ? take_up_memo(server_, *text) : std::unexpected(text.error());
  if (taken)
    spdlog::info("upgrade: goes on from what the process before has learnt: {}", *taken);
  else
    spdlog::warn("upgrade: what the process before has learnt is not taken: {}", taken.error());
}

void TakeOver::take_more_workers() {
  const auto kept = predecessor_->read_keeps();
  if (!kept) return;
  server_.set_kept_elsewhere(*kept);
  if (!predecessor_->has_ended()) return;
  log_milestone(spdlog::level::info, "upgrade: the process before has ended");
  loop_.retire(std::move(watch_));
  predecessor_.reset();
}

void TakeOver::say_let_go() {
  if (predecessor_) predecessor_->say_let_go();
}

void TakeOver::say_listens_elsewhere() {
  if (!predecessor_) return;
  log_milestone(
      spdlog::level::warn,
      "what is listened on has changed: if this process died now, the one before would not accept "
      "again");
  say_let_go();
}

}  // namespace classgate::gateway
