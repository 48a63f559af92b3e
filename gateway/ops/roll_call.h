#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "gateway/server.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// For a page: a loop that has not answered by then is left out.
inline constexpr std::chrono::seconds loop_answer_time{1};

// Asks all loops of the data path, and never waits for one: what came of it is told on the loop of
// the process when the last one has answered, or when the time is over. Outlives the run of the
// loops.
class RollCall {
 public:
  RollCall(proxy::net::Loop& loop, Server& server);
  ~RollCall();

  // Whether every loop gave a sign of life.
  using OnTurns = std::function<void(bool every_loop)>;
  void ask_turns(std::chrono::milliseconds within, OnTurns tell);
  // Who waits, in the order in which they will go in; nothing of a loop that did not answer.
  using OnWaiters = std::function<void(std::vector<WaitingRequest> waiters)>;
  void ask_waiters(std::chrono::milliseconds within, OnWaiters tell);
  // What is kept of the requests with this id, the newest first; likewise.
  using OnDecisions = std::function<void(const Decisions&)>;
  void ask_decisions(std::chrono::milliseconds within, const std::string& id, OnDecisions tell);

 private:
  struct Call;
  struct Answer {
    std::uint64_t call;
    std::vector<WaitingRequest> waiters;
    Decisions decisions{};
  };
  Call& begin(std::chrono::milliseconds within, std::function<void(Call&)> tell);
  void read(Answer& answer);
  void conclude(std::uint64_t number);

  proxy::net::Loop& loop_;
  Server& server_;
  std::uint64_t last_number_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Call>> calls_;
  proxy::net::Mailbox<Answer> mailbox_;
};

}  // namespace classgate::gateway
