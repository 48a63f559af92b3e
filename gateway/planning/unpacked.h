#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "gateway/planning/log_file.h"

namespace classgate::planning {

// The bytes of a log, in order, as they were before gzip or zstd packed them. Which of the two it
// was is told by its first bytes, not by its name. Several members or frames behind each other are
// one log, as rotation and `cat a.gz b.gz` make them. Takes 128 MiB at most (zstd), however much is
// packed in how little.
class Unpacked {
 public:
  static constexpr int zstd_window_log_max = 27;

  // Or why it cannot be read, and what to do: it is packed with something else, or no text.
  static std::expected<std::unique_ptr<Unpacked>, std::string> open(
      std::shared_ptr<const LogFile> file);
  virtual ~Unpacked() = default;

  // None at the end. An error when it is damaged, or its end is missing.
  virtual std::expected<std::size_t, std::string> read(std::span<char> into) = 0;
  std::uint64_t taken() const { return taken_; }  // of the file

 protected:
  explicit Unpacked(std::shared_ptr<const LogFile> file) : file_(std::move(file)) {}
  std::expected<std::size_t, std::string> take(std::span<char> into);

 private:
  std::shared_ptr<const LogFile> file_;
  std::uint64_t taken_ = 0;
};

}  // namespace classgate::planning
