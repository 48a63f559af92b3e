#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "conf/usage_options.h"

namespace classgate::conf::test {
namespace {

using Given = std::vector<std::pair<std::string, std::string>>;

std::expected<UsageOptions, std::string> read(const Given& given) {
  GivenOptions options;
  for (const auto& [name, value] : given) options.add(name, value);
  return read_usage(options);
}

constexpr std::int64_t now = 1'764'412'200;  // 2025-11-29T10:30:00Z

std::int64_t time_of(const std::string& text, const TimeZone& zone = {}) {
  const auto read = read_usage_time(text);
  REQUIRE_MESSAGE(read, text);
  return read->at(now, zone);
}

TEST_CASE("a time is so long ago, or a date, by the clock of a place") {
  CHECK(time_of("90s") == now - 90);
  CHECK(time_of("24h") == now - 86'400);
  CHECK(time_of("2w") == now - 14 * 86'400);
  CHECK(time_of("1y") == now - 365 * 86'400);
  CHECK(time_of("0s") == now);
  CHECK(time_of("2025-11-29") == now - 10 * 3600 - 1800);
  CHECK(time_of("2025-11-29 10:30") == now);
  CHECK(time_of("2025-11-29T10:29:59") == now - 1);
  const auto berlin = TimeZone::load("Europe/Berlin");
  REQUIRE(berlin);
  CHECK(time_of("2025-11-29 11:30", **berlin) == now);
  CHECK(time_of("2025-07-01 12:00", **berlin) == time_of("2025-07-01 10:00"));
  CHECK(time_of("24h", **berlin) == now - 86'400);
  for (const char* const odd :
       {"", "h", "24", "24 h", "-1h", "1.5h", "1M", "101y", "99999999999s", "2025-11", "2025-13-01",
        "2025-02-29", "2025-11-29 24:00", "2025-11-29 10:60", "2025-11-29 10:30:60",
        "2025-11-29 10:30Z", "1969-12-31", "yesterday"})
    CHECK_FALSE_MESSAGE(read_usage_time(odd), odd);
}

TEST_CASE("what usage is asked is read, and each mistake names its option") {
  const auto plain = read({});
  REQUIRE(plain);
  CHECK(plain->by == "client");
  CHECK(plain->since.at(now, {}) == now - 86'400);
  CHECK(plain->until.at(now, {}) == now);
  CHECK(plain->top == 20);
  const auto all = read({{"by", "route"}, {"top", "5"}, {"order", "refused"}, {"csv", ""}});
  REQUIRE(all);
  CHECK(all->by == "route");
  CHECK(all->order == "refused");
  CHECK(all->form == UsageOptions::Form::csv);
  CHECK(read({{"client", "c_1"}})->question == UsageOptions::Question::client);
  CHECK(read({{"client", "c_1"}, {"sessions", ""}})->question == UsageOptions::Question::sessions);
  for (const auto& [given, mistake] : std::vector<std::pair<Given, std::string>>{
           {{{"by", "weather"}}, "--by: \"weather\" is none of client, plan, route"},
           {{{"order", "name"}}, "--order: \"name\" is none of requests, cost and refused"},
           {{{"top", "many"}}, "--top: \"many\" is not 1 to 100000"},
           {{{"top", "0"}}, "--top: \"0\""},
           {{{"since", "often"}}, "--since: \"often\" is neither a time ago"},
           {{{"until", ""}}, "--until: \"\""},
           {{{"client", ""}}, "--client: give the client"},
           {{{"client", "c_1"}, {"by", "plan"}},
            "--by belongs to the table of all: not with --client"},
           {{{"sessions", ""}, {"order", "cost"}}, "not with --sessions"},
           {{{"by", "reason"}, {"order", "cost"}}, "--order"},
           {{{"csv", ""}, {"json", "-"}}, "two forms"},
           {{{"json", "x.json"}}, "--json goes to standard output"},
           {{{"since", "1h"}, {"since", "2h"}}, "--since is given twice"}}) {
    const auto wrong = read(given);
    REQUIRE_FALSE(wrong);
    CHECK_MESSAGE(wrong.error().contains(mistake), wrong.error());
  }
}

}  // namespace
}  // namespace classgate::conf::test
