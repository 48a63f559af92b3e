#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/net/handles.h"

namespace classgate::gateway {

// How long a writer may wait for a pipe, a terminal or a socket that is full: so long for each
// write, and once the process ends so long for all that are left.
class WriteTime {
 public:
  using Clock = std::chrono::steady_clock;
  // The writer's thread: a write begins.
  void begin() { write_ends_ = Clock::now() + each; }
  // Of this write; zero when it is over.
  std::chrono::milliseconds left() const {
    const auto end = std::min(write_ends_, Clock::time_point(Clock::duration(all_end_.load())));
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    return std::max(rest, std::chrono::milliseconds(0));
  }
  // Any thread.
  void end_soon() { all_end_ = (Clock::now() + all).time_since_epoch().count(); }

  static constexpr std::chrono::seconds each{5};
  static constexpr std::chrono::seconds all{1};

 private:
  Clock::time_point write_ends_{};
  std::atomic<Clock::rep> all_end_{Clock::time_point::max().time_since_epoch().count()};
};

// Where the lines of a log go: a file, standard output or error, syslog, or (as it is made)
// nowhere. Keeps nothing back: what is written has been given to the kernel. Opening never waits
// for a reader, and writing for no longer than its time. One thread at a time.
class LogTarget {
 public:
  LogTarget() = default;
  // `place` as in log.access: "stderr", "stdout", "syslog" or a file. The error names the file and
  // what is wrong with it; a FIFO that nobody reads can't be opened.
  static std::expected<LogTarget, std::string> open(const std::string& place);

  struct Written {
    std::uint64_t lost_lines = 0;
    int error = 0;  // errno, when lines were lost
  };
  // Whole lines, each with its newline; `severity` is for syslog, which never tells what it loses.
  // A line of which only a part could be written is lost, and ended before the next one.
  Written write(std::string_view lines, int severity, WriteTime& time);
  // It is wanted. Otherwise a file that was made for it, and is still empty, goes with it.
  void keep() { delete fresh_.release(); }
  // A file is opened anew by its name. When that fails, what was open stays open.
  std::expected<void, std::string> reopen();

 private:
  enum class Kind : std::uint8_t { nowhere, standard, file, syslog };
  void look_at_descriptor();
  Written write_to_descriptor(std::string_view lines, const WriteTime& time);

  Kind kind_ = Kind::nowhere;
  std::string path_;
  proxy::net::Fd file_;
  int fd_ = -1;             // the file's, or a standard one, which is not ours to close
  bool may_block_ = false;  // a write, when it is full: it is asked before each
  bool is_mid_line_ = false;
  struct Remove {
    void operator()(std::string* path) const;
  };
  std::unique_ptr<std::string, Remove> fresh_;  // its path, when the file was not there before
};

// Writes as much as fits at once, for when there is no log. Any thread.
void write_what_fits(int fd, std::string_view text);

}  // namespace classgate::gateway
