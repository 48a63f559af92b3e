#include "gateway/http1_answer.h"

#include <iterator>

#include "conf/format.h"
#include "gateway/refusal.h"
#include "proxy/wire/serialise.h"

namespace classgate::gateway {

using proxy::wire::Framing;

void Http1Answer::begin(const proxy::wire::Head& request, bool body_is_here,
                        std::uint64_t skipped_max, bool is_last) {
  *this = {};
  minor_version_ = static_cast<std::uint8_t>(request.minor_version);
  closes_ = request.wants_close || is_last;
  may_skip_body_ = request.framing == Framing::none ||
                   (request.framing == Framing::length && request.content_length <= skipped_max);
  waits_for_continue_ = request.expects_continue && !body_is_here;
  body_was_here_ = body_is_here;
}

void Http1Answer::begin_unreadable() {
  *this = {};
  closes_ = true;
}

// An HTTP/1.0 client knows no interim answers.
void Http1Answer::put_interim(const proxy::wire::Head& head, proxy::net::Gather& to) const {
  if (is_http_1_0()) return;
  proxy::wire::append_interim_head(to.begin_text(), head);
  to.end_text();
}

void Http1Answer::put_switch(const proxy::wire::Head& head, proxy::net::Gather& to) {
  closes_ = true;
  framing_ = Framing::until_close;
  proxy::wire::append_switch_head(to.begin_text(), head);
  to.end_text();
}

void Http1Answer::put_head(const proxy::wire::Head& head, Framing framing,
                           std::string_view request_id, const Circumstances& now,
                           proxy::net::Gather& to) {
  framing_ = framing;
  closes_ = closes_ || !request_is_whole_ || now.closes;
  if (framing == Framing::until_close || framing == Framing::chunked) {
    framing_ = is_http_1_0() ? Framing::until_close : Framing::chunked;
    if (is_http_1_0()) closes_ = true;
  }
  // By HTTP/2 an answer may end with its head: where no length says so, the connection's end does.
  if (framing == Framing::none && head.came_by_http2 && !head.has_content_length &&
      head.status != 204 && head.status != 304)
    closes_ = true;
  proxy::wire::append_answer_head(
      to.begin_text(), head,
      {.framing = framing_,
       .content_length = head.content_length,
       .says_length = head.has_content_length && head.status != 204 && framing != Framing::chunked,
       .close = closes_,
       .says_keep_alive = is_http_1_0(),
       .request_id = request_id,
       .date = now.date});
  to.end_text();
}

void Http1Answer::put_body(std::string_view part, proxy::net::Gather& to) const {
  if (framing_ != Framing::chunked) return to.add(part);
  proxy::wire::append_chunk_size(to.begin_text(), part.size());
  to.end_text();
  to.add(part);
  to.add(proxy::wire::crlf);
}

void Http1Answer::put_end(const std::vector<proxy::wire::Parser::Trailer>& trailers,
                          proxy::net::Gather& to) const {
  if (framing_ != Framing::chunked) return;
  proxy::wire::append_last_chunk(to.begin_text(), trailers);
  to.end_text();
}

void Http1Answer::put_refusal(const Refusals& texts, const Refusal& refusal, bool says_rate_limit,
                              const Circumstances& now, proxy::net::Gather& to) {
  // A small body may still come and be thrown away; a large one, or one that waits for the word to
  // come (RFC 9110 section 10.1.1), ends the connection.
  const bool skips_body =
      request_is_whole_ || body_was_here_ || (may_skip_body_ && !waits_for_continue_);
  closes_ = closes_ || refusal.gives_up_request || !skips_body || now.closes;
  texts.append(to.begin_text(), {.rejection = refusal.rejection,
                                 .request_id = refusal.request_id,
                                 .date = now.date,
                                 .allow = refusal.allow,
                                 .own_fields = refusal.own_fields,
                                 .cost = refusal.cost,
                                 .close = closes_,
                                 .says_keep_alive = is_http_1_0(),
                                 .without_body = refusal.without_body,
                                 .has_bad_token = refusal.has_bad_token,
                                 .says_rate_limit = says_rate_limit,
                                 .rate_texts = now.rate_texts});
  to.end_text();
}

void Http1Answer::put_own(const OwnAnswer& answer, const Circumstances& now,
                          proxy::net::Gather& to) {
  closes_ = closes_ || now.closes;
  std::string& out = to.begin_text();
  auto end = std::back_inserter(out);
  fmt::format_to(end, "HTTP/1.1 {} {}\r\n", answer.status, reason_phrase(answer.status));
  for (const OwnAnswer::Field& field : answer.fields)
    fmt::format_to(end, "{}: {}\r\n", field.name, field.value);
  fmt::format_to(end, "Date: {}\r\nContent-Length: {}\r\n{}\r\n", now.date, answer.body.size(),
                 closes_         ? "Connection: close\r\n"
                 : is_http_1_0() ? "Connection: keep-alive\r\n"
                                 : "");
  if (!answer.without_body) out += answer.body;
  to.end_text();
}

}  // namespace classgate::gateway
