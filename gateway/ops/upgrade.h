#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/ops/handover.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/roll_call.h"
#include "gateway/server.h"
#include "proxy/net/timer.h"
#include "proxy/net/watch.h"

// An upgrade, as either process sees it (ops/handover.h has the protocol). On the main thread.
//
// What the old process has learnt goes with its first "keeps", when none of its loops accepts any
// more. From then on each has its own: so tokens that the old one takes from a rate's bucket are
// there in the new one's as well. That is no more than its kept connections ask for, once each
// (then they are closed), and no more than what was in the bucket and what that gains until it
// ends. What the old one learns meanwhile goes with it; and when it takes back, it knows nothing of
// what the new one has learnt.

namespace classgate::gateway {

// The process that is replaced.
class HandOver {
 public:
  // What happens to the process meanwhile.
  class Owner {
   public:
    // The process with this number accepts from now on: we drain. Returns the operators' sockets,
    // on which it does not listen any more.
    virtual OperatorServer::Sockets on_handed_over(int successor) = 0;
    // It has died: we accept again, on these for operators.
    virtual void on_taken_back(OperatorServer::Sockets operators) = 0;
    // What note_drained() waited for: the last worker is back.
    virtual void on_last_worker_back() = 0;

   protected:
    ~Owner() = default;
  };
  using Tell = std::function<void(bool ok, const std::string& text)>;

  HandOver(proxy::net::Loop& loop, Owner& owner, Server& server, RollCall& roll);

  // Starts the program in our place. `tell` hears when it has taken over, or why not.
  void begin(const std::string& program, const std::vector<std::string>& arguments,
             const OperatorServer::Sockets& operators, Tell tell);
  // Begun, and it has not failed.
  bool is_under_way() const { return successor_.has_value(); }
  bool has_happened() const { return has_happened_; }
  // The successor knows how many workers are its own, and what we have learnt.
  bool has_told() const { return told_workers_.has_value(); }
  // The successor is killed. This process serves on, unless it ends as well.
  void fail(const std::string& why, bool serves_on = true);
  // No client is left.
  void note_drained() { is_drained_ = true; }

 private:
  void on_successor_says();
  void on_successor_ended();
  void on_timeout();
  void hand_over();
  void share_workers();  // while we drain
  proxy::net::Fd what_is_learnt();
  void let_go_of_sockets();
  void take_back();

  proxy::net::Loop& loop_;
  Owner& owner_;
  Server& server_;
  RollCall& roll_;
  proxy::net::Timer timer_;
  proxy::net::Timer share_timer_;
  std::optional<Successor> successor_;
  std::unique_ptr<proxy::net::Watch> channel_watch_;
  std::unique_ptr<proxy::net::Watch> process_watch_;
  Tell tell_;
  std::uint32_t kept_workers_ = 0;             // while we share them with it
  std::uint32_t most_ = 0;                     // that we may keep
  std::optional<std::uint32_t> told_workers_;  // what it knows of that
  Sockets lent_sockets_;  // after the hand-over, as long as we would accept on them again
  OperatorServer::Sockets lent_operator_sockets_;
  bool has_happened_ = false;
  bool is_drained_ = false;
  std::chrono::steady_clock::time_point grace_over_;  // after the hand-over
};

// The process that takes over from another, if it was started to.
class TakeOver {
 public:
  TakeOver(proxy::net::Loop& loop, Server& server, proxy::net::Fd handover);

  // Everything is open. Waits until the other one says how many workers it keeps.
  void begin();
  bool is_under_way() const { return predecessor_.has_value(); }
  // The other one will not need its sockets again: this one ends in order.
  void say_let_go();
  // Nor now: on one of them nobody accepts any more.
  void say_listens_elsewhere();

 private:
  void take_up_learnt();
  void take_more_workers();

  proxy::net::Loop& loop_;
  Server& server_;
  std::optional<HandoverChannel> predecessor_;
  std::unique_ptr<proxy::net::Watch> watch_;
};

}  // namespace classgate::gateway
