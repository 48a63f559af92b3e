#include "gateway/http2_stream.h"

#include <algorithm>
#include <string>
#include <utility>

#include "conf/invariant.h"
#include "gateway/first_look.h"
#include "gateway/grpc_refusal.h"
#include "gateway/http2_connection.h"
#include "gateway/refusal.h"
#include "gateway/station.h"
#include "proxy/wire/http2_fields.h"

namespace classgate::gateway {

using proxy::wire::Framing;
using proxy::wire::Http2Error;
using proxy::wire::Parser;

namespace {

constexpr std::size_t kept_output_max = 4 * 1024;  // of a stream that has nothing to send

bool is_grpc_call(const proxy::wire::Head& head) {
  if (head.method != "POST") return false;
  for (const proxy::wire::Field& field : head.fields)
    if (proxy::wire::equal_names(field.name, "content-type")) return is_grpc_type(field.value);
  return false;
}

}  // namespace

Http2Stream::Http2Stream(Http2Connection& connection, proxy::wire::Http2StreamId id)
    : connection_(connection),
      id_(id),
      input_due_(on_input_timeout, this),
      output_due_(on_output_timeout, this) {}

proxy::net::Loop& Http2Stream::loop() { return connection_.station().loop(); }

// ---- What comes --------------------------------------------------------------------------------

void Http2Stream::on_field(std::string_view name, std::string_view value) {
  take_field(name, value, false);
}

void Http2Stream::on_never_indexed_field(std::string_view name, std::string_view value) {
  take_field(name, value, true);
}

void Http2Stream::take_field(std::string_view name, std::string_view value, bool is_never_indexed) {
  if (input_.has_head) return guard([&] { take_trailer(name, value); });
  proxy::wire::Http2Head& head = connection_.head();
  head.add(name, value, is_never_indexed);
  if (head.is_flood()) connection_.give_up(Http2Error::enhance_your_calm);
}

void Http2Stream::take_trailer(std::string_view name, std::string_view value) {
  constexpr std::size_t overhead = 32;  // RFC 9113 section 10.5.1
  const proxy::wire::HeadLimits& limits = connection_.station().request_limits();
  input_.trailer_bytes += name.size() + value.size() + overhead;
  const bool is_too_large =
      input_.trailer_bytes > limits.header_bytes || input_.trailers.size() >= limits.header_count;
  const bool is_good = proxy::wire::Http2Head::is_good_trailer(name, value);
  if (!is_too_large && is_good)
    return input_.trailers.push_back({std::string(name), std::string(value)});
  was_malformed_ = was_malformed_ || !is_good;
  if (exchange_ != nullptr)
    exchange_->on_body_fault(is_good ? conf::Reason::header_too_large : conf::Reason::malformed);
}

void Http2Stream::on_fields_end(bool ends_stream) {
  if (input_.has_head) return;
  input_.has_head = true;
  guard([&] { take_head(ends_stream); });
  connection_.on_head_end();
  count_memory();
}

void Http2Stream::take_head(bool ends_stream) {
  Station& station = connection_.station();
  proxy::wire::Http2Head& fields = connection_.head();
  if (fields.asks_for_websocket()) {
    tunnel_ = std::make_unique<Tunnel>();
    fields.become_upgrade(tunnel_->handshake.key());
  }
  const proxy::wire::Fault fault = fields.finish(ends_stream);
  const proxy::wire::Head& head = fields.head();
  facts_ = connection_.facts();
  facts_.speaks_http2 = true;
  if (!fields.has_priority()) connection_.session().share(id_);
  if (fault != proxy::wire::Fault::none) return refuse_head(reason_of(fault), head);
  if (station.memory().is_used_up()) [[unlikely]]
    return refuse_head(conf::Reason::memory_pressure, head);
  facts_.calls_grpc = is_grpc_call(head);
  exchange_ = &station.take_exchange();
  exchange_->on_head(*this, head, ends_stream || tunnel_);
  if (ends_stream || exchange_ == nullptr) return;
  if (tunnel_) return end_request();
  if (head.expects_continue) {
    proxy::wire::Http2Fields& to_go_on = station.spare_fields();
    to_go_on.take_status(100);
    connection_.session().send_interim(id_, to_go_on.list());
  }
  connection_.on_part_of_body();
  watch_input();
}

void Http2Stream::refuse_head(conf::Reason reason, const proxy::wire::Head& head) {
  was_malformed_ = reason == conf::Reason::malformed;
  if (was_malformed_) connection_.note_misuse();
  // Its answer, which is whole, makes up for one.
  if (reason == conf::Reason::header_too_large)
    for (int i = 0; i < 2; ++i) connection_.note_misuse();
  exchange_ = &connection_.station().take_exchange();
  exchange_->on_unreadable(*this, reason, {.bytes = {}, .head = &head});
}

void Http2Stream::on_body(std::string_view part) {
  input_.bytes += part.size();
  input_.untaken += part.size();
  if (exchange_ == nullptr) return;  // what is thrown away opens no window
  guard([&] {
    tunnel_ ? take_tunnel_bytes(part) : exchange_->on_body(part);
    give_credit();
    count_memory();
  });
}

void Http2Stream::on_body_part_end() {
  connection_.on_part_of_body();
  if (exchange_ != nullptr && !tunnel_) guard([this] { exchange_->on_body_part_end(); });
}

void Http2Stream::on_request_end() {
  input_.is_whole = true;
  if (tunnel_ && exchange_ != nullptr) return guard([this] { go_on_with_tunnel(); });
  input_due_.cancel();
  if (exchange_ == nullptr) return;
  guard([this] { end_request(); });
}

void Http2Stream::end_request() {
  exchange_->on_body_end(input_.trailers);
  // The answer will take a while: looks, in the next turn, whether the client is still there.
  if (exchange_ == nullptr) return;
  if (exchange_->is_waiting()) connection_.look_soon();
  connection_.look_later();
}

// As much more may come as has been taken, once more is wanted.
void Http2Stream::give_credit() {
  if (exchange_ == nullptr || input_.untaken == 0 || input_.is_whole || !exchange_->wants_body())
    return;
  if (tunnel_ && !tunnel_->is_open) return;
  connection_.session().took(id_, std::exchange(input_.untaken, 0));
}

void Http2Stream::stream_body() {
  if (!tunnel_ && !std::exchange(input_.is_streaming, true)) {
    connection_.station().metrics().reached(Limit::body_buffer);
    watch_input();
  }
  give_credit();
  connection_.flush(*this);
}

// ---- What is said ------------------------------------------------------------------------------

void Http2Stream::send_interim(const proxy::wire::Head& head) {
  proxy::wire::Http2Fields& fields = connection_.station().spare_fields();
  fields.take_interim(head);
  connection_.session().send_interim(id_, fields.list());
}

void Http2Stream::send_head(const proxy::wire::Head& head, Framing framing,
                            std::string_view request_id) {
  Station& station = connection_.station();
  proxy::wire::Http2Fields& fields = station.spare_fields();
  fields.take_answer(head, {.framing = framing,
                            .content_length = head.content_length,
                            .says_length = head.has_content_length && head.status != 204 &&
                                           framing != Framing::chunked,
                            .request_id = request_id,
                            .date = station.date_text()});
  connection_.session().send_head(id_, fields.list(), framing != Framing::none);
  output_.is_open = framing == Framing::chunked || framing == Framing::until_close;
}

void Http2Stream::send_body(std::string_view part) {
  if (!part.empty()) output_.parts.push_back(part);
}

void Http2Stream::send_end(const std::vector<Parser::Trailer>& trailers) {
  output_.is_all = true;
  output_.trailers = trailers;
  std::erase_if(output_.trailers, [](const Parser::Trailer& trailer) {
    return !proxy::wire::may_be_trailer(trailer.name);
  });
}

void Http2Stream::send_refusal(const Refusals& texts, const Refusal& refusal) {
  if (facts_.calls_grpc) return refuse_call(texts, refusal);
  Station& station = connection_.station();
  std::string text;
  texts.append(text, {.rejection = refusal.rejection,
                      .request_id = refusal.request_id,
                      .date = station.date_text(),
                      .allow = refusal.allow,
                      .own_fields = refusal.own_fields,
                      .cost = refusal.cost,
                      .without_body = refusal.without_body,
                      .has_bad_token = refusal.has_bad_token,
                      .says_rate_limit =
                          station.settings().client.rate_limit_fields != conf::RateLimitFields::off,
                      .rate_texts = &station.rate_texts()});
  say_text(text);
  flush();
}

// To gRPC all that is not 200 is the network's fault: it is told in the trailers, which are the
// head of an answer without a body.
void Http2Stream::refuse_call(const Refusals& texts, const Refusal& refusal) {
  const conf::Reason reason = refusal.rejection.reason;
  const GrpcRefusal said(refusal.rejection, texts.status(reason), refusal.request_id);
  proxy::wire::Http2Fields& fields = connection_.station().spare_fields();
  fields.take_status(200);
  fields.add("content-type", "application/grpc");
  fields.add("grpc-status", said.code);
  fields.add("grpc-message", said.message);
  if (!said.pushback.empty()) fields.add("grpc-retry-pushback-ms", said.pushback);
  fields.add("grpc-status-details-bin", said.details);
  fields.add("x-classgate-reason", conf::word_of(reason));
  fields.add("date", connection_.station().date_text());
  if (!refusal.request_id.empty()) fields.add("x-request-id", refusal.request_id);
  output_.is_all = true;
  connection_.session().send_head(id_, fields.list(), false);
  flush();
}

// As it would be written by HTTP/1.
void Http2Stream::say_text(std::string_view text) {
  proxy::wire::Http2Fields& fields = connection_.station().spare_fields();
  const std::size_t head_size = fields.take_text(text);
  output_.held.append(text.substr(head_size));
  output_.is_all = true;
  connection_.session().send_head(id_, fields.list(), held_size() > 0);
}

void Http2Stream::send_own(const OwnAnswer& answer) {
  Station& station = connection_.station();
  proxy::wire::Http2Fields& fields = station.spare_fields();
  fields.take_status(answer.status);
  for (const OwnAnswer::Field& field : answer.fields) fields.add(field.name, field.value);
  fields.add("date", station.date_text());
  fields.add_length(answer.body.size());
  if (!answer.without_body) output_.held.append(answer.body);
  output_.is_all = true;
  connection_.session().send_head(id_, fields.list(), held_size() > 0);
  flush();
}

void Http2Stream::flush() {
  if (is_closed_) return output_.parts.clear();
  if (unsent() > 0 || output_.is_all) connection_.session().resume(id_);
  connection_.flush(*this);
}

void Http2Stream::finish() {
  exchange_ = nullptr;
  input_due_.cancel();
  if (is_closed_) return connection_.on_finished(*this);
  // The service has had the last word: of what the client might still say nothing is wanted.
  if (!tunnel_ || !tunnel_->output_has_ended || input_.is_whole) return;
  connection_.session().reset(id_, Http2Error::none);
  connection_.look_soon();
}

// A call that has begun to be answered has trailers to tell of its end.
void Http2Stream::cut(conf::Reason why) {
  if (is_closed_ || !facts_.calls_grpc || !output_.is_open || output_.is_all)
    return end_with(Http2Error::internal_error);
  const auto code = static_cast<unsigned>(grpc_code_of(why, 200));
  send_end({{"grpc-status", std::to_string(code)},
            {"grpc-message", std::string(conf::text_of(why).title)},
            {"x-classgate-reason", std::string(conf::word_of(why))}});
  flush();
  finish();
}

void Http2Stream::reset() { end_with(Http2Error::internal_error); }

void Http2Stream::end_with(Http2Error error) {
  exchange_ = nullptr;
  stop_timers();
  if (is_closed_) return connection_.on_finished(*this);
  connection_.session().reset(id_, error);
  connection_.flush(*this);
}

// ---- A tunnel (RFC 8441) -----------------------------------------------------------------------

// The service's 101 is the client's 200, without what only HTTP/1 agrees with.
bool Http2Stream::begin_tunnel(const proxy::wire::Head& head) {
  const auto is_accept = [](const proxy::wire::Field& field) {
    return proxy::wire::equal_names(field.name, "sec-websocket-accept");
  };
  const auto accept = std::ranges::find_if(head.fields, is_accept);
  if (!tunnel_ || accept == head.fields.end() || !tunnel_->handshake.is_answered_by(accept->value))
    return false;
  proxy::wire::Head said = head;
  said.status = 200;
  std::erase_if(said.fields, is_accept);
  proxy::wire::Http2Fields& fields = connection_.station().spare_fields();
  fields.take_interim(said);
  connection_.session().send_head(id_, fields.list(), true);
  output_.is_open = tunnel_->is_open = true;
  watch_tunnel();
  connection_.on_drained(*this);  // what has come so far: when its exchange does not speak
  connection_.look_soon();
  return true;
}

void Http2Stream::take_tunnel_bytes(std::string_view part) {
  if (!tunnel_->is_open) return static_cast<void>(tunnel_->early.append(part));
  exchange_->on_tunnel_bytes(part);
}

void Http2Stream::go_on_with_tunnel() {
  if (!tunnel_ || !tunnel_->is_open) return;
  if (!tunnel_->early.empty()) exchange_->on_tunnel_bytes(std::exchange(tunnel_->early, {}));
  give_credit();
  if (exchange_ == nullptr || !input_.is_whole || std::exchange(tunnel_->client_has_ended, true))
    return;
  exchange_->on_tunnel_client_ended();
}

void Http2Stream::end_tunnel_output() {
  output_.is_all = true;
  watch_tunnel();
  flush();
}

// ---- What goes out -----------------------------------------------------------------------------

std::size_t Http2Stream::unsent() const {
  std::size_t size = held_size();
  for (const std::string_view part : output_.parts) size += part.size();
  return size;
}

proxy::wire::Http2Session::Stream::Ready Http2Stream::ready(std::size_t most) {
  if (!connection_.has_room()) return {.waits_for_room = true};
  const std::size_t all = unsent();
  Ready ready{.size = std::min(most, all), .is_all = output_.is_all && all <= most};
  ready.has_trailers = ready.is_all && !output_.trailers.empty();
  if (!ready.has_trailers) return ready;
  proxy::wire::Http2Fields& fields = connection_.station().spare_fields();
  fields.take_trailers(output_.trailers);
  connection_.session().add_trailers(id_, fields.list());
  return ready;
}

void Http2Stream::put_frame(std::string_view head, std::size_t size) {
  proxy::net::Gather& to = connection_.station().gather();
  to.begin_text().append(head);
  to.end_text();
  connection_.note_output(*this, head.size() + size);
  output_.taken += size;
  const std::size_t of_held = std::min(size, held_size());
  to.add(std::string_view(output_.held).substr(output_.begin, of_held));
  output_.begin += of_held;
  size -= of_held;
  while (size > 0) {
    std::string_view& part = output_.parts.front();
    const std::size_t of_part = std::min(size, part.size());
    to.add(part.substr(0, of_part));
    size -= of_part;
    part.remove_prefix(of_part);
    if (part.empty()) output_.parts.erase(output_.parts.begin());
  }
}

// Of a request that has its answer nothing more is wanted (RFC 9113 section 8.1).
void Http2Stream::on_answer_sent() {
  if (!was_malformed_) connection_.note_answer();
  output_due_.cancel();
  if (tunnel_) tunnel_->output_has_ended = true;
  const bool goes_on = tunnel_ && tunnel_->is_open && exchange_ != nullptr;
  if (!input_.is_whole && !goes_on)
    connection_.session().reset(id_,
                                was_malformed_ ? Http2Error::protocol_error : Http2Error::none);
}

bool Http2Stream::can_wait(bool is_alone) const {
  return is_alone ? !output_.is_all && output_.taken + unsent() == 0 : unsent() <= kept_output_max;
}

void Http2Stream::keep_parts() {
  if (output_.begin > 0 && output_.begin >= output_.held.size() / 2) {
    output_.held.erase(0, std::exchange(output_.begin, 0));
    if (output_.held.empty() && output_.held.capacity() > kept_output_max)
      output_.held.shrink_to_fit();
  }
  for (const std::string_view part : output_.parts) output_.held.append(part);
  output_.parts.clear();
}

void Http2Stream::after_output() {
  if (is_closed_) return output_.parts.clear();
  keep_parts();
  const bool waits = held_size() > 0;
  if (!waits && std::exchange(output_.waits, false)) {
    output_due_.cancel();
    connection_.on_drained(*this);
  }
  output_.waits = waits;
  if (waits) watch_output();
  count_memory();
}

void Http2Stream::on_drained() {
  if (exchange_ != nullptr) guard([this] { go_on_with_tunnel(); });
  if (exchange_ != nullptr) guard([this] { exchange_->on_client_drained(); });
}

// ---- The end -----------------------------------------------------------------------------------

void Http2Stream::on_closed(Http2Error) {
  is_closed_ = true;
  stop_timers();
  if (exchange_ == nullptr) return connection_.remove(*this);
  if (connection_.is_receiving()) return leave();
  // Its exchange has said all and is about to finish(); or hears of it when it does not speak.
  if (!output_.is_all) connection_.on_left(*this);
}

void Http2Stream::leave() {
  if (exchange_ != nullptr) guard([this] { std::exchange(exchange_, nullptr)->on_client_gone(); });
  if (is_closed_) connection_.remove(*this);
}

void Http2Stream::on_fault() {
  if (exchange_ != nullptr) std::exchange(exchange_, nullptr)->on_fault();
  if (!is_closed_) end_with(Http2Error::internal_error);
}

}  // namespace classgate::gateway
