#pragma once

#include <chrono>
#include <string>

namespace classgate::planning {

// A bar on standard error when that is a terminal; nothing at all when it is a pipe or a file.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(double share, const std::string& remark = {});
  void clear();

 private:
  std::string what_;
  bool is_terminal_;
  bool is_shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

}  // namespace classgate::planning
