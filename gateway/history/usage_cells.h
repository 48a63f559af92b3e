#pragma once

// How single values of a usage report are written, in a table or a CSV file.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admission/history/quantile_sketch.h"
#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::gateway {

// Milliseconds; none where nobody waited.
inline std::optional<double> milliseconds_at(const history::QuantileSketch& sketch, double q) {
  if (sketch.count() == 0) return std::nullopt;
  return sketch.quantile(q) / 1000;
}

inline std::string milliseconds_cell(const history::QuantileSketch& sketch, double q) {
  const auto value = milliseconds_at(sketch, q);
  if (!value) return "-";
  return fmt::format("{:.{}f}", *value, *value < 9.95 ? 2 : *value < 99.5 ? 1 : 0);
}

// Three digits of it: "834 B", "1.27 MiB".
inline std::string bytes_cell(std::uint64_t bytes) {
  constexpr std::array units{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < units.size(); ++unit) value /= 1024;
  const int digits = unit == 0 || value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, units[unit]);
}

// "3h 05m", "41m", "12s".
inline std::string length_cell(std::int64_t seconds) {
  if (seconds >= 3600) return fmt::format("{}h {:02}m", seconds / 3600, seconds / 60 % 60);
  if (seconds >= 60) return fmt::format("{}m", seconds / 60);
  return fmt::format("{}s", std::max<std::int64_t>(seconds, 0));
}

inline std::string csv_cell(std::string_view text) {
  std::string cell = conf::printable(text);
  // What a spreadsheet would compute (OWASP, "CSV Injection").
  if (!cell.empty() && std::string_view("=+-@").contains(cell.front())) cell.insert(0, 1, '\'');
  if (cell.find_first_of(",\"") == std::string::npos) return cell;
  for (std::size_t at = cell.find('"'); at != std::string::npos; at = cell.find('"', at + 2))
    cell.insert(at, 1, '"');
  return '"' + cell + '"';
}

// Lines of cells with a head, in columns: the first is written from the left, the others from the
// right. Cells are printable text already.
class CellTable {
 public:
  explicit CellTable(std::vector<std::string> head) { add(std::move(head)); }
  void add(std::vector<std::string> cells) { lines_.push_back(std::move(cells)); }
  std::string text() const {
    std::vector<std::size_t> widths(lines_.front().size());
    for (const auto& line : lines_)
      for (std::size_t i = 0; i < line.size() && i < widths.size(); ++i)
        widths[i] = std::max(widths[i], width_of(line[i]));
    std::string text;
    for (const auto& line : lines_) {
      std::string row;
      for (std::size_t i = 0; i < line.size() && i < widths.size(); ++i) {
        const std::string room(widths[i] - width_of(line[i]), ' ');
        row += (i == 0 ? "" : "  ") + (i == 0 ? line[i] + room : room + line[i]);
      }
      text += row.substr(0, row.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

 private:
  // In characters: those that continue one (RFC 3629) have no width.
  static std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
  }
  std::vector<std::vector<std::string>> lines_;
};

}  // namespace classgate::gateway
