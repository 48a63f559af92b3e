#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace classgate::gateway {

// What an operator sees in a terminal of this width, from what /queue/health says (JSON), now and
// `seconds` before. Throws nlohmann::json::exception when it is none.
struct StatusSample {
  std::string_view before;
  std::string_view now;
  double seconds;
};
std::string status_page(const StatusSample& sample, std::size_t width, bool with_colour);
// How long that is, in its two largest units: "3d 4h", "12s".
std::string duration_text(std::uint64_t seconds);
// The same for the list of waiting requests (GET /queue on the control socket).
std::string queue_page(std::string_view queue_json, std::size_t width);

}  // namespace classgate::gateway
