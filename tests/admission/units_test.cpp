#include "admission/measure/units.h"

#include <doctest/doctest.h>

namespace classgate::measure {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a duration as a number") {
  CHECK(in_seconds(1500ms) == 1.5);
  CHECK(in_ms(1'234'567ns) == doctest::Approx(1.234567));
  CHECK(in_rounded_ms(1'234'567ns) == 1.235);
  CHECK(in_rounded_ms(1'234'499ns) == 1.234);
  CHECK(in_rounded_ms(-2ms) == -2);
  CHECK(in_rounded_ms(0ns) == 0);
}

}  // namespace
}  // namespace classgate::measure
