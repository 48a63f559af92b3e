#include "gateway/planning/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "conf/format.h"
#include "conf/printable.h"

namespace classgate::planning {

Progress::Progress(std::string what)
    : what_(std::move(what)), is_terminal_(::isatty(STDERR_FILENO) == 1) {}

void Progress::show(double share, const std::string& remark) {
  constexpr int width = 40;
  constexpr std::chrono::milliseconds between(100);
  if (!is_terminal_ || std::chrono::steady_clock::now() < next_) return;
  next_ = std::chrono::steady_clock::now() + between;
  share = std::clamp(share, 0.0, 1.0);
  const int filled = static_cast<int>(share * width);
  fmt::print(stderr, "\r{} [{:#<{}}{:.<{}}] {:3.0f} % {}\x1b[K", what_, "", filled, "",
             width - filled, share * 100, conf::printable(remark));
  std::fflush(stderr);
  is_shown_ = true;
}

void Progress::clear() {
  if (!is_shown_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  is_shown_ = false;
}

}  // namespace classgate::planning
