#include "gateway/planning/growth.h"

#include <doctest/doctest.h>

namespace classgate::planning {
namespace {

Growth growth_of(const std::string& text) {
  const auto growth = parse_growth(text);
  REQUIRE(growth.has_value());
  return *growth;
}

TEST_CASE("growth is so much more in each period than in the one before") {
  const Growth growth = growth_of("10%/week,3");
  CHECK(growth.variation().key == "traffic.times");
  CHECK(growth.variation().values == std::vector<std::string>{"1", "1.1", "1.21", "1.331"});
  CHECK(growth_of("7.5%/month").periods == 12);
  CHECK(growth_of("-50%/day,1").variation().values.back() == "0.5");
}

TEST_CASE("what is no growth is refused with an example") {
  for (const char* text :
       {"", "10", "10%", "10/week", "10%/fortnight", "10%/week,", "10%/week,0", "10%/week,121",
        "nan%/week", "inf%/week", "10%/week,3x", "-100%/day", "300%/year,40"})
    CHECK_FALSE(parse_growth(text).has_value());
}

TEST_CASE("the first period in which less than 99 % is served is told") {
  const Growth growth = growth_of("10%/week,3");
  CHECK(when_too_much(growth, {1, 1, .98, .9}).first_too_much == 2);
  CHECK(when_too_much(growth, {1, 1, .98, .9}).text.contains("from week 2 on"));
  CHECK(when_too_much(growth, {1, 1, 1, .99}).first_too_much == -1);
  CHECK(when_too_much(growth, {.5, 1, 1, 1}).first_too_much == 0);
}

}  // namespace
}  // namespace classgate::planning
