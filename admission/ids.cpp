#include "admission/ids.h"

namespace classgate::admission {
namespace {

using Names = std::vector<std::string>;

Names names_of(const std::vector<conf::RouteSettings>& routes) {
  Names names;
  for (const conf::RouteSettings& route : routes) names.push_back(conf::name_of(route));
  return names;
}

Names names_of(const std::vector<conf::PlanSettings>& plans) {
  Names names;
  for (const conf::PlanSettings& plan : plans) names.push_back(plan.name);
  return names;
}

}  // namespace

Ids::Ids(const std::vector<conf::RouteSettings>& routes) { routes_.name(names_of(routes)); }

void Ids::follow(const conf::Settings& settings) {
  routes_.name(names_of(settings.routes));
  plans_.name(names_of(settings.admission.fairness.plans));
}

void Ids::follow(const conf::AdmissionSettings& settings) {
  Names names;
  for (const conf::RouteRate& route : settings.route_rates) names.push_back(route.path);
  routes_.name(names);
  plans_.name(names_of(settings.fairness.plans));
}

}  // namespace classgate::admission
