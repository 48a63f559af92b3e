#include "admission/route_table.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace classgate::admission {

RouteTable::RouteTable(const std::vector<conf::RouteSettings>& routes, const Ids& ids) {
  everything_else_.index = routes.size();
  for (const conf::RouteSettings& settings : routes) {
    Route route{.name = conf::name_of(settings),
                .priority = settings.priority,
                .rate_limited = settings.rate_limited,
                .cost = settings.cost.fixed,
                .workers = workers_for(settings.cost.fixed, settings.cost_per_worker),
                .cost_varies = settings.cost.kind != conf::CostSettings::Kind::fixed,
                .client_share = static_cast<float>(settings.client_share),
                .id = ids.route(conf::name_of(settings)),
                .index = static_cast<std::size_t>(&settings - routes.data())};
    if (settings.is_prefix) {
      // Before the first shorter one. (libstdc++ 12 warns under clang about its own stable_sort.)
      const auto shorter = std::ranges::find_if(prefixes_, [&settings](const Prefix& prefix) {
        return prefix.path.size() < settings.path.size();
      });
      prefixes_.insert(shorter, {settings.path, std::move(route)});
    } else {
      exact_.insert_or_assign(settings.path, std::move(route));
    }
  }
}

std::size_t RouteTable::Hash::operator()(std::string_view path) const {
  std::uint64_t first = 0, last = 0;
  if (path.size() >= sizeof first) {
    std::memcpy(&first, path.data(), sizeof first);
    std::memcpy(&last, path.data() + path.size() - sizeof last, sizeof last);
  } else {
    for (const char c : path) first = first << 8 | static_cast<unsigned char>(c);
  }
  // Odd constants of SplitMix64.
  return (first * 0xbf58476d1ce4e5b9 ^ std::rotl(last, 32)) * 0x94d049bb133111eb + path.size();
}

const Route& RouteTable::find(std::string_view normal_path) const {
  if (const auto found = exact_.find(normal_path); found != exact_.end()) return found->second;
  for (const Prefix& prefix : prefixes_)
    if (normal_path.starts_with(prefix.path)) return prefix.route;
  return everything_else_;
}

}  // namespace classgate::admission
