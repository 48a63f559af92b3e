#include "gateway/planning/log_format.h"

#include <algorithm>
#include <array>
#include <vector>

#include "conf/format.h"
#include "conf/nearest.h"
#include "gateway/planning/access_reader.h"
#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/line_file.h"
#include "gateway/planning/log_fields.h"
#include "gateway/planning/log_prefix.h"

namespace classgate::planning {
namespace {

constexpr std::size_t judged_by = 500;  // lines
constexpr std::size_t bytes_judged = 8ULL << 20;

// In the order in which they are tried: JSON lines of well-known names fit several.
constexpr std::array formats{
    LogFormat{"classgate",
              []() -> std::unique_ptr<LineReader> { return std::make_unique<AccessReader>(); }, "",
              true},
    LogFormat{"nginx", nginx_reader,
              "combined does not: put request_time=$request_time "
              "upstream_response_time=\"$upstream_response_time\" behind it (classgate(8) has the "
              "whole log_format)"},
    LogFormat{"haproxy", haproxy_reader, ""},
    LogFormat{"envoy", envoy_reader, ""},
    LogFormat{"caddy", caddy_reader, ""},
    LogFormat{"json", json_reader,
              "it is read from upstream_ms, service_ms, upstream_service_time (milliseconds) or "
              "upstream_response_time (seconds), else from total_ms, duration_ms or request_time"},
};

std::string names_of_formats() {
  std::string names;
  for (const LogFormat& format : formats)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", format.name);
  return names;
}

}  // namespace

std::expected<const LogFormat*, std::string> format_of(const std::string& name,
                                                       const std::shared_ptr<const LogFile>& file) {
  if (!name.empty()) {
    const auto found = std::ranges::find(formats, name, &LogFormat::name);
    if (found != formats.end()) return &*found;
    return std::unexpected(
        fmt::format("--format: \"{}\" is none of {}", shown(name), names_of_formats()));
  }
  auto lines = LineFile::open(file);
  if (!lines) return std::unexpected(lines.error());
  struct Candidate {
    const LogFormat* format;
    std::unique_ptr<LineReader> reader;
    std::size_t read = 0;
  };
  std::vector<Candidate> candidates;
  for (const LogFormat& format : formats) candidates.push_back({&format, format.make()});
  LogPrefix prefix;
  std::string first;
  std::size_t seen = 0;
  for (std::string_view line;
       seen < judged_by && lines->unpacked() < bytes_judged && lines->next(line);) {
    if (line.empty()) continue;
    ++seen;
    if (first.empty()) first = shown(line);
    line = prefix.strip(line);
    for (Candidate& candidate : candidates) {
      if (!candidate.reader->read(line)) continue;
      ++candidate.read;
      break;
    }
  }
  const auto best = std::ranges::max_element(candidates, {}, &Candidate::read);
  if (best->read > 0) return best->format;
  if (!lines->error().empty()) return std::unexpected(file->name() + ": " + lines->error());
  if (seen == 0) return std::unexpected(file->name() + ": is empty: there is no traffic in it");
  return std::unexpected(fmt::format(
      "{}:1: none of its first {} lines is of a format that is known ({}): {} (--format says which "
      "it is, and then what is wrong with its lines)",
      file->name(), seen, names_of_formats(), first));
}

}  // namespace classgate::planning
