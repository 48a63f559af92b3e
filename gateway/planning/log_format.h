#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/planning/access_entry.h"
#include "gateway/planning/log_file.h"

namespace classgate::planning {

// Whose log it is.
struct LogFormat {
  std::string_view name;  // of --format
  std::unique_ptr<LineReader> (*make)();
  // What a log of it needs to tell how long the service took; empty: it does.
  std::string_view for_service_times;
  bool is_ours = false;
};

// By its name, or, without one, by its first lines: most of them can be read. Errors say which
// formats there are, or what was wrong with the first line.
std::expected<const LogFormat*, std::string> format_of(const std::string& name,
                                                       const std::shared_ptr<const LogFile>& file);

}  // namespace classgate::planning
