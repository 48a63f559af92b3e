#include "gateway/first_look.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "conf/ascii.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using conf::CostSettings;
using conf::Reason;
using proxy::wire::Fault;
using proxy::wire::Framing;

// What a request says that it costs; 1 when it says nothing that is a number, the most when it is
// too large to read.
std::uint64_t stated_cost(const proxy::wire::Head& head, std::string_view name) {
  for (const proxy::wire::Field& field : head.fields) {
    if (!proxy::wire::equal_names(field.name, name)) continue;
    const std::string_view text = field.value;
    if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return 1;
    std::uint64_t cost = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cost);
    return error == std::errc{} ? cost : conf::cost_limit;
  }
  return 1;
}

// Whether the body is coded (RFC 9110 section 8.4): then what is in it cannot be told from outside,
// and may be a thousand times as much.
bool has_coding(const proxy::wire::Head& head) {
  return std::ranges::any_of(head.fields, [](const proxy::wire::Field& field) {
    return proxy::wire::equal_names(field.name, "content-encoding") && !field.value.empty() &&
           !proxy::wire::equal_names(field.value, "identity");
  });
}

// Whether what the body is said to be (RFC 9110 section 8.3) has items that are no JSON's, or is
// written in something else than ASCII or UTF-8. What is said to be nothing or plain text may be
// JSON.
bool has_other_items(const proxy::wire::Head& head) {
  const auto low = [](std::string_view text) {
    std::string out(text);
    for (char& c : out) c = conf::lower_case(c);
    return out;
  };
  const auto is_other = [&](std::string_view value) {
    const std::string text = low(value);
    std::string_view type(text);
    type = type.substr(0, type.find_first_of("; \t"));
    const bool may_be_json = type.contains("json") || type == "text/plain" || type.empty();
    if (!may_be_json) return true;
    for (std::size_t at = 0; (at = text.find("charset", at)) != std::string::npos;) {
      at = std::min(text.find_first_not_of(" \t='\"", at + 7), text.size());
      const std::string_view set = std::string_view(text).substr(at);
      if (!set.starts_with("utf-8") && !set.starts_with("utf8") && !set.starts_with("us-ascii") &&
          !set.starts_with("ascii"))
        return true;
    }
    return false;
  };
  return std::ranges::any_of(head.fields, [&](const proxy::wire::Field& field) {
    return proxy::wire::equal_names(field.name, "content-type") && is_other(field.value);
  });
}

// Begun ones count.
std::uint64_t units_of(std::uint64_t bytes, conf::Bytes unit) {
  return bytes / unit.count + (bytes % unit.count > 0 ? 1 : 0);
}

void set_cost(std::uint64_t cost, const conf::RouteSettings& route, admission::Arrival& arrival) {
  arrival.cost = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(cost, 1, route.cost_max));
  arrival.workers = admission::workers_for(arrival.cost, route.cost_per_worker);
}

}  // namespace

proxy::wire::HeadLimits head_limits_of(const conf::ClientSettings& client) {
  return {client.header_bytes.count, client.header_count, client.target_bytes.count};
}

Reason reason_of(Fault fault) {
  switch (fault) {
    case Fault::header_too_large: return Reason::header_too_large;
    case Fault::target_too_long: return Reason::target_too_long;
    case Fault::unknown_method: return Reason::unknown_method;
    case Fault::unknown_coding: return Reason::unknown_coding;
    case Fault::unsupported_version: return Reason::version_refused;
    default: return Reason::malformed;
  }
}

std::optional<Reason> read_request(const proxy::wire::Head& head,
                                   const conf::ClientSettings& client, Target& into) {
  if (head.method == "CONNECT") return Reason::method_refused;
  if (!read_target(head, client.strict_paths, into)) return Reason::malformed;
  if (head.expects_other) return Reason::expectation_failed;
  return std::nullopt;
}

bool takes_extended_connect(const conf::UpstreamSettings& upstream) {
  return upstream.websocket &&
         std::ranges::none_of(upstream.servers, [&](const conf::Address& server) {
           return server.is_http2 || (server.is_tls && upstream.offers_http2);
         });
}

void take_route(const admission::Route& route, admission::Arrival& arrival) {
  arrival.priority = route.priority;
  arrival.rate_limited = route.rate_limited;
  arrival.cost = route.cost;
  arrival.workers = route.workers;
  arrival.client_share = route.client_share;
  arrival.route = route.id;
}

std::uint64_t body_limit_of(const admission::Route& route, const conf::Settings& settings) {
  const auto& routes = settings.routes;
  if (route.index < routes.size() && routes[route.index].body_bytes)
    return routes[route.index].body_bytes->count;
  return settings.client.body_bytes.count;
}

