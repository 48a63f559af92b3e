// Who used how much, and who is there: exact while few, bounded and whole beyond.

#include <doctest/doctest.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "admission/history/distinct_count.h"
#include "admission/history/sessions.h"
#include "admission/history/usage_record.h"
#include "admission/history/usage_tally.h"
#include "conf/reason.h"
#include "tests/admission/zipf.h"

using namespace classgate::history;

namespace {

const UsageTally::Names names{
    .of_client = [](std::uint64_t client) { return "c_" + std::to_string(client); },
    .of_number = [](std::uint16_t number) { return "n" + std::to_string(number); }};

Use use_by(std::uint64_t client, End end = End::served) {
  Use use{.client = client, .bytes_in = 10, .bytes_out = 100, .cost = 1, .end = end};
  if (end == End::refused) {
    use.cost = 0;
    use.reason = static_cast<std::uint8_t>(classgate::conf::Reason::rate_limited);
    use.status = 429;
  } else {
    use.wait_us = 5;
    use.service_us = 2000;
    use.status = 200;
  }
  return use;
}

struct Sum {
  std::uint64_t requests = 0, cost = 0, served = 0, refused = 0, failed = 0, abandoned = 0,
                bytes_in = 0, bytes_out = 0, waits = 0, services = 0, reasons = 0;
  bool operator==(const Sum&) const = default;
  void add(const UsageRow& row) {
    requests += row.requests;
    cost += row.cost;
    served += row.served;
    refused += row.refused;
    failed += row.failed;
    abandoned += row.abandoned;
    bytes_in += row.bytes_in;
    bytes_out += row.bytes_out;
    waits += row.wait.count();
    services += row.service.count();
    for (const auto& [reason, times] : row.reasons) reasons += times;
  }
};

std::map<UsageKind, Sum> sums_of(const std::vector<UsageRow>& rows) {
  std::map<UsageKind, Sum> sums;
  for (const UsageRow& row : rows) sums[row.kind].add(row);
  return sums;
}

}  // namespace

TEST_CASE("while clients are few each has its row, and nobody is among the others") {
  UsageTally tally(10);
  for (std::uint64_t client = 1; client <= 10; ++client)
    for (std::uint64_t i = 0; i < client; ++i) tally.add(use_by(client), 1000);
  CHECK(tally.clients().is_exact());
  for (const auto& [client, row] : tally.clients().rows()) CHECK(row.requests == client);
  CHECK(tally.clients().others().requests == 0);
}

TEST_CASE(
    "rows of each kind add up to all that was used, whoever fell out and whatever was added") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    UsageTally sum(20), part(7);
    Sum told;
    for (int i = 0; i < 20'000; ++i) {
      Use use = use_by(random() % 60, static_cast<End>(random() % 4));
      use.route = static_cast<std::uint16_t>(random() % 5);
      use.plan = static_cast<std::uint16_t>(random() % 3);
      use.priority = static_cast<std::uint8_t>(random() % 6);
      use.cost = use.end == End::refused ? 0 : static_cast<std::uint32_t>(random() % 9);
      use.status = static_cast<std::uint16_t>(random() % 2 == 0 ? 0 : 200 + random() % 300);
      UsageTally one(1);
      one.add(use, 1000 + i);
      told.add(one.all());
      part.add(use, 1000 + i);
      if (random() % 500 == 0) part.forget(random() % 60);
      if (random() % 100 != 0) continue;
      sum.add(part);
      part = UsageTally(7);
    }
    UsageRow lost{.requests = 3, .served = 2, .refused = 1};
    lost.add_reason(5);
    sum.add(part);
    sum.add_to_others(lost);
    told.add(lost);
    CHECK(!sum.clients().is_exact());
    for (const std::size_t top : {0U, 1U, 5U, 1000U}) {
      const auto rows = sum.rows(top, names);
      const auto sums = sums_of(rows);
      REQUIRE(sums.size() == 6);
      for (const auto& [kind, each] : sums) {
        CAPTURE(word_of(kind));
        CHECK(each == told);
      }
      const auto clients = std::ranges::count(rows, UsageKind::client, &UsageRow::kind);
      CHECK(clients <= static_cast<std::ptrdiff_t>(std::min<std::size_t>(3 * top, 60) + 1));
    }
  }
}

