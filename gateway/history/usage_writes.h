#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "admission/history/usage_row.h"
#include "gateway/history/database.h"
#include "gateway/history/usage_codec.h"

namespace classgate::gateway {

// Writes rows of one run, within one transaction of whoever makes it. False: the database tells
// why.
class UsageWrites {
 public:
  UsageWrites(Database& database, std::int64_t run)
      : run_(run),
        row_(database,
             "REPLACE INTO usage (level, kind, start, key, run, requests, cost, served, refused, "
             "failed, abandoned, bytes_in, bytes_out, first_seen, last_seen, reasons, failed_by, "
             "wait_p50_us, wait_p95_us, wait_p99_us, service_p50_us, service_p95_us, "
             "service_p99_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, "
             "?15, nullif(?16, ''), nullif(?17, ''), ?18, ?19, ?20, ?21, ?22, ?23)"),
        sketches_(database,
                  "REPLACE INTO sketches (level, kind, start, key, run, wait, service) VALUES (?1, "
                  "?2, ?3, ?4, ?5, ?6, ?7)"),
        delete_row_(database,
                    "DELETE FROM usage WHERE level = ?1 AND kind = ?2 AND start = ?3 AND key = ?4 "
                    "AND run = ?5"),
        delete_sketches_(database,
                         "DELETE FROM sketches WHERE level = ?1 AND kind = ?2 AND start = ?3 AND "
                         "key = ?4 AND run = ?5"),
        users_(database,
               "REPLACE INTO users (level, start, run, distinct_users, active_peak, begun, ended, "
               "newcomers, returned, registers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
        session_(database,
                 "INSERT INTO sessions (begun, client, last, requests, has_ended) VALUES (?1, ?2, "
                 "?3, ?4, ?5) ON CONFLICT (begun, client) DO UPDATE SET last = max(last, "
                 "excluded.last), requests = max(requests, excluded.requests), has_ended = "
                 "excluded.has_ended") {}

  void set_run(std::int64_t run) { run_ = run; }

  bool put(const history::UsageRow& row) {
    if (row.requests == 0) return remove(row);
    const std::vector<std::uint8_t> wait = bytes_of(row.wait);
    const std::vector<std::uint8_t> service = bytes_of(row.service);
    return row_.bind(seconds_of(row.level), word_of(row.kind), row.start, row.key, run_,
                     row.requests, row.cost, row.served, row.refused, row.failed, row.abandoned,
                     row.bytes_in, row.bytes_out, row.first_seen, row.last_seen, reasons_text(row),
                     failed_by_text(row), quantile(row.wait, 0.5), quantile(row.wait, 0.95),
                     quantile(row.wait, 0.99), quantile(row.service, 0.5),
                     quantile(row.service, 0.95), quantile(row.service, 0.99))
               .done() &&
           (wait.empty() && service.empty()
                ? delete_of(delete_sketches_, row)
                : sketches_
                      .bind(seconds_of(row.level), word_of(row.kind), row.start, row.key, run_,
                            std::span(wait), std::span(service))
                      .done());
  }
  bool remove(const history::UsageRow& row) {
    return delete_of(delete_row_, row) && delete_of(delete_sketches_, row);
  }
  bool put(const history::UsersRow& row) {
    const std::vector<std::uint8_t> registers = bytes_of(row.distinct);
    return users_
        .bind(seconds_of(row.level), row.start, run_, row.distinct.estimate(), row.active_peak,
              row.begun, row.ended, row.newcomers, row.returning, std::span(registers))
        .done();
  }
  bool put(const history::SessionRow& row) {
    return session_.bind(row.begun, row.client, row.last, row.requests, row.has_ended).done();
  }

 private:
  static std::optional<std::int64_t> quantile(const history::QuantileSketch& sketch, double q) {
    if (sketch.count() == 0) return std::nullopt;
    return std::llround(sketch.quantile(q));
  }
  bool delete_of(DatabaseQuery& query, const history::UsageRow& row) const {
    return query.bind(seconds_of(row.level), word_of(row.kind), row.start, row.key, run_).done();
  }

  std::int64_t run_;
  DatabaseQuery row_;
  DatabaseQuery sketches_;
  DatabaseQuery delete_row_;
  DatabaseQuery delete_sketches_;
  DatabaseQuery users_;
  DatabaseQuery session_;
};

// A client's rows and sessions go, from the disk too; what it used is added to the others of the
// same time. How many went.
std::expected<std::size_t, std::string> forget_in(Database& database, const std::string& client);

}  // namespace classgate::gateway
