#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "admission/ids.h"
#include "admission/route_table.h"
#include "conf/identity.h"
#include "conf/settings.h"
#include "gateway/clients/client_identity.h"
#include "gateway/clients/credentials.h"
#include "gateway/clients/quotas.h"
#include "gateway/cors.h"
#include "gateway/logged_fields.h"
#include "gateway/refusal.h"
#include "gateway/trusted_proxies.h"
#include "proxy/net/tls_context.h"
#include "proxy/servers.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {

// How the conf came to be what it is; for operators.
struct ConfHistory {
  std::uint64_t reloads = 0;
  std::uint64_t failed_reloads = 0;
  bool last_failed = false;
  std::string last_error;  // of a failed one: every mistake, a line each
  // The conf in force was read.
  std::chrono::system_clock::time_point read_at = std::chrono::system_clock::now();
  // Keys set by `classgate set`, until the next reload, with their values.
  std::vector<std::pair<std::string, std::string>> set_at_run_time;
};

// What one conf says, ready for use; immutable, and shared by all the policies of this conf.
struct Rules {
  // `own_ids` follow those of the rules before, if there were any. `limit`: max_connections, or
  // what descriptors allow.
  Rules(const conf::Settings& all, admission::Ids own_ids, std::uint32_t limit,
        const HashKey& hash_key, std::uint64_t own_generation = 1)
      : settings(all),
        generation(own_generation),
        ids(std::move(own_ids)),
        routes(all.routes, ids),
        refusals(all.statuses, all.client.refusal_body, challenges_of(all, nullptr, nullptr)),
        trusted_proxies(all.client.trusted_proxies),
        clients(all, ids, hash_key),
        logged_fields(all.log, conf::identity_sources(all)),
        cors(all.cors),
        connection_limit(limit),
        connections_per_address(part_of(limit, all.client)),
        claims_(all.client.strip),
        never_trailers_(names_decided_by(all)) {
    RefusalsByTerms known;  // those that differ in their challenges have the same texts
    known.emplace(std::pair(settings.statuses, settings.client.refusal_body), refusals);
    for (const conf::ListenerSettings& listener : settings.listeners)
      if (listener.refusal_body || listener.identity)
        listener_terms_.push_back({&listener, make_refusals(known, nullptr, &listener)});
    for (const conf::RouteSettings& route : settings.routes)
      *route_terms_.find_or_add(ids.route(conf::name_of(route))) = terms_of(route, known);
    for (const conf::PlanSettings& plan : settings.admission.fairness.plans) {
      if (!plan.quota.is_any()) continue;
      quotas_.emplace_back(plan.name, plan.quota);
      *quota_places_.find_or_add(ids.plan(plan.name)) = quotas_.size() - 1;
    }
  }
  Rules(const Rules&) = delete;  // they point into themselves
  Rules& operator=(const Rules&) = delete;

  const conf::Settings settings;
  const std::uint64_t generation;  // 1 at the start; a reload or `classgate set` makes the next
  const admission::Ids ids;        // the same that the Gate has
  const admission::RouteTable routes;
  const Refusals refusals;
  const TrustedProxies trusted_proxies;
  const ClientIdentities clients;
  const LoggedFields logged_fields;
  const Cors cors;
  const std::uint32_t connection_limit;  // max_connections, or what descriptors allow
  // The same part of that as client.connections_per_address is of max_connections; 0: no limit.
  const std::uint32_t connections_per_address;

  // Null: the catch-all, or a route that was in a former conf.
  const conf::RouteSettings* settings_of(admission::RouteId route) const {
    const RouteTerms* const terms = route_terms_.find(route);
    return terms ? terms->settings : nullptr;
  }
  // Statuses, body and challenge: each the route's, else the listener's, else everybody's. Null: no
  // route yet, or no listener that has something of its own.
  const Refusals& refusals_of(const admission::RouteId* route,
                              const ClientIdentities::Listener* listener) const {
    const RouteTerms* const terms = route != nullptr ? route_terms_.find(*route) : nullptr;
    for (std::size_t i = 0; i < listener_terms_.size() && listener != nullptr; ++i)
      if (const ListenerTerms& own = listener_terms_[i]; listener->is(*own.listener))
        return terms && terms->refusals ? *terms->by_listener[i] : own.refusals;
    return terms && terms->refusals ? *terms->refusals : refusals;
  }
  // With clients that have connected there; null: at no address of `listen`.
  bool speaks_http2(const ClientIdentities::Listener* listener) const {
    for (const conf::ListenerSettings& one : settings.listeners)
      if (one.speaks_http2 && listener != nullptr && listener->is(one)) return *one.speaks_http2;
    return settings.speaks_http2;
  }
  // Null: its clients have as much as they want.
  const PlanQuota* quota_of(admission::PlanId plan) const {
    const std::size_t* const place = quota_places_.find(plan);
    return place ? &quotas_[*place] : nullptr;
  }
  const std::vector<PlanQuota>& quotas() const { return quotas_; }
  // What further fields of requests only trusted proxies may send on; null: none.
  const proxy::wire::FieldNames* also_claims() const {
    return claims_.is_empty() ? nullptr : &claims_;
  }
  // Of a request: what is decided by fields of this name is decided by its head. (Which fields no
  // message may have as a trailer: proxy/wire/fields.h.)
  bool may_be_trailer(std::string_view name) const {
    return never_trailers_.id_of(name) == proxy::wire::FieldId::other;
  }

