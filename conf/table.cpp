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
  if (!std::isfinite(number) || ((number < least || number > most) && number != 0))
    return std::unexpected(fmt::format("{} is out of range: {} to {}", number, least, most));
  return number;
}

std::expected<double, std::string> parse_share(const RawValue& value) {
  auto share = parse_number(value, 0.001, 1);
  if (share && *share == 0) return std::unexpected(std::string("0 is out of range: 0.001 to 1"));
  return share;
}

std::expected<std::uint32_t, std::string> parse_count(const RawValue& value, std::uint32_t least,
                                                      std::uint32_t most) {
  const auto* number = std::get_if<std::int64_t>(&value.value);
  if (number == nullptr)
    return std::unexpected(std::string("expected a whole number without quotes"));
  if (*number < least || *number > most)
    return std::unexpected(fmt::format("{} is out of range: {} to {}", *number, least, most));
  return static_cast<std::uint32_t>(*number);
}

}  // namespace classgate::conf
