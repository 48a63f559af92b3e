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

Exchange::Exchange(Station& station, std::uint32_t tag)
    : station_(station),
      tag_(tag),
      request_timer_(on_timer<&Exchange::on_request_timeout>, this),
      queue_timer_(on_timer<&Exchange::on_queue_timeout>, this),
      silence_timer_(on_timer<&Exchange::on_stream_silent>, this),
      reader_timer_(on_timer<&Exchange::on_reader_window_over>, this),
      forwarding_(*this) {}

void Exchange::reset() {
  CLASSGATE_INVARIANT(!permit_ && !place_ && !forwarding_.is_active());
  client_ = nullptr;
  state_ = State::fresh;
  arrival_ = {};
  route_ = nullptr;
  forget(target_.text);
  target_.path_size = 0;
  forget(head_);
  release_body();
  target_.host = {};
  method_.clear();
  request_id_.clear();
  client_behind_proxy_.clear();
  patience_.reset();
  trailers_.clear();
  body_bytes_ = request_length_ = bytes_out_ = 0;
  request_framing_ = answer_framing_ = Framing::none;
  client_wants_close_ = is_head_method_ = is_idempotent_ = says_zero_length_ = false;
  body_is_whole_ = body_was_here_ = is_operator_request_ = body_tells_cost_ = is_last_ = false;
  max_forwards_.clear();
  answer_head_passed_ = close_after_answer_ = waits_for_leave_ = false;
  wants_websocket_ = is_tunnel_ = lacks_host_ = waits_for_reader_ = false;
  status_ = 0;
  reason_word_ = verdict_ = "-";
  ending_ = Ending::rejected;
  upload_time_ = waited_ = upstream_time_ = {};
  streams_since_ = joined_ = {};
  held_ = {};
  answer_terms_ = {};
  plain_head_size_ = 0;
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
  body_was_here_ = body_is_here;
  waits_for_leave_ = head.expects_continue && !body_is_here;
  if (!note_head(head) || !judge(head)) return;
  station_.deadlines().request.set(request_timer_, arrival_.at);
  if (is_operator_request_) return;  // answered when its body, if any, has been read
  if (body_is_here && !body_tells_cost_)
    enter(head);
  else
    screen(head);
}

void Exchange::on_fault(ClientConnection& client, Reason reason) {
  client_ = &client;
  arrival_.at = station_.loop().now();
  client_wants_close_ = true;  // where the next message begins is anybody's guess
  note_client({});
  choose_request_id({});
  refuse(reason);
}

bool Exchange::note_head(const proxy::wire::Head& head) {
  arrival_.at = station_.loop().now();
  arrival_.owner = station_.number();
  arrival_.tag = tag_;
  client_minor_version_ = head.minor_version;
  client_wants_close_ = head.wants_close || client_->has_had_its_requests();
  method_ = head.method;
  is_head_method_ = head.method == "HEAD";
  is_idempotent_ = is_idempotent(head.method);
  request_framing_ = head.framing;
  request_length_ = head.content_length;
  says_zero_length_ = head.has_content_length && head.content_length == 0;
  body_is_whole_ = false;
  body_limit_ = station_.settings().client.body_bytes.count;
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
    if (*reason == Reason::malformed) close_after_answer_ = true;  // as after everything malformed
    return refuse_as(*reason);
  }
  if (proxy::wire::has_been_through(head, station_.shared().via_name))
    return refuse_as(Reason::loop_detected);
  if (station_.settings().ops.health_on_main && target_.path() == health_path) {
    if (head.method != "GET" && head.method != "HEAD") return refuse_as(Reason::method_refused);
    if (head.content_length > body_limit_) return refuse_as(Reason::body_too_large);
    is_operator_request_ = true;
    return true;
  }
  if (answers_as_last(head)) return true;
  const admission::Route& route = station_.policy().routes.find(target_.path());
  route_ = &station_.traffic_of(route);
  take_route(route, arrival_);
  answer_terms_ = answer_terms_of(route, station_.settings());
  arrival_.bytes = request_length_;
  patience_ = patience_with(head, route, station_.settings());
  if (patience_) arrival_.deadline = arrival_.at + patience_->time;
  body_limit_ = body_limit_of(route, station_.settings());
  if (head.content_length > body_limit_) return refuse_as(Reason::body_too_large);
  if (station_.policy().clients.is_on() && !recognise_client(head)) {
    close_after_answer_ = true;
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
    max_forwards_ = std::to_string(*left - 1);
    return false;
  }
  is_operator_request_ = is_last_ = true;
  if (head.method == "TRACE") proxy::wire::append_trace(head_, head);
  return true;
}

