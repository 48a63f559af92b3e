#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "gateway/history/usage_history.h"
#include "gateway/ops/desk.h"
#include "gateway/server.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// Who used how much and who is there, under /api/v1/. The history's thread answers, which may wait
// for a disk; here nothing does. Who asks is told after answer_time that it does not answer. On the
// main thread.
class UsagePages {
 public:
  static constexpr std::chrono::seconds answer_time{10};

  // Told of whom to forget (as printed), beside the history.
  using OnForget = std::function<void(const std::string& client)>;
  UsagePages(proxy::net::Loop& loop, const Server& server, OnForget on_forget);
  ~UsagePages();
  void take_their_places(Desk& desk);

 private:
  using Reply = OperatorServer::Reply;
  using Make = std::function<Reply(UsageHistory::Books&)>;
  struct Answer {
    std::uint64_t number;
    Reply reply;
  };
  // Through which the other thread answers; it may outlive this.
  struct Link {
    std::mutex mutex;
    UsagePages* pages;  // guarded by mutex; null: it has gone
  };
  struct Asked {
    Desk::Responder answer;
    std::chrono::steady_clock::time_point until;
  };
  void tell(const Desk::Responder& answer, Make make);
  std::string id_for(std::string_view client) const;
  void read(Answer& answer);
  void give_up_late();

  const Server& server_;
  const OnForget on_forget_;
  std::uint64_t last_number_ = 0;
  std::unordered_map<std::uint64_t, Asked> asked_;
  proxy::net::Mailbox<Answer> mailbox_;
  proxy::net::Timer late_;
  const std::shared_ptr<Link> link_;
};

}  // namespace classgate::gateway
