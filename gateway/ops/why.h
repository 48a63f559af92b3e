#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/decision_ring.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// What is kept of the requests with this id, as JSON: each decision with what it rested on, the
// newest first; and which conf is in force now, and where the access log is, for who looks on.
std::string why(std::string_view id, const Decisions& decisions, const Policy& policy);

// The same for a terminal. Throws nlohmann::json::exception when it is none.
std::string why_page(std::string_view why_json);

// What a log has of an id.
struct LogLines {
  std::vector<std::string> lines;  // the newest of them, the newest last
  std::uint64_t more = 0;          // older ones
  std::string trouble;             // which file could not be read, and why; empty: all could
};

// The lines whose field "id" is this one, of the file that is written and the one before it (".1");
// at most `most` of them, each of line_max bytes at most. Only regular files are opened: what reads
// from a FIFO takes it from its reader. May wait for the disk.
LogLines lines_of_id(const std::string& log, std::string_view id, std::size_t most);

}  // namespace classgate::gateway
