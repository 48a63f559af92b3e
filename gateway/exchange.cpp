#include "gateway/exchange.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "conf/format.h"
#include "conf/invariant.h"
#include "gateway/first_look.h"
#include "gateway/health.h"
#include "gateway/station.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using admission::Outcome;
using conf::Reason;
using proxy::wire::Framing;

constexpr std::size_t request_id_max = 128;
constexpr std::size_t kept_buffer_max = 8 * 1024;  // a reused exchange keeps no larger buffer

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

Ending ending_of(const Outcome& outcome) {
  switch (outcome.kind) {
    case Outcome::Kind::processed: return Ending::processed;
    case Outcome::Kind::failed: return Ending::failed;
    case Outcome::Kind::rejected: return Ending::rejected;
    default: return Ending::abandoned;
  }
}

void forget(std::string& text) {
  text.clear();
  if (text.capacity() > kept_buffer_max) text.shrink_to_fit();
}

}  // namespace

template <void (Exchange::*on_due)()>
void Exchange::on_timer(void* self) {
  auto& exchange = *static_cast<Exchange*>(self);
  exchange.station_.loop().guard([&exchange] { (exchange.*on_due)(); },
                                 [&exchange] { exchange.on_fault(); });
}

Exchange::Timers::Timers(Exchange* of)
    : request(on_timer<&Exchange::on_request_timeout>, of),
      queue(on_timer<&Exchange::on_queue_timeout>, of),
      silence(on_timer<&Exchange::on_stream_silent>, of),
      reader(on_timer<&Exchange::on_reader_window_over>, of) {}

void Exchange::Timers::cancel() {
  request.cancel();
  queue.cancel();
  silence.cancel();
  reader.cancel();
  if (deadline) deadline->stop();
}

Exchange::Exchange(Station& station, std::uint32_t tag)
    : station_(station), tag_(tag), timers_(this), forwarding_(*this) {}

void Exchange::reset() {
  CLASSGATE_INVARIANT(!permit_ && !place_ && !forwarding_.is_active());
  client_ = nullptr;
  state_ = State::fresh;
  arrival_ = {};
  route_ = nullptr;
  request_ = {};
  wait_ = {};
  hold_ = {};
  answer_ = {};
  record_ = {};
  forget(target_.text);
  target_.path_size = 0;
  target_.host = {};
  forget(head_);
  release_body();
  texts_.method.clear();
  texts_.request_id.clear();
  texts_.client_behind_proxy.clear();
  texts_.max_forwards.clear();
  trailers_.clear();
  items_.reset();
  forwarding_.forget();
  uncount_memory();
}

void Exchange::uncount_memory() {
  if (counted_ == 0) return;
  station_.memory().change(-static_cast<std::int64_t>(std::exchange(counted_, 0)));
}

void Exchange::count_memory() {
  const std::size_t now =
      target_.text.capacity() + head_.capacity() + body_.capacity() + forwarding_.held_bytes();
  if (now == counted_) return;
  station_.memory().change(static_cast<std::int64_t>(now) - static_cast<std::int64_t>(counted_));
  counted_ = now;
}

void Exchange::release_body() {
  station_.traffic().held_bytes.subtract(body_.size());
  forget(body_);
}

// ---- The head has come -------------------------------------------------------------------------

void Exchange::on_head(ClientConnection& client, const proxy::wire::Head& head, bool body_is_here) {
  client_ = &client;
  state_ = State::collecting;
  request_.body_was_here = body_is_here;
  request_.waits_for_leave = head.expects_continue && !body_is_here;
  if (!note_head(head) || !judge(head)) return;
  station_.deadlines().request.set(timers_.request, arrival_.at);
  if (request_.is_operators) return;  // answered when its body, if any, has been read
  if (body_is_here && !request_.body_tells_cost)
    enter(head);
  else
    screen(head);
}

void Exchange::on_fault(ClientConnection& client, Reason reason) {
  client_ = &client;
  arrival_.at = station_.loop().now();
  request_.wants_close = true;  // where the next message begins is anybody's guess
  note_client({});
  choose_request_id({});
  refuse(reason);
}

