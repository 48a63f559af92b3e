#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/clients/quota_table.h"

struct sqlite3;

namespace classgate::gateway {

// What clients have had of their quotas, on disk: a SQLite database that several processes add to
// at once (an upgrade has two). It holds ids of clients, never their keys. Every error is one line
// for an operator that names the file and what to do. Waits for the disk, and for the others a
// few seconds at most. Not thread-safe.
class QuotaStore {
 public:
  // Makes it where there is none, mode 0600. A file that is damaged, or another program's, is an
  // error and stays as it is.
  static std::expected<std::unique_ptr<QuotaStore>, std::string> open(const std::string& path);
  // The same, and makes and changes nothing: for `--check`. Empty: good, or not there and makeable.
  static std::string why_not(const std::string& path);
  // The counts are by ids of clients, which a key makes: `ids` says which, and is kept beside them,
  // with those of up to 100 keys before. True: there are counts, and none by this one; it is told
  // once. The error is no reason to go without the store.
  std::expected<bool, std::string> take_ids(std::int64_t ids);
  // Whether take_ids() would say so, and no where no file is there. `ids` is empty: of any key. The
  // error: it cannot be read.
  static std::expected<bool, std::string> has_counts_by_others(const std::string& path,
                                                               std::optional<std::int64_t> ids);
  // A line for an operator where it has counts of periods after those of now, which only a clock
  // that was wrong has written, or where it cannot be read; empty: it has none.
  static std::string warning_of_counts_to_come(const std::string& path,
                                               std::array<std::int64_t, 2> periods);
  ~QuotaStore();
  QuotaStore(const QuotaStore&) = delete;
  QuotaStore& operator=(const QuotaStore&) = delete;

  // Adds these, all or none, and returns the sums of the periods of now that have changed, by
  // whomever, since the last time; all of them where these are other periods than then. What
  // belongs to periods that have long gone is deleted.
  std::expected<QuotaSums, std::string> add(const std::vector<QuotaRow>& rows,
                                            std::array<std::int64_t, 2> periods);

 private:
  explicit QuotaStore(std::string path) : path_(std::move(path)) {}
  class Statement;
  // To look only; null: no file is there.
  static std::expected<std::unique_ptr<QuotaStore>, std::string> open_to_read(
      const std::string& path);
  std::string trouble() const;
  bool run(const char* sql);
  bool prepare();
  std::expected<bool, std::string> has_table(const char* name);
  std::expected<bool, std::string> has_others(std::optional<std::int64_t> ids);
  std::string check_content();
  std::string why_no_counting();
  bool write(const std::vector<QuotaRow>& rows);
  bool read(std::array<std::int64_t, 2> periods, std::vector<QuotaRow>& sums);
  bool delete_former(std::array<std::int64_t, 2> periods);

  std::string path_;
  sqlite3* db_ = nullptr;
  bool is_new_ = false;              // and empty
  std::int64_t seen_ = 0;            // all changes up to this one
  std::optional<std::int64_t> ids_;  // taken
  std::array<std::int64_t, 2> periods_{-1, -1};
  bool has_former_ = true;  // periods have gone since it was looked at for such
};

}  // namespace classgate::gateway
