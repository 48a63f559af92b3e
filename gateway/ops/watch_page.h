#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::gateway {

// What `classgate status --watch` knows: the last answer of /status, what came a second in the last
// minute, and what is the matter where no answer comes. Pure.
class WatchHistory {
 public:
  static constexpr std::size_t seconds_kept = 60;
  enum class Series : std::uint8_t { requests, processed, refused, failed, workers, queue };
  static constexpr std::size_t series_count = 6;

  // An answer, so many seconds after the one before. Throws nlohmann::json::exception when it is no
  // health report; nothing has changed then.
  void add(std::string_view health, double seconds);
  // None came, for this reason. A series has a gap there.
  void add_trouble(std::string why, double seconds);

  bool is_empty() const { return now_.is_null(); }
  // Two answers of the same process: there are rates.
  bool has_rates() const { return has_rates_; }
  const nlohmann::ordered_json& now() const { return now_; }
  const std::string& trouble() const { return trouble_; }
  double seconds_of_trouble() const { return seconds_of_trouble_; }
  // The counters began anew: how often that was seen.
  std::uint64_t restarts() const { return restarts_; }
  // The oldest first; none: nobody knows.
  const std::deque<std::optional<double>>& of(Series series) const {
    return series_[static_cast<std::size_t>(series)];
  }
  std::optional<double> last(Series series) const {
    return of(series).empty() ? std::nullopt : of(series).back();
  }
  // Of a refusal or failure, or of a server's answers of a class, a second.
  double rate_of(const char* table, const std::string& word) const;

 private:
  double per_second(const char* key) const;
  void push(const std::array<std::optional<double>, series_count>& values);

  nlohmann::ordered_json before_;
  nlohmann::ordered_json now_;
  double seconds_ = 0;  // between these
  bool has_rates_ = false;
  std::string trouble_;
  double seconds_of_trouble_ = 0;
  std::uint64_t restarts_ = 0;
  std::array<std::deque<std::optional<double>>, series_count> series_;
};

// How it is shown.
struct WatchView {
  enum class Sort : std::uint8_t { rate, total, name };
  std::size_t columns = 80;
  std::size_t rows = 24;
  Sort sort = Sort::rate;
  bool is_paused = false;
  bool in_utf8 = true;
};
WatchView::Sort next_sort(WatchView::Sort sort);

// The lines of a page of this size: never more rows, none wider. Its head and the line of keys are
// always there; what else there is room for comes in between. What others have written is text in
// it: no escape sequence but our own colours.
std::vector<std::string> watch_page(const WatchHistory& history, const WatchView& view);
// One line of what there is, for a file or a pipe; as logfmt.
std::string watch_line(const WatchHistory& history);

// How many columns a terminal needs for printable text in UTF-8, at most (East Asian characters and
// emoji take two), and as much of it as goes into so many.
std::size_t columns_of(std::string_view text);
std::string cut_to(std::string_view text, std::size_t columns);

}  // namespace classgate::gateway