bool Exchange::note_head(const proxy::wire::Head& head) {
  arrival_.at = station_.loop().now();
  arrival_.owner = station_.number();
  arrival_.tag = tag_;
  request_.minor_version = head.minor_version;
  request_.wants_close = head.wants_close || client_->has_had_its_requests();
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
  return true;
}

// What the head alone makes impossible, and where it goes.
bool Exchange::judge(const proxy::wire::Head& head) {
  const auto refuse_as = [&](Reason reason) {
    refuse(reason);
    return false;
  };
  if (const auto reason = read_request(head, station_.settings().client, target_)) {
    if (*reason == Reason::malformed) answer_.closes = true;  // as after everything malformed
    return refuse_as(*reason);
  }
  if (proxy::wire::has_been_through(head, station_.shared().via_name))
    return refuse_as(Reason::loop_detected);
  if (station_.settings().ops.health_on_main && target_.path() == health_path) {
    if (head.method != "GET" && head.method != "HEAD") return refuse_as(Reason::method_refused);
    if (head.content_length > request_.body_limit) return refuse_as(Reason::body_too_large);
    request_.is_operators = true;
    return true;
  }
  if (answers_as_last(head)) return true;
  const admission::Route& route = station_.policy().routes.find(target_.path());
  route_ = &station_.traffic_of(route);
  take_route(route, arrival_);
  answer_.terms = answer_terms_of(route, station_.settings());
  arrival_.bytes = request_.length;
  request_.patience = patience_with(head, route, station_.settings());
  if (request_.patience) arrival_.deadline = arrival_.at + request_.patience->time;
  request_.body_limit = body_limit_of(route, station_.settings());
  if (head.content_length > request_.body_limit) return refuse_as(Reason::body_too_large);
  if (station_.policy().clients.is_on() && !recognise_client(head)) {
    answer_.closes = true;
    return refuse_as(Reason::malformed);
  }
  if (route.cost_varies) note_cost(head, station_.settings().routes[route.index]);
  if (station_.upstreams().servers().none_reachable() && !station_.holds()) {
    refuse(Reason::upstream_down, time_to_next_probe(station_.settings().upstream));
    return false;
  }
  return true;
}

// RFC 9110 section 7.6.2: at 0 the gateway is the last that the request gets to.
bool Exchange::answers_as_last(const proxy::wire::Head& head) {
  const auto left = proxy::wire::max_forwards(head);
  if (!left) return false;
  if (*left > 0) {
    texts_.max_forwards = std::to_string(*left - 1);
    return false;
  }
  request_.is_operators = request_.is_last = true;
  if (head.method == "TRACE") proxy::wire::append_trace(head_, head);
  return true;
}

void Exchange::note_client(const proxy::wire::Head& head) {
  if (!client_->is_trusted()) return;
  const conf::IpAddress& sender = client_->ip();
  texts_.client_behind_proxy = station_.policy().trusted_proxies.real_client(head, sender).text();
}

const std::string& Exchange::client_name() const {
  return texts_.client_behind_proxy.empty() ? client_->address() : texts_.client_behind_proxy;
}

// Which client it is to admission, and whether it has asked this before.
// False when it says so twice.
bool Exchange::recognise_client(const proxy::wire::Head& head) {
  const ClientIdentities& clients = station_.policy().clients;
  const conf::IpAddress address =
      client_->is_trusted() ? station_.policy().trusted_proxies.real_client(head, client_->ip())
                            : client_->ip();
  const proxy::net::TlsSession* const tls = client_->tls();
  const std::string subject =
      tls != nullptr && clients.wants_tls_subject() ? tls->verified_subject() : std::string();
  return !recognise(clients, {head, address, subject}, target_.path(), arrival_).is_ambiguous;
}

void Exchange::note_cost(const proxy::wire::Head& head, const conf::RouteSettings& route) {
  request_.body_tells_cost = estimate_cost(head, route, arrival_);
  if (request_.body_tells_cost && route.cost.kind == conf::CostSettings::Kind::items)
    items_.emplace(route.cost.array);
}

