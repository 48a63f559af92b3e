#pragma once

#include <memory>
#include <utility>

#include "gateway/planning/named_traffic.h"

namespace classgate::planning {

// What of a log arrives in [from, to): its time counts from `from`.
class PartTraffic final : public NamedTraffic {
 public:
  PartTraffic(std::unique_ptr<NamedTraffic> traffic, Duration from, Duration to)
      : traffic_(std::move(traffic)), from_(from), to_(to) {}

  bool next(simulation::Wish& wish) override {
    while (traffic_->next(wish)) {
      const Duration at = wish.at.time_since_epoch();
      if (at >= to_) return false;
      if (at < from_) continue;
      wish.at -= from_;
      return true;
    }
    return false;
  }
  std::string group_kind() const override { return traffic_->group_kind(); }
  std::string group_name(std::uint32_t group) const override { return traffic_->group_name(group); }
  std::string client_name(std::uint32_t client) const override {
    return traffic_->client_name(client);
  }
  double progress() const override { return traffic_->progress(); }
  std::vector<std::string> remarks() const override { return traffic_->remarks(); }
  std::string complaint() const override { return traffic_->complaint(); }
  NamedTraffic& source() override { return traffic_->source(); }

 private:
  std::unique_ptr<NamedTraffic> traffic_;
  Duration from_;
  Duration to_;
};

}  // namespace classgate::planning
