#pragma once

#include <memory>
#include <utility>

#include "gateway/planning/named_traffic.h"

namespace classgate::planning {

// What of a log arrives in [from, to): its time counts from `from`.
class PartTraffic final : public DerivedTraffic {
 public:
  PartTraffic(std::unique_ptr<NamedTraffic> traffic, Duration from, Duration to)
      : DerivedTraffic(std::move(traffic)), from_(from), to_(to) {}

  bool next(simulation::Wish& wish) override {
    while (below().next(wish)) {
      const Duration at = wish.at.time_since_epoch();
      if (at >= to_) return false;
      if (at < from_) continue;
      wish.at -= from_;
      return true;
    }
    return false;
  }

 private:
  Duration from_;
  Duration to_;
};

}  // namespace classgate::planning