// What the body has said so far. Under a conf that has come meanwhile, the cost stays as it was.
void Exchange::weigh_body() {
  const auto& routes = station_.settings().routes;
  if (arrival_.route >= routes.size()) return;
  const conf::RouteSettings& route = routes[arrival_.route];
  const bool wants_items = route.cost.kind == conf::CostSettings::Kind::items;
  if (!conf::is_route(route, route_->name) || wants_items != items_.has_value()) return;
  gateway::weigh_body(record_.bytes_in, items_ ? items_->items() : 0, route, arrival_);
}

// What has streamed on since a worker was asked for: charged when it is known. The workers stay.
void Exchange::settle_cost() {
  const std::uint16_t workers = arrival_.workers;
  arrival_.cost_found = 0;  // what was found before is charged
  weigh_body();
  arrival_.workers = workers;
  if (arrival_.cost_found != 0) station_.shared().gate.settle(arrival_, station_.loop().now());
  arrival_.cost_found = 0;
}

// A trusted sender's, or our own.
void Exchange::choose_request_id(const proxy::wire::Head& head) {
  if (client_->is_trusted()) {
    for (const proxy::wire::Field& field : head.fields) {
      if (field.id != proxy::wire::FieldId::x_request_id || !is_valid_request_id(field.value))
        continue;
      texts_.request_id = field.value;
      return;
    }
  }
  station_.append_request_id(texts_.request_id);
}

void Exchange::write_upstream_head(const proxy::wire::Head& said) {
  // What is left of a deadline is said when the request goes out.
  std::optional<proxy::wire::Head> rest;
  if (request_.patience) rest = proxy::wire::without_patience(said, texts_.preferences);
  if (!texts_.max_forwards.empty()) {
    if (!rest) rest = said;
    proxy::wire::set_max_forwards(*rest, texts_.max_forwards);
  }
  const proxy::wire::Head& head = rest ? *rest : said;
  request_.wants_websocket = station_.settings().upstream.websocket && head.method == "GET" &&
                             head.minor_version == 1 && request_.framing == Framing::none &&
                             proxy::wire::names_websocket(head);
  const proxy::net::TlsSession* const tls = client_->tls();
  const std::string subject = tls != nullptr ? tls->verified_subject() : std::string();
  const proxy::wire::RequestFacts facts{.target = target_.text,
                                        .host = target_.host,
                                        .client = client_->address(),
                                        .request_id = texts_.request_id,
                                        .is_encrypted = tls != nullptr,
                                        .client_subject = subject,
                                        .wants_websocket = request_.wants_websocket,
                                        .sender_is_trusted = client_->is_trusted(),
                                        .also_claims = station_.policy().also_claims(),
                                        .via_name = station_.shared().via_name};
  request_.lacks_host = proxy::wire::lacks_host(head, facts);
  proxy::wire::append_request_head(head_, head, facts);
}

// ---- The verdict -------------------------------------------------------------------------------

// Everything is here: both moments of admission in one step.
void Exchange::enter(const proxy::wire::Head& head) {
  auto answer = station_.shared().gate.enter(arrival_, station_.loop().now());
  // Who is refused needs no head for the upstream.
  if (!std::holds_alternative<admission::Rejection>(answer)) write_upstream_head(head);
  take_answer(std::move(answer));
}

// The body is still to come: only what the head decides, so that a refused one is never uploaded.
void Exchange::screen(const proxy::wire::Head& head) {
  const auto rejection = station_.shared().gate.screen(arrival_, station_.loop().now());
  if (rejection) return refuse_uncounted(*rejection);
  write_upstream_head(head);
}

// The body is complete, or as much of it as we hold: a worker would not have to wait for it.
void Exchange::ask_for_worker() {
  arrival_.bytes = body_.size();
  if (request_.body_tells_cost) weigh_body();
  const admission::Time now = station_.loop().now();
  record_.uploading = now - arrival_.at;
  take_answer(station_.shared().gate.arrive(arrival_, now));
}

void Exchange::take_answer(admission::Gate::Answer answer) {
  if (auto* permit = std::get_if<admission::Permit>(&answer)) {
    go_in(std::move(*permit));
  } else if (auto* place = std::get_if<admission::Place>(&answer)) {
    record_.verdict = Verdict::queued;
    wait(std::move(*place));
  } else {
    refuse_uncounted(std::get<admission::Rejection>(answer));
  }
}

