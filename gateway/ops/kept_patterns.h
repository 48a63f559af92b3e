#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <string>

#include "gateway/ops/errand.h"
#include "gateway/server.h"
#include "proxy/net/loop.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// What is usual for each client (fairness.rate = "pattern"), over a restart: the file `patterns` in
// state_dir (ops/pattern_text.h), written every five minutes while somebody comes (a large one more
// rarely: a MiB a minute), and at the end. Who is killed loses what the last minutes have taught.
// Over an upgrade it goes with the memo; the old process does not write it any more. On the
// supervisor's loop; the disk is an errand, but for the beginning and the end.
class KeptPatterns {
 public:
  KeptPatterns(proxy::net::Loop& loop, Server& server);
  ~KeptPatterns();  // writes, when the loops have ended

  // Reads the file, where the server knows nothing yet; before it starts, or the rule is put in
  // force. Again: another conf is in force.
  void begin();
  // Another process goes on. begin() may follow.
  void hand_on();
  // As it is printed: "c_4f7a91c2". Not in the file either, a moment later.
  void forget(const std::string& client);

 private:
  struct Outcome {
    std::string problem{};
  };
  void tick();
  void write();
  void on_outcome(const Outcome& outcome);
  static Outcome write_text(const std::string& path, const std::string& text);
  bool is_wanted() const;

  static constexpr std::chrono::minutes between_writes{5};
  Server& server_;
  const std::string path_;
  bool is_on_ = false;
  bool writes_again_ = false;  // when the errand is back
  admission::Time seen_{};     // that somebody came last, as it was written
  std::chrono::minutes until_next_{between_writes};
  std::string problem_;  // that was said
  std::shared_ptr<std::atomic<bool>> is_writing_ = std::make_shared<std::atomic<bool>>(false);
  proxy::net::Timer timer_;
  Errand<Outcome> errand_;
};

}  // namespace classgate::gateway
