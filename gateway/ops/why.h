#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/decision_ring.h"
#include "gateway/policy.h"

namespace classgate::gateway {

// What is kept of the requests with this id, as JSON: each decision with what it rested on, the
// newest first; and which conf is in force now, and where the access log is, for who looks on.
std::string why(std::string_view id, const std::vector<Decision>& decisions, const Policy& policy,
                admission::Time now);

// The same for a terminal. Throws nlohmann::json::exception when it is none.
std::string why_page(std::string_view why_json);

// The lines that a log has of this id, of the file that is written and the one before it (".1"),
// the newest last; at most `most` of them. May wait for the disk.
std::vector<std::string> lines_of_id(const std::string& log, std::string_view id, std::size_t most);

}  // namespace classgate::gateway