void Exchange::wait(admission::Place place) {
  state_ = State::waiting;
  place_ = std::move(place);
  // Nothing comes to it any more, and it may be held for long.
  if (body_.capacity() - body_.size() > kept_buffer_max) body_.shrink_to_fit();
  client_->look_after_client();
  const auto& limits = station_.settings().admission;
  note_joined();
  if (limits.queue_timeout < limits.request_timeout) station_.deadlines().queue.set(timers_.queue);
  if (!request_.patience) return;
  if (!timers_.deadline)
    timers_.deadline = std::make_unique<proxy::net::Timer>(
        station_.loop(), [this] { on_timer<&Exchange::on_deadline>(this); });
  timers_.deadline->start(
      std::chrono::ceil<std::chrono::milliseconds>(arrival_.deadline - wait_.joined));
}

void Exchange::note_joined() {
  const auto& limits = station_.settings().admission;
  wait_.joined = station_.loop().now();
  wait_.deadline = std::min({arrival_.at + limits.request_timeout,
                             wait_.joined + limits.queue_timeout, arrival_.deadline});
}

void Exchange::on_granted(admission::Permit permit) {
  place_.release();
  if (request_.patience) timers_.deadline->stop();
  const admission::Time now = station_.loop().now();
  if (arrival_.deadline <= now) {
    permit.finish(Outcome::rejected(Reason::deadline), now);
    return refuse_uncounted(Reason::deadline);
  }
  if (!timers_.request.is_set()) {
    permit.finish(Outcome::rejected(Reason::queue_timeout), now);
    return refuse_uncounted(Reason::queue_timeout,
                            station_.shared().gate.return_time(arrival_.client, now));
  }
  go_in(std::move(permit));
}

void Exchange::on_shed(const admission::Rejection& rejection) {
  place_.release();
  refuse_uncounted(rejection);
}

void Exchange::go_in(admission::Permit permit) {
  state_ = State::forwarding;
  record_.verdict = Verdict::admitted;
  timers_.queue.cancel();
  record_.waiting = permit.waited();
  arrival_.observed = permit.observed();
  station_.traffic().waits[priority_index()].record(record_.waiting);
  permit_ = std::move(permit);
  // A body that came with its head is still being handed over by the connection: it goes with it.
  if (!request_.body_was_here || request_.is_whole) forward();
}

// ---- The body ----------------------------------------------------------------------------------

void Exchange::on_body(std::string_view part) {
  request_.waits_for_leave = false;
  if (state_ == State::ended) return;
  record_.bytes_in += part.size();
  if (record_.bytes_in > request_.body_limit) return on_body_fault(Reason::body_too_large);
  if (request_.is_operators) return;
  if (items_) items_->read(part);
  if (state_ == State::forwarding && forwarding_.is_active()) {
    note_sign_of_life();
    return forwarding_.send_body(part);
  }
  body_.append(part);
  station_.traffic().held_bytes.add(part.size());
}

// Not before: what is held is counted when the worker is asked for, and must all be there.
void Exchange::on_body_part_end() {
  if (state_ == State::collecting && body_.size() >= station_.settings().client.body_buffer.count)
    ask_for_worker();
}

void Exchange::on_body_end(const std::vector<proxy::wire::Parser::Trailer>& trailers) {
  request_.is_whole = true;
  if (state_ == State::ended) return;
  if (request_.is_operators) return answer_operator();
  trailers_ = trailers;
  std::erase_if(trailers_, [this](const proxy::wire::Parser::Trailer& trailer) {
    return !station_.policy().may_be_trailer(trailer.name);
  });
  switch (state_) {
    case State::collecting: return ask_for_worker();
    case State::forwarding:
      if (request_.body_tells_cost) settle_cost();
      if (hold_.is_on) return;
      if (forwarding_.is_active())
        forwarding_.end_body(trailers_);
      else
        forward();
      return;
    default: return;
  }
}

