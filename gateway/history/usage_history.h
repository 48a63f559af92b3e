#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "admission/history/sessions.h"
#include "admission/history/usage_record.h"
#include "conf/settings.h"
#include "gateway/history/usage_journal.h"

namespace classgate::gateway {

class UsageStore;

// Where what outlives this process is kept (state_folder.h).
std::string state_folder_of(const conf::Settings& settings);

// The history: a thread that empties the loops' journals, four times a second while there is
// something and when it is woken else (an idle process rests), keeps who used how much and who is
// there, and writes that every five seconds into history.db, which is opened when there is
// something to write: whoever is killed loses ten seconds at most. Loops never wait for it, nor it
// for them. Owned by the Server; what is not the thread's may be called on any thread.
class UsageHistory {
 public:
  UsageHistory(UsageJournals& journals, const conf::Settings& settings);
  ~UsageHistory();  // finish()
  UsageHistory(const UsageHistory&) = delete;
  UsageHistory& operator=(const UsageHistory&) = delete;
  // Ends the thread when all that the loops have told is counted and written: after theirs. Where
  // the file cannot be written it is tried again for so long.
  void finish(std::chrono::seconds patience = {});
  // Until then finish() may still be writing, in some thread of this process; whoever ends the
  // process waits so long. The past: it is not. Any thread.
  static std::chrono::steady_clock::time_point finishes_until();

  // What a question may look at, on the history's thread.
  struct Books {
    std::int64_t now;  // Unix time
    history::UsageRecord& record;
    UsageStore* store;  // with all of the record; null: it has no memory for one
    // Who was here before this process: upper halves of ids (pseudonym.h), in order.
    std::vector<std::uint32_t>& known_before;
  };
  // Is called once, on the history's thread, when all that has ended until now is counted; it must
  // throw nothing. False: it is not, because too many wait, or it ends.
  bool ask(std::function<void(Books&)> question);

  // For metrics: as of a moment ago.
  struct Numbers {
    std::array<std::uint64_t, history::Sessions::window_count> active{};
    std::uint64_t begun = 0, ended = 0, newcomers = 0, returning = 0, gave_way = 0;
    double distinct_day = 0;
    std::uint64_t requests = 0;  // that were counted since the start
    std::uint64_t unnamed = 0;   // of them: only in sums, because a journal was full
    bool is_on_disk = false;     // else in memory
    std::uint64_t bytes = 0;     // of the database
    std::uint64_t rows_waiting = 0, rows_lost = 0;
  };
  Numbers numbers() const;

 private:
  using Question = std::function<void(Books&)>;
  void run();
  void look(history::UsageRecord& record);
  void add_sums(history::UsageRecord& record);
  bool open_store(std::int64_t now);
  void write(history::UsageRecord& record, bool is_asked);
  void write_at_last();
  Numbers counted(const history::UsageRecord& record) const;
  void publish(history::UsageRecord& record);

  static constexpr std::chrono::milliseconds interval{250};
  static constexpr std::chrono::milliseconds rest{5'000};
  static constexpr std::int64_t between_writes = 5;   // seconds
  static constexpr std::int64_t between_prunes = 60;  // likewise
  static constexpr std::size_t questions_max = 64;
  static constexpr std::int64_t set_back_least = 60;  // seconds; less is waited for

  UsageJournals& journals_;
  const conf::Settings settings_;
  std::unique_ptr<UsageStore> store_;  // the thread's, as what follows
  std::string run_;                    // what this process is in the database
  std::vector<std::uint32_t> known_;   // as in Books
  std::uint64_t cuts_seen_ = 0;        // cut_files_seen()
  std::int64_t written_at_ = 0;
  std::int64_t pruned_at_ = 0;
  std::vector<UsageJournal::Sums> sums_;  // what each journal had told in sums
  bool has_seen_something_ = false;       // the last time
  std::uint64_t unnamed_ = 0;
  Numbers carried_{};         // counts of records before this one: the clock has been set back
  mutable std::mutex mutex_;  // of these; no loop takes it
  bool is_ending_ = false;
  std::chrono::seconds patience_{0};  // then
  std::vector<Question> questions_;
  Numbers numbers_;
  std::thread thread_;
  static std::atomic<std::chrono::steady_clock::rep> finishes_until_;
};

}  // namespace classgate::gateway
