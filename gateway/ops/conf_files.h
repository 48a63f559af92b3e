#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "gateway/ops/conf_archive.h"

namespace classgate::gateway {

// What the conf file and those in conf.d say now; a conf file that is not there says nothing. The
// error names the file.
std::expected<ConfFiles, std::string> read_conf_files(const std::string& conf_path);

// Makes the files of a conf say what another one said, and takes that back. Each file is written
// beside its place and renamed over it, with the mode and owner of what stands there; where a link
// stands it is what the link leads to. For a command that ends: any thread; waits for the disk.
class ConfFileSwap {
 public:
  explicit ConfFileSwap(std::string conf_path) : conf_path_(std::move(conf_path)) {}

  // All of them or none. A file of conf.d that `files` has not is renamed, so that it is not read.
  std::expected<void, std::string> to(const ConfFiles& files);
  // What was renamed, a line each.
  const std::vector<std::string>& told() const { return told_; }
  // As it was before to(). Empty: it is; else what could not be put back.
  std::string back();

 private:
  struct Step {
    std::string path;
    std::optional<std::string> former;  // what it said; none: it was not there
    std::string moved_to{};             // instead: under which name it is now
  };
  std::expected<void, std::string> write(const std::string& path, const std::string& text);
  std::expected<void, std::string> put_aside(const std::string& path);

  std::string conf_path_;
  std::vector<Step> steps_;
  std::vector<std::string> told_;
};

}  // namespace classgate::gateway