void Exchange::on_body_fault(Reason reason) {
  if (state_ == State::ended) return;
  answer_.closes = true;
  if (state_ == State::forwarding) {
    forwarding_.cancel();
    give_worker_back(Outcome::failed(reason));
    if (answer_.head_has_passed) {
      record_.reason = reason;
      client_->cut(answer_.framing == Framing::until_close);
      return end();
    }
    return refuse_uncounted(reason);
  }
  if (state_ == State::waiting) {
    // Leaving counts as abandoned; what the client is told is the fault.
    place_ = {};
    record_.ending = Ending::abandoned;
    return refuse_uncounted(reason);
  }
  refuse(reason);
}

bool Exchange::wants_body() const {
  switch (state_) {
    case State::collecting: return true;
    case State::waiting: return false;
    case State::forwarding:
      if (hold_.is_on) return body_.size() < station_.settings().client.body_buffer.count;
      return forwarding_.upload_pending() < station_.settings().client.body_buffer.count;
    default: return true;  // what is left of a refused body is thrown away
  }
}

// ---- Forwarding --------------------------------------------------------------------------------

// A worker without a server is of no use to anybody else: it is kept until one is up again, and who
// waits for a worker waits on (upstream.hold).
bool Exchange::hold_until_up() {
  if (!station_.holds()) return false;
  forwarding_.forget();  // a reload may take its pool away meanwhile
  hold_.since = station_.loop().now();
  if (wait_.joined == admission::Time{}) note_joined();
  hold_.is_on = true;
  station_.hold(*this);
  return true;
}

// The worker waits as its request does: neither is at work.
void Exchange::stop_holding() {
  if (!std::exchange(hold_.is_on, false)) return;
  station_.let_go(*this);
  const admission::Duration held = station_.loop().now() - hold_.since;
  hold_.before += held;
  record_.waiting += held;
}

void Exchange::on_hold_over() {
  stop_holding();
  forward();
}

void Exchange::on_held_too_long() {
  stop_holding();
  if (arrival_.deadline <= station_.loop().now()) {
    give_worker_back(Outcome::rejected(Reason::deadline));
    return refuse_uncounted(Reason::deadline);
  }
  give_worker_back(Outcome::failed(Reason::upstream_down));
  refuse_uncounted(Reason::upstream_down, time_to_next_probe(station_.settings().upstream));
}

void Exchange::forward() {
  if (hold_until_up()) return;
  if (request_.plain_head_size == 0) request_.plain_head_size = head_.size();
  head_.resize(request_.plain_head_size);  // it may be the second time
  if (request_.patience)
    proxy::wire::append_patience(
        head_, {request_.patience->form,
                arrival_.deadline - std::max(station_.loop().now(), arrival_.at)});
  proxy::Forwarding::Request request{.head = head_,
                                     .body = body_,
                                     .is_whole = request_.is_whole,
                                     .framing = request_.framing,
                                     .length = request_.length,
                                     .is_idempotent = request_.is_idempotent,
                                     .is_head_method = request_.is_head,
                                     .wants_websocket = request_.wants_websocket,
                                     .lacks_host = request_.lacks_host,
                                     .trailers = &trailers_};
  // A chunked body that is all here goes on with its length, which more services understand.
  const bool is_chunked = request_.framing == Framing::chunked;
  if ((is_chunked && request_.is_whole && trailers_.empty()) || request_.says_zero_length) {
    request.framing = Framing::length;
    request.length = body_.size();
  }
  forwarding_.start(station_.upstreams(), request);
  if (request_.is_whole || hold_.is_on || state_ != State::forwarding) return;
  client_->begin_streaming();
  client_->read_on_soon();
}

// What the service did, as far as that tells how long its work takes.
admission::Duration Exchange::work_of(const Outcome& outcome) const {
  const bool was_error = answer_.head_has_passed && record_.status >= 400;
  const bool was_left = outcome.kind == Outcome::Kind::abandoned && state_ != State::orphaned;
  const bool did_not_answer =
      outcome.kind == Outcome::Kind::failed && outcome.reason != Reason::upstream_timeout;
  if (answer_.is_tunnel || answer_.is_stream || was_error || was_left || did_not_answer)
    return Outcome::no_work;
  return answer_.streams_since == admission::Time{}
             ? Outcome::all_the_time
             : answer_.streams_since - permit_.since() - hold_.before;
}