void Exchange::note_client(const proxy::wire::Head& head) {
  if (!client_->is_trusted()) return;
  const conf::IpAddress& sender = client_->ip();
  client_behind_proxy_ = station_.policy().trusted_proxies.real_client(head, sender).text();
}

const std::string& Exchange::client_name() const {
  return client_behind_proxy_.empty() ? client_->address() : client_behind_proxy_;
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
  body_tells_cost_ = estimate_cost(head, route, arrival_);
  if (body_tells_cost_ && route.cost.kind == conf::CostSettings::Kind::items)
    items_.emplace(route.cost.array);
}

// What the body has said so far. Under a conf that has come meanwhile, the cost stays as it was.
void Exchange::weigh_body() {
  const auto& routes = station_.settings().routes;
  if (arrival_.route >= routes.size()) return;
  const conf::RouteSettings& route = routes[arrival_.route];
  const bool wants_items = route.cost.kind == conf::CostSettings::Kind::items;
  if (!conf::is_route(route, route_->name) || wants_items != items_.has_value()) return;
  gateway::weigh_body(body_bytes_, items_ ? items_->items() : 0, route, arrival_);
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
      request_id_ = field.value;
      return;
    }
  }
  station_.append_request_id(request_id_);
}

void Exchange::write_upstream_head(const proxy::wire::Head& said) {
  // What is left of a deadline is said when the request goes out.
  std::optional<proxy::wire::Head> rest;
  if (patience_) rest = proxy::wire::without_patience(said, preferences_);
  if (!max_forwards_.empty()) {
    if (!rest) rest = said;
    proxy::wire::set_max_forwards(*rest, max_forwards_);
  }
  const proxy::wire::Head& head = rest ? *rest : said;
  wants_websocket_ = station_.settings().upstream.websocket && head.method == "GET" &&
                     head.minor_version == 1 && request_framing_ == Framing::none &&
                     proxy::wire::names_websocket(head);
  const proxy::net::TlsSession* const tls = client_->tls();
  const std::string subject = tls != nullptr ? tls->verified_subject() : std::string();
  const proxy::wire::RequestFacts facts{.target = target_.text,
                                        .host = target_.host,
                                        .client = client_->address(),
                                        .request_id = request_id_,
                                        .is_encrypted = tls != nullptr,
                                        .client_subject = subject,
                                        .wants_websocket = wants_websocket_,
                                        .sender_is_trusted = client_->is_trusted(),
                                        .also_claims = station_.policy().also_claims(),
                                        .via_name = station_.shared().via_name};
  lacks_host_ = proxy::wire::lacks_host(head, facts);
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
  if (body_tells_cost_) weigh_body();
  const admission::Time now = station_.loop().now();
  upload_time_ = now - arrival_.at;
  take_answer(station_.shared().gate.arrive(arrival_, now));
}

