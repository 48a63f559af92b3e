#include "gateway/ops/explanation.h"

#include <array>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/time_zone.h"
#include "conf/words.h"
#include "gateway/clients/pseudonym.h"
#include "gateway/first_look.h"
#include "gateway/health.h"
#include "gateway/json_text.h"
#include "gateway/ops/client_list.h"
#include "proxy/wire/fields.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {
namespace {

using admission::Duration;
using conf::Reason;
using nlohmann::ordered_json;
using proxy::wire::Head;

ordered_json refused(const Refusals& refusals, Reason reason, Duration retry_after = {}) {
  ordered_json seconds = nullptr;  // as in the field Retry-After
  if (retry_after > Duration::zero())
    seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
  return {{"answer", "refused"},
          {"status", refusals.status(reason)},
          {"reason", conf::word_of(reason)},
          {"title", conf::text_of(reason).title},
          {"retry_after", seconds}};
}

ordered_json route_json(const admission::Route& route, const conf::Settings& settings) {
  const auto& routes = settings.routes;
  const std::string_view match = route.index >= routes.size()    ? "none"
                                 : routes[route.index].is_prefix ? "prefix"
                                                                 : "exact";
  return {{"rule", route.name}, {"match", match}, {"rate_limited", route.rate_limited}};
}

// As in fairness.identity; "unknown": it is the one client that all are who are not known.
std::string source_word(const ClientIdentities::Identity& identity) {
  if (identity.is_of_all_unknown) return "unknown";
  return identity.source == nullptr ? "address" : conf::word_of(*identity.source);
}

// Why a key does not say who is asking; empty: it does, or there is none.
std::string_view key_word(const ClientIdentities::Identity& identity) {
  if (identity.key_look == KeyLook::not_valid) return "not_valid";
  return identity.key_look == KeyLook::unknown && identity.source == nullptr ? "unknown" : "";
}

// Whose it is that is not valid now, and when it is: each to the second, the last one included.
ordered_json validity_json(const conf::KnownClient& client) {
  const conf::TimeZone utc;
  ordered_json not_before, not_after;
  if (client.not_before != std::chrono::sys_seconds::min())
    not_before = utc.text_of(client.not_before);
  if (client.not_after != std::chrono::sys_seconds::max())
    not_after = utc.text_of(client.not_after - std::chrono::seconds(1));
  return {{"name", client.name},
          {"not_before", std::move(not_before)},
          {"not_after", std::move(not_after)}};
}

// Why a token does not say who is asking; empty: it does, or there is none.
std::string_view token_word(const ClientIdentities::Identity& identity) {
  if (identity.token_fault) return word_of(*identity.token_fault);
  const bool has_told =
      identity.source != nullptr && identity.source->kind == conf::IdentitySource::Kind::jwt;
  if (identity.token_look == TokenLook::none || has_told) return "";
  return identity.not_valid != nullptr && identity.key_look == KeyLook::none ? "not_valid"
                                                                             : "names_nobody";
}

ordered_json client_json(const ClientIdentities::Identity& identity,
                         const admission::Explanation& said, const admission::Ids& ids) {
  if (!said.client) return nullptr;
  const admission::ClientTable::Look& now = *said.client;
  const bool is_new = now.number == admission::ClientTable::newcomer;
  return {{"id", pseudonym_of(identity.id)},
          {"name", identity.client == nullptr ? ordered_json(nullptr)
                                              : ordered_json(identity.client->name)},
          {"source", source_word(identity)},
          {"plan", plan_name(now.plan, ids)},
          {"state", now.is_shared() ? "shared"
                    : is_new        ? "new"
                                    : "known"},
          {"active_workers", now.active},
          {"workers", now.active_max},
          {"waiting", now.waiting},
          {"queue_size", now.waiting_max},
          {"is_retry", said.is_retry},
          {"may_retry", now.may_retry}};
}

std::string_view cost_source(const admission::Route& route, const conf::Settings& settings) {
  if (!route.cost_varies) return "fixed";
  switch (settings.routes[route.index].cost.kind) {
    case conf::CostSettings::Kind::header: return "header";
    case conf::CostSettings::Kind::body: return "body";
    case conf::CostSettings::Kind::items: return "items";
    default: return "fixed";
  }
}

// The shortest of what the client says, the route and the gateway allow.
ordered_json deadline_json(const std::optional<proxy::wire::Deadline>& deadline,
                           const admission::Route& route, const conf::Settings& settings) {
  const Duration longest = settings.admission.request_timeout;
  const Duration time = deadline ? deadline->time : longest;
  std::string_view source = "request_timeout";
  if (time < longest) {
    const auto& routes = settings.routes;
    const bool is_routes = route.index < routes.size() && routes[route.index].deadline == time;
    source = is_routes ? "route" : "client";
  }
  return {{"time_ms", measure::in_rounded_ms(time)}, {"source", source}};
}

double rounded(double tokens) { return std::round(tokens * 1000) / 1000; }

// What the request must leave to others: null where that is nothing.
ordered_json kept_json(const admission::Limits::Bucket& bucket) {
  const bool is_for_due = bucket.kept_for_due > bucket.kept_for_content;
  const double tokens = is_for_due ? bucket.kept_for_due : bucket.kept_for_content;
  if (tokens <= 0) return nullptr;
  return {{"for", is_for_due ? "due" : "content"},
          {"tokens", rounded(tokens)},
          {"comes_early", bucket.coming == admission::Coming::early}};
}

// `told_in_ms`: when one that is refused because of it is told to come.
ordered_json buckets_json(const admission::Explanation& said) {
  ordered_json list = ordered_json::array();
  const auto add = [&](std::string_view of, const auto& bucket, Reason reason) {
    if (!bucket) return;
    const bool is_refused =
        said.kind == admission::Explanation::Kind::refused && said.rejection.reason == reason;
    list.push_back({{"of", of},
                    {"tokens", rounded(bucket->there)},
                    {"burst", rounded(bucket->burst)},
                    {"rate", rounded(bucket->rate)},
                    {"short_for_ms", measure::in_rounded_ms(bucket->wait)},
                    {"kept", kept_json(*bucket)},
                    {"told_in_ms",
                     is_refused ? ordered_json(measure::in_rounded_ms(said.rejection.retry_after))
                                : ordered_json(nullptr)}});
  };
  add("all", said.buckets.all, Reason::rate_limited);
  add("route", said.buckets.route, Reason::route_rate);
  add("client", said.buckets.client, Reason::client_rate);
  add("pattern", said.buckets.pattern, Reason::client_pattern);
  return list;
}

// Of a bucket of which this gateway has a part: the rate of all gateways together.
void add_shared_rates(ordered_json& buckets, const SharingHealth& sharing,
                      const std::string& route) {
  for (ordered_json& bucket : buckets)
    for (const SharingHealth::Rate& rate : sharing.rates)
      if (rate.route.empty() ? bucket.at("of") == "all"
                             : bucket.at("of") == "route" && rate.route == route)
        bucket["rate_of_all_gateways"] = rate.rate;
}

// What is usual for its client; null: nobody asks for that.
ordered_json pattern_json(const admission::Explanation& said) {
  if (!said.pattern) return nullptr;
  constexpr std::array<std::string_view, 4> grounds{"learning", "newcomer", "shared", "usual"};
  const admission::ClientPatterns::Look& look = *said.pattern;
  return {{"ground", grounds[static_cast<std::size_t>(look.ground)]},
          {"usual", rounded(look.usual)},
          {"allowed", rounded(look.rate)},
          {"service_is_short", said.is_short}};
}

// Null as long as no request has come to an end: then nothing is known.
ordered_json wait_json(const admission::Explanation& said) {
  if (said.work <= Duration::zero()) return nullptr;
  return measure::in_rounded_ms(said.wait);
}

// From what on to what three in four of those who are told so wait.
ordered_json wait_range_json(const admission::Explanation& said) {
  if (said.work <= Duration::zero()) return nullptr;
  return ordered_json::array(
      {measure::in_rounded_ms(said.wait_least), measure::in_rounded_ms(said.wait_most)});
}

ordered_json verdict_json(const admission::Explanation& said, const Refusals& refusals) {
  using Kind = admission::Explanation::Kind;
  if (said.kind == Kind::refused)
    return refused(refusals, said.rejection.reason, said.rejection.retry_after);
  if (said.kind == Kind::admitted) return {{"answer", "admitted"}};
  return {{"answer", "waits"},
          {"place", said.place},
          {"wait_ms", wait_json(said)},
          {"takes_anothers_place", said.displaces}};
}

std::vector<QuotaState> quotas_of(const admission::Arrival& arrival, const Rules& rules,
                                  const Quotas* quotas) {
  const PlanQuota* const plan = rules.quota_of(arrival.plan);
  if (plan == nullptr || quotas == nullptr || arrival.client == 0 || !arrival.rate_limited)
    return {};
  return quotas->table().look(arrival.client, *plan, Quotas::now(),
                              arrival.client_kind == admission::ClientKind::known);
}

std::string_view word_of(QuotaPeriod kind) { return kind == QuotaPeriod::day ? "day" : "month"; }

// As Exchange::count_for_quota() finds it; null: it is within them.
ordered_json quota_verdict(const std::vector<QuotaState>& quotas, const admission::Arrival& arrival,
                           const PlanQuota* plan, const Refusals& refusals) {
  if (quotas.empty()) return nullptr;
  const auto beyond = QuotaTable::beyond(quotas, plan->quota.unit, arrival.cost);
  if (!beyond) return nullptr;
  if (!beyond->is_too_small) return refused(refusals, Reason::quota, beyond->end - Quotas::now());
  ordered_json never = refused(refusals, Reason::quota);
  never["detail"] = fmt::format("it costs more than the whole quota of a {}: {} of {}",
                                word_of(beyond->kind), arrival.cost, beyond->limit);
  return never;
}

ordered_json quotas_json(const std::vector<QuotaState>& quotas, const PlanQuota* plan) {
  ordered_json list = ordered_json::array();
  for (const QuotaState& quota : quotas)
    list.push_back({{"of", word_of(quota.kind)},
                    {"unit", conf::word_of(plan->quota.unit)},
                    {"limit", quota.limit},
                    {"soft", quota.soft},
                    {"used", quota.used},
                    {"renews_at", conf::TimeZone().text_of(quota.end)}});
  return list;
}

void add_admission(ordered_json& json, const admission::Explanation& said) {
  json["buckets"] = buckets_json(said);
  json["pattern"] = pattern_json(said);
  json["workers"] = {{"limit", said.workers},
                     {"active", said.active},
                     {"wanted", said.wanted},
                     {"active_of_priority", said.active_of_priority},
                     {"reserved_for_priority", said.reserved_for_priority}};
  json["queue"] = {{"limit", said.queue_limit},
                   {"waiting", said.waiting},
                   {"bytes", said.waiting_bytes},
                   {"bytes_limit", said.waiting_bytes_limit}};
  json["estimate"] = {{"wait_ms", wait_json(said)},
                      {"wait_range_ms", wait_range_json(said)},
                      {"work_ms", measure::in_rounded_ms(said.work)},
                      {"most_work_ms", measure::in_rounded_ms(said.most_work)},
                      {"is_doubted", said.is_a_try}};
  json["observed"] = ordered_json::array();
  if (said.observed) json["observed"].push_back(conf::word_of(*said.observed));
}

// How many of the servers are in each state.
ordered_json upstream_json(const proxy::Servers& servers, admission::Time now) {
  std::array<std::uint64_t, ServerHealth::state_words.size()> counts{};
  for (std::size_t i = 0; i < servers.count(); ++i)
    ++counts[static_cast<std::size_t>(state_of(servers, i, now))];
  ordered_json json = ordered_json::object();
  for (std::size_t i = 0; i < counts.size(); ++i)
    json[std::string(ServerHealth::state_words[i])] = counts[i];
  return json;
}

// Fills in what is found on the way to the verdict, which may come early.
ordered_json judge(const Supposition& request, const Head& head, const Shared& shared,
                   const Policy& policy, admission::Time now, ordered_json& json) {
  const conf::Settings& settings = policy.rules->settings;
  const bool is_trusted = policy.rules->trusted_proxies.include(request.sender);
  const conf::IpAddress address =
      is_trusted ? policy.rules->trusted_proxies.real_client(head, request.sender) : request.sender;
  json["request"] = {{"method", head.method},
                     {"target", head.target},
                     {"path", nullptr},
                     {"address", address.text()},
                     {"sender_is_trusted", is_trusted}};
  const Refusals& general = policy.rules->refusals_of(nullptr, request.listener);
  Target target;
  const auto unreadable = read_request(head, settings.client, target);
  if (unreadable && target.path_size == 0) return refused(general, *unreadable);
  json["request"]["path"] = target.path();
  const admission::Route& route = policy.rules->routes.find(target.path());
  const Refusals& refusals = policy.rules->refusals_of(&route.id, request.listener);
  if (unreadable) return refused(refusals, *unreadable);
  if (proxy::wire::has_been_through(head, shared.via_name))
    return refused(refusals, Reason::loop_detected);
  if (policy.rules->cors.is_on() && Cors::is_preflight(head)) {
    if (head.content_length > settings.client.body_bytes.count)
      return refused(general, Reason::body_too_large);
    return {{"answer", "operator"}};
  }
  if (settings.ops.health_on_main && target.path() == health_path) {
    if (head.method != "GET" && head.method != "HEAD")
      return refused(general, Reason::method_refused);
    if (head.content_length > settings.client.body_bytes.count)
      return refused(general, Reason::body_too_large);
    return {{"answer", "operator"}};
  }
  if (proxy::wire::max_forwards(head) == 0) {  // TRACE and OPTIONS get no further
    if (head.content_length > settings.client.body_bytes.count)
      return refused(general, Reason::body_too_large);
    return {{"answer", "operator"}};
  }
  admission::Arrival arrival{.bytes = head.content_length, .at = now};
  take_route(route, arrival);
  json["route"] = route_json(route, settings);
  json["priority"] = route.priority;
  const auto deadline = deadline_with(head, route, settings);
  if (deadline) arrival.deadline = now + deadline->time;
  json["deadline"] = deadline_json(deadline, route, settings);
  if (head.content_length > body_limit_of(route, settings))
    return refused(refusals, Reason::body_too_large);
  ClientIdentities::Identity identity;
  if (policy.rules->clients.is_on())
    identity = recognise(policy.rules->clients,
                         {.head = head,
                          .address = address,
                          .tls_subject = request.tls_subject,
                          .tls_san = request.tls_san,
                          .listener = request.listener},
                         target.path(), arrival);
  if (const auto token = token_word(identity); !token.empty()) json["token"] = token;
  if (const auto key = key_word(identity); !key.empty()) json["key"] = key;
  if (const auto fault = credential_fault_of(identity); fault != CredentialFault::none)
    json["credentials"] = gateway::word_of(fault);
  if (identity.not_valid != nullptr) json["not_valid"] = validity_json(*identity.not_valid);
  if (const auto reason = reason_against(identity)) return refused(refusals, *reason);
  const bool body_tells =
      route.cost_varies && estimate_cost(head, settings.routes[route.index], arrival);
  json["cost"] = {{"tokens", arrival.cost},
                  {"source", cost_source(route, settings)},
                  {"rest_is_in_body", body_tells}};
  const auto quotas = quotas_of(arrival, *policy.rules, policy.quotas.get());
  json["quotas"] = quotas_json(quotas, policy.rules->quota_of(arrival.plan));
  const admission::Explanation said = shared.gate.explain(arrival, now);
  json["priority"] = said.priority;
  json["client"] = client_json(identity, said, policy.rules->ids);
  add_admission(json, said);
  add_shared_rates(json["buckets"], shared.sharing.health(), route.name);
  json["upstream"] = upstream_json(*policy.servers, now);
  const Duration hold = time_to_hold(settings.upstream, *policy.servers, now);
  if (policy.servers->none_reachable() && hold == Duration::zero())
    return refused(refusals, Reason::upstream_down, time_to_next_probe(settings.upstream));
  if (ordered_json beyond =
          quota_verdict(quotas, arrival, policy.rules->quota_of(arrival.plan), refusals);
      !beyond.is_null())
    return beyond;
  ordered_json verdict = verdict_json(said, refusals);
  if (hold > Duration::zero()) verdict["held_ms"] = measure::in_rounded_ms(hold);
  return verdict;
}

}  // namespace

std::expected<std::string, std::string> explain(const Supposition& request, const Shared& shared,
                                                const Policy& policy, admission::Time now) {
  using proxy::wire::Parser;
  const proxy::wire::HeadLimits limits = head_limits_of(policy.rules->settings.client);
  Parser parser;
  parser.begin(Parser::Kind::request, limits);
  const Parser::Progress progress = parser.parse_head(request.head);
  if (progress == Parser::Progress::need_more)
    return std::unexpected("the head of the request is not complete");
  ordered_json json;
  if (progress == Parser::Progress::fault) {
    json["verdict"] =
        refused(policy.rules->refusals_of(nullptr, request.listener), reason_of(parser.fault()));
  } else {
    if (parser.head_size() != request.head.size())
      return std::unexpected("something follows the head of the request");
    ordered_json verdict = judge(request, parser.head(), shared, policy, now, json);
    json["verdict"] = std::move(verdict);
  }
  return json_text(json);
}

}  // namespace classgate::gateway