admission::Duration Exchange::time_at_service() const {
  return station_.loop().now() - permit_.since() - hold_.before;
}

void Exchange::give_worker_back(Outcome outcome) {
  stop_holding();
  outcome.work = work_of(outcome);
  stop_streaming();
  outcome.idle = hold_.before;
  if (request_.body_tells_cost && !request_.is_whole) settle_cost();
  record_.at_upstream = time_at_service();
  station_.traffic().upstream_times[priority_index()].record(record_.at_upstream);
  record_.ending = ending_of(outcome);
  permit_.finish(outcome, station_.loop().now());
}

// ---- Timeouts and clients that leave -----------------------------------------------------------

void Exchange::on_request_timeout() {
  switch (state_) {
    case State::collecting: return on_body_fault(Reason::client_timeout);
    case State::waiting: return on_queue_timeout();
    case State::forwarding:
      return answer_.is_stream ? end_stream(Reason::stream_too_long) : on_upstream_timeout();
    case State::orphaned:  // waited for long enough: let the upstream be
      forwarding_.cancel();
      give_worker_back(orphan_outcome_);
      return end();
    default: return;
  }
}

void Exchange::on_queue_timeout() {
  if (state_ != State::waiting) return;
  // False: a worker has been granted in this moment, the letter is on its way. Take it.
  const admission::Time now = station_.loop().now();
  if (!place_.time_out(now)) return;  // on_granted() sees that it is too late
  refuse_uncounted(Reason::queue_timeout, station_.shared().gate.return_time(arrival_.client, now));
}

void Exchange::on_deadline() {
  if (state_ != State::waiting) return;
  if (!place_.miss_deadline(station_.loop().now())) return;  // as above
  refuse_uncounted(Reason::deadline);
}

void Exchange::on_upstream_timeout() {
  if (hold_.is_on) return on_held_too_long();
  spdlog::warn(
      "upstream {}: no complete answer within admission.request_timeout ({} {}, request {})",
      forwarding_.server_name(), texts_.method, target_.path(), texts_.request_id);
  if (is_up_to_service()) forwarding_.blame_server();
  const Outcome outcome = Outcome::failed(Reason::upstream_timeout);
  const bool computes_on = upstream_computes_on();
  ClientConnection& client = *client_;
  answer_.closes = answer_.closes || !request_.is_whole;
  record_.reason = Reason::upstream_timeout;
  if (computes_on) {
    if (answer_.head_has_passed)
      client.cut(answer_.framing == Framing::until_close);
    else
      write_refusal({Reason::upstream_timeout});
    const bool keep = !answer_.closes;
    const bool was_cut = answer_.head_has_passed;
    orphan(outcome);
    if (!was_cut) client.answer_done(keep);
    return;
  }
  forwarding_.cancel();
  give_worker_back(outcome);
  if (!answer_.head_has_passed) return refuse_uncounted(Reason::upstream_timeout);
  client.cut(answer_.framing == Framing::until_close);
  end();
}

// Nothing has come for a while: unless that is because the client has not taken yet what did come.
void Exchange::on_stream_silent() {
  if (answer_.waits_for_reader) return note_sign_of_life();
  end_stream(Reason::stream_idle);
}

void Exchange::note_sign_of_life() {
  if (answer_.is_stream) station_.deadlines().stream_idle.set(timers_.silence);
}

// It has the request, or does not take it; else it may be waiting for the client's upload.
bool Exchange::is_up_to_service() const {
  return request_.is_whole || forwarding_.upload_pending() > 0;
}

void Exchange::end_stream(Reason reason) {
  const bool is_silent = reason == Reason::stream_idle;
  spdlog::warn("upstream {}: a stream {} ({} {}, request {}): cut", forwarding_.server_name(),
               is_silent ? "was silent for upstream.stream_idle_timeout"
                         : "has lasted for upstream.stream_time_max",
               texts_.method, target_.path(), texts_.request_id);
  if (is_silent && is_up_to_service()) forwarding_.blame_server();
  forwarding_.cancel();
  if (state_ == State::orphaned) {
    give_worker_back(orphan_outcome_);
    return end();
  }
  record_.reason = reason;
  give_worker_back(Outcome::failed(reason));
  client_->cut(answer_.framing == Framing::until_close);
  end();
}

