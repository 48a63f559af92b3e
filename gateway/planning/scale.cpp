#include "gateway/planning/scale.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "admission/simulation/random.h"
#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/printable.h"
#include "conf/units.h"
#include "gateway/planning/wish_order.h"

namespace classgate::planning {
namespace {

constexpr double factor_max = 1000;
constexpr std::uint32_t clients_of_class_max = 100'000;  // as in a workload file
constexpr double rate_max = 1e6;
constexpr Duration delay_max = std::chrono::seconds(10);

std::optional<double> parse_factor(std::string_view text) {
  double factor = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), factor);
  if (error != std::errc{} || stop != text.data() + text.size() ||
      !(factor >= 0 && factor <= factor_max))
    return std::nullopt;
  return factor;
}

std::string why_unknown(const std::string& name, const std::string& kind,
                        const std::vector<std::string>& known) {
  std::string there;
  for (const std::string& one : known) there += (there.empty() ? "" : ", ") + one;
  const std::string meant = conf::nearest(name, known);
  return conf::printable(
      fmt::format("--scale {}: no request of the traffic is of such a {}{}; there is {}", name,
                  kind, meant.empty() ? "" : fmt::format(" (did you mean {}?)", meant), there));
}

class ScaledTraffic final : public DerivedTraffic {
 public:
  ScaledTraffic(std::unique_ptr<NamedTraffic> traffic, const Scale& scale, std::uint64_t seed)
      : DerivedTraffic(std::move(traffic)), scale_(scale), seed_(seed), chance_(seed, 4) {
    double most = scale_.all;
    for (const auto& [name, factor] : scale_.of) most = std::max(most, factor);
    copies_max_ = static_cast<std::uint32_t>(std::max(1.0, std::ceil(most)));
    is_found_.assign(scale_.of.size(), false);
  }

  bool next(simulation::Wish& wish) override {
    while (!is_at_end_ && (order_.is_empty() || order_.first() > read_until_)) read_one();
    if (order_.is_empty()) return false;
    wish = order_.take_first([](simulation::Wish&) {});
    return true;
  }
  std::string client_name(std::uint32_t client) const override {
    const std::string name = below().client_name(client / copies_max_);
    const std::uint32_t copy = client % copies_max_;
    return copy == 0 ? name : fmt::format("{} (copy {})", name, copy);
  }
  std::vector<std::string> remarks() const override {
    std::vector<std::string> remarks = below().remarks();
    std::string text = "scaled: ";
    for (const auto& [name, factor] : scale_.of)
      text += fmt::format("{} {} times, ", name, conf::print_number(factor));
    remarks.push_back(conf::printable(fmt::format(
        "{}all {}{} times; who is more does what a client of the log did, up to 10 s later", text,
        scale_.of.empty() ? "" : "others ", conf::print_number(scale_.all))));
    return remarks;
  }
  std::string complaint() const override {
    if (const std::string why = below().complaint(); !why.empty() || !is_at_end_) return why;
    std::vector<std::string> known;
    for (std::uint32_t i = 0; i < factors_.size(); ++i) known.push_back(group_name(i));
    for (std::size_t i = 0; i < scale_.of.size(); ++i)
      if (!is_found_[i]) return why_unknown(scale_.of[i].first, group_kind(), known);
    return {};
  }

 private:
  void read_one() {
    simulation::Wish wish;
    if (!below().next(wish)) {
      is_at_end_ = true;
      return;
    }
    read_until_ = wish.at;
    const double factor = factor_of(wish.group);
    auto copies = static_cast<std::uint32_t>(factor);
    const double rest = factor - copies;
    if (rest > 0 && chance_.unit() < rest) ++copies;
    const std::uint32_t client = wish.client;
    const Time at = wish.at;
    for (std::uint32_t copy = 0; copy < copies; ++copy) {
      wish.client = client * copies_max_ + copy;
      wish.at = at + (copy == 0 ? Duration::zero() : delay_of(wish.client));
      order_.add(wish, {});
    }
  }

  // Always the same of a client, whose requests stay as far apart as they were.
  Duration delay_of(std::uint32_t client) const {
    simulation::Random random(seed_, 5 + std::uint64_t{client});
    return Duration(static_cast<Duration::rep>(
        random.below(static_cast<std::uint64_t>(Duration(delay_max).count()))));
  }

