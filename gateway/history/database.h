#pragma once

// SQLite, as the history uses it: a connection, and a statement on it. No other file of it sees
// sqlite3.h.

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace classgate::gateway {

// One connection. It waits for another process that writes, up to a second. One thread at a time.
class Database {
 public:
  enum class Use : std::uint8_t {
    write,      // makes the file where there is none
    read,       // beside one that writes it
    read_only,  // of a file that nobody writes, in a folder where nothing can be made
  };
  static std::expected<Database, std::string> open(const std::string& path, Use use) {
    Database database;
    sqlite3* db = nullptr;
    const int result =
        use == Use::read_only
            ? ::sqlite3_open_v2(unchanging(path).c_str(), &db,
                                SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                                nullptr)
            : ::sqlite3_open_v2(path.c_str(), &db,
                                SQLITE_OPEN_NOMUTEX |
                                    (use == Use::read ? SQLITE_OPEN_READONLY
                                                      : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE),
                                nullptr);
    database.db_.reset(db);
    if (db == nullptr) return std::unexpected("out of memory");
    if (result != SQLITE_OK) {
      database.note_failure();
      return std::unexpected(database.trouble());
    }
    ::sqlite3_busy_timeout(db, 1000);
    // A file may have been anywhere: what its schema says is not run with more rights than it has.
    ::sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    ::sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    return database;
  }

  bool run(const char* sql) {
    return ::sqlite3_exec(db_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK || note_failure();
  }
  bool run(const std::string& sql) { return run(sql.c_str()); }
  std::int64_t number(const char* sql);  // the first of its first row; 0 where it fails
  std::int64_t number(const std::string& sql) { return number(sql.c_str()); }
  std::int64_t changed() const { return ::sqlite3_changes(db_.get()); }

  // By what the file itself holds now, past what this connection keeps of it: whether it begins as
  // that of a database does.
  bool has_header() {
    sqlite3_file* file = nullptr;
    std::array<char, 16> first{};
    if (::sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
        file == nullptr || file->pMethods == nullptr)
      return true;  // nobody can tell
    const int result = file->pMethods->xRead(file, first.data(), first.size(), 0);
    if (result != SQLITE_OK && result != SQLITE_IOERR_SHORT_READ) return true;
    return std::string_view(first.data(), first.size()) ==
           std::string_view("SQLite format 3\0", first.size());
  }
  // All of it is read again from the file. What is wrong is noted as a failure.
  bool is_whole() {
    ::sqlite3_db_release_memory(db_.get());
    return says_ok("PRAGMA quick_check(1)");
  }
  void note_damage(std::string what) {
    if (has_failed()) return;
    code_ = SQLITE_CORRUPT;
    trouble_ = std::move(what);
  }

  bool is_in_transaction() const { return ::sqlite3_get_autocommit(db_.get()) == 0; }
  bool may_only_read() const { return ::sqlite3_db_readonly(db_.get(), "main") == 1; }

  // The first failure since the last forget_failure(): what is done after it, as a ROLLBACK, does
  // not hide it.
  bool has_failed() const { return code_ != SQLITE_OK; }
  void forget_failure() { code_ = SQLITE_OK; }
  const std::string& trouble() const { return trouble_; }
  bool is_full() const { return code_ == SQLITE_FULL; }
  bool is_refused() const {
    return code_ == SQLITE_READONLY || code_ == SQLITE_CANTOPEN || code_ == SQLITE_PERM;
  }
  // It is no database, or not such a one: nothing that is asked here fails as SQL by itself.
  bool is_damaged() const {
    return code_ == SQLITE_CORRUPT || code_ == SQLITE_NOTADB || code_ == SQLITE_ERROR ||
           code_ == SQLITE_CONSTRAINT || code_ == SQLITE_MISMATCH;
  }
  bool note_failure() {  // of what was done last; false
    if (has_failed()) return false;
    code_ = ::sqlite3_errcode(db_.get()) & 0xff;  // without its extension
    if (code_ == SQLITE_OK || code_ == SQLITE_ROW || code_ == SQLITE_DONE) code_ = SQLITE_MISUSE;
    trouble_ = ::sqlite3_errmsg(db_.get());
    return false;
  }
  sqlite3* handle() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { ::sqlite3_close_v2(db); }
  };
  // As a URI (RFC 3986) by which SQLite takes no locks, and makes no file.
  static std::string unchanging(std::string_view path) {
    std::string uri = "file:";
    for (const char c : path) {
      if (c == '?' || c == '#' || c == '%') {
        constexpr std::string_view digits = "0123456789abcdef";
        uri += '%';
        uri += digits[static_cast<unsigned char>(c) >> 4];
        uri += digits[static_cast<unsigned char>(c) & 15];
      } else {
        uri += c;
      }
    }
    return uri + "?immutable=1";
  }
  bool says_ok(const char* check);
  Database() = default;
  std::unique_ptr<sqlite3, Close> db_;
  int code_ = SQLITE_OK;
  std::string trouble_;
};

// One statement, prepared once. Texts and blobs are copied.
class DatabaseQuery {
 public:
  DatabaseQuery(Database& database, std::string_view sql) : database_(database) {
    sqlite3_stmt* statement = nullptr;
    is_good_ = ::sqlite3_prepare_v2(database.handle(), sql.data(), static_cast<int>(sql.size()),
                                    &statement, nullptr) == SQLITE_OK ||
               database.note_failure();
    statement_.reset(statement);
  }

  // Anew, with these as ?1, ?2 and so on.
  template <typename... Values>
  DatabaseQuery& bind(const Values&... values) {
    if (statement_) ::sqlite3_reset(statement_.get());
    int place = 0;
    is_good_ = statement_ && ((put(++place, values) && ...) || database_.note_failure());
    return *this;
  }
  // True: there is a row.
  bool step() {
    const int result = is_good_ ? ::sqlite3_step(statement_.get()) : SQLITE_ERROR;
    is_good_ =
        is_good_ && (result == SQLITE_ROW || result == SQLITE_DONE || database_.note_failure());
    return result == SQLITE_ROW;
  }
  // Of one that gives no rows: whether it was done.
  bool done() { return !step() && is_good_; }
  bool is_good() const { return is_good_; }

  std::int64_t number(int column) const { return ::sqlite3_column_int64(statement_.get(), column); }
  // Counts are never negative, whatever somebody has written there.
  std::uint64_t count(int column) const {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(number(column), 0));
  }
  double real(int column) const { return ::sqlite3_column_double(statement_.get(), column); }
  bool is_null(int column) const {
    return ::sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }
  // Until the next step.
  std::string_view bytes(int column) const {
    const void* const data = ::sqlite3_column_blob(statement_.get(), column);
    const int size = ::sqlite3_column_bytes(statement_.get(), column);
    return data == nullptr
               ? std::string_view()
               : std::string_view(static_cast<const char*>(data), static_cast<std::size_t>(size));
  }

 private:
  struct Finish {
    void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
  };
  template <std::integral Number>
  bool put(int place, Number value) {
    return ::sqlite3_bind_int64(statement_.get(), place, clamped(value)) == SQLITE_OK;
  }
  bool put(int place, double value) {
    return ::sqlite3_bind_double(statement_.get(), place, value) == SQLITE_OK;
  }
  bool put(int place, std::string_view value) {
    return ::sqlite3_bind_text64(statement_.get(), place,
                                 value.data() != nullptr ? value.data() : "", value.size(),
                                 SQLITE_TRANSIENT, SQLITE_UTF8) == SQLITE_OK;
  }
  // Nothing: NULL.
  bool put(int place, std::span<const std::uint8_t> blob) {
    return (blob.empty() ? ::sqlite3_bind_null(statement_.get(), place)
                         : ::sqlite3_bind_blob64(statement_.get(), place, blob.data(), blob.size(),
                                                 SQLITE_TRANSIENT)) == SQLITE_OK;
  }
  bool put(int place, const std::optional<std::int64_t>& value) {
    return value ? put(place, *value) : ::sqlite3_bind_null(statement_.get(), place) == SQLITE_OK;
  }
  template <std::integral Number>
  static sqlite3_int64 clamped(Number value) {
    if constexpr (std::same_as<Number, bool>)
      return value ? 1 : 0;
    else
      return std::in_range<sqlite3_int64>(value) ? static_cast<sqlite3_int64>(value) : INT64_MAX;
  }

  Database& database_;
  std::unique_ptr<sqlite3_stmt, Finish> statement_;
  bool is_good_ = false;
};

inline bool Database::says_ok(const char* check) {
  DatabaseQuery query(*this, check);
  if (!query.step()) return false;
  const std::string_view said = query.bytes(0);
  if (said == "ok") return true;
  note_damage(std::string(said.substr(0, 200)));
  return false;
}

inline std::int64_t Database::number(const char* sql) {
  DatabaseQuery query(*this, sql);
  return query.step() ? query.number(0) : 0;
}

}  // namespace classgate::gateway
