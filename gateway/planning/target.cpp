#include "gateway/planning/target.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "admission/measure/units.h"
#include "conf/format.h"

namespace classgate::planning {
namespace {

using What = Target::What;

const simulation::Group* group_of(const Target& target, const Result& result) {
  if (target.priority > 0)
    return &result.tally.by_priority()[static_cast<std::size_t>(target.priority - 1)];
  if (target.is_of_all()) return &result.tally.all();
  for (std::uint32_t i = 0; i < result.tally.by_group().size(); ++i)
    if (result.traffic->group_name(i) == target.group) return &result.tally.by_group()[i];
  return nullptr;
}

// Those on which the service breaks off under every limit.
std::uint64_t broken_of(const simulation::Group& of) {
  return of.failed[conf::index_of(conf::Reason::upstream_broken)] +
         of.failed[conf::index_of(conf::Reason::upstream_unreachable)];
}

}  // namespace

double Target::measure(const Result& result) const {
  constexpr double nothing = std::numeric_limits<double>::infinity();
  const simulation::Group* of = group_of(*this, result);
  if (of == nullptr || of->arrived == 0) return nothing;
  const auto of_all = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(of->arrived);
  };
  switch (what) {
    case What::served: {
      const std::uint64_t broken = broken_of(*of);
      if (of->arrived == broken) return nothing;
      return 1 - static_cast<double>(of->served) / static_cast<double>(of->arrived - broken);
    }
    case What::refused: return of_all(of->all_rejected());
    case What::failed: return of_all(of->all_failed());
    case What::left: return of_all(of->abandoned);
    default: break;
  }
  const measure::Spread& spread = what == What::wait ? of->wait : of->latency;
  if (spread.count() == 0) return nothing;
  const Duration found = share <= 0   ? spread.mean()
                         : share >= 1 ? spread.most()
                                      : spread.told(share);
  return measure::in_rounded_ms(found);
}

std::string Target::print(double value) const {
  if (!std::isfinite(value)) return is_of_times() ? "unknown, as none got so far" : "unknown";
  if (is_of_times()) return fmt::format("{:g} ms", value);
  return fmt::format("{:.2f} %", (what == What::served ? 1 - value : value) * 100);
}

std::expected<Target, std::string> parse_target(const std::string& text) {
  auto target = conf::parse_target(text);
  if (!target) return std::unexpected("--plan " + target.error());
  return Target{std::move(*target)};
}

}  // namespace classgate::planning
