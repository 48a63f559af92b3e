#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "admission/history/usage_row.h"
#include "gateway/history/usage_query.h"

namespace classgate::gateway {

struct UsageBounds {
  std::chrono::seconds retention{std::chrono::hours(17'520)};  // of hours and days
  std::uint64_t bytes_max = 256ULL << 20;                      // of the file
  std::uint64_t memory_max = 32ULL << 20;  // of the database, where there is no file
  std::size_t pending_max = 20'000;        // rows that wait for a file which cannot be written
};

// The history on disk: history.db of a directory, a SQLite database in WAL mode
// (classgate-history(5)). One thread, the history's own: it waits for the disk, and for another
// process that writes (an upgrade has two) up to a second. A loop never calls it.
//
// Rows are written as absolute values: what this process has counted so far for that level, kind,
// start and key. What is read is the sum over processes. So whatever becomes of a COMMIT, writing
// the same again counts nothing twice.
//
// What goes wrong ends nothing. It is told in `take_remarks()`, once until it is well again:
//   the directory cannot be written, or the file is that of a newer classgate: the history is kept
//     in memory, up to memory_max; prune() looks whether that has passed, and then writes all of
//     it;
//   the disk is full or cannot be written now: rows wait in memory, up to pending_max, and are
//   tried
//     again with the next write; beyond that the finest and oldest are lost, and counted;
//   the file is damaged, which prune() looks for, too: it is renamed to history.db.corrupt-TIME and
//     a new one begun;
//   the file was taken away: a new one is begun.
class UsageStore {
 public:
  // `run` names this process, and no other: the same after it opens again. The error: there is not
  // even memory.
  static std::expected<std::unique_ptr<UsageStore>, std::string> open(const std::string& directory,
                                                                      const UsageBounds& bounds,
                                                                      const std::string& run,
                                                                      std::int64_t now);
  UsageStore(const UsageStore&) = delete;
  UsageStore& operator=(const UsageStore&) = delete;
  ~UsageStore();  // tries once more to write what waits

  struct Batch {
    std::span<const history::UsageRow> rows = {};  // one without requests is deleted
    std::span<const history::UsersRow> users = {};
    std::span<const history::SessionRow> sessions = {};
  };
  // In one transaction, with what waits. False: it waits in memory.
  bool write(const Batch& batch, std::int64_t now);
  // Deletes what is older than is kept, then what is oldest until the file is within bytes_max, and
  // gives the room back. Once a minute or so; cheap where there is nothing to do.
  void prune(std::int64_t now);
  // What the file knows of one client goes, from the disk too, where it may be left of a time
  // before as well; what it used is added to the others, so that the sums stay. How many rows went.
  // The caller writes no more of it from then on, else it comes back.
  std::expected<std::size_t, std::string> forget(const std::string& client);

  std::expected<UsageTable, std::string> table(const UsageQuestion& question);
  // The rows of one key, one for each start, in their order; those without requests are left out.
  std::expected<std::vector<history::UsageRow>, std::string> series(history::UsageLevel level,
                                                                    history::UsageKind kind,
                                                                    const std::string& key,
                                                                    std::int64_t since,
                                                                    std::int64_t until);
  std::expected<std::vector<UsersAnswer>, std::string> users(history::UsageLevel level,
                                                             std::int64_t since,
                                                             std::int64_t until);
  // The newest first; of one client, or of all for "".
  std::expected<std::vector<history::SessionRow>, std::string> sessions(std::int64_t since,
                                                                        std::int64_t until,
                                                                        const std::string& client,
                                                                        std::size_t top);

  // Those of whom there are sessions, or days, at most so many; who was here last first. None where
  // the database cannot be read.
  std::vector<std::string> known_clients(std::size_t most);

  // For metrics.
  bool is_on_disk() const;
  const std::string& path() const;   // of the file; ":memory:"
  std::uint64_t bytes() const;       // of the database, now
  std::size_t rows_waiting() const;  // for a file that cannot be written
  std::uint64_t rows_lost() const;   // since the start
  std::int64_t oldest() const;       // Unix time of the oldest hour; 0: there is none
  // Lines for the log that have not been told yet.
  std::vector<std::string> take_remarks();

 private:
  struct State;
  explicit UsageStore(std::unique_ptr<State> state);
  const std::unique_ptr<State> state_;
};

}  // namespace classgate::gateway
