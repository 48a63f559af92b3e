// A history of years, as a busy gateway would have written it: how long the file becomes, how far
// its hours reach back, and how long a question about the last year takes (classgate usage). Time
// is virtual. Ends with 1 where they do not reach back over all days.
//   usage_years --folder DIR --days 730

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cxxopts.hpp>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "conf/reason.h"
#include "gateway/history/usage_store.h"

namespace {

using namespace classgate;
using history::UsageKind;
using history::UsageLevel;
using history::UsageRow;

struct Load {
  std::int64_t days = 730;
  std::int64_t until = 0;
  int clients = 64;  // that have a row of their own in an hour
  int all_clients = 5000;
  std::uint64_t requests = 1000;  // of a client of the middle, an hour
};

class Years {
 public:
  explicit Years(const Load& load) : load_(load) {
    // Waits and service times of some hours, log-normal with a spread of three.
    std::lognormal_distribution<double> wait(std::log(3000), 1.1), service(std::log(80'000), 0.9);
    for (int i = 0; i < 64; ++i) {
      history::QuantileSketch waits, services;
      for (int k = 0; k < 1000; ++k) {
        waits.add(static_cast<std::uint32_t>(std::min(wait(random_) * (1 + i % 7), 4e9)));
        services.add(static_cast<std::uint32_t>(std::min(service(random_), 4e9)));
      }
      sketches_.emplace_back(std::move(waits), std::move(services));
    }
  }

  // What was counted within one hour, minute or second, and is added to its day.
  std::vector<UsageRow> rows_of(UsageLevel level, std::int64_t start) {
    std::vector<UsageRow> rows;
    UsageRow all = row(level, UsageKind::all, "", start, 0);
    all.requests = 0;
    const int clients = level == UsageLevel::hour ? load_.clients : load_.clients / 4;
    // Of a client of the middle, and of four such together.
    const std::uint64_t usual =
        4 * load_.requests * static_cast<std::uint64_t>(seconds_of(level)) / 3600;
    if (level != UsageLevel::second) {
      for (int i = 0; i <= clients; ++i) {
        // Zipf: the first have most, and others come each hour.
        const int number = i < clients / 2 ? i : static_cast<int>(random_() % 5000);
        const std::string name = i == clients ? std::string(history::usage_others)
                                              : "c_" + hex(static_cast<unsigned>(number));
        rows.push_back(
            row(level, UsageKind::client, name, start, usual / static_cast<unsigned>(i + 1)));
        all.add(rows.back());
      }
      for (const auto& [kind, keys] :
           {std::pair(UsageKind::plan, 4), std::pair(UsageKind::route, 8),
            std::pair(UsageKind::priority, 5), std::pair(UsageKind::status, 6)})
        for (int i = 0; i < keys; ++i)
          rows.push_back(row(level, kind, std::string(word_of(kind)) + "-" + std::to_string(i),
                             start, load_.requests * 4));
    } else {
      all.add(row(level, UsageKind::all, "", start, 40));
    }
    rows.push_back(all);
    return rows;
  }

  void count_for_day(const std::vector<UsageRow>& rows) {
    for (UsageRow of_day : rows) {
      of_day.level = UsageLevel::day;
      of_day.start = start_of(UsageLevel::day, of_day.start);
      const auto [place, is_new] = day_.try_emplace({of_day.kind, of_day.key}, of_day);
      if (!is_new) place->second.add(of_day);
    }
  }
  // With no more clients than have a place.
  std::vector<UsageRow> take_day() {
    std::vector<UsageRow> rows, of_clients;
    for (auto& [key, each] : day_)
      (each.kind == UsageKind::client ? of_clients : rows).push_back(std::move(each));
    day_.clear();
    std::ranges::sort(of_clients, std::greater{}, &UsageRow::requests);
    UsageRow others{.level = UsageLevel::day,
                    .kind = UsageKind::client,
                    .start = rows.front().start,
                    .key = std::string(history::usage_others)};
    int places = load_.clients;
    for (const UsageRow& each : of_clients) {
      if (each.key != history::usage_others && places-- > 0)
        rows.push_back(each);
      else
        others.add(each);
    }
    rows.push_back(others);
    return rows;
  }

  history::UsersRow users_of(UsageLevel level, std::int64_t start) {
    history::UsersRow users{.level = level, .start = start_of(level, start)};
    for (int i = 0; i < load_.all_clients; ++i) users.distinct.add(random_() % 20'000);
    users.active_peak = 900 + random_() % 200;
    users.begun = users.ended = static_cast<std::uint64_t>(load_.all_clients);
    users.returning = users.begun;
    return users;
  }
  std::vector<history::SessionRow> sessions_of(std::int64_t start) {
    std::vector<history::SessionRow> sessions;
    for (int i = 0; i < 200; ++i)
      sessions.push_back({.client = "c_" + hex(static_cast<unsigned>(random_()) % 20'000),
                          .begun = start + static_cast<std::int64_t>(random_() % 3600),
                          .last = start + 4000,
                          .requests = random_() % 1000,
                          .has_ended = true});
    return sessions;
  }

 private:
  static std::string hex(unsigned number) {
    char text[9];
    std::snprintf(text, sizeof text, "%08x", number * 2654435761U);
    return text;
  }
  UsageRow row(UsageLevel level, UsageKind kind, std::string key, std::int64_t start,
               std::uint64_t requests) {
    requests += requests / 10 * (random_() % 10);
    const std::uint64_t refused = requests / 50;
    const auto& [wait, service] = sketches_[random_() % sketches_.size()];
    UsageRow made{.level = level,
                  .kind = kind,
                  .start = start,
                  .key = std::move(key),
                  .requests = requests,
                  .cost = 3 * requests,
                  .served = requests - refused,
                  .refused = refused,
                  .bytes_in = 700 * requests,
                  .bytes_out = 2300 * requests,
                  .first_seen = start + static_cast<std::int64_t>(random_() % 60),
                  .last_seen = start + seconds_of(level) - 1};
    if (requests > 0) made.wait = wait;
    if (requests > 0) made.service = service;
    if (refused > 0) made.add_reason(static_cast<std::uint8_t>(random_() % 8), refused);
    return made;
  }

  const Load load_;
  std::mt19937 random_{22};
  std::vector<std::pair<history::QuantileSketch, history::QuantileSketch>> sketches_;
  std::map<std::pair<UsageKind, std::string>, UsageRow> day_;
};

bool write_years(gateway::UsageStore& store, const Load& load) {
  constexpr std::int64_t hour = 3600, day = 86'400;
  Years years(load);
  const std::int64_t end = start_of(UsageLevel::hour, load.until);
  for (std::int64_t at = start_of(UsageLevel::day, end - load.days * day); at < end; at += hour) {
    std::vector<UsageRow> rows = years.rows_of(UsageLevel::hour, at);
    years.count_for_day(rows);
    if (end - at <= 7 * day)
      for (std::int64_t minute = at; minute < at + hour; minute += 60)
        std::ranges::move(years.rows_of(UsageLevel::minute, minute), std::back_inserter(rows));
    if (at + hour == end)
      for (std::int64_t second = at; second < end; ++second)
        std::ranges::move(years.rows_of(UsageLevel::second, second), std::back_inserter(rows));
    std::vector<history::UsersRow> users{years.users_of(UsageLevel::hour, at)};
    const bool ends_day = (at + hour) % day == 0 || at + hour == end;
    if (ends_day) {
      std::ranges::move(years.take_day(), std::back_inserter(rows));
      users.push_back(years.users_of(UsageLevel::day, at));
    }
    const auto sessions = years.sessions_of(at);
    if (!store.write({.rows = rows, .users = users, .sessions = sessions}, at + hour)) return false;
    if (ends_day) store.prune(at + hour);
  }
  return true;
}

// The slowest of three, in seconds.
double time_to_ask(gateway::UsageStore& store, gateway::UsageBy by, std::int64_t until) {
  constexpr std::int64_t year = 365 * 86'400;
  double slowest = 0;
  for (int i = 0; i < 3; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto table = store.table({.by = by, .since = until - year, .until = until});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (!table || table->all.requests == 0) std::cerr << "nothing is told of the year\n";
    slowest = std::max(slowest, took.count());
  }
  return slowest;
}

}  // namespace

int main(int argc, char** argv) {
  cxxopts::Options options("usage_years", "Writes a history of years.");
  options.add_options()("folder", "where", cxxopts::value<std::string>()->default_value("."))(
      "days", "how many", cxxopts::value<std::int64_t>()->default_value("730"))(
      "until", "Unix time; 0: now", cxxopts::value<std::int64_t>()->default_value("0"))(
      "bytes-max", "of the file", cxxopts::value<std::uint64_t>()->default_value("268435456"));
  const auto given = options.parse(argc, argv);
  Load load{.days = given["days"].as<std::int64_t>(), .until = given["until"].as<std::int64_t>()};
  if (load.until == 0)
    load.until = std::chrono::duration_cast<std::chrono::seconds>(
                     std::chrono::system_clock::now().time_since_epoch())
                     .count();
  const auto begin = std::chrono::steady_clock::now();
  auto store = gateway::UsageStore::open(given["folder"].as<std::string>(),
                                         {.bytes_max = given["bytes-max"].as<std::uint64_t>()},
                                         "years", load.until);
  const bool is_good = store && write_years(**store, load);
  if (store)
    for (const std::string& remark : (*store)->take_remarks()) std::cerr << remark << "\n";
  if (!is_good || !(*store)->is_on_disk()) return 1;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::cout << load.days << " days in " << took.count() << " s, " << ((*store)->bytes() >> 20)
            << " MiB, hours reach back "
            << static_cast<double>(load.until - (*store)->oldest()) / 86'400
            << " days; the last year by client in "
            << time_to_ask(**store, gateway::UsageBy::client, load.until) << " s, by route in "
            << time_to_ask(**store, gateway::UsageBy::route, load.until) << " s\n";
  return load.until - (*store)->oldest() < (load.days - 1) * 86'400 ? 1 : 0;
}
