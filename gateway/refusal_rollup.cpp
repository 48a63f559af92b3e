#include "gateway/refusal_rollup.h"

#include <algorithm>
#include <functional>

#include "gateway/loop_metrics.h"

namespace classgate::gateway {

RefusalRollup::RefusalRollup() : index_(places) { kinds_.reserve(kinds_max); }

bool RefusalRollup::add(const Refusal& refusal, admission::Time now) {
  if (total_++ == 0) since_ = now;
  Kind& kind = kind_of(refusal, now);
  kind.last = now;
  return ++kind.count < count_max;
}

// Open addressing, at most half full: a place is found in a few steps.
RefusalRollup::Kind& RefusalRollup::kind_of(const Refusal& refusal, admission::Time now) {
  const std::string_view client = refusal.client.substr(0, client_max);
  const std::string_view address = refusal.address.substr(0, address_max);
  const bool has_name = client != "-";
  std::size_t at = std::hash<std::string_view>{}(has_name ? client : address) +
                   31 * conf::index_of(refusal.reason) +
                   37 * static_cast<std::size_t>(refusal.credentials) +
                   std::hash<const void*>{}(refusal.route);
  for (;; ++at) {
    std::uint16_t& place = index_[at % places];
    if (place == 0) {
      if (kinds_.size() == kinds_max) break;
      kinds_.emplace_back();
      place = static_cast<std::uint16_t>(kinds_.size());
      begin(kinds_.back(), refusal, now);
      return kinds_.back();
    }
    Kind& kind = kinds_[place - 1U];
    if (kind.reason == refusal.reason && kind.route == refusal.route &&
        kind.credentials == refusal.credentials &&
        std::string_view(kind.client.data(), kind.client_size) == client &&
        (has_name || std::string_view(kind.address.data(), kind.address_size) == address))
      return kind;
  }
  Kind& other = others_[conf::index_of(refusal.reason)];
  if (other.count == 0)
    begin(other,
          {.client = "*",
           .address = "-",
           .reason = refusal.reason,
           .path = "-",
           .status = refusal.status,
           .plan = ""},
          now);
  return other;
}

void RefusalRollup::begin(Kind& kind, const Refusal& refusal, admission::Time now) {
  const std::string_view client = refusal.client.substr(0, client_max);
  const std::string_view address = refusal.address.substr(0, address_max);
  // A part of a path might have another route.
  const std::string_view path = refusal.path.size() <= path_max ? refusal.path : "-";
  kind.client_size = static_cast<std::uint8_t>(client.size());
  kind.address_size = static_cast<std::uint8_t>(address.size());
  kind.path_size = static_cast<std::uint8_t>(path.size());
  const std::string_view name = refusal.name.substr(0, name_max);
  kind.name_size = static_cast<std::uint8_t>(name.size());
  const std::string_view plan = refusal.plan.substr(0, plan_max);
  kind.plan_size = static_cast<std::uint8_t>(plan.size());
  std::ranges::copy(client, kind.client.begin());
  std::ranges::copy(address, kind.address.begin());
  std::ranges::copy(path, kind.path.begin());
  std::ranges::copy(name, kind.name.begin());
  std::ranges::copy(plan, kind.plan.begin());
  kind.reason = refusal.reason;
  kind.credentials = refusal.credentials;
  kind.route = refusal.route;
  kind.status = refusal.status;
  kind.count = 0;
  kind.first = kind.last = now;
}

RefusalRollup::Line RefusalRollup::line_of(const Kind& kind) {
  return {.refusal = {.client = {kind.client.data(), kind.client_size},
                      .address = {kind.address.data(), kind.address_size},
                      .reason = kind.reason,
                      .route = kind.route,
                      .path = {kind.path.data(), kind.path_size},
                      .status = kind.status,
                      .name = {kind.name.data(), kind.name_size},
                      .plan = {kind.plan.data(), kind.plan_size},
                      .credentials = kind.credentials},
          .count = kind.count,
          .first = kind.first,
          .last = kind.last};
}

void RefusalRollup::clear() {
  kinds_.clear();
  std::ranges::fill(index_, std::uint16_t{0});
  for (Kind& other : others_) other.count = 0;
  total_ = 0;
}

}  // namespace classgate::gateway
