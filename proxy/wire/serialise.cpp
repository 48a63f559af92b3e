#include "proxy/wire/serialise.h"

#include <array>
#include <charconv>

#include "proxy/wire/fields.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::string_view websocket_fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

void append_number(std::string& out, std::uint64_t number, int base = 10) {
  std::array<char, 24> digits;
  const auto [end, error] =
      std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out.append(digits.data(), end);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name);
  out.append(": ");
  out.append(value);
  out.append(crlf);
}

// The addresses that a trusted sender named, then its own.
void append_forwarded_for(std::string& out, const Head& request, const RequestFacts& facts) {
  out.append("X-Forwarded-For: ");
  for (const Field& field : request.fields) {
    if (field.id != FieldId::x_forwarded_for || field.value.empty()) continue;
    if (!facts.sender_is_trusted) continue;
    out.append(field.value);
    out.append(", ");
  }
  out.append(facts.client);
  out.append(crlf);
}

std::string_view scheme_of(const RequestFacts& facts) {
  return facts.is_encrypted ? "https" : "http";
}

// What a trusted sender says, else what we see.
void append_said_or_seen(std::string& out, const Head& request, FieldId id, std::string_view name,
                         std::string_view seen, const RequestFacts& facts) {
  std::string_view value = seen;
  if (facts.sender_is_trusted)
    for (const Field& field : request.fields)
      if (field.id == id && !field.value.empty()) {
        value = field.value;
        break;
      }
  if (!value.empty()) append_field(out, name, value);
}

// A chain that a trusted sender began goes on (RFC 7239 section 4); none is begun.
void append_forwarded(std::string& out, const Head& request, const RequestFacts& facts) {
  if (!facts.sender_is_trusted) return;
  bool has_begun = false;
  for (const Field& field : request.fields) {
    if (field.id != FieldId::forwarded || field.value.empty()) continue;
    out.append(has_begun ? ", " : "Forwarded: ");
    out.append(field.value);
    has_begun = true;
  }
  if (!has_begun) return;
  const bool is_v6 = facts.client.find(':') != std::string_view::npos;
  out.append(is_v6 ? ", for=\"[" : ", for=");
  out.append(facts.client);
  out.append(is_v6 ? "]\";proto=" : ";proto=");
  out.append(scheme_of(facts));
  if (!facts.host.empty()) {
    out.append(";host=\"");
    out.append(facts.host);
    out.append("\"");
  }
  out.append(crlf);
}

void append_via(std::string& out, const Head& message) {
  out.append("Via: ");
  for (const Field& field : message.fields) {
    if (field.id != FieldId::via || field.value.empty()) continue;
    out.append(field.value);
    out.append(", ");
  }
  out.append(message.minor_version == 0 ? "1.0 classgate\r\n" : "1.1 classgate\r\n");
}

bool is_rewritten_in_requests(FieldId id, bool sender_is_trusted) {
  switch (id) {
    case FieldId::host:
    case FieldId::content_length:
    case FieldId::expect:
    case FieldId::via:
    case FieldId::client_subject:
    case FieldId::forwarded:
    case FieldId::x_forwarded_for:
    case FieldId::x_forwarded_host:
    case FieldId::x_forwarded_proto:
    case FieldId::x_request_id: return true;
    case FieldId::x_forwarded_other:
    case FieldId::x_real_ip: return !sender_is_trusted;
    default: return false;
  }
}

}  // namespace

void append_request_head(std::string& out, const Head& request, const RequestFacts& facts) {
  out.append(request.method);
  out.append(" ");
  out.append(facts.target);
  out.append(" HTTP/1.1\r\n");
  append_field(out, "Host", facts.host);
  for (const Field& field : request.fields)
    if (!is_rewritten_in_requests(field.id, facts.sender_is_trusted) &&
        !is_hop_by_hop(field, request))
      append_field(out, field.name, field.value);
  append_forwarded_for(out, request, facts);
  append_forwarded(out, request, facts);
  append_said_or_seen(out, request, FieldId::x_forwarded_proto, "X-Forwarded-Proto",
                      scheme_of(facts), facts);
  if (!facts.client_subject.empty())
    append_field(out, "X-Client-Cert-Subject", facts.client_subject);
  append_said_or_seen(out, request, FieldId::x_forwarded_host, "X-Forwarded-Host", facts.host,
                      facts);
  append_via(out, request);
  append_field(out, "X-Request-Id", facts.request_id);
  if (facts.wants_websocket) out.append(websocket_fields);
}

void append_answer_head(std::string& out, const Head& answer, const AnswerFacts& facts) {
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(answer.status));
  out.append(" ");
  out.append(answer.reason_phrase);
  out.append(crlf);
  bool has_request_id = false, has_date = false;
  for (const Field& field : answer.fields) {
    if (field.id == FieldId::content_length || field.id == FieldId::via) continue;
    if (is_hop_by_hop(field, answer)) continue;
    has_request_id = has_request_id || field.id == FieldId::x_request_id;
    has_date = has_date || field.id == FieldId::date;
    append_field(out, field.name, field.value);
  }
  append_via(out, answer);
  if (!has_date) append_field(out, "Date", facts.date);
  if (!has_request_id) append_field(out, "X-Request-Id", facts.request_id);
  if (facts.close)
    out.append("Connection: close\r\n");
  else if (facts.says_keep_alive)
    out.append("Connection: keep-alive\r\n");
  if (facts.framing == Framing::chunked)
    append_chunked_framing(out);
  else if (facts.says_length)
    append_length_framing(out, facts.content_length);
  else
    out.append(no_framing);
}

static void append_interim_fields(std::string& out, const Head& answer) {
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::uint64_t>(answer.status));
  out.append(" ");
  out.append(answer.reason_phrase);
  out.append(crlf);
  for (const Field& field : answer.fields)
    if (field.id != FieldId::content_length && !is_hop_by_hop(field, answer))
      append_field(out, field.name, field.value);
}

void append_interim_head(std::string& out, const Head& answer) {
  append_interim_fields(out, answer);
  out.append(crlf);
}

void append_switch_head(std::string& out, const Head& answer) {
  append_interim_fields(out, answer);
  out.append(websocket_fields);
  out.append(crlf);
}

void append_length_framing(std::string& out, std::uint64_t length) {
  out.append("Content-Length: ");
  append_number(out, length);
  out.append("\r\n\r\n");
}

void append_chunked_framing(std::string& out) { out.append("Transfer-Encoding: chunked\r\n\r\n"); }

void append_chunk_size(std::string& out, std::size_t size) {
  append_number(out, size, 16);
  out.append(crlf);
}

void append_last_chunk(std::string& out, const std::vector<Parser::Trailer>& trailers) {
  out.append("0\r\n");
  for (const Parser::Trailer& trailer : trailers) {
    if (may_be_trailer(trailer.name)) append_field(out, trailer.name, trailer.value);
  }
  out.append(crlf);
}

}  // namespace classgate::proxy::wire