// An upstream that has all of the request computes on, whether anybody listens or not; but what it
// would agree to, asked for a tunnel, has no end of its own.
bool Exchange::upstream_computes_on() const {
  const bool may_become_tunnel = request_.wants_websocket && !answer_.head_has_passed;
  const conf::OnClientAbort on_abort =
      answer_.is_stream ? answer_.terms.on_stream_abort : answer_.terms.on_client_abort;
  return on_abort == conf::OnClientAbort::finish && !may_become_tunnel &&
         forwarding_.request_is_sent() && forwarding_.is_active();
}

void Exchange::on_client_gone() {
  switch (state_) {
    case State::collecting:
      if (!request_.is_operators) station_.shared().gate.abandon();
      record_.verdict = Verdict::abandoned;
      record_.ending = Ending::abandoned;
      return end();
    case State::waiting:
      place_ = {};
      record_.verdict = Verdict::abandoned;
      record_.ending = Ending::abandoned;
      return end();
    case State::forwarding:
      if (answer_.is_tunnel) {
        forwarding_.cancel();
        give_worker_back(Outcome::processed());
        return end();
      }
      record_.verdict = Verdict::abandoned;
      if (upstream_computes_on()) return orphan(Outcome::abandoned());
      forwarding_.cancel();
      give_worker_back(Outcome::abandoned());
      return end();
    default: return;
  }
}

void Exchange::orphan(Outcome outcome) {
  record_.at_upstream = time_at_service();
  record_.ending = ending_of(outcome);
  record();
  state_ = State::orphaned;
  orphan_outcome_ = outcome;
  client_ = nullptr;
  permit_.orphan();
  // After a 504 for one more request timeout; after an abort until the one that is running ends.
  // A stream has its own.
  if (outcome.kind == Outcome::Kind::failed) station_.deadlines().request.set(timers_.request);
  forwarding_.forbid_retry();
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  forwarding_.resume();  // nothing blocks the answer any more
}

void Exchange::on_client_drained() {
  if (std::exchange(answer_.waits_for_reader, false)) note_sign_of_life();
  if (state_ == State::forwarding) forwarding_.resume();
}

// ---- The end -----------------------------------------------------------------------------------

void Exchange::end() {
  if (state_ == State::waiting) record_.waiting = station_.loop().now() - wait_.joined;
  stop_holding();
  if (state_ != State::orphaned) record();
  state_ = State::ended;
  client_ = nullptr;
  timers_.cancel();
  station_.retire_exchange(*this);
}

// Whatever it was doing: the books get their ending, nobody else notices.
void Exchange::on_fault() {
  station_.gather().clear();
  if (state_ == State::ended) return;
  const bool is_in_books = record_.reason.has_value();  // as refused
  if (state_ == State::collecting && !request_.is_operators && !is_in_books)
    station_.shared().gate.abandon();
  ClientConnection* const client = client_;
  cut();
  station_.retire_exchange(*this);
  if (client != nullptr) client->on_fault();
}

void Exchange::on_gateway_ending() {
  switch (state_) {
    case State::collecting:
    case State::waiting: return on_body_fault(Reason::draining);
    case State::forwarding: {
      if (hold_.is_on) return on_body_fault(Reason::draining);  // no server has it
      ClientConnection* const client = client_;
      record_.reason = Reason::draining;
      forwarding_.cancel();
      give_worker_back(Outcome::failed(Reason::draining));
      record();
      cut();
      return client->cut(answer_.head_has_passed && answer_.framing == Framing::until_close);
    }
    default: return;
  }
}

void Exchange::cut() {
  stop_holding();
  stop_streaming();
  forwarding_.cancel();
  place_ = {};
  permit_ = {};
  timers_.cancel();
  client_ = nullptr;
  state_ = State::ended;
  uncount_memory();
}

}  // namespace classgate::gateway
