#include "conf/forecast_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

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
    if (words.empty()) return {};
    // As of a variable of a script that is not set: not as if the option were not there.
    if (words.front().empty()) note(fmt::format("--{}: it is empty", name));
    return words.front();
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
  // Rules by name, in any case; "all": each of them.
  std::vector<ScalingRule> rules(const Words& words) {
    const std::string text = lower(one("autoscale", words));
    std::vector<ScalingRule> chosen;
    for (const ScalingRule rule : scaling_rules)
      if (text == "all" || text == lower(std::string(word_of(rule)))) chosen.push_back(rule);
    if (chosen.empty() && !words.empty())
      note(fmt::format("--autoscale: {} is none of KEDA, KPA, HPA, forecast and all",
                       quote(words.front())));
    return chosen;
  }
  double amount(const char* name, const Words& words) {
    const std::string text = one(name, words);
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc{} && stop == text.data() + text.size();
    if (is_number && std::isfinite(value) && value >= 1e-9 && value <= 1e15) return value;
    if (!words.empty())
      note(fmt::format("--{}: {} is no number above 0, such as 40", name, quote(text)));
    return 0;
  }
  void note(std::string text) {
    if (mistake_.empty()) mistake_ = std::move(text);
  }
  const std::string& mistake() const { return mistake_; }

 private:
  static std::string lower(std::string text) {
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  }
  std::string mistake_;
};

}  // namespace

std::string_view word_of(ScalingRule rule) {
  switch (rule) {
    case ScalingRule::keda: return "KEDA";
    case ScalingRule::kpa: return "KPA";
    case ScalingRule::hpa: return "HPA";
    case ScalingRule::forecast: return "forecast";
  }
  return {};
}

std::expected<ForecastOptions, std::string> read_forecast(const ForecastWords& words) {
  using namespace std::chrono_literals;
  ForecastOptions options;
  OptionReader reader;
  options.series = reader.one("series", words.series);
  options.arrivals = words.arrivals;
  options.of = reader.one("of", words.of);
  if (!words.of.empty() && options.arrivals)
    reader.note("--of names a column of values, and with --arrivals none is read");
  options.horizon = reader.time("horizon", words.horizon, 1s, 7 * 24h);
  options.step = reader.time("step", words.step, 60s, 1h);
  options.backtest = words.backtest;
  if (!words.time_zone.empty()) options.time_zone = reader.one("time-zone", words.time_zone);
  options.autoscale = reader.rules(words.autoscale);
  if (const auto delay = reader.time("start-delay", words.start_delay, 1s, 1h))
    options.start_delay = *delay;
  options.per_server = reader.amount("per-server", words.per_server);
  if (words.autoscale.empty() && !(words.start_delay.empty() && words.per_server.empty()))
    reader.note("--start-delay and --per-server say what --autoscale is to reckon with");
  if (!words.autoscale.empty() && words.per_server.empty())
    reader.note(
        "--autoscale needs --per-server NUMBER: the load that one server takes, in the units of "
        "the series");
  if (!words.autoscale.empty() && (options.backtest || options.horizon))
    reader.note("--autoscale goes without --backtest and --horizon");
  if (!reader.mistake().empty()) return std::unexpected(reader.mistake());
  return options;
}

}  // namespace classgate::conf
