#include "gateway/planning/growth.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::planning {
namespace {

constexpr double served_enough = 0.99;
constexpr unsigned periods_max = 120;
constexpr double times_max = 1'000;
constexpr std::array<std::string_view, 4> growth_periods{"day", "week", "month", "year"};

std::unexpected<std::string> no_growth(const std::string& text) {
  return std::unexpected(
      fmt::format("--growth: \"{}\" is no growth such as 10%/week, or 10%/week,26 for 26 weeks (a "
                  "day, week, month or year; up to {} of them)",
                  conf::printable(text), periods_max));
}

}  // namespace

double Growth::times_after(unsigned so_many) const {
  return std::pow(1 + percent / 100, static_cast<double>(so_many));
}

Variation Growth::variation() const {
  Variation variation{.key = "traffic.times", .values = {}};
  for (unsigned i = 0; i <= periods; ++i)
    variation.values.push_back(fmt::format("{:.4g}", times_after(i)));
  return variation;
}

std::expected<Growth, std::string> parse_growth(const std::string& text) {
  Growth growth;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, growth.percent);
  if (error != std::errc{} || !std::isfinite(growth.percent)) return no_growth(text);
  std::string_view rest(stop, static_cast<std::size_t>(end - stop));
  if (!rest.starts_with("%/")) return no_growth(text);
  rest.remove_prefix(2);
  const std::size_t comma = rest.find(',');
  growth.period = rest.substr(0, comma);
  if (std::ranges::find(growth_periods, growth.period) == growth_periods.end())
    return no_growth(text);
  if (comma != std::string_view::npos) {
    const char* const number = rest.data() + comma + 1;
    const auto [after, why] = std::from_chars(number, end, growth.periods);
    if (why != std::errc{} || after != end || growth.periods == 0 || growth.periods > periods_max)
      return no_growth(text);
  }
  if (growth.percent <= -100 || growth.times_after(growth.periods) > times_max)
    return std::unexpected(fmt::format(
        "--growth {}: from nothing to {} times the traffic can be asked for, and this is {:.4g} "
        "times",
        conf::printable(text), times_max, growth.times_after(growth.periods)));
  return growth;
}

GrowthFound when_too_much(const Growth& growth, const std::vector<double>& served) {
  const auto first =
      std::ranges::find_if(served, [](double share) { return share < served_enough; });
  const std::string grows =
      fmt::format("As the traffic {} by {:.4g} % a {}", growth.percent < 0 ? "shrinks" : "grows",
                  std::abs(growth.percent), growth.period);
  if (first == served.end())
    return {fmt::format("{}, 99 % or more of it is served in all {} {}s", grows, growth.periods,
                        growth.period)};
  const auto after = static_cast<unsigned>(first - served.begin());
  if (after == 0)
    return {fmt::format("Less than 99 % is served now already ({:.4g} %)", 100 * *first), 0};
  return {
      fmt::format("{}, less than 99 % of it is served from {} {} on: {:.4g} % of {:.4g} times as "
                  "much",
                  grows, growth.period, after, 100 * *first, growth.times_after(after)),
      static_cast<int>(after)};
}

}  // namespace classgate::planning
