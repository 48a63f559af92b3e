#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/planning/log_file.h"
#include "gateway/planning/unpacked.h"

namespace classgate::planning {

// A log read line by line, however large, and packed or not. A view lasts until the next line. What
// is longer than line_max comes in pieces. A byte order mark and carriage returns at ends of lines
// are left out.
class LineFile {
 public:
  static constexpr std::size_t line_max = 1024 * 1024;

  static std::expected<LineFile, std::string> open(std::shared_ptr<const LogFile> file);

  bool next(std::string_view& line);
  std::uint64_t number() const { return number_; }  // of the line that was read last, from 1
  // Why there are no more lines; empty: because this is the end.
  const std::string& error() const { return error_; }
  double progress() const;                              // 0 to 1
  std::uint64_t unpacked() const { return unpacked_; }  // bytes
  const std::string& name() const { return file_->name(); }

 private:
  bool fill();

  std::shared_ptr<const LogFile> file_;
  std::unique_ptr<Unpacked> bytes_;
  std::string buffer_;
  std::size_t begin_ = 0;  // buffer_[begin_, end_) has not been handed out
  std::size_t end_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t unpacked_ = 0;
  std::string error_;
  bool is_at_end_ = false;
};

}  // namespace classgate::planning
