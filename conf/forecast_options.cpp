#include "conf/forecast_options.h"

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

using Words = std::vector<std::string>;

// The first mistake stands.
class OptionReader {
 public:
  std::string one(const char* name, const Words& words) {
    if (words.size() > 1) note(fmt::format("--{} is given twice", name));
    return words.empty() ? std::string() : words.front();
  }
  std::optional<std::chrono::seconds> time(const char* name, const Words& words,
                                           std::chrono::seconds least, std::chrono::seconds most) {
    const std::string text = one(name, words);
    if (text.empty()) return std::nullopt;
    const auto read = parse_duration(text);
    if (read && *read >= least && *read <= most && *read % std::chrono::seconds(1) == read->zero())
      return std::chrono::duration_cast<std::chrono::seconds>(*read);
    note(fmt::format("--{}: {} is no duration of whole seconds from {} to {}, such as 1h", name,
                     quote(text), print_duration(least), print_duration(most)));
    return std::nullopt;
  }
  void note(std::string text) {
    if (mistake_.empty()) mistake_ = std::move(text);
  }
  const std::string& mistake() const { return mistake_; }

 private:
  std::string mistake_;
};

}  // namespace

std::expected<ForecastOptions, std::string> read_forecast(const ForecastWords& words) {
  using namespace std::chrono_literals;
  ForecastOptions options;
  OptionReader reader;
  options.series = reader.one("series", words.series);
  options.horizon = reader.time("horizon", words.horizon, 1s, 7 * 24h);
  options.step = reader.time("step", words.step, 60s, 1h);
  options.backtest = words.backtest;
  options.arrivals = words.arrivals;
  if (!words.time_zone.empty()) options.time_zone = reader.one("time-zone", words.time_zone);
  if (!reader.mistake().empty()) return std::unexpected(reader.mistake());
  return options;
}

}  // namespace classgate::conf
