// What the head of a request says: who asks, for what, at which cost, and what goes on to the
// service.

#include "gateway/exchange.h"
#include "gateway/first_look.h"
#include "gateway/health.h"
#include "gateway/station.h"
#include "proxy/wire/fields.h"
#include "proxy/wire/serialise.h"

namespace classgate::gateway {
namespace {

using conf::Reason;
using proxy::wire::Framing;

constexpr std::size_t request_id_max = 128;

bool is_idempotent(std::string_view method) {  // RFC 9110 section 9.2.2, RFC 10008
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" ||
         method == "OPTIONS" || method == "TRACE" || method == "QUERY";
}

bool is_valid_request_id(std::string_view id) {
  if (id.empty() || id.size() > request_id_max) return false;
  for (const char c : id) {
    const bool is_fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' || c == ':' ||
                         c == '/' || c == '+' || c == '=';
    if (!is_fine) return false;
  }
  return true;
}

// Upgrade is no field of HTTP/2: it is Http2Head's word for it.
bool is_extended_connect(const proxy::wire::Head& head) {
  return head.came_by_http2 && head.has(proxy::wire::set_of(proxy::wire::FieldId::upgrade));
}

}  // namespace

bool Exchange::note_head(const proxy::wire::Head& head) {
  arrival_.at = station_.loop().now();
  arrival_.owner = station_.number();
  arrival_.tag = tag_;
  texts_.method = head.method;
  request_.is_head = head.method == "HEAD";
  request_.is_idempotent = is_idempotent(head.method);
  request_.framing = head.framing;
  request_.length = head.content_length;
  request_.says_zero_length = head.has_content_length && head.content_length == 0;
  request_.is_whole = false;
  request_.body_limit = station_.settings().client.body_bytes.count;
  note_client(head);
  choose_request_id(head);
  if (station_.shared().access_log.is_on()) texts_.noted.note(head, station_.rules().logged_fields);
  if (station_.rules().cors.is_on()) note_origin(head);
  return true;
}

// For the log and `why`: the answer is everybody's, whatever its route says. Fields count where
// nothing is wrong with them.
void Exchange::note_unreadable(Reason reason, const UnreadableHead& so_far) {
  static const proxy::wire::Head nothing;
  const bool are_fields_good = so_far.is_whole && reason == Reason::unknown_coding;
  const proxy::wire::Head& head = so_far.head != nullptr ? *so_far.head : nothing;
  const proxy::wire::Head& fields = are_fields_good ? head : nothing;
  request_.is_unreadable = true;
  note_client(fields);
  choose_request_id(fields);
  texts_.method = head.method;
  if (head.target.empty() || !read_target(head, station_.settings().client.strict_paths, target_)) {
    target_.path_size = 0;
    return;
  }
  find_route();
  if (!are_fields_good) return;
  if (station_.shared().access_log.is_on()) texts_.noted.note(head, station_.rules().logged_fields);
  if (station_.rules().clients.is_on()) (void)recognise_client(head);
}

void Exchange::note_origin(const proxy::wire::Head& head) {
  request_.cors = station_.rules().cors.terms();
  texts_.origin = station_.rules().cors.allowed_origin(head);
}

// What the head alone makes impossible, and where it goes.
bool Exchange::judge(const proxy::wire::Head& head) {
  const auto refuse_as = [&](Reason reason) {
    refuse(reason);
    return false;
  };
  if (const auto reason = read_request(head, station_.settings().client, target_)) {
    if (*reason == Reason::malformed) request_.is_given_up = true;  // as everything malformed
    note_known(head);
    return refuse_as(*reason);
  }
  if (proxy::wire::has_been_through(head, station_.shared().via_name)) {
    note_known(head);
    return refuse_as(Reason::loop_detected);
  }
  if (client_->client().proof == proxy::net::TlsProof::refuted) {
    note_known(head);
    request_.has_bad_token = false;
    facts_.credentials = CredentialFault::certificate;
    return refuse_as(Reason::unknown_client);
  }
  request_.must_switch = is_extended_connect(head);
  // A reload may have taken away what its connection was offered.
  if (request_.must_switch && !takes_extended_connect(station_.settings().upstream)) {
    note_known(head);
    return refuse_as(Reason::method_refused);
  }
  if (!request_.must_switch && answers_here(head)) {
    const bool is_health = request_.answered_here == AnsweredHere::health;
    const bool is_read = head.method == "GET" || head.method == "HEAD";
    const bool is_too_large = head.content_length > request_.body_limit;
    if ((!is_health || is_read) && !is_too_large) return true;
    request_.answered_here.reset();
    return refuse_as(is_health && !is_read ? Reason::method_refused : Reason::body_too_large);
  }
  const admission::Route& route = find_route();
  answer_.terms = answer_terms_of(route, station_.settings());
  arrival_.bytes = request_.length;
  request_.deadline = deadline_with(head, route, station_.settings());
  if (request_.deadline) {
    arrival_.deadline = arrival_.at + request_.deadline->time;
    visit_.wants_answer_by(arrival_.deadline);
  }
  request_.body_limit = body_limit_of(route, station_.settings());
  const bool is_too_large = head.content_length > request_.body_limit;  // whoever sends it
  if (station_.rules().clients.is_on())
    if (const auto reason = recognise_client(head); reason && !is_too_large) {
      request_.is_given_up = *reason == Reason::malformed;
      if (*reason != Reason::token_checks) return refuse_as(*reason);
      refuse(*reason, std::chrono::seconds(1));  // jwt.checks_max is for each second
      return false;
    }
  if (is_too_large) return refuse_as(Reason::body_too_large);
  if (route.cost_varies) note_cost(head, station_.settings().routes[route.index]);
  if (station_.settings().upstream.repeat_window.count() > 0) note_repeat(head);
  if (station_.upstreams().servers().none_reachable() && !station_.holds()) {
    count_demand();
    refuse(Reason::upstream_down, time_to_next_probe(station_.settings().upstream));
    return false;
  }
  return count_for_quota();
}

const admission::Route& Exchange::find_route() {
  const admission::Route& route = station_.rules().routes.find(target_.path());
  route_ = &station_.metrics_of(route);
  take_route(route, arrival_);
  return route;
}

// Of what is refused before anybody asks where it goes and who sends it: its route may say with
// which status, and the log and `why` tell of it.
void Exchange::note_known(const proxy::wire::Head& head) {
  if (target_.path_size == 0) return;
  find_route();
  if (station_.rules().clients.is_on()) (void)recognise_client(head);
}

// On a route without limits (rate_limited = false) none is. Counted before it may wait, so that
// those that wait together stay within it; what the service never gets is given back. False: it is
// more than is left, and has been refused.
bool Exchange::count_for_quota() {
  const PlanQuota* const plan = station_.rules().quota_of(arrival_.plan);
  const auto& quotas = station_.policy().quotas;
  if (plan == nullptr || arrival_.client == 0 || !quotas || !arrival_.rate_limited) return true;
  quota_ = {};  // it may have turned out to cost something else
  const auto answer = quotas->table().take(arrival_.client, *plan, arrival_.cost, Quotas::now(),
                                           arrival_.client_kind == admission::ClientKind::known);
  if (answer.refused) {
    count_demand();
    refuse_for(*answer.refused);
    return false;
  }
  quota_.charge = QuotaCharge(*quotas, answer.charge);
  if (answer.warning) quota_.warning = std::make_unique<const QuotaState>(*answer.warning);
  return true;
}

// What costs nobody a token or a worker.
bool Exchange::answers_here(const proxy::wire::Head& head) {
  if (request_.cors.is_on && Cors::is_preflight(head))
    request_.answered_here = AnsweredHere::preflight;
  else if (station_.settings().ops.health_on_main && target_.path() == health_path)
    request_.answered_here = AnsweredHere::health;
  else if (is_last_to_get(head))
    request_.answered_here = AnsweredHere::last_hop;
  return request_.answered_here.has_value();
}

// What had no server has cost nobody anything.
void Exchange::note_use_of_quota(const admission::Outcome& outcome) {
  const bool was_nowhere =
      outcome.kind != admission::Outcome::Kind::processed &&
      (outcome.kind == admission::Outcome::Kind::rejected || forwarding_.attempts().empty() ||
       outcome.reason == Reason::upstream_unreachable || outcome.reason == Reason::upstream_down);
  if (was_nowhere)
    quota_.charge.give_back();
  else
    quota_.charge.keep();
}

// RFC 9110 section 7.6.2: at 0 the gateway is the last that the request gets to.
bool Exchange::is_last_to_get(const proxy::wire::Head& head) {
  const auto left = proxy::wire::max_forwards(head);
  if (!left) return false;
  if (*left > 0) return false;
  if (head.method == "TRACE") proxy::wire::append_trace(head_, head);
  return true;
}

void Exchange::note_client(const proxy::wire::Head& head) {
  facts_.came_by_http2 = client_->client().speaks_http2;
  if (!client_->client().is_trusted) return;
  const conf::IpAddress& sender = client_->client().ip;
  texts_.client_behind_proxy = station_.rules().trusted_proxies.real_client(head, sender).text();
}

const std::string& Exchange::client_name() const {
  return texts_.client_behind_proxy.empty() ? client_->client().address
                                            : texts_.client_behind_proxy;
}

// Which client it is to admission, and whether it has asked this before; why it is none.
std::optional<Reason> Exchange::recognise_client(const proxy::wire::Head& head) {
  const ClientIdentities& clients = station_.rules().clients;
  const ClientFacts& client = client_->client();
  const conf::IpAddress address =
      client.is_trusted ? station_.rules().trusted_proxies.real_client(head, client.ip) : client.ip;
  const proxy::net::TlsSession* const tls = client.proven();
  const std::string subject =
      tls != nullptr && clients.wants_tls_subject() ? tls->verified_subject() : std::string();
  const std::string san =
      tls != nullptr && clients.wants_tls_san() ? tls->verified_alternative_name() : std::string();
  const ClientIdentities::Facts facts{.head = head,
                                      .address = address,
                                      .tls_subject = subject,
                                      .tls_san = san,
                                      .listener = client.listener.get(),
                                      .tokens = &station_.tokens(),
                                      .addresses = &station_.address_ids()};
  const auto identity = recognise(clients, facts, target_.path(), arrival_);
  station_.metrics().count(identity.token_look, identity.token_fault, identity.key_look);
  if (const auto checked = station_.tokens().take_checked(); checked > 0)
    station_.metrics().token_signatures.add(checked);
  // Also a good one that names nobody: no claim of identity's, or a client that is not valid now.
  request_.has_bad_token =
      identity.token_fault.has_value() || identity.token_look != TokenLook::none;
  facts_.credentials = credential_fault_of(identity);
  // A reload may take away where it stands.
  if (identity.client != nullptr) texts_.name = identity.client->name;
  if (identity.not_valid != nullptr) texts_.name_not_valid = identity.not_valid->name;
  return reason_against(identity);
}

void Exchange::note_cost(const proxy::wire::Head& head, const conf::RouteSettings& route) {
  request_.body_tells_cost = estimate_cost(head, route, arrival_);
  request_.counts_items =
      request_.body_tells_cost && route.cost.kind == conf::CostSettings::Kind::items;
  if (!request_.counts_items) return;
  if (!items_) items_ = std::make_unique<JsonItemCount>();
  *items_ = JsonItemCount(route.cost.array);
}

// Without a body it is no work to speak of, and may be somebody's check whether the service is
// well.
void Exchange::note_repeat(const proxy::wire::Head& head) {
  if (head.framing == Framing::none) return;
  const RecentTimeouts& timeouts = station_.shared().recent_timeouts;
  request_.head_of_repeat = timeouts.head_of(arrival_.client, client_name(), target_.text, head);
  request_.may_be_repeat = timeouts.may_have(request_.head_of_repeat, arrival_.at);
}

bool Exchange::is_repeat() const {
  return request_.may_be_repeat && request_.is_whole &&
         station_.shared().recent_timeouts.has(request_.head_of_repeat, body_, arrival_.at);
}

// What the body has said so far. Under a conf that has come meanwhile and has not this route, or
// counts its cost otherwise, the cost stays as it was.
void Exchange::weigh_body() {
  const conf::RouteSettings* const route = station_.rules().settings_of(arrival_.route);
  if (route == nullptr) return;
  const bool wants_items = route->cost.kind == conf::CostSettings::Kind::items;
  if (wants_items != request_.counts_items) return;
  gateway::weigh_body(facts_.bytes_in, wants_items ? items_->items() : 0, *route, arrival_);
}

// What has streamed on since a worker was asked for: charged when it is known. The workers stay.
void Exchange::settle_cost() {
  const std::uint16_t workers = arrival_.workers;
  arrival_.cost_found = 0;  // what was found before is charged
  weigh_body();
  arrival_.workers = workers;
  if (arrival_.cost_found != 0) station_.shared().gate.settle(arrival_, station_.loop().now());
  quota_.charge.settle(std::int64_t{arrival_.cost} - quota_.charge.cost());
  arrival_.cost_found = 0;
}

// A trusted sender's, or our own.
void Exchange::choose_request_id(const proxy::wire::Head& head) {
  if (client_->client().is_trusted) {
    for (const proxy::wire::Field& field : head.fields) {
      if (field.id != proxy::wire::FieldId::x_request_id || !is_valid_request_id(field.value))
        continue;
      texts_.request_id = field.value;
      return;
    }
  }
  station_.request_ids().append(texts_.request_id);
}

void Exchange::write_upstream_head(const proxy::wire::Head& said) {
  // What is left of a deadline is said when the request goes out.
  std::optional<proxy::wire::Head> rest;
  std::string preferences, one_less;  // of what it says: until the head is written
  if (request_.deadline) rest = proxy::wire::without_deadline(said, preferences);
  if (const auto left = proxy::wire::max_forwards(said); left && *left > 0) {
    one_less = std::to_string(*left - 1);
    if (!rest) rest = said;
    proxy::wire::set_max_forwards(*rest, one_less);
  }
  const proxy::wire::Head& head = rest ? *rest : said;
  request_.wants_websocket = station_.settings().upstream.websocket && head.method == "GET" &&
                             head.minor_version == 1 && request_.framing == Framing::none &&
                             proxy::wire::names_websocket(head);
  const ClientFacts& client = client_->client();
  const proxy::net::TlsSession* const proven = client.proven();
  const std::string subject = proven != nullptr ? proven->verified_subject() : std::string();
  const proxy::wire::RequestFacts facts{.target = target_.text,
                                        .host = target_.host,
                                        .client = client.address,
                                        .request_id = texts_.request_id,
                                        .is_encrypted = client.tls != nullptr,
                                        .client_subject = subject,
                                        .wants_websocket = request_.wants_websocket,
                                        .sender_is_trusted = client.is_trusted,
                                        .also_claims = station_.rules().also_claims(),
                                        .via_name = station_.shared().via_name};
  request_.lacks_host = proxy::wire::lacks_host(head, facts);
  proxy::wire::append_request_head(head_, head, facts);
  for (const proxy::wire::Field& field : said.fields) {
    if (!field.is_never_indexed) continue;
    if (!request_.never_indexed) request_.never_indexed = std::make_unique<std::string>();
    request_.never_indexed->append(field.name).append("\n");
  }
}

}  // namespace classgate::gateway
