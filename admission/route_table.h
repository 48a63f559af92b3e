#pragma once

// Path -> route. Immutable after construction: may be read on any thread.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "admission/ids.h"
#include "conf/settings.h"

namespace classgate::admission {

struct Route {
  std::string name;  // the path as the conf writes it; "*" for everything else
  int priority = conf::priority_worst;
  bool rate_limited = true;
  std::uint32_t cost = 1;  // tokens
  std::uint16_t workers = 1;
  bool cost_varies = false;  // the request tells it
  float client_share = 1;    // of the workers, as RouteSettings has it
  RouteId id{};
  // Its place in the settings that the table was made from, and good for these alone; the catch-all
  // stands after the last. What outlives a conf is kept by id.
  std::size_t index = 0;
};

// How many workers a request of this cost takes: one for every `cost_per_worker` of it, rounded up;
// with 0 a single one.
inline std::uint16_t workers_for(std::uint32_t cost, std::uint32_t cost_per_worker) {
  if (cost_per_worker == 0) return 1;
  const std::uint32_t workers = cost / cost_per_worker + (cost % cost_per_worker > 0 ? 1 : 0);
  return static_cast<std::uint16_t>(std::clamp<std::uint32_t>(workers, 1, 0xffff));
}

class RouteTable {
 public:
  RouteTable(const std::vector<conf::RouteSettings>& routes, const Ids& ids);
  // Of a conf that is the first: its ids are new.
  explicit RouteTable(const std::vector<conf::RouteSettings>& routes)
      : RouteTable(routes, Ids(routes)) {}

  // The route of a path in normal form (proxy/wire/path.h): exact before prefix, longest prefix
  // first, and the catch-all of the worst priority last. Valid as long as the table.
  const Route& find(std::string_view normal_path) const;

 private:
  struct Prefix {
    std::string path;
    Route route;
  };
  // Cheap: its size, how it begins and how it ends. Only the operator puts paths into the table, so
  // nobody can make them collide.
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view path) const;
  };
  std::unordered_map<std::string, Route, Hash, std::equal_to<>> exact_;
  std::vector<Prefix> prefixes_;  // longest first
  Route everything_else_{.name = "*"};
};

}  // namespace classgate::admission
