#include "gateway/planning/csv_row.h"

namespace classgate::planning {
namespace {

// A tab is none where it separates.
std::string_view without_blanks(std::string_view text, char separator) {
  const auto is_blank = [separator](char c) {
    return c == ' ' || c == '\r' || (c == '\t' && separator != '\t');
  };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Behind the quote that ends the field which begins with one; npos: none does.
std::size_t behind_quotes(std::string_view text) {
  for (std::size_t at = 1; (at = text.find('"', at)) != std::string_view::npos; at += 2)
    if (at + 1 == text.size() || text[at + 1] != '"') return at + 1;
  return std::string_view::npos;
}

}  // namespace

std::string_view csv_separator_name(char separator) {
  return separator == ',' ? "a comma" : separator == ';' ? "a semicolon" : "a tab";
}

std::expected<CsvRow, std::string> read_csv_row(std::string_view line, char separator) {
  CsvRow row;
  for (std::string_view rest = line;;) {
    const std::size_t begin = rest.find_first_not_of(' ');
    const bool is_quoted = begin != std::string_view::npos && rest[begin] == '"';
    std::size_t searched = 0;
    if (is_quoted) {
      searched = behind_quotes(rest.substr(begin));
      if (searched == std::string_view::npos)
        return std::unexpected(std::string("a quote is not closed on its line"));
      searched += begin;
    }
    const std::size_t end = rest.find(separator, searched);
    std::string_view field = without_blanks(rest.substr(0, end), separator);
    if (is_quoted) {
      if (!without_blanks(rest.substr(0, end).substr(searched), separator).empty())
        return std::unexpected(std::string("something stands behind a closing quote"));
      field = without_blanks(field.substr(1, field.size() - 2), separator);
    } else if (field.contains('"')) {
      return std::unexpected(std::string("a quote stands in the middle of a field"));
    }
    if (row.count < row.fields.size()) row.fields[row.count] = field;
    ++row.count;
    if (end == std::string_view::npos) return row;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace classgate::planning
