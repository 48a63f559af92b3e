#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

// Services of gRPC whose usual routes are known.
inline constexpr std::array<std::string_view, 1> known_grpc_services{
    "inference.GRPCInferenceService"};

// The routes as they are collected from the sources. A route for a path that is built in, or that
// an earlier source named, takes its place; the same path twice in one source is a mistake.
class RouteList {
 public:
  using PlaceText = std::function<std::string(Place)>;

  // What follows comes from another file: it may name a path again.
  void begin_file() { from_file_.clear(); }
  void add_built_in(const RouteSettings& route) { routes_.push_back({route, "default"}); }
  // Those of `grpc_routes`; a route that the conf has for the same path stays.
  void add_of_service(const std::string& service, const std::string& origin);
  // A [[route]] table; says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add(const TableEntry& entry,
                                                 const PlaceText& place_text);
  // "/v1/x=3,/metrics=1:unlimited", as in CLASSGATE_ROUTE.
  std::vector<std::string> add_text(const std::string& text, const std::string& origin);

  // To those whose own identity says "address" without bits (identity.h).
  void inherit_prefix(const std::vector<IdentitySource>& from);

  const std::vector<std::pair<RouteSettings, std::string>>& all() const { return routes_; }

 private:
  // The place where it stood already, if it was added from the same kind of source.
  std::string put(const RouteSettings& route, const std::string& origin, bool is_file);

  std::vector<std::pair<RouteSettings, std::string>> routes_;
  std::vector<std::pair<RouteSettings, std::string>> from_file_;
};

}  // namespace classgate::conf