void Exchange::take_answer(admission::Gate::Answer answer) {
  if (auto* permit = std::get_if<admission::Permit>(&answer)) {
    go_in(std::move(*permit));
  } else if (auto* place = std::get_if<admission::Place>(&answer)) {
    verdict_ = "queued";
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
  if (limits.queue_timeout < limits.request_timeout) station_.deadlines().queue.set(queue_timer_);
  if (!patience_) return;
  if (!deadline_timer_)
    deadline_timer_ = std::make_unique<proxy::net::Timer>(
        station_.loop(), [this] { on_timer<&Exchange::on_deadline>(this); });
  deadline_timer_->start(std::chrono::ceil<std::chrono::milliseconds>(arrival_.deadline - joined_));
}

void Exchange::note_joined() {
  const auto& limits = station_.settings().admission;
  joined_ = station_.loop().now();
  wait_deadline_ = std::min(
      {arrival_.at + limits.request_timeout, joined_ + limits.queue_timeout, arrival_.deadline});
}

void Exchange::on_granted(admission::Permit permit) {
  place_.release();
  if (patience_) deadline_timer_->stop();
  const admission::Time now = station_.loop().now();
  if (arrival_.deadline <= now) {
    permit.finish(Outcome::rejected(Reason::deadline), now);
    return refuse_uncounted(Reason::deadline);
  }
  if (!request_timer_.is_set()) {
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
  verdict_ = "admitted";
  queue_timer_.cancel();
  waited_ = permit.waited();
  arrival_.observed = permit.observed();
  station_.traffic().waits[priority_index()].record(waited_);
  permit_ = std::move(permit);
  // A body that came with its head is still being handed over by the connection: it goes with it.
  if (!body_was_here_ || body_is_whole_) forward();
}

// ---- The body ----------------------------------------------------------------------------------

void Exchange::on_body(std::string_view part) {
  waits_for_leave_ = false;
  if (state_ == State::ended) return;
  body_bytes_ += part.size();
  if (body_bytes_ > body_limit_) return on_body_fault(Reason::body_too_large);
  if (is_operator_request_) return;
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
  body_is_whole_ = true;
  if (state_ == State::ended) return;
  if (is_operator_request_) return answer_operator();
  trailers_ = trailers;
  std::erase_if(trailers_, [this](const proxy::wire::Parser::Trailer& trailer) {
    return !station_.policy().may_be_trailer(trailer.name);
  });
  switch (state_) {
    case State::collecting: return ask_for_worker();
    case State::forwarding:
      if (body_tells_cost_) settle_cost();
      if (is_held_) return;
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
  close_after_answer_ = true;
  if (state_ == State::forwarding) {
    forwarding_.cancel();
    give_worker_back(Outcome::failed(reason));
    if (answer_head_passed_) {
      reason_word_ = conf::word_of(reason);
      client_->cut(answer_framing_ == Framing::until_close);
      return end();
    }
    return refuse_uncounted(reason);
  }
  if (state_ == State::waiting) {
    // Leaving counts as abandoned; what the client is told is the fault.
    place_ = {};
    ending_ = Ending::abandoned;
    return refuse_uncounted(reason);
  }
  refuse(reason);
}

bool Exchange::wants_body() const {
  switch (state_) {
    case State::collecting: return true;
    case State::waiting: return false;
    case State::forwarding:
      if (is_held_) return body_.size() < station_.settings().client.body_buffer.count;
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
  held_since_ = station_.loop().now();
  if (joined_ == admission::Time{}) note_joined();
  is_held_ = true;
  station_.hold(*this);
  return true;
}

// The worker waits as its request does: neither is at work.
void Exchange::stop_holding() {
  if (!std::exchange(is_held_, false)) return;
  station_.let_go(*this);
  const admission::Duration held = station_.loop().now() - held_since_;
  held_ += held;
  waited_ += held;
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
  if (plain_head_size_ == 0) plain_head_size_ = head_.size();
  head_.resize(plain_head_size_);  // it may be the second time
  if (patience_)
    proxy::wire::append_patience(
        head_, {patience_->form, arrival_.deadline - std::max(station_.loop().now(), arrival_.at)});
  proxy::Forwarding::Request request{.head = head_,
                                     .body = body_,
                                     .is_whole = body_is_whole_,
                                     .framing = request_framing_,
                                     .length = request_length_,
                                     .is_idempotent = is_idempotent_,
                                     .is_head_method = is_head_method_,
                                     .wants_websocket = wants_websocket_,
                                     .lacks_host = lacks_host_,
                                     .trailers = &trailers_};
  // A chunked body that is all here goes on with its length, which more services understand.
  const bool is_chunked = request_framing_ == Framing::chunked;
  if ((is_chunked && body_is_whole_ && trailers_.empty()) || says_zero_length_) {
    request.framing = Framing::length;
    request.length = body_.size();
  }
  forwarding_.start(station_.upstreams(), request);
  if (body_is_whole_ || is_held_ || state_ != State::forwarding) return;
  client_->begin_streaming();
  client_->read_on_soon();
}

// What the service did, as far as that tells how long its work takes.
admission::Duration Exchange::work_of(const Outcome& outcome) const {
  const bool was_error = answer_head_passed_ && status_ >= 400;
  const bool was_left = outcome.kind == Outcome::Kind::abandoned && state_ != State::orphaned;
  const bool did_not_answer =
      outcome.kind == Outcome::Kind::failed && outcome.reason != Reason::upstream_timeout;
  if (is_tunnel_ || is_stream_ || was_error || was_left || did_not_answer) return Outcome::no_work;
  return streams_since_ == admission::Time{} ? Outcome::all_the_time
                                             : streams_since_ - permit_.since() - held_;
}

admission::Duration Exchange::time_at_service() const {
  return station_.loop().now() - permit_.since() - held_;
}

void Exchange::give_worker_back(Outcome outcome) {
  stop_holding();
  outcome.work = work_of(outcome);
  stop_streaming();
  outcome.idle = held_;
  if (body_tells_cost_ && !body_is_whole_) settle_cost();
  upstream_time_ = time_at_service();
  station_.traffic().upstream_times[priority_index()].record(upstream_time_);
  ending_ = ending_of(outcome);
  permit_.finish(outcome, station_.loop().now());
}

// ---- Timeouts and clients that leave -----------------------------------------------------------

void Exchange::on_request_timeout() {
  switch (state_) {
    case State::collecting: return on_body_fault(Reason::client_timeout);
    case State::waiting: return on_queue_timeout();
    case State::forwarding:
      return is_stream_ ? end_stream(Reason::stream_too_long) : on_upstream_timeout();
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
  if (is_held_) return on_held_too_long();
  spdlog::warn(
      "upstream {}: no complete answer within admission.request_timeout ({} {}, request {})",
      forwarding_.server_name(), method_, target_.path(), request_id_);
  if (is_up_to_service()) forwarding_.blame_server();
  const Outcome outcome = Outcome::failed(Reason::upstream_timeout);
  const bool computes_on = upstream_computes_on();
  ClientConnection& client = *client_;
  close_after_answer_ = close_after_answer_ || !body_is_whole_;
  reason_word_ = conf::word_of(Reason::upstream_timeout);
  if (computes_on) {
    if (answer_head_passed_)
      client.cut(answer_framing_ == Framing::until_close);
    else
      write_refusal({Reason::upstream_timeout});
    const bool keep = !close_after_answer_;
    const bool was_cut = answer_head_passed_;
    orphan(outcome);
    if (!was_cut) client.answer_done(keep);
    return;
  }
  forwarding_.cancel();
  give_worker_back(outcome);
  if (!answer_head_passed_) return refuse_uncounted(Reason::upstream_timeout);
  client.cut(answer_framing_ == Framing::until_close);
  end();
}

// Nothing has come for a while: unless that is because the client has not taken yet what did come.
void Exchange::on_stream_silent() {
  if (waits_for_reader_) return note_sign_of_life();
  end_stream(Reason::stream_idle);
}

void Exchange::note_sign_of_life() {
  if (is_stream_) station_.deadlines().stream_idle.set(silence_timer_);
}

// It has the request, or does not take it; else it may be waiting for the client's upload.
bool Exchange::is_up_to_service() const {
  return body_is_whole_ || forwarding_.upload_pending() > 0;
}

void Exchange::end_stream(Reason reason) {
  const bool is_silent = reason == Reason::stream_idle;
  spdlog::warn("upstream {}: a stream {} ({} {}, request {}): cut", forwarding_.server_name(),
               is_silent ? "was silent for upstream.stream_idle_timeout"
                         : "has lasted for upstream.stream_time_max",
               method_, target_.path(), request_id_);
  if (is_silent && is_up_to_service()) forwarding_.blame_server();
  forwarding_.cancel();
  if (state_ == State::orphaned) {
    give_worker_back(orphan_outcome_);
    return end();
  }
  reason_word_ = conf::word_of(reason);
  give_worker_back(Outcome::failed(reason));
  client_->cut(answer_framing_ == Framing::until_close);
  end();
}

// An upstream that has all of the request computes on, whether anybody listens or not; but what it
// would agree to, asked for a tunnel, has no end of its own.
bool Exchange::upstream_computes_on() const {
  const bool may_become_tunnel = wants_websocket_ && !answer_head_passed_;
  const conf::OnClientAbort on_abort =
      is_stream_ ? answer_terms_.on_stream_abort : answer_terms_.on_client_abort;
  return on_abort == conf::OnClientAbort::finish && !may_become_tunnel &&
         forwarding_.request_is_sent() && forwarding_.is_active();
}

void Exchange::on_client_gone() {
  switch (state_) {
    case State::collecting:
      if (!is_operator_request_) station_.shared().gate.abandon();
      verdict_ = "abandoned";
      ending_ = Ending::abandoned;
      return end();
    case State::waiting:
      place_ = {};
      verdict_ = "abandoned";
      ending_ = Ending::abandoned;
      return end();
    case State::forwarding:
      if (is_tunnel_) {
        forwarding_.cancel();
        give_worker_back(Outcome::processed());
        return end();
      }
      verdict_ = "abandoned";
      if (upstream_computes_on()) return orphan(Outcome::abandoned());
      forwarding_.cancel();
      give_worker_back(Outcome::abandoned());
      return end();
    default: return;
  }
}

void Exchange::orphan(Outcome outcome) {
  upstream_time_ = time_at_service();
  ending_ = ending_of(outcome);
  record();
  state_ = State::orphaned;
  orphan_outcome_ = outcome;
  client_ = nullptr;
  permit_.orphan();
  // After a 504 for one more request timeout; after an abort until the one that is running ends.
  // A stream has its own.
  if (outcome.kind == Outcome::Kind::failed) station_.deadlines().request.set(request_timer_);
  forwarding_.forbid_retry();
  if (std::exchange(waits_for_reader_, false)) note_sign_of_life();
  forwarding_.resume();  // nothing blocks the answer any more
}

void Exchange::on_client_drained() {
  if (std::exchange(waits_for_reader_, false)) note_sign_of_life();
  if (state_ == State::forwarding) forwarding_.resume();
}

// ---- The end -----------------------------------------------------------------------------------

void Exchange::end() {
  if (state_ == State::waiting) waited_ = station_.loop().now() - joined_;
  stop_holding();
  if (state_ != State::orphaned) record();
  state_ = State::ended;
  client_ = nullptr;
  request_timer_.cancel();
  queue_timer_.cancel();
  silence_timer_.cancel();
  reader_timer_.cancel();
  if (patience_ && deadline_timer_) deadline_timer_->stop();
  station_.retire_exchange(*this);
}

// Whatever it was doing: the books get their ending, nobody else notices.
void Exchange::on_fault() {
  station_.gather().clear();
  if (state_ == State::ended) return;
  const bool is_in_books = reason_word_ != "-";  // as refused
  if (state_ == State::collecting && !is_operator_request_ && !is_in_books)
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
      if (is_held_) return on_body_fault(Reason::draining);  // no server has it
      ClientConnection* const client = client_;
      reason_word_ = conf::word_of(Reason::draining);
      forwarding_.cancel();
      give_worker_back(Outcome::failed(Reason::draining));
      record();
      cut();
      return client->cut(answer_head_passed_ && answer_framing_ == Framing::until_close);
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
  request_timer_.cancel();
  queue_timer_.cancel();
  silence_timer_.cancel();
  reader_timer_.cancel();
  deadline_timer_.reset();
  client_ = nullptr;
  state_ = State::ended;
  uncount_memory();
}

}  // namespace classgate::gateway
