#include "proxy/wire/http2_fields.h"

#include "proxy/wire/writer.h"

namespace classgate::proxy::wire {

void Http2Fields::begin(int status) {
  list_.clear();
  const auto digits = static_cast<unsigned>(status);  // three (RFC 9110 section 15)
  status_ = {static_cast<char>('0' + digits / 100 % 10), static_cast<char>('0' + digits / 10 % 10),
             static_cast<char>('0' + digits % 10)};
  add(":status", {status_.data(), status_.size()});
}

void Http2Fields::take_status(int status) { begin(status); }

void Http2Fields::take_fields_but(const Head& answer, FieldSet dropped) {
  for (const Field& field : answer.fields)
    if ((set_of(field.id) & dropped) == 0 && !is_hop_by_hop(field, answer))
      add(field.name, field.value, field.is_never_indexed);
}

void Http2Fields::add_length(std::uint64_t length) {
  length_.assign(std::string_view(Digits(length, 10)));
  add("content-length", length_);
}

void Http2Fields::take_answer(const Head& answer, const AnswerFacts& facts) {
  begin(answer.status);
  take_fields_but(answer, hop_by_hop | set_of(FieldId::content_length, FieldId::via));
  const auto goes_on = [&](FieldId id) {
    for (const Field& field : answer.fields)
      if (field.id == id && !is_hop_by_hop(field, answer)) return true;
    return false;
  };
  via_.clear();
  for (const Field& field : answer.fields)
    if (field.id == FieldId::via && !field.value.empty()) via_.append(field.value).append(", ");
  via_.append(answer.came_by_http2        ? "2.0 classgate"
              : answer.minor_version == 0 ? "1.0 classgate"
                                          : "1.1 classgate");
  add("via", via_);
  if (!goes_on(FieldId::date)) add("date", facts.date);
  if (!goes_on(FieldId::x_request_id)) add("x-request-id", facts.request_id);
  if (facts.says_length) add_length(facts.content_length);
}

void Http2Fields::take_interim(const Head& answer) {
  begin(answer.status);
  take_fields_but(answer, hop_by_hop | set_of(FieldId::content_length));
}

// "HTTP/1.1 429 Too Many Requests", lines with a colon and a space, an empty one: our own words.
std::size_t Http2Fields::take_text(std::string_view text) {
  const std::size_t whole = text.size();
  begin(100 * (text[9] - '0') + 10 * (text[10] - '0') + text[11] - '0');
  text.remove_prefix(text.find(crlf) + crlf.size());
  while (!text.starts_with(crlf)) {
    const std::string_view line = text.substr(0, text.find(crlf));
    const std::size_t colon = line.find(": ");
    const std::string_view name = line.substr(0, colon);
    if (!is_hop_by_hop({name, {}, field_id(name)}, {})) add(name, line.substr(colon + 2));
    text.remove_prefix(line.size() + crlf.size());
  }
  return whole - text.size() + crlf.size();
}

void Http2Fields::take_trailers(const std::vector<Parser::Trailer>& trailers) {
  list_.clear();
  for (const Parser::Trailer& trailer : trailers)
    if (may_be_trailer(trailer.name)) add(trailer.name, trailer.value);
}

}  // namespace classgate::proxy::wire
