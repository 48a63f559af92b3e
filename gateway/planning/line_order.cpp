#include "gateway/planning/line_order.h"

#include <chrono>
#include <functional>

#include "conf/format.h"
#include "conf/time_zone.h"

namespace classgate::planning {
namespace {

std::string when(std::int64_t time_ns) {
  return conf::TimeZone().text_of(std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::nanoseconds>(std::chrono::nanoseconds(time_ns))));
}

// "23 h 59 min", "12 min 5 s", "3.2 s"
std::string how_long(Duration time) {
  const auto seconds = time.count() / 1'000'000'000;
  if (seconds >= 86'400) return fmt::format("{} d {} h", seconds / 86'400, seconds % 86'400 / 3600);
  if (seconds >= 3600) return fmt::format("{} h {} min", seconds / 3600, seconds % 3600 / 60);
  if (seconds >= 60) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
  return fmt::format("{:.3g} s", static_cast<double>(time.count()) / 1e9);
}

}  // namespace

Duration LineOrder::add(std::string_view text, std::uint64_t number, std::int64_t time_ns) {
  const Line line{std::hash<std::string_view>{}(text), number, time_ns};
  ++lines_;
  if (line.hash == previous_.hash && line.time_ns == previous_.time_ns) ++doubled_;
  if (first_.number == 0)
    first_ = latest_ = line;
  else if (second_.number == 0)
    second_ = line;
  const Duration behind(latest_.time_ns - time_ns);
  if (why_.empty() && number != first_.number) judge(line, behind);
  if (behind <= Duration::zero()) latest_ = line;
  previous_ = line;
  return behind > Duration::zero() ? behind : Duration::zero();
}

void LineOrder::judge(const Line& line, Duration behind) {
  const bool was_first_again = is_first_again_;
  is_first_again_ = line.hash == first_.hash && line.time_ns == first_.time_ns;
  // Two in a row: one alone may be another request of the same second, a little out of order.
  // However short the log: twice the traffic that there was would be put in order just as well.
  const bool begins_again =
      (was_first_again && line.hash == second_.hash && line.number != second_.number &&
       Duration(latest_.time_ns - previous_.time_ns) > Duration::zero());
  if (begins_again || (is_first_again_ && behind > mended_max)) {
    const Line& again = begins_again ? previous_ : line;
    why_ = fmt::format(
        "line {} is line {} again ({}), {} before line {}: the same lines are there twice; name "
        "each log once",
        again.number, first_.number, when(again.time_ns),
        how_long(Duration(latest_.time_ns - again.time_ns)), latest_.number);
  } else if (behind > mended_max) {
    why_ = fmt::format(
        "line {} ({}) lies {} before line {} ({}): {}; name the files oldest first, each once, "
        "such as: zcat -f $(ls -tr access.log*) | classgate ... --log -",
        line.number, when(line.time_ns), how_long(behind), latest_.number, when(latest_.time_ns),
        line.time_ns < first_.time_ns
            ? "the lines are not in the order of time"
            : "a span of time begins again, as if its lines were there twice");
  }
}

std::string LineOrder::why_doubled() const {
  constexpr std::uint64_t lines_that_tell = 20;
  constexpr std::uint64_t share = 4;  // one in so many
  if (!lines_differ_ || doubled_ < lines_that_tell || doubled_ * share < lines_) return {};
  return fmt::format(
      "{} of {} lines are the same as the line before: there are two of each; take them out with "
      "uniq",
      doubled_, lines_);
}

}  // namespace classgate::planning
