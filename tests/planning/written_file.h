#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "gateway/planning/log_file.h"

namespace classgate::planning::testing {

// A file that is there for as long as a test lasts.
class WrittenFile {
 public:
  explicit WrittenFile(std::string_view text = {}) {
    path_ = (std::filesystem::temp_directory_path() / "classgate-log-XXXXXX").string();
    const proxy::net::Fd fd(::mkstemp(path_.data()));
    REQUIRE(fd.get() >= 0);
    add(text);
  }
  WrittenFile(const WrittenFile&) = delete;
  WrittenFile& operator=(const WrittenFile&) = delete;
  ~WrittenFile() { std::filesystem::remove(path_); }

  void add(std::string_view text) {
    std::ofstream(path_, std::ios::app | std::ios::binary) << text;
  }
  const std::string& path() const { return path_; }
  std::shared_ptr<const LogFile> log() const {
    auto log = LogFile::open(path_);
    REQUIRE(log);
    return *log;
  }

 private:
  std::string path_;
};

}  // namespace classgate::planning::testing
