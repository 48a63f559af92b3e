#pragma once

#include <string>
#include <string_view>

namespace classgate::gateway {

// Where what outlives the process is kept: `state_dir` of the conf, or what systemd names in
// STATE_DIRECTORY (`given`, of which the first counts; empty: nothing), or /var/lib/classgate.
inline std::string state_folder_of(const std::string& state_dir, std::string_view given) {
  if (state_dir != "auto") return state_dir;
  return given.empty() ? "/var/lib/classgate" : std::string(given.substr(0, given.find(':')));
}

}  // namespace classgate::gateway
