#include "conf/table.h"

#include <cmath>
#include <cstdint>

#include "conf/format.h"

namespace classgate::conf {
std::expected<double, std::string> parse_number(const RawValue& value, double least, double most) {
  double number = -1;
  if (const auto* integer = std::get_if<std::int64_t>(&value.value))
    number = static_cast<double>(*integer);
  else if (const auto* real = std::get_if<double>(&value.value))
    number = *real;
  else
    return std::unexpected(std::string("expected a number without quotes"));
  // Also -0: it would be shown as such.
  if (!std::isfinite(number) || std::signbit(number) ||
      ((number < least || number > most) && number != 0))
    return std::unexpected(fmt::format("{} is out of range: {} to {}", number, least, most));
  return number;
}

std::expected<double, std::string> parse_share(const RawValue& value) {
  auto share = parse_number(value, 0.001, 1);
  if (share && *share == 0) return std::unexpected(std::string("0 is out of range: 0.001 to 1"));
  return share;
}

std::expected<std::int64_t, std::string> parse_whole_number(const RawValue& value,
                                                            std::int64_t least, std::int64_t most) {
  // One that an integer cannot hold (it is too large, or -0), or as 1e9, which is whole.
  const auto* const real = std::get_if<double>(&value.value);
  const auto is_outside = [&](double number) {
    return number < static_cast<double>(least) || number > static_cast<double>(most);
  };
  if (real != nullptr && (std::abs(*real) >= 0x1p63 || (*real == 0 && std::signbit(*real)) ||
                          (*real == std::trunc(*real) && is_outside(*real))))
    return std::unexpected(fmt::format("{:.0f} is out of range: {} to {}", *real, least, most));
  const auto* const number = std::get_if<std::int64_t>(&value.value);
  if (number == nullptr)
    return std::unexpected(std::string("expected a whole number without quotes"));
  if (*number < least || *number > most)
    return std::unexpected(fmt::format("{} is out of range: {} to {}", *number, least, most));
  return *number;
}

std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most) {
  const auto number = parse_whole_number(value, least, most);
  if (!number) return std::unexpected(number.error());
  return static_cast<std::uint32_t>(*number);
}

}  // namespace classgate::conf
