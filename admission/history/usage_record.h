#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "admission/history/active_users.h"
#include "admission/history/distinct_count.h"
#include "admission/history/sessions.h"
#include "admission/history/usage_row.h"
#include "admission/history/usage_tally.h"
#include "admission/history/use.h"

namespace classgate::history {

// What this process has counted of who used how much, until it is collected for a store: the second
// (of all together only), minute, hour and day that it is now, and who is there. Rows are absolute:
// what is collected twice is told twice with the same start and key. Bounded, see ClientTally and
// Sessions; beside them 24 counts of distinct clients, of 16 KiB.
//
// Each request is counted for the moment at which it is added, not that at which it ended. Time
// that goes back is taken to stand still. One thread.
class UsageRecord {
 public:
  struct Bounds {
    std::size_t clients_max = 100'000;  // whose sessions are remembered
    std::int64_t session_gap = 1800;    // seconds
    std::size_t top_clients = 64;       // with a row in an hour and a day; a quarter in a minute
  };
  // `was_known`: as Sessions has it.
  UsageRecord(const Bounds& bounds, UsageTally::Names names, std::int64_t now,
              Sessions::WasKnown was_known = {});
  UsageRecord(const UsageRecord&) = delete;  // its sessions tell it of their ends
  UsageRecord& operator=(const UsageRecord&) = delete;

  // Unix time. Before what comes then is added.
  void advance(std::int64_t now);
  void add(const Use& use);
  // Requests of which it is not known whose they were.
  void add_to_others(const UsageRow& row);

  // What has changed since it was collected last; a row without requests takes back one that was.
  struct Collected {
    std::vector<UsageRow> rows;
    std::vector<UsersRow> users;
    std::vector<SessionRow> sessions;  // those that have ended, and some that are open
  };
  Collected collect();
  // Nothing is to be collected.
  bool is_collected() const { return !has_changed_; }
  // What is known here of one client goes: what it used becomes the others'.
  // False: nothing is.
  bool forget(const std::string& name);

  std::int64_t now() const { return now_; }
  std::int64_t started() const { return started_; }
  // Those that have a row of today, or whose sessions are remembered, each once at least.
  void for_each_client(const std::function<void(std::uint64_t)>& visit) const;
  const UsageRow& total() const { return total_; }  // since the start
  const Sessions& sessions() const { return sessions_; }
  std::uint64_t sessions_untold() const { return sessions_untold_; }  // for which was no room
  const ActiveUsers& active() const { return active_; }
  double distinct_day();  // clients, in the last 23 to 24 hours
  // The most users who were active at once, by hour (Unix time); the last two days.
  const std::deque<std::pair<std::int64_t, std::uint64_t>>& peaks() const { return peaks_; }

 private:
  // One minute, hour or day.
  struct Step {
    Step(UsageLevel of, std::size_t own_room, std::size_t own_top)
        : level(of), room(own_room), top(own_top), tally(own_room) {}
    UsageLevel level;
    std::size_t room;
    std::size_t top;
    UsageTally tally;
    std::int64_t start = 0;
    std::set<std::string> told{};  // clients that have a row with the store
  };
  // Who was there in an hour or a day, but for the distinct ones.
  struct Users {
    UsageLevel level;
    std::int64_t start = 0;
    std::uint64_t peak = 0;
    std::array<std::uint64_t, 4> before{};  // counts of sessions_ at its start
  };
  struct HourOfClients {
    std::int64_t start = -1;
    std::unique_ptr<DistinctCount> clients{};
  };
  std::array<std::uint64_t, 4> session_counts() const;
  void add_up();
  void tell(Step& step);
  void tell(const Users& users);
  void note_active(std::int64_t from, std::int64_t until);
  DistinctCount distinct_since(std::int64_t start) const;
  HourOfClients& hour_of_clients();
  void on_session_end(const Sessions::Session& session);
  SessionRow row_of(const Sessions::Session& session, bool has_ended) const;

  static constexpr std::size_t ended_max = 1000;  // sessions, between two times it is collected
  static constexpr std::size_t open_max = 100;    // that are told each time
  static constexpr std::size_t peaks_max = 48;

  const UsageTally::Names names_;
  const std::int64_t started_;
  std::int64_t now_;
  UsageTally part_;  // of this second, until it is added to the steps
  UsageRow second_;
  std::array<Step, 3> steps_;
  std::array<Users, 2> users_;
  std::array<HourOfClients, 24> hours_;
  double distinct_day_ = 0;
  std::int64_t distinct_day_of_ = -1;  // the hour in which it was told; -1: it is another by now
  UsageRow total_;
  Sessions sessions_;
  std::uint64_t sessions_untold_ = 0;
  ActiveUsers active_;
  std::deque<std::pair<std::int64_t, std::uint64_t>> peaks_;
  Collected ready_;
  bool has_changed_ = false;
};

}  // namespace classgate::history
