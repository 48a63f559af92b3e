// Logs whose lines stand in another order than that in which their requests ended, or twice.

#include "tests/planning/log_kit.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

// `cat access.log*` names the newest first: all of the older log came at one moment, with exit
// status 0.
TEST_CASE("logs in the wrong order are told by the line that lies before the ones before it") {
  Log log;
  for (int i = 0; i < 5; ++i) log.add(20min + i * 1s, 5ms, {});
  for (int i = 0; i < 5; ++i) log.add(i * 1s, 5ms, {});
  auto traffic = open({.file = log.log()});
  all_of(*traffic);
  CHECK(traffic->complaint().starts_with(
      log.path() +
      ": line 6 (2026-11-24T09:30:00Z) lies 20 min 4 s before line 5 "
      "(2026-11-24T09:50:04Z): the lines are not in the order of time; name the files "
      "oldest first"));
  CHECK(traffic->complaint().contains("zcat -f $(ls -tr access.log*)"));

  traffic = open({.file = log.log(), .keeps_bad_lines = true});
  CHECK(all_of(*traffic).size() == 5);
  CHECK(traffic->complaint().empty());
  CHECK(traffic->remarks()[1] == "5 lines that are out of order were left out");
}

TEST_CASE("the same log twice is told as such, however short it is") {
  for (const auto step : {1000ms, 60'000ms * 5}) {
    Log log;
    for (int times = 0; times < 2; ++times)
      for (int i = 0; i < 4; ++i) log.add(i * step, 5ms, {});
    const auto traffic = open({.file = log.log()});
    all_of(*traffic);
    CAPTURE(step.count());
    CHECK(traffic->complaint().contains(": line 5 is line 1 again (2026-11-24T09:30:00Z), "));
    CHECK(traffic->complaint().contains("the same lines are there twice"));
  }
}

TEST_CASE("a span of time that begins again is told as such") {
  Log log;
  for (int i = 0; i < 30; ++i) log.add(i * 1min, 5ms, {});
  for (int i = 10; i < 30; ++i) log.add(i * 1min, 5ms, {});
  const auto traffic = open({.file = log.log()});
  all_of(*traffic);
  CHECK(
      traffic->complaint().contains("line 31 (2026-11-24T09:40:00Z) lies 19 min 0 s before line 30 "
                                    "(2026-11-24T09:59:00Z): a span of time begins again"));
}

TEST_CASE("lines that two programs wrote are told as doubled") {
  Log log;
  for (int i = 0; i < 30; ++i)
    for (int times = 0; times < 2; ++times) log.add(i * 1s, 5ms, {});
  const auto traffic = open({.file = log.log()});
  all_of(*traffic);
  CHECK(traffic->complaint().contains("30 of 60 lines are the same as the line before"));
}

// Several workers write in turns, each what it has in its buffer.
TEST_CASE("what is slightly out of order is put in order") {
  Log log;
  constexpr int workers = 4, of_each = 30;
  for (int round = 0; round < 5; ++round)
    for (int worker = 0; worker < workers; ++worker)
      for (int i = 0; i < of_each; ++i)
        log.add((round * of_each + i) * 4s + worker * 1s, 900ms, {});
  const auto traffic = open({.file = log.log()});
  const std::vector<Wish> wishes = all_of(*traffic);
  REQUIRE(wishes.size() == 5 * workers * of_each);
  for (std::size_t i = 0; i < wishes.size(); ++i)
    CHECK(wishes[i].at == Time{} + 1s * static_cast<int>(i));
  CHECK(traffic->complaint().empty());
  CHECK(traffic->remarks().empty());
}

}  // namespace
}  // namespace classgate::planning
