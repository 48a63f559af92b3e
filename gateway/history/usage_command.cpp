#include "gateway/history/usage_command.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <system_error>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/reader.h"
#include "gateway/history/database.h"
#include "gateway/history/state_folder.h"
#include "gateway/history/usage_reads.h"
#include "gateway/history/usage_report.h"
#include "gateway/history/usage_schema.h"
#include "gateway/history/usage_writes.h"

namespace classgate::gateway {
namespace {

using history::UsageKind;
using history::UsageLevel;
using history::UsageRow;

int complain_of_usage(const std::string& text) {
  conf::print(stderr, fmt::format("classgate: {}\n", conf::printable_lines(text)));
  return 1;
}

std::int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// Empty: it is a history that this version can read.
std::string why_no_history(Database& database) {
  database.forget_failure();
  const std::int64_t of = database.number("PRAGMA application_id");
  const std::int64_t version = database.number("PRAGMA user_version");
  if (database.has_failed()) return database.trouble();
  if (of == 0 && version == 0) return "there is no history in it";
  if (of != usage_application) return "is a database of another program";
  if (version > usage_schema_version)
    return fmt::format("was written by a newer classgate (schema {}; this one knows {})", version,
                       usage_schema_version);
  if (version < usage_schema_version)
    return fmt::format(
        "was written by a former classgate (schema {}; this one knows {}): one that runs on it "
        "brings it up",
        version, usage_schema_version);
  database.number("SELECT count(*) FROM usage WHERE level = 0");
  return database.has_failed() ? database.trouble() : std::string();
}

// Beside one that writes it, or a copy, also where nothing can be written.
std::expected<Database, std::string> open_to_read(const std::string& path) {
  struct stat found{};
  const auto wrong = [&path](const std::string& why) {
    return std::unexpected(fmt::format("{}: {}", path, why));
  };
  if (::stat(path.c_str(), &found) != 0) {
    const int error = errno;
    return wrong(
        std::generic_category().message(error) +
        (error == ENOENT ? ": there is no history (state_dir, history.keep, --file)" : ""));
  }
  if (!S_ISREG(found.st_mode)) return wrong("is no file");
  auto database = Database::open(path, Database::Use::read);
  if (!database) return wrong(database.error());
  std::string why = why_no_history(*database);
  if (!why.empty() && database->is_refused()) {
    // What is read there is the file alone; what is newer stands in the journal.
    if (::stat((path + "-wal").c_str(), &found) == 0 && found.st_size > 0)
      return wrong(
          fmt::format("{}-wal holds what is newer, and cannot be read where nothing can "
                      "be written: copy both into a folder of yours",
                      path));
    database = Database::open(path, Database::Use::read_only);
    if (!database) return wrong(database.error());
    why = why_no_history(*database);
  }
  if (!why.empty()) return wrong(why);
  return database;
}

// "2026-11-01 00:00 to ..." of what there is; empty: nothing.
std::string reach_of(Database& database, const UsageReport& report) {
  const std::int64_t first =
      database.number("SELECT min(start) FROM usage WHERE level = 86400 AND kind = 'all'");
  const std::int64_t last =
      database.number("SELECT max(last_seen) FROM usage WHERE level = 86400 AND kind = 'all'");
  if (first == 0) return {};
  return fmt::format("{} to {}", report.clock_time(first), report.clock_time(last));
}

std::string nothing_told(Database& database, const UsageReport& report, const std::string& what) {
  const std::string reach = reach_of(database, report);
  return fmt::format("{}: {} from {} to {}; {}", report.file, what, report.clock_time(report.since),
                     report.clock_time(report.until),
                     reach.empty() ? std::string("it is empty")
                                   : fmt::format("it tells of {} (--since, --until)", reach));
}

UsageLevel level_for(std::int64_t seconds) {
  if (seconds <= 3 * 3600) return UsageLevel::minute;
  return seconds <= 4 * 86'400 ? UsageLevel::hour : UsageLevel::day;
}

// Empty: the report is whole.
std::string ask_table(Database& database, UsageReport& report) {
  UsageQuestion question{.since = report.since, .until = report.until, .top = report.options.top};
  const auto word = std::ranges::find(usage_by_words, report.options.by);
  question.by = static_cast<UsageBy>(word - usage_by_words.begin());
  if (report.options.order == "cost") question.order = UsageOrder::cost;
  if (report.options.order == "refused") question.order = UsageOrder::refused;
  auto table = read_usage_table(database, question);
  if (!table) return fmt::format("{}: {}", report.file, table.error());
  report.table = std::move(*table);
  if (report.table.all.requests == 0) return nothing_told(database, report, "nothing was counted");
  report.since = report.table.since;
  report.until = std::min(report.table.until, std::max(report.until, report.table.all.last_seen));
  return {};
}

std::string ask_client(Database& database, UsageReport& report) {
  const std::string& client = report.options.client;
  // A minute has only those that have most of it.
  for (report.level = level_for(report.until - report.since);;) {
    auto rows = read_usage_series(database,
                                  {.level = report.level,
                                   .kind = UsageKind::client,
                                   .since = start_of(report.level, report.since),
                                   .until = report.until},
                                  client);
    if (!rows) return fmt::format("{}: {}", report.file, rows.error());
    report.rows = std::move(*rows);
    if (!report.rows.empty() || report.level != UsageLevel::minute) break;
    report.level = UsageLevel::hour;
  }
  for (const UsageRow& row : report.rows) report.sum.add(row);
  auto sessions = read_sessions(database, report.since, report.until, client, report.options.top);
  if (!sessions) return fmt::format("{}: {}", report.file, sessions.error());
  report.sessions = std::move(*sessions);
  if (report.rows.empty() && report.sessions.empty())
    return nothing_told(database, report,
                        fmt::format("nothing is known of {} by itself", conf::printable(client)));
  report.since = start_of(report.level, report.since);
  return {};
}

std::string ask_sessions(Database& database, UsageReport& report) {
  report.level = level_for(report.until - report.since);
  if (report.level == UsageLevel::minute) report.level = UsageLevel::hour;
  auto sessions = read_sessions(database, report.since, report.until, report.options.client,
                                report.options.top);
  if (!sessions) return fmt::format("{}: {}", report.file, sessions.error());
  report.sessions = std::move(*sessions);
  if (report.options.client.empty()) {
    auto users =
        read_users(database, report.level, start_of(report.level, report.since), report.until);
    if (!users) return fmt::format("{}: {}", report.file, users.error());
    report.users = std::move(*users);
  }
  if (report.sessions.empty() && report.users.empty())
    return nothing_told(database, report, "there was no session");
  return {};
}

}  // namespace

std::expected<std::string, std::string> usage_file_of(const conf::CommandLine& command,
                                                      const UsageEnvironment& environment) {
  if (!command.usage.file.empty()) return command.usage.file;
  const auto loaded = conf::load({.conf_path = command.conf_path,
                                  .environment = environment,
                                  .command_line = command.overrides});
  if (!loaded) {
    std::string lines;
    for (const conf::Mistake& mistake : loaded.error())
      lines += fmt::format("\n{}: {}", mistake.place, mistake.text);
    return std::unexpected("where the history is the conf does not tell (or name it with --file):" +
                           lines);
  }
  std::string_view given;
  for (const auto& [name, value] : environment)
    if (name == "STATE_DIRECTORY") given = value;
  return state_folder_of(loaded->settings.state_dir, given) + "/" + usage_file_name;
}

int usage(const conf::CommandLine& command, const UsageEnvironment& environment) {
  UsageReport report{.options = command.usage};
  auto file = usage_file_of(command, environment);
  if (!file) return complain_of_usage(file.error());
  report.file = std::move(*file);
  auto zone = conf::TimeZone::load(report.options.time_zone);
  if (!zone) return complain_of_usage("--time-zone: " + zone.error());
  report.zone = std::move(*zone);
  const std::int64_t now = unix_now();
  report.since = report.options.since.at(now, *report.zone);
  report.until = report.options.until.at(now, *report.zone);
  if (report.since > report.until)
    return complain_of_usage(fmt::format("--since: {} is later than --until, {}",
                                         report.clock_time(report.since),
                                         report.clock_time(report.until)));
  auto database = open_to_read(report.file);
  if (!database) return complain_of_usage(database.error());
  // What ends just now is counted a moment later.
  if (report.options.until.is_ago && report.options.until.span.count() == 0) report.until += 60;
  using Question = conf::UsageOptions::Question;
  const std::string wrong =
      report.options.question == Question::client     ? ask_client(*database, report)
      : report.options.question == Question::sessions ? ask_sessions(*database, report)
                                                      : ask_table(*database, report);
  if (!wrong.empty()) return complain_of_usage(wrong);
  using Form = conf::UsageOptions::Form;
  const std::string text = report.options.form == Form::json  ? usage_json(report)
                           : report.options.form == Form::csv ? usage_csv(report)
                                                              : usage_text(report);
  std::fwrite(text.data(), 1, text.size(), stdout);  // main looks whether it could be written
  return 0;
}

int forget_in_file(const std::string& path, const std::string& client) {
  // Not to make one.
  if (const auto there = open_to_read(path); !there) return complain_of_usage(there.error());
  auto database = Database::open(path, Database::Use::write);
  if (!database) return complain_of_usage(fmt::format("{}: {}", path, database.error()));
  const auto gone = forget_in(*database, client);
  if (!gone) return complain_of_usage(fmt::format("{}: {}", path, gone.error()));
  if (*gone == 0)
    return complain_of_usage(
        fmt::format("{}: nothing is known of {}", path, conf::printable(client)));
  conf::print(stdout, fmt::format("{}: {} rows of {} are gone; what it used is told as that of "
                                  "\"(others)\"\n",
                                  path, *gone, conf::printable(client)));
  return 0;
}

}  // namespace classgate::gateway