TEST_CASE("who has most is told by each ranking: requests, cost and refusals") {
  UsageTally tally(4);
  std::mt19937_64 random(1);
  for (int i = 0; i < 9000; ++i) {
    tally.add(use_by(100 + random() % 500), 1000);  // many, each with little
    if (i % 2 == 0) tally.add(use_by(1), 1000);
    if (i % 3 == 0) tally.add(use_by(2, End::refused), 1000);
    if (i % 900 != 0) continue;
    Use dear = use_by(3);
    dear.cost = 5000;
    tally.add(dear, 1000);
  }
  const auto top = tally.clients().top(1);
  std::vector<std::uint64_t> told;
  for (const auto* const row : top.rows) told.push_back(row->first);
  std::ranges::sort(told);
  CHECK(told == std::vector<std::uint64_t>{1, 2, 3});
}

TEST_CASE("a million clients: top 50 of a Zipf load, sums and distinct users, in 16 MiB") {
  constexpr std::uint64_t seed = 1;
  constexpr int requests = 1'000'000;
  std::mt19937_64 random(seed);
  test::Zipf clients(1'000'000);
  std::lognormal_distribution<double> times(9, 1);
  std::map<std::uint64_t, std::uint32_t> exact;
  std::vector<std::uint64_t> drawn(requests);
  for (std::uint64_t& client : drawn) ++exact[client = clients.draw(random)];
  const auto before = mallinfo2().uordblks;
  std::size_t most = 0;
  {
    // As the history has it: a part of five seconds, sums of a minute, an hour and a day.
    UsageTally part(1024), minute(256), hour(512), day(1024);
    Sessions sessions(100'000, 1800);
    auto distinct = std::make_unique<DistinctCount>();
    std::int64_t at = 1'700'000'000;
    for (int i = 0; i < requests; ++i) {
      Use use = use_by(drawn[static_cast<std::size_t>(i)]);
      use.service_us = static_cast<std::uint32_t>(std::min(times(random), 4e9));
      part.add(use, at);
      sessions.add(use.client, at);
      distinct->add(use.client);
      if (i % 5000 != 4999) continue;
      at += 5;
      for (UsageTally* const sum : {&minute, &hour, &day}) sum->add(part);
      part = UsageTally(1024);
      if (i % 60'000 == 59'999) minute = UsageTally(256);
      const auto now = mallinfo2().uordblks;
      most = std::max(most, now > before ? now - before : 0);
    }
    CHECK(day.all().requests == requests);
    CHECK(sums_of(day.rows(64, names))[UsageKind::client].requests == requests);
    std::vector<std::pair<std::uint32_t, std::uint64_t>> ranking;
    for (const auto& [client, count] : exact) ranking.emplace_back(count, client);
    std::ranges::sort(ranking, std::greater{});
    ranking.resize(50);
    int found = 0;
    double worst = 0;
    const auto rows = day.rows(64, names);
    for (const auto& [count, client] : ranking)
      for (const UsageRow& row : rows)
        if (row.kind == UsageKind::client && row.key == names.of_client(client)) {
          ++found;
          worst = std::max(worst, std::abs(static_cast<double>(row.requests) - count) / requests);
        }
    MESSAGE("recall " << found << " of 50, worst error " << worst * 100 << " % of all");
    CHECK(found >= 49);
    CHECK(worst <= 0.001);
    CHECK(std::abs(distinct->estimate() / static_cast<double>(exact.size()) - 1) < 0.03);
    // And so many who come once.
    for (std::uint64_t client = 2'000'000; client < 2'790'000; ++client) {
      part.add(use_by(client), at);
      sessions.add(client, at);
      distinct->add(client);
      if (client % 5000 != 0) continue;
      for (UsageTally* const sum : {&minute, &hour, &day}) sum->add(part);
      part = UsageTally(1024);
      const auto now = mallinfo2().uordblks;
      most = std::max(most, now > before ? now - before : 0);
    }
    const double all = static_cast<double>(exact.size()) + 790'000;
    CHECK(std::abs(distinct->estimate() / all - 1) < 0.03);
    CHECK(sessions.known() == 100'000);
    MESSAGE(all << " clients: at most " << most / 1024 << " KiB");
    CHECK(most < 16U << 20);
  }
}

TEST_CASE("a session lasts until its client has been silent for longer than the gap") {
  std::vector<Sessions::Session> ended;
  Sessions sessions(10, 1800, [&](const Sessions::Session& session) { ended.push_back(session); });
  sessions.add(7, 10'000);
  sessions.add(7, 10'900);
  sessions.add(7, 12'700);  // 1800 s later: it goes on
  CHECK(sessions.begun() == 1);
  sessions.advance(14'500);
  CHECK(ended.empty());
  sessions.advance(14'501);
  REQUIRE(ended.size() == 1);
  CHECK(ended[0].begun == 10'000);
  CHECK(ended[0].last == 12'700);
  CHECK(ended[0].requests == 3);
  CHECK(sessions.newcomers() == 1);
  sessions.add(7, 20'000);
  CHECK(sessions.newcomers() == 1);
  CHECK(sessions.returning() == 1);
  CHECK(sessions.open(9).size() == 1);
  CHECK(sessions.open(9)[0].requests == 1);
  CHECK(sessions.forget(7));
  CHECK(!sessions.forget(7));
  CHECK(sessions.open(9).empty());
  CHECK(sessions.active(Sessions::Window::now) == 0);
  CHECK(sessions.ended() == sessions.begun());
}

TEST_CASE("active users in each window are those that a count of all clients tells") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Sessions sessions(1000, 1800);
    std::map<std::uint64_t, std::int64_t> last;
    std::int64_t now = 1'000'000;
    for (int i = 0; i < 20'000; ++i) {
      now += static_cast<std::int64_t>(random() % (random() % 50 == 0 ? 1500 : 4));
      if (const std::uint64_t client = random() % 1000; random() % 10 == 0) {
        sessions.forget(client);
        last.erase(client);
      } else {
        sessions.add(client, now);
        last[client] = now;
      }
      sessions.advance(now);
      if (i % 50 != 0) continue;
      constexpr std::array seconds{Sessions::now_seconds, std::int64_t{60},   std::int64_t{300},
                                   std::int64_t{900},     std::int64_t{3600}, std::int64_t{1800}};
      for (std::size_t w = 0; w < seconds.size(); ++w) {
        const auto inside = std::ranges::count_if(
            last, [&](const auto& client) { return client.second + seconds[w] >= now; });
        REQUIRE(sessions.active(static_cast<Sessions::Window>(w)) ==
                static_cast<std::uint64_t>(inside));
      }
      REQUIRE(sessions.begun() - sessions.ended() == sessions.active(Sessions::Window::session));
      REQUIRE(sessions.known() == last.size());
    }
  }
}

TEST_CASE(
    "of more clients than are remembered the longest silent gives way, and its session ends") {
  Sessions sessions(100, 1800);
  for (std::uint64_t client = 1; client <= 1000; ++client) {
    sessions.add(client, 1000 + static_cast<std::int64_t>(client));
    sessions.add(1, 1000 + static_cast<std::int64_t>(client));
  }
  CHECK(sessions.known() == 100);
  CHECK(sessions.gave_way() == 900);
  CHECK(sessions.begun() - sessions.ended() == 100);
  const auto open = sessions.open(1000);
  REQUIRE(open.size() == 100);
  CHECK(open[0].client == 1);
  CHECK(open[0].requests == 1001);
  CHECK(open[99].client == 902);
}

TEST_CASE("a clock that goes back ends no session and loses none") {
  Sessions sessions(10, 1800);
  sessions.add(1, 5000);
  sessions.add(2, 100);
  CHECK(sessions.active(Sessions::Window::now) == 2);
  sessions.advance(200);
  CHECK(sessions.open(9)[0].last == 5000);
  sessions.advance(6801);
  CHECK(sessions.ended() == 2);
}

namespace {

// As a store keeps what is collected.
struct Kept {
  std::map<std::tuple<UsageLevel, UsageKind, std::int64_t, std::string>, UsageRow> rows;
  std::map<std::pair<UsageLevel, std::int64_t>, UsersRow> users;
  std::map<std::pair<std::string, std::int64_t>, SessionRow> sessions;
  void take(UsageRecord& record) {
    UsageRecord::Collected collected = record.collect();
    for (UsageRow& row : collected.rows) {
      const auto place = std::tuple(row.level, row.kind, row.start, row.key);
      if (row.requests == 0)
        rows.erase(place);
      else
        rows[place] = std::move(row);
    }
    for (UsersRow& row : collected.users) users[{row.level, row.start}] = row;
    for (SessionRow& row : collected.sessions) sessions[{row.client, row.begun}] = std::move(row);
  }
};

}  // namespace

TEST_CASE("what a store has been told adds up on each level, whenever it was collected") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    std::int64_t now = 1'700'000'000 - 5000;
    UsageRecord record({.clients_max = 50, .session_gap = 60, .top_clients = 3}, names, now);
    Kept kept;
    Sum told;
    for (int i = 0; i < 8'000; ++i) {
      if (random() % 3 == 0) now += static_cast<std::int64_t>(random() % 12) - 1;
      record.advance(now);
      const Use use = use_by(1 + random() % (i < 4000 ? 5 : 400), static_cast<End>(random() % 4));
      UsageTally one(1);
      one.add(use, now);
      told.add(one.all());
      record.add(use);
      if (random() % 20 == 0) kept.take(record);
    }
    kept.take(record);
    CHECK(record.is_collected());
    std::map<std::pair<UsageLevel, UsageKind>, Sum> sums;
    std::size_t clients_most = 0;
    std::map<std::int64_t, std::size_t> clients;
    for (const auto& [place, row] : kept.rows) {
      sums[{row.level, row.kind}].add(row);
      if (row.kind == UsageKind::client && row.level == UsageLevel::hour)
        clients_most = std::max(clients_most, ++clients[row.start]);
    }
    REQUIRE(sums.size() == 3 * 6 + 1);
    for (const auto& [kind, sum] : sums) {
      CAPTURE(static_cast<int>(kind.first));
      CAPTURE(word_of(kind.second));
      CHECK(sum == told);
    }
    CHECK(clients_most <= 3 * 3 + 1);
    Sum all;
    all.add(record.total());
    CHECK(all == told);
    std::uint64_t begun = 0, ended = 0;
    for (const auto& [place, row] : kept.users)
      if (place.first == UsageLevel::hour) {
        begun += row.begun;
        ended += row.ended;
        CHECK(row.begun == row.newcomers + row.returning);
      }
    CHECK(begun == record.sessions().begun());
    CHECK(ended == record.sessions().ended());
    const auto whole = std::ranges::count_if(
        kept.sessions, [](const auto& session) { return session.second.has_ended; });
    CHECK(static_cast<std::uint64_t>(whole) + record.sessions_untold() == ended);
  }
}

TEST_CASE("a client that is forgotten is told no more, and what it used is the others'") {
  UsageRecord record({}, names, 1'700'000'000);
  Kept kept;
  for (int i = 0; i < 3; ++i) record.add(use_by(7));
  record.add(use_by(8));
  kept.take(record);
  CHECK(record.forget("c_7"));
  CHECK(!record.forget("c_7"));
  kept.take(record);
  Sum sum;
  for (const auto& [place, row] : kept.rows) {
    CHECK(row.key != "c_7");
    if (row.level == UsageLevel::hour && row.kind == UsageKind::client) sum.add(row);
  }
  CHECK(sum.requests == 4);
  CHECK(record.sessions().active(Sessions::Window::session) == 1);
}

TEST_CASE("the most users at once are told of each hour, and of any time of the last day") {
  const std::int64_t start = 1'700'000'000 / 3600 * 3600;
  UsageRecord record({}, names, start);
  for (std::uint64_t client = 1; client <= 30; ++client) record.add(use_by(client));
  record.advance(start + 5);
  record.advance(start + 600);
  record.add(use_by(1));
  record.advance(start + 601);
  CHECK(record.active().most(start, start + 1) == 30);
  CHECK(record.active().most(start + 600, start + 601) == 1);
  CHECK(record.active().most(start, start + 3600) == 30);
  CHECK(record.active().most(start + 700, start + 3600) == 0);
  record.advance(start + 3600);
  record.add(use_by(2));
  (void)record.collect();
  REQUIRE(record.peaks().size() == 2);
  CHECK(record.peaks()[0] == std::pair<std::int64_t, std::uint64_t>{start, 30});
  CHECK(record.peaks()[1].second == 1);
  CHECK(std::abs(record.distinct_day() - 30) < 1);
  record.advance(start + 30 * 3600);
  CHECK(record.distinct_day() == 0);
}
