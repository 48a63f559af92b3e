#pragma once

#include <array>
#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

namespace classgate::planning {

// A row of a CSV file: its first fields, without blanks and quotes around them, and how many it
// has. The views are into the line.
struct CsvRow {
  std::array<std::string_view, 32> fields{};
  std::size_t count = 0;
};

inline constexpr std::array csv_separators{'\t', ';', ','};
std::string_view csv_separator_name(char separator);  // "a comma"

// Fields between separators, or in quotes (RFC 4180); a quoted field ends on the line on which it
// begins. The error says what is wrong with the line.
std::expected<CsvRow, std::string> read_csv_row(std::string_view line, char separator);

// "12,5" and "1,234" say different things in different countries: what is to be said to them.
inline constexpr std::string_view no_comma_in_numbers =
    "a number is written with a point (12.5) and without commas";

}  // namespace classgate::planning
