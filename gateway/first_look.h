#pragma once

// What the head of a request says under the conf in force, before admission is asked: which rules
// it breaks, how long it may take, who sends it, what it costs. The Exchange, which serves it, and
// `classgate explain`, which does not, ask here both. Any thread.

#include <cstdint>
#include <optional>
#include <string_view>

#include "admission/route_table.h"
#include "admission/verdict.h"
#include "gateway/clients/client_identity.h"
#include "gateway/target.h"
#include "proxy/servers.h"
#include "proxy/wire/deadline.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {

proxy::wire::HeadLimits head_limits_of(const conf::ClientSettings& client);
conf::Reason reason_of(proxy::wire::Fault fault);

// What makes it impossible wherever it goes; where it goes, if nothing does.
std::optional<conf::Reason> read_request(const proxy::wire::Head& head,
                                         const conf::ClientSettings& client, Target& into);

void take_route(const admission::Route& route, admission::Arrival& arrival);
std::uint64_t body_limit_of(const admission::Route& route, const conf::Settings& settings);

// Whether an extended CONNECT (RFC 8441) can be served. WebSocket is asked for by HTTP/1: not where
// a server may speak HTTP/2.
bool takes_extended_connect(const conf::UpstreamSettings& upstream);

// The client's, if it is believed, and the route's: the shorter. It only ever shortens the request
// timeout.
std::optional<proxy::wire::Deadline> deadline_with(const proxy::wire::Head& head,
                                                   const admission::Route& route,
                                                   const conf::Settings& settings);

// Which client it is to admission, and whether it has asked this before. The arrival has its route.
ClientIdentities::Identity recognise(const ClientIdentities& clients,
                                     const ClientIdentities::Facts& facts, std::string_view path,
                                     admission::Arrival& arrival);
// Why it is not let in, if it is not.
std::optional<conf::Reason> reason_against(const ClientIdentities::Identity& identity);
// Why what it names itself by does not say who it is; none: it does, or it has nothing.
CredentialFault credential_fault_of(const ClientIdentities::Identity& identity);

// What the head says; where only the body can tell, the least, until that is here: then true.
bool estimate_cost(const proxy::wire::Head& head, const conf::RouteSettings& route,
                   admission::Arrival& arrival);
// By what the body has brought so far; what that makes it cost more, or less.
void weigh_body(std::uint64_t bytes, std::uint64_t items, const conf::RouteSettings& route,
                admission::Arrival& arrival);

// When the upstream is down: it will not be found up before.
admission::Duration time_to_next_probe(const conf::UpstreamSettings& upstream);
// No server is up: for how long requests still wait for one (upstream.hold). Zero: they don't.
admission::Duration time_to_hold(const conf::UpstreamSettings& upstream,
                                 const proxy::Servers& servers, admission::Time now);

}  // namespace classgate::gateway
