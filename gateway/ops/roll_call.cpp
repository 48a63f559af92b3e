#include "gateway/ops/roll_call.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "gateway/decision_ring.h"

namespace classgate::gateway {

struct RollCall::Call final : public proxy::net::Retirable {
  Call(RollCall& roll, std::uint64_t own_number, std::function<void(Call&)> on_end)
      : number(own_number),
        tell(std::move(on_end)),
        timer(roll.loop_, [&roll, own_number] { roll.conclude(own_number); }) {}
  const std::uint64_t number;
  const std::function<void(Call&)> tell;
  std::size_t missing = 0;  // loops
  std::vector<WaitingRequest> waiters;
  Decisions decisions;
  proxy::net::Timer timer;
};

RollCall::RollCall(proxy::net::Loop& loop, Server& server)
    : loop_(loop), server_(server), mailbox_(loop, [this](Answer& answer) { read(answer); }) {}

RollCall::~RollCall() = default;

RollCall::Call& RollCall::begin(std::chrono::milliseconds within, std::function<void(Call&)> tell) {
  const std::uint64_t number = ++last_number_;
  auto& call = calls_[number] = std::make_unique<Call>(*this, number, std::move(tell));
  call->timer.start(within);
  return *call;
}

void RollCall::ask_turns(std::chrono::milliseconds within, OnTurns tell) {
  Call& call =
      begin(within, [tell = std::move(tell)](const Call& ended) { tell(ended.missing == 0); });
  call.missing =
      server_.ask_turns([this, number = call.number] { mailbox_.send(Answer{number, {}}); });
}

void RollCall::ask_waiters(std::chrono::milliseconds within, OnWaiters tell) {
  Call& call = begin(within, [tell = std::move(tell)](Call& ended) {
    std::ranges::sort(ended.waiters, [](const WaitingRequest& a, const WaitingRequest& b) {
      return std::tie(a.priority, a.joined) < std::tie(b.priority, b.joined);
    });
    tell(std::move(ended.waiters));
  });
  call.missing =
      server_.ask_waiters([this, number = call.number](std::vector<WaitingRequest> waiters) {
        mailbox_.send(Answer{number, std::move(waiters)});
      });
}

void RollCall::ask_decisions(std::chrono::milliseconds within, const std::string& id,
                             OnDecisions tell) {
  const std::size_t most = server_.settings().ops.why_found_max;
  Call& call = begin(within, [tell = std::move(tell), most](Call& ended) {
    auto& [told, more] = ended.decisions;
    std::ranges::sort(told, std::greater{}, &Decision::ended);
    if (told.size() > most) {
      more += told.size() - most;
      told.erase(told.begin() + static_cast<std::ptrdiff_t>(most), told.end());
    }
    tell(ended.decisions);
  });
  call.missing = server_.ask_decisions(id, [this, number = call.number](Decisions decisions) {
    mailbox_.send(Answer{number, {}, std::move(decisions)});
  });
}

void RollCall::read(Answer& answer) {
  const auto found = calls_.find(answer.call);
  if (found == calls_.end()) return;  // too late
  std::ranges::move(answer.waiters, std::back_inserter(found->second->waiters));
  Decisions& decisions = found->second->decisions;
  std::ranges::move(answer.decisions.told, std::back_inserter(decisions.told));
  decisions.more += answer.decisions.more;
  if (--found->second->missing == 0) conclude(answer.call);
}

void RollCall::conclude(std::uint64_t number) {
  const auto found = calls_.find(number);
  auto call = std::move(found->second);
  calls_.erase(found);
  call->timer.stop();
  call->tell(*call);
  loop_.retire(std::move(call));  // we may be called by its timer
}

}  // namespace classgate::gateway
