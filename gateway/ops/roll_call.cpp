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
  std::vector<Decision> decisions;
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
  Call& call = begin(within, [tell = std::move(tell)](Call& ended) {
    std::ranges::sort(ended.decisions, std::greater{}, &Decision::ended);
    if (ended.decisions.size() > DecisionRing::found_max)
      ended.decisions.resize(DecisionRing::found_max);
    tell(ended.decisions);
  });
  call.missing =
      server_.ask_decisions(id, [this, number = call.number](std::vector<Decision> decisions) {
        mailbox_.send(Answer{number, {}, std::move(decisions)});
      });
}

void RollCall::read(Answer& answer) {
  const auto found = calls_.find(answer.call);
  if (found == calls_.end()) return;  // too late
  std::ranges::move(answer.waiters, std::back_inserter(found->second->waiters));
  std::ranges::move(answer.decisions, std::back_inserter(found->second->decisions));
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
