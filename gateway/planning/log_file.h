#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "proxy/net/handles.h"

namespace classgate::planning {

// A log as it was when it was opened. It is read several times (once to learn what the service
// takes, then once under each conf): all readers see the same bytes, each at a place of its own,
// though the file grows or is rotated meanwhile. What can be read only once, such as a pipe, is
// copied first. Threads may share it.
class LogFile {
 public:
  // Of what is copied; more is an error that says so.
  struct Bounds {
    std::uint64_t bytes_max = 64ULL << 30;
    std::uint64_t left_free = 1ULL << 30;  // bytes, for others who need that file system
  };

  // "-" is standard input. What is no file (a pipe, a FIFO, a socket) is copied into one without a
  // name, in $TMPDIR or /var/tmp.
  static std::expected<std::shared_ptr<const LogFile>, std::string> open(const std::string& path,
                                                                         const Bounds& bounds);
  static std::expected<std::shared_ptr<const LogFile>, std::string> open(const std::string& path) {
    return open(path, Bounds());
  }

  // As many as there are, up to the size of `into`: none at the end.
  std::expected<std::size_t, std::string> read_at(std::uint64_t at, std::span<char> into) const;
  std::uint64_t size() const { return size_; }
  const std::string& name() const { return name_; }  // for messages

 private:
  LogFile(std::string name, proxy::net::Fd fd) : name_(std::move(name)), fd_(std::move(fd)) {}
  std::expected<void, std::string> copy(const Bounds& bounds);

  std::string name_;
  proxy::net::Fd fd_;
  std::uint64_t begin_ = 0;  // of standard input, where somebody has begun to read
  std::uint64_t size_ = 0;
};

}  // namespace classgate::planning
