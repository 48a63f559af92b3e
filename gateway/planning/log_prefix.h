#pragma once

#include <string>
#include <string_view>

namespace classgate::planning {

// What those who carry logs put around a line: syslog and `journalctl` (-o short, short-iso), the
// json-file of docker ({"log":"...\n","stream":...}), and CRI, as kubernetes has it
// ("2026-11-24T09:30:00.1Z stdout F ").
class LogPrefix {
 public:
  // The line without it. The view lasts until the next call, or as long as the line.
  std::string_view strip(std::string_view line);

 private:
  std::string unescaped_;
};

}  // namespace classgate::planning
