#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "admission/time.h"

namespace classgate::planning {

using admission::Duration;
using admission::Time;

// What a simulation needs of a line in an access log, in the words of our own
// (gateway/access_line.h) whoever wrote it. The views point into the line, or into its reader. A
// line may stand for many refusals.
struct AccessEntry {
  // Whatever a line says, it is in these ranges, so that what is added up later does not overflow.
  static constexpr Duration duration_max = std::chrono::hours(366 * 24);
  static constexpr std::uint64_t bytes_max = 1ULL << 50;
  static constexpr std::uint32_t cost_max = 1'000'000;
  static constexpr std::uint64_t rolled_up_max = 100'000;
  static constexpr Duration span_max = std::chrono::hours(1);  // of those
  static constexpr std::int64_t year_first = 1970;
  static constexpr std::int64_t year_last = 2199;

  std::int64_t time_ns = 0;  // end of the request, since 1970
  std::string_view client;   // its id, or its address where there is none
  bool is_by_address = false;
  std::string_view name = "-";  // of a client that the conf knows
  std::string_view plan;        // of the client; "-": everybody's; empty: not told
  std::uint32_t cost = 0;       // 0: not told
  std::string_view method;      // empty: not told
  std::string_view path;        // in normal form, without the query
  std::string_view verdict;
  std::string_view reason = "-";
  int status = 0;  // 0: not told
  int priority = 0;
  Duration deadline{};
  Duration upload{};
  // What the service took, and how the log tells it.
  enum class Took : std::uint8_t {
    upstream,  // as it says
    total,     // only the whole request, with what its client took to send and to read
    untold,
  };
  Took took = Took::upstream;
  Duration upstream{};
  Duration total{};
  std::uint64_t bytes_in = 0;
  std::uint64_t rolled_up = 0;  // refusals from since_ns to time_ns; 0: one request
  std::int64_t since_ns = 0;
  bool is_to_the_second = false;  // its time: it ended somewhere in that second
  bool tells_bytes = true;
  bool is_rolled_up() const { return rolled_up > 0; }
};

// Reads the lines of one kind of log, one after the other.
class LineReader {
 public:
  virtual ~LineReader() = default;
  // Or what is wrong with the line.
  virtual std::expected<AccessEntry, std::string> read(std::string_view line) = 0;
};

}  // namespace classgate::planning
