#include "gateway/sharing/rate_notes.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>
#include <utility>

#include "admission/sharing/report.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"

namespace classgate::gateway {
namespace {

constexpr std::chrono::seconds between_notes_of_less{60};

}  // namespace

// It changes by a reload only.
void RateNotes::note_beyond(std::size_t beyond) {
  if (beyond == std::exchange(beyond_, beyond) || beyond == 0) return;
  spdlog::warn(
      "sharing: {} rates are shared, and {} more are not: of each of these a gateway has its part "
      "and no more, whatever the others leave",
      sharing::rates_max, beyond);
}

// Not at once: confs that a reload changes are never changed at the same moment.
void RateNotes::note_less(const std::vector<SharingHealth::Rate>& rates, Time now) {
  const auto is_less = [](const SharingHealth::Rate& rate) { return rate.rate < rate.of_conf; };
  const auto first = std::ranges::find_if(rates, is_less);
  if (first == rates.end()) {
    less_since_ = {};
    return;
  }
  if (less_since_ == Time{}) less_since_ = now;
  if (now - less_since_ < 2 * lease_) return;
  if (complained_ != Time{} && now - complained_ < between_notes_of_less) return;
  complained_ = now;
  const auto count = std::ranges::count_if(rates, is_less);
  spdlog::warn(
      "sharing: {} is {} here and {} at another gateway{}: the least holds for all until all have "
      "the same",
      first->route.empty() ? std::string("admission.rate")
                           : "the rate of route " + conf::printable(first->route),
      conf::print_number(first->of_conf), conf::print_number(first->rate),
      count > 1 ? fmt::format(" (and {} more rates differ)", count - 1) : "");
}

}  // namespace classgate::gateway