 private:
  // Of client.strip, and by which clients name themselves or say what they cost.
  static std::vector<std::string> names_decided_by(const conf::Settings& all) {
    std::vector<std::string> names = all.client.strip;
    for (const conf::IdentitySource& source : conf::identity_sources(all))
      if (source.kind == conf::IdentitySource::Kind::header) names.push_back(source.name);
    if (all.jwt.from.kind == conf::IdentitySource::Kind::header) names.push_back(all.jwt.from.name);
    for (const conf::RouteSettings& route : all.routes)
      if (!route.cost.header.empty()) names.push_back(route.cost.header);
    return names;
  }
  struct RouteTerms {
    const conf::RouteSettings* settings = nullptr;
    std::shared_ptr<const Refusals> refusals{};                  // null: it has none of its own
    std::vector<std::shared_ptr<const Refusals>> by_listener{};  // likewise, by listener_terms_
  };
  // Of a listener with a body or an identity of its own.
  struct ListenerTerms {
    const conf::ListenerSettings* listener;
    Refusals refusals;
  };
  using RefusalsByTerms = std::map<std::pair<conf::StatusTable, conf::RefusalBody>, Refusals>;
  // By what may tell who asks there: what ClientIdentities reads.
  static Challenges challenges_of(const conf::Settings& all, const conf::RouteSettings* route,
                                  const conf::ListenerSettings* listener) {
    const auto& identity = route != nullptr && route->identity ? *route->identity
                           : listener != nullptr && listener->identity
                               ? *listener->identity
                               : all.admission.fairness.identity;
    return {.usual = challenge_of(identity, all.jwt.from),
            .of_bad_token = challenge_of(identity, all.jwt.from, true)};
  }
  // Null: no route, or no listener, that has something of its own.
  Refusals make_refusals(RefusalsByTerms& known, const conf::RouteSettings* route,
                         const conf::ListenerSettings* listener) const {
    conf::StatusTable statuses = settings.statuses;
    conf::RefusalBody body = settings.client.refusal_body;
    if (listener != nullptr) body = listener->refusal_body.value_or(body);
    if (route != nullptr) {
      body = route->refusal_body.value_or(body);
      for (const auto& [reason, status] : route->statuses)
        statuses[conf::index_of(reason)] = status;
    }
    const auto same = known.try_emplace({statuses, body}, statuses, body).first;
    return same->second.with(challenges_of(settings, route, listener));
  }
  RouteTerms terms_of(const conf::RouteSettings& route, RefusalsByTerms& known) const {
    RouteTerms terms{.settings = &route};
    if (!route.refusal_body && route.statuses.empty() && !route.identity) return terms;
    const auto on = [&](const conf::ListenerSettings* listener) {
      return std::make_shared<const Refusals>(make_refusals(known, &route, listener));
    };
    terms.refusals = on(nullptr);
    for (const ListenerTerms& own : listener_terms_) terms.by_listener.push_back(on(own.listener));
    return terms;
  }
  static std::uint32_t part_of(std::uint64_t limit, const conf::ClientSettings& client) {
    if (client.connections_per_address == 0) return 0;
    const std::uint64_t most = std::min(client.connections_per_address, client.max_connections);
    return static_cast<std::uint32_t>(
        std::max<std::uint64_t>(most * limit / client.max_connections, 1));
  }

  const proxy::wire::FieldNames claims_;
  const proxy::wire::FieldNames never_trailers_;
  std::vector<ListenerTerms> listener_terms_;
  admission::ById<admission::RouteId, RouteTerms> route_terms_;
  std::vector<PlanQuota> quotas_;
  admission::ById<admission::PlanId, std::size_t> quota_places_;  // in these
};

// What is in force: the rules of a conf, and what may change without another one. Immutable: a
// change makes a new one of the parts that stay and the one that does not, and sends it to every
// loop, so that a loop never sees half of a change.
struct Policy {
  // Both null when nobody wants them.
  struct Tls {
    std::shared_ptr<const proxy::net::TlsAcceptor> clients;
    std::shared_ptr<const proxy::net::TlsConnector> upstream;
  };

  std::shared_ptr<const Rules> rules;
  std::shared_ptr<proxy::Servers> servers;  // what is known of them outlives a reload
  Tls tls;
  std::shared_ptr<Quotas> quotas{};  // null: no conf so far had one
  ConfHistory history;               // for operators: no loop needs to hear of it
};

}  // namespace classgate::gateway
