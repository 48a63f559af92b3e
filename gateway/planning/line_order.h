#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "admission/time.h"

namespace classgate::planning {

using admission::Duration;

// Whether the lines of a log stand in the order in which requests ended, as they do in one log, and
// each of them once. What lies a little before its predecessors (workers that write in turns, a
// buffer) is put in order by whoever reads it; more than that is several logs in the wrong order,
// or the same one again.
class LineOrder {
 public:
  static constexpr Duration mended_max = std::chrono::minutes(10);

  // No two lines of such a log are the same.
  explicit LineOrder(bool lines_differ) : lines_differ_(lines_differ) {}

  // A line, and when its request ended. How far it lies before the latest of the lines before it.
  Duration add(std::string_view line, std::uint64_t number, std::int64_t time_ns);
  bool is_good() const { return why_.empty(); }
  // The first line that is out of order, the one that it lies before, by how much, and what to do;
  // empty: there is none.
  const std::string& why() const { return why_; }
  // When all have been read: many lines are the same as the one before; empty: they are not.
  std::string why_doubled() const;

 private:
  struct Line {
    std::size_t hash = 0;
    std::uint64_t number = 0;  // 0: there is none yet
    std::int64_t time_ns = 0;
  };
  void judge(const Line& line, Duration behind);

  bool lines_differ_;
  std::string why_;
  Line first_;
  Line second_;
  Line latest_;
  Line previous_;
  bool is_first_again_ = false;  // the previous one
  std::uint64_t lines_ = 0;
  std::uint64_t doubled_ = 0;
};

}  // namespace classgate::planning