  double factor_of(std::uint32_t group) {
    for (auto i = static_cast<std::uint32_t>(factors_.size()); i <= group; ++i) {
      const std::string name = group_name(i);
      for (std::size_t k = 0; k < scale_.of.size(); ++k)
        if (scale_.of[k].first == name) is_found_[k] = true;
      factors_.push_back(scale_.factor(name));
    }
    return factors_[group];
  }

  Scale scale_;
  std::uint64_t seed_;
  simulation::Random chance_;
  std::uint32_t copies_max_ = 1;
  std::vector<bool> is_found_;   // of scale_.of
  std::vector<double> factors_;  // by group
  WishOrder order_;
  Time read_until_{};
  bool is_at_end_ = false;
};

}  // namespace

double Scale::factor(const std::string& name) const {
  const auto found = std::ranges::find(of, name, &std::pair<std::string, double>::first);
  return found == of.end() ? all : found->second;
}

std::expected<Scale, std::string> parse_scale(const std::vector<std::string>& texts) {
  Scale scale;
  bool has_all = false;
  for (const std::string& text : texts) {
    const std::size_t equals = text.rfind('=');
    const bool is_of_all = equals == std::string::npos;
    const auto factor = parse_factor(is_of_all ? std::string_view(text)
                                               : std::string_view(text).substr(equals + 1));
    if (!factor || (is_of_all && *factor == 0) || equals == 0)
      return std::unexpected(conf::printable(
          fmt::format("--scale \"{}\", column {}: is no number of times, up to {:.0f}, such as 3, "
                      "0.5 or NAME=3 "
                      "(a class or route; 0: none of it)",
                      text, is_of_all ? 1 : equals + (equals == 0 ? 1 : 2), factor_max)));
    const std::string name = is_of_all ? "" : text.substr(0, equals);
    const bool is_twice =
        is_of_all ? has_all
                  : std::ranges::count(scale.of, name, &std::pair<std::string, double>::first) > 0;
    if (is_twice)
      return std::unexpected(
          conf::printable(fmt::format("--scale is given twice for {}", is_of_all ? "all" : name)));
    if (is_of_all) {
      has_all = true;
      scale.all = *factor;
    } else {
      scale.of.emplace_back(name, *factor);
    }
  }
  return scale;
}

std::string apply(const Scale& scale, conf::Workload& workload) {
  std::vector<std::string> known;
  for (const conf::WorkloadClass& one : workload.classes) known.push_back(one.name);
  for (const auto& [name, factor] : scale.of)
    if (std::ranges::find(known, name) == known.end()) return why_unknown(name, "class", known);
  const auto count = [](std::uint32_t number, double factor) {
    return static_cast<std::uint32_t>(
        std::min(std::ceil(number * factor - 1e-9), clients_of_class_max + 1.0));
  };
  for (conf::WorkloadClass& one : workload.classes) {
    const double factor = scale.factor(one.name);
    for (conf::RateStep& step : one.rates) step.rate *= factor;
    one.burst_rate *= factor;
    const bool has_users = one.users > 0;
    one.users = count(one.users, factor);
    one.clients = std::max(1U, count(one.clients, factor));
    if (has_users && one.users == 0) one.rates = {{Duration::zero(), 0}};
    const bool is_too_fast = std::ranges::any_of(
        one.rates, [](const conf::RateStep& step) { return step.rate > rate_max; });
    if (one.users > clients_of_class_max || is_too_fast || one.burst_rate > rate_max)
      return conf::printable(
          fmt::format("--scale: class {} would have more than {} users or {:.0f} requests a second",
                      one.name, clients_of_class_max, rate_max));
    one.clients = std::min(one.clients, clients_of_class_max);
  }
  return {};
}

std::unique_ptr<NamedTraffic> scaled(std::unique_ptr<NamedTraffic> traffic, const Scale& scale,
                                     std::uint64_t seed) {
  return std::make_unique<ScaledTraffic>(std::move(traffic), scale, seed);
}

}  // namespace classgate::planning
