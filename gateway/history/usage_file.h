#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gateway/history/database.h"
#include "gateway/history/usage_store.h"

namespace classgate::gateway {

// What only UsageStore's own files share: what is open, and what waits for it.
//
// States: `database` is set always. While !is_ready its tables are still to be made, as of a file
// on a full disk: each write tries. Not on disk: it is ":memory:", until come_back() finds that a
// file can be made.
struct UsageStore::State {
  UsageBounds bounds;
  std::string directory;
  std::string run_name;
  std::string path = ":memory:";
  bool is_on_disk = false;
  bool is_ready = false;
  std::int64_t run = 0;  // our number in this file; 0: it has none yet
  dev_t device = 0;      // of the file that is open
  ino_t inode = 0;
  std::optional<Database> database;

  using RowKey = std::tuple<history::UsageLevel, std::int64_t, history::UsageKind, std::string>;
  std::map<RowKey, history::UsageRow> rows;  // that wait; the finest first, of these the oldest
  std::map<std::pair<std::int64_t, history::UsageLevel>, history::UsersRow> users;
  std::map<std::pair<std::int64_t, std::string>, history::SessionRow> sessions;
  std::uint64_t rows_lost = 0;
  std::int64_t thinned_until = 0;  // hours that began before have few clients
  bool is_damaged = false;         // as a reader has found: the next write moves it away
  bool is_moving = false;          // a damaged file away: what is made then is not moved
  bool is_in_trouble = false;      // and that has been told
  bool is_quiet = false;           // that no file can be made is known, and not told again
  bool had_header = false;         // Database::has_header(), when it was looked at last
  std::chrono::steady_clock::time_point checked_again{};  // when look_for_damage() reads all of it
  std::vector<std::string> remarks;

  // usage_file.cpp: the file, and what becomes of it.
  // False: only memory is left, and that is told.
  bool open_file(std::int64_t now);
  bool open_memory();
  bool prepare();  // tables and terms of a connection; false: `database` tells
  void move_aside(std::int64_t now);
  bool has_lost_its_path() const;
  bool journal_is_too_long();
  // Sets is_damaged where something else than this process has written into the file.
  void look_for_damage();
  // From memory to the file, where one can be made again: with all that memory has.
  void come_back(std::int64_t now);
  // Of what was asked of a file that is ready; what is wrong with it the next write finds.
  template <typename Answer>
  Answer told(Answer answer) {
    if (!answer && is_ready && database->is_damaged()) is_damaged = true;
    return answer;
  }
  void tell_trouble();
  void tell(std::string line);

  // usage_store.cpp
  bool write_all(const Batch& batch, std::int64_t now);
  bool has_run(std::int64_t now);
  void wait(const Batch& batch);

  // usage_prune.cpp
  std::uint64_t bytes_max() const { return is_on_disk ? bounds.bytes_max : bounds.memory_max; }
  std::uint64_t bytes_used();  // of pages that hold something
  bool limit_pages(std::uint64_t more);
  bool make_room();
  bool thin_old_hours(std::int64_t now);  // within a transaction
};

}  // namespace classgate::gateway
