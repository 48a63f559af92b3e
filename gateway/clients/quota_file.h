#pragma once

// What only QuotaStore's own files share: what the file is known by, and its statements.

#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <system_error>

#include "conf/format.h"
#include "gateway/clients/quota_store.h"

namespace classgate::gateway {

inline constexpr int application_id = 0x63676174;  // "cgat"
inline constexpr int layout = 1;                   // of the tables: user_version
inline constexpr int patience_ms = 3000;           // with another process that writes
inline constexpr int made_with_max = 100;          // that ids are known to be made with
// Of the year 10000, which no clock shows: days and months since 1970.
inline constexpr std::int64_t days_max = 2'932'897;
inline constexpr std::int64_t months_max = 96'360;
// No count gets there, and from there none runs over.
inline constexpr std::int64_t count_max = std::int64_t{1} << 62;

inline std::string words_for(int error) { return std::generic_category().message(error); }

inline std::string quota_mistake(const std::string& path, const std::string& why) {
  return fmt::format("clients.quota_file: {}: {}", path, why);
}

inline constexpr const char* if_damaged =
    "mend it (sqlite3 FILE .recover), or move it away: counting then begins anew";

class QuotaStore::Statement {
 public:
  Statement(sqlite3* db, const char* sql) {
    is_good_ = ::sqlite3_prepare_v2(db, sql, -1, &statement_, nullptr) == SQLITE_OK;
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { ::sqlite3_finalize(statement_); }
  template <typename... Values>
  bool bind(Values... values) {
    int place = 0;
    is_good_ = is_good_ && ::sqlite3_reset(statement_) == SQLITE_OK &&
               ((::sqlite3_bind_int64(statement_, ++place, static_cast<sqlite3_int64>(values)) ==
                 SQLITE_OK) &&
                ...);
    return is_good_;
  }
  // True: there is a row.
  bool step() {
    const int result = is_good_ ? ::sqlite3_step(statement_) : SQLITE_ERROR;
    is_good_ = is_good_ && (result == SQLITE_ROW || result == SQLITE_DONE);
    return result == SQLITE_ROW;
  }
  bool is_good() const { return is_good_; }
  std::int64_t number(int column) const { return ::sqlite3_column_int64(statement_, column); }
  std::string text(int column) const {
    const unsigned char* const said = ::sqlite3_column_text(statement_, column);
    return said == nullptr ? "" : reinterpret_cast<const char*>(said);
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
  bool is_good_ = false;
};

}  // namespace classgate::gateway