std::optional<proxy::wire::Deadline> deadline_with(const proxy::wire::Head& head,
                                                   const admission::Route& route,
                                                   const conf::Settings& settings) {
  const auto& routes = settings.routes;
  std::optional<proxy::wire::Deadline> deadline;
  if (settings.admission.deadlines.from_client) deadline = proxy::wire::deadline_of(head);
  if (route.index < routes.size() && routes[route.index].deadline) {
    const admission::Duration usual = *routes[route.index].deadline;
    if (!deadline)
      deadline = {proxy::wire::Deadline::Form::plain, usual};
    else
      deadline->time = std::min<admission::Duration>(deadline->time, usual);
  }
  if (deadline)
    deadline->time =
        std::min<admission::Duration>(deadline->time, settings.admission.request_timeout);
  return deadline;
}

ClientIdentities::Identity recognise(const ClientIdentities& clients,
                                     const ClientIdentities::Facts& facts, std::string_view path,
                                     admission::Arrival& arrival) {
  const auto identity = clients.of(facts, arrival.route);
  if (identity.id == 0) return identity;
  const auto attempt = clients.retry_marks_of(facts.head, identity.id, path);
  arrival.client = identity.id;
  arrival.plan = identity.plan;
  arrival.client_kind = identity.is_of_network ? admission::ClientKind::of_network
                        : identity.is_known    ? admission::ClientKind::known
                                               : admission::ClientKind::unknown;
  arrival.is_retry = attempt.is_retry;
  arrival.attempt = attempt.key;
  return identity;
}

std::optional<Reason> reason_against(const ClientIdentities::Identity& identity) {
  if (identity.is_ambiguous) return Reason::malformed;
  // Nobody has looked whether the token is good: it must not be thrown away for that.
  if (identity.is_refused && identity.token_fault == TokenFault::too_many)
    return Reason::token_checks;
  if (identity.is_refused) return Reason::unknown_client;
  return std::nullopt;
}

CredentialFault credential_fault_of(const ClientIdentities::Identity& identity) {
  if (identity.is_ambiguous) return CredentialFault::ambiguous;
  if (identity.token_fault) return credential_fault_of(*identity.token_fault);
  if (identity.not_valid != nullptr) {
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    return now < identity.not_valid->not_before ? CredentialFault::client_not_yet
                                                : CredentialFault::client_expired;
  }
  if (identity.key_look == KeyLook::unknown && identity.source == nullptr)
    return CredentialFault::key_unknown;
  const bool has_told =
      identity.source != nullptr && identity.source->kind == conf::IdentitySource::Kind::jwt;
  if (identity.token_look != TokenLook::none && !has_told && identity.key_look == KeyLook::none)
    return CredentialFault::names_nobody;
  return CredentialFault::none;
}

bool estimate_cost(const proxy::wire::Head& head, const conf::RouteSettings& route,
                   admission::Arrival& arrival) {
  const CostSettings& cost = route.cost;
  if (cost.kind == CostSettings::Kind::header) {
    set_cost(stated_cost(head, cost.header), route, arrival);
    return false;
  }
  const bool is_items = cost.kind == CostSettings::Kind::items;
  if (head.framing != Framing::none && (has_coding(head) || (is_items && has_other_items(head)))) {
    set_cost(route.cost_max, route, arrival);
    return false;
  }
  const bool body_tells = head.framing != Framing::none && (is_items || !head.has_content_length);
  const bool is_unknown = is_items || body_tells;
  set_cost(is_unknown ? 1 : units_of(head.content_length, cost.unit), route, arrival);
  return body_tells;
}

void weigh_body(std::uint64_t bytes, std::uint64_t items, const conf::RouteSettings& route,
                admission::Arrival& arrival) {
  const auto charged = static_cast<std::int32_t>(arrival.cost);
  if (route.cost.kind == CostSettings::Kind::items)
    set_cost(items, route, arrival);
  else if (route.cost.kind == CostSettings::Kind::body)
    set_cost(units_of(bytes, route.cost.unit), route, arrival);
  arrival.cost_found = static_cast<std::int32_t>(arrival.cost) - charged;
}

admission::Duration time_to_next_probe(const conf::UpstreamSettings& upstream) {
  const auto interval = !upstream.check.is_on() ? upstream.probe_interval : upstream.check.interval;
  return std::max<admission::Duration>(interval, std::chrono::seconds(1));
}

admission::Duration time_to_hold(const conf::UpstreamSettings& upstream,
                                 const proxy::Servers& servers, admission::Time now) {
  if (upstream.hold.count() == 0 || !servers.none_reachable()) return {};
  // None that was ever up, or looked up: that is no restart.
  const admission::Time since = servers.down_since();
  if (since == admission::Time::min()) return {};
  return std::max<admission::Duration>(since + upstream.hold - now, admission::Duration::zero());
}

}  // namespace classgate::gateway
