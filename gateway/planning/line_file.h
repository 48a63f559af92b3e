#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include <cstdio>

namespace classgate::planning {

// A file read line by line, however large. A view lasts until the next line.
class LineFile {
 public:
  static std::expected<LineFile, std::string> open(const std::string& path);

  bool next(std::string_view& line);
  std::uint64_t number() const { return number_; }  // of the line that was read last, from 1
  std::uint64_t bytes_read() const { return taken_; }
  std::uint64_t size() const { return size_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  bool fill();

  std::unique_ptr<std::FILE, Close> file_;
  std::string buffer_;
  std::size_t begin_ = 0;  // buffer_[begin_, end_) has not been handed out
  std::size_t end_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t size_ = 0;
  bool is_at_end_ = false;
};

}  // namespace classgate::planning
