#include "gateway/planning/log_prefix.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>

#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

// "Nov 24 09:30:00 host haproxy[12]: ", with the priority of syslog before it or not.
std::optional<std::string_view> behind_syslog(std::string_view line) {
  constexpr std::size_t stamp_size = 15;  // "Nov 24 09:30:00"
  constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  Cursor at(line);
  const bool has_priority = at.between('<', '>').has_value();
  const std::string_view stamp = at.rest().substr(0, stamp_size);
  const bool is_short = stamp.size() == stamp_size && stamp[3] == ' ' && stamp[9] == ':' &&
                        stamp[12] == ':' &&
                        std::ranges::find(months, stamp.substr(0, 3)) != months.end();
  if (is_short) {
    at.skip(stamp);
    at.skip(" ");
  } else if (!iso_time_of(at.rest().substr(0, at.rest().find(' ')))) {
    if (has_priority) return at.rest();
    return std::nullopt;
  } else {
    at.word();
  }
  const std::string_view host_or_tag = at.word();
  if (host_or_tag.ends_with(':')) return at.rest();
  if (!at.word().ends_with(':')) return std::nullopt;
  return at.rest();
}

std::optional<std::string_view> behind_cri(std::string_view line) {
  Cursor at(line);
  if (!iso_time_of(at.word())) return std::nullopt;
  const std::string_view stream = at.word();
  if ((stream != "stdout" && stream != "stderr") || (!at.skip("F ") && !at.skip("P ")))
    return std::nullopt;
  return at.rest();
}

}  // namespace

std::string_view LogPrefix::strip(std::string_view line) {
  if (line.starts_with(R"({"log":")")) {
    // Its own parser knows all escapes; `line` is the whole of one object.
    const auto wrapped = nlohmann::json::parse(line, nullptr, false);
    if (!wrapped.is_object() || !wrapped["log"].is_string()) return line;
    unescaped_ = wrapped["log"].get<std::string>();
    while (unescaped_.ends_with('\n') || unescaped_.ends_with('\r')) unescaped_.pop_back();
    return unescaped_;
  }
  // None of the logs begins so; a line of our own begins with "time=" or "{".
  if (line.empty() || line.front() == 't' || line.front() == '{' || line.front() == '[')
    return line;
  if (const auto rest = behind_cri(line)) return *rest;
  if (const auto rest = behind_syslog(line)) return *rest;
  return line;
}

}  // namespace classgate::planning
