#include "gateway/planning/variation.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>
#include <string_view>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/nearest.h"
#include "conf/units.h"

namespace classgate::planning {
namespace {

constexpr std::size_t values_max = 1000;

std::string full_key(std::string key) {
  std::ranges::replace(key, '-', '_');
  return key.contains('.') ? key : "admission." + key;
}

bool is_of_service(const std::string& key) {
  return key == "service.servers" || key == "service.capacity";
}

constexpr std::string_view traffic_key = "traffic.times";

// As in a workload's [upstream].
constexpr std::uint32_t service_most = 10'000;
std::optional<std::uint32_t> service_number(const std::string& text, std::uint32_t least) {
  std::uint32_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end || number < least || number > service_most)
    return std::nullopt;
  return number;
}

struct Quantity {
  double number;
  std::string unit;
};

std::optional<Quantity> parse_quantity(const std::string& text) {
  Quantity quantity{};
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), quantity.number);
  if (error != std::errc{} || !(std::abs(quantity.number) <= 1e15)) return std::nullopt;
  quantity.unit.assign(end, text.data() + text.size());
  return quantity;
}

}  // namespace

std::expected<Variation, std::string> parse_variation(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return std::unexpected(fmt::format(
        "--sweep \"{}\": {}; write KEY=FROM..TO[:STEP], such as workers=10..100:10", text, why));
  };
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) return wrong("has no =");
  Variation variation{full_key(text.substr(0, equals)), {}};
  if (!is_of_service(variation.key) && variation.key != traffic_key &&
      conf::find_key(variation.key) == nullptr) {
    std::vector<std::string> known{"service.servers", "service.capacity", std::string(traffic_key)};
    for (const conf::Key& key : conf::all_keys()) known.push_back(key.name);
    const std::string meant = conf::nearest(variation.key, known);
    return wrong("there is no key " + variation.key +
                 (meant.empty() ? "" : " (did you mean " + meant + "?)"));
  }
  const std::string range = text.substr(equals + 1);
  const std::size_t dots = range.find("..");
  if (dots == std::string::npos) {
    std::istringstream in(range);
    for (std::string value; std::getline(in, value, ',');) variation.values.push_back(value);
    if (variation.values.size() > values_max) return wrong("has too many values");
    if (variation.values.empty()) return wrong("has no values");
    return variation;
  }
  const std::size_t colon = range.find(':', dots);
  const auto from = parse_quantity(range.substr(0, dots));
  const auto to = parse_quantity(
      range.substr(dots + 2, colon == std::string::npos ? std::string::npos : colon - dots - 2));
  if (!from || !to || to->number < from->number) return wrong("has no range");
  if (!from->unit.empty() && from->unit != to->unit) return wrong("has two units");
  double step = std::max(1.0, std::ceil((to->number - from->number) / 10));
  if (colon != std::string::npos) {
    const auto given = parse_quantity(range.substr(colon + 1));
    if (!given || !(given->number > 0)) return wrong("has no step above zero");
    step = given->number;
  }
  if ((to->number - from->number) / step >= values_max) return wrong("has too many values");
  for (int i = 0; static_cast<std::size_t>(i) <= values_max &&
                  from->number + i * step <= to->number * (1 + 1e-12);
       ++i)
    variation.values.push_back(conf::print_number(from->number + i * step) + to->unit);
  return variation;
}

std::expected<Result, std::string> run_with(const conf::CommandLine& command,
                                            const Environment& environment,
                                            const Scenario& scenario,
                                            const std::vector<Setting>& settings) {
  Scenario own = scenario;
  std::vector<conf::Override> overrides;
  for (const Setting& setting : settings) {
    if (setting.key == traffic_key) {
      const auto times = parse_quantity(setting.value);
      if (!times || !times->unit.empty() || !(times->number > 0))
        return std::unexpected(
            fmt::format("{}: \"{}\" is no number above zero", traffic_key, setting.value));
      if (const std::string why = own.multiply(times->number); !why.empty())
        return std::unexpected(why);
      continue;
    }
    if (!is_of_service(setting.key)) {
      overrides.push_back({setting.key, setting.value, setting.key});
      continue;
    }
    const bool is_servers = setting.key == "service.servers";
    const auto number = service_number(setting.value, is_servers ? 1 : 0);
    if (!number)
      return std::unexpected(fmt::format("{}: \"{}\" is no number from {} to {}", setting.key,
                                         setting.value, is_servers ? 1 : 0, service_most));
    is_servers ? own.set_servers(*number) : own.set_capacity(*number);
  }
  const auto conf = read_conf(command, environment, conf_path_of(command), overrides);
  if (!conf) return std::unexpected(conf.error());
  return run(own, conf->settings, conf->name);
}

}  // namespace classgate::planning
