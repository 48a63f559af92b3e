#include "gateway/planning/workload_clients.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "admission/ids.h"
#include "admission/route_table.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/known_clients.h"
#include "conf/printable.h"
#include "conf/sha256.h"

namespace classgate::planning {
namespace {

using Client = simulation::ClassTraffic::Client;
using Kind = conf::IdentitySource::Kind;
using Sources = std::vector<conf::IdentitySource>;

bool is_same_field(std::string_view a, std::string_view b) {
  const auto small = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, small, small);
}

// The keys that a conf knows, and whose they are.
class KnownKeys {
 public:
  explicit KnownKeys(const conf::Settings& settings) {
    const admission::Ids ids(settings);
    const conf::FairnessSettings& fairness = settings.admission.fairness;
    for (const conf::PlanSettings& plan : fairness.plans)
      for (const std::string& text : plan.clients)
        if (const auto client = conf::read_plan_client(text, conf::identity_sources(settings));
            client && conf::carries_key(client->source.kind))
          of_plans_.push_back({client->source, client->key, ids.plan(plan.name)});
    if (settings.clients.known == nullptr) return;
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    for (const conf::KnownClients::Key& key : settings.clients.known->keys) {
      const conf::KnownClient& client = settings.clients.known->clients[key.client];
      if (!client.is_valid(now)) continue;
      of_file_[key.hash] = {key.client,
                            client.plan.empty() ? admission::PlanId{} : ids.plan(client.plan)};
    }
  }
  struct Found {
    std::string name;  // the same of all its keys
    admission::PlanId plan;
  };
  std::optional<Found> find(const conf::IdentitySource& source, const std::string& key) const {
    const conf::Sha256 hash = conf::sha256(key);
    if (const auto found = of_file_.find(hash); found != of_file_.end())
      return Found{fmt::format("file {}", found->second.client), found->second.plan};
    for (const OfPlan& one : of_plans_)
      if (one.hash == hash && one.source.kind == source.kind &&
          is_same_field(one.source.name, source.name))
        return Found{"key " + key, one.plan};
    return std::nullopt;
  }

 private:
  struct OfPlan {
    conf::IdentitySource source;
    conf::Sha256 hash;
    admission::PlanId plan;
  };
  struct OfFile {
    std::uint32_t client;
    admission::PlanId plan;
  };
  std::vector<OfPlan> of_plans_;
  std::map<conf::Sha256, OfFile> of_file_;
};

// What a source finds in a field; nullopt: nothing.
std::expected<std::optional<std::string>, std::string> key_in(const conf::IdentitySource& source,
                                                              const std::string& field,
                                                              const std::string& value) {
  const bool is_authorization = is_same_field(field, "Authorization");
  if (source.kind == Kind::header && is_same_field(source.name, field)) return value;
  if (source.kind == Kind::bearer && is_authorization) {
    constexpr std::string_view scheme = "Bearer ";
    if (value.size() <= scheme.size() || !is_same_field(value.substr(0, scheme.size()), scheme))
      return std::nullopt;
    return value.substr(scheme.size());
  }
  const bool may_be_elsewhere = (source.kind == Kind::basic && is_authorization) ||
                                (source.kind == Kind::cookie && is_same_field(field, "Cookie")) ||
                                source.kind == Kind::jwt;
  if (may_be_elsewhere)
    return std::unexpected(fmt::format(
        "key_header {}: the conf looks for clients by {}, which is not simulated for the keys of a "
        "workload",
        conf::printable(field), conf::word_of(source)));
  return std::nullopt;
}

}  // namespace

std::expected<std::vector<Client>, std::string> clients_of(const conf::Workload& workload,
                                                           const conf::Settings& settings) {
  const conf::FairnessSettings& fairness = settings.admission.fairness;
  const bool are_any =
      std::ranges::any_of(workload.classes, [](const auto& of) { return !of.keys.empty(); });
  if (!fairness.is_on || !are_any) return {};
  const KnownKeys known(settings);
  const admission::RouteTable routes(settings.routes, admission::Ids(settings));
  std::vector<Client> clients;
  std::map<std::string, std::uint32_t> numbers;  // by what names a client
  for (const conf::WorkloadClass& of : workload.classes) {
    const std::size_t route = routes.find(of.path).index;
    const bool has_own =
        route < settings.routes.size() && settings.routes[route].identity.has_value();
    const Sources& sources = has_own ? *settings.routes[route].identity : fairness.identity;
    const auto first = static_cast<std::uint32_t>(clients.size());
    for (std::uint32_t i = 0; i < std::max(of.clients, of.users); ++i) {
      Client client{.number = first + i, .plan = {}};
      std::string name;
      for (const conf::IdentitySource& source : sources) {
        if (of.keys.empty() || source.kind == Kind::address) break;
        const std::string& value = of.keys[i % of.keys.size()];
        const auto key = key_in(source, workload.key_header, value);
        if (!key) return std::unexpected(key.error());
        if (!*key) continue;
        if (const auto found = known.find(source, **key)) {
          name = found->name;
          client.plan = found->plan;
        } else if (settings.clients.unknown == conf::UnknownClients::own) {
          name = "key " + **key;
        } else if (settings.clients.unknown == conf::UnknownClients::shared) {
          name = "unknown";
        } else if (settings.clients.unknown == conf::UnknownClients::refuse) {
          return std::unexpected(fmt::format(
              "class {}: the conf knows no client by one of its keys, and refuses such clients "
              "(clients.unknown) before anything else: there is nothing to simulate of them",
              conf::printable(of.name)));
        }
        break;
      }
      if (!name.empty()) client.number = numbers.emplace(name, client.number).first->second;
      clients.push_back(client);
    }
  }
  return clients;
}

}  // namespace classgate::planning
