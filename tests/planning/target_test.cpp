#include "gateway/planning/target.h"

#include <doctest/doctest.h>

#include "conf/format.h"

namespace classgate::planning {
namespace {

using What = Target::What;

Target good(const std::string& text) {
  const auto target = parse_target(text);
  if (!target) FAIL(target.error());
  return *target;
}

TEST_CASE("a target says what is measured, how much of it, and of whom") {
  const Target wait = good("wait p95 <= 100ms for priority 3");
  CHECK(wait.what == What::wait);
  CHECK(wait.share == 0.95);
  CHECK(wait.most == 100);
  CHECK(wait.priority == 3);
  CHECK_FALSE(wait.is_of_all());
  CHECK(good("answer mean≤2 s").most == 2000);
  CHECK(good("latency <= 5ms").share == 0.95);
  CHECK(good("refused<=1.5%").most == doctest::Approx(0.015));
  CHECK(good("refused <= 1 %").is_of_all());
  CHECK(good("served >= 90%").most == doctest::Approx(0.1));
  CHECK(good("served ≥ 90%").print(0.1) == "90.00 %");
  const Target named = good("left <= 0% for class night  jobs");
  CHECK(named.group_kind == "class");
  CHECK(named.group == "night jobs");
  CHECK(good("failed <= 1% for route /a").group == "/a");
}

TEST_CASE("what is wrong with a target is told with its column") {
  struct Row {
    const char* text;
    int column;
    std::string why;
  };
  for (const Row& row : {
           Row{"", 1, "\"\" is nothing that is measured"},
           Row{"weight <= 1s", 1, "\"weight\" is nothing that is measured"},
           Row{"wait p90 <= 1s", 6, "\"p90\" is not mean, p50, p95, p99 or max"},
           Row{"wait p95 100ms", 10, "has no <=, but \"100ms\""},
           Row{"wait p95", 9, "has no <="},
           Row{"wait p95 >= 1s", 10, "has no <=, but \">=\""},
           Row{"served <= 90%", 8, "has no >=, but \"<=\""},
           Row{"refused <= 1x%", 12, "has no share in %, 0 to 100: \"1x%\""},
           Row{"refused <= nan%", 12, "has no share in %"},
           Row{"refused <= -nan%", 12, "has no share in %"},
           Row{"refused <= inf%", 12, "has no share in %"},
           Row{"refused <= 101%", 12, "has no share in %"},
           Row{"refused <= -1%", 12, "has no share in %"},
           Row{"refused <= %", 12, "has no share in %"},
           Row{"refused <= 1", 12, "has no share in %"},
           Row{"refused <= 0x1%", 12, "has no share in %"},
           Row{"refused ≤ 1x%", 11, "has no share in %"},
           Row{"wait p95 <= nan", 13, "has no time: \"nan\""},
           Row{"wait p95 <= -1ms", 13, "has no time"},
           Row{"wait p95 <= exponential 1s", 13, "has no time"},
           Row{"wait p95 <=", 12, "has no time"},
           Row{"refused <= 1% of all", 15, "goes on with \"of\" instead of \"for\""},
           Row{"refused <= 1% for", 18, "is for neither priority, class nor route"},
           Row{"refused <= 1% for all", 19, "is for neither priority, class nor route"},
           Row{"refused <= 1% for priority 6", 28, "has no priority 1 to 5"},
           Row{"refused <= 1% for priority 33", 28, "has no priority 1 to 5"},
           Row{"refused <= 1% for priority 3 and 4", 30, "goes on after its end"},
           Row{"refused <= 1% for class", 24, "names no class"},
       }) {
    CAPTURE(row.text);
    const auto target = parse_target(row.text);
    REQUIRE_FALSE(target);
    CHECK_MESSAGE(target.error().starts_with(
                      fmt::format("--plan \"{}\", column {}: {}", row.text, row.column, row.why)),
                  target.error());
  }
}

// It passed: an empty class waits for nothing, and is never refused.
TEST_CASE("without samples no target is met") {
  Result result;
  for (const char* text : {"wait p95 <= 10s", "answer max <= 10s", "served >= 0%",
                           "refused <= 100%", "failed <= 100%", "left <= 100%"})
    CHECK_MESSAGE(good(text).measure(result) > good(text).most, text);
  // Of those that came none was let in: nobody waited, and nobody is known to wait for little.
  simulation::Wish wish;
  wish.priority = 3;
  result.tally.arrived(wish, Time{});
  result.tally.ended(
      wish, {.kind = simulation::Ending::Kind::rejected, .reason = conf::Reason::queue_full},
      Time{});
  CHECK(good("wait p95 <= 10s").measure(result) > 10'000);
  CHECK(good("answer max <= 10s").measure(result) > 10'000);
  CHECK(good("refused <= 100%").measure(result) == 1);
  CHECK(good("served >= 0%").measure(result) == 1);
  CHECK(good("refused <= 100% for priority 2").measure(result) > 1);
  CHECK(good("wait p95 <= 10s")
            .print(good("wait p95 <= 10s").measure(result))
            .starts_with("unknown"));
}

TEST_CASE("what the service broke off itself is not counted as not served") {
  Result result;
  simulation::Wish wish;
  wish.priority = 3;
  const auto end = [&](const simulation::Ending& ending) {
    result.tally.arrived(wish, Time{});
    result.tally.ended(wish, ending, Time{});
  };
  using Kind = simulation::Ending::Kind;
  for (int i = 0; i < 3; ++i) end({.kind = Kind::served});
  end({.kind = Kind::abandoned});
  for (int i = 0; i < 4; ++i) end({.kind = Kind::failed, .reason = conf::Reason::upstream_broken});
  CHECK(good("served >= 75%").measure(result) == doctest::Approx(0.25));
}

}  // namespace
}  // namespace classgate::planning
