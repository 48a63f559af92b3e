#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "proxy/net/handles.h"

namespace classgate::gateway {

// Where the lines of a log go: a file, standard output or error, syslog, or (as it is made)
// nowhere. Keeps nothing back: what is written has been given to the kernel. One thread at a time.
class LogTarget {
 public:
  LogTarget() = default;
  // `place` as in log.access: "stderr", "stdout", "syslog" or a file. The error names the file and
  // what is wrong with it.
  static std::expected<LogTarget, std::string> open(const std::string& place);

  struct Written {
    std::uint64_t lost_lines = 0;
    int error = 0;  // errno, when lines were lost
  };
  // Whole lines, each with its newline; `severity` is for syslog, which never tells what it loses.
  // A line of which only a part could be written is lost, and ended before the next one.
  Written write(std::string_view lines, int severity);
  // A file is opened anew by its name. When that fails, what was open stays open.
  std::expected<void, std::string> reopen();

 private:
  enum class Kind : std::uint8_t { nowhere, standard, file, syslog };
  Written write_to_descriptor(std::string_view lines);

  Kind kind_ = Kind::nowhere;
  std::string path_;
  proxy::net::Fd file_;
  int fd_ = -1;  // the file's, or a standard one, which is not ours to close
  bool is_mid_line_ = false;
};

}  // namespace classgate::gateway
