#include "proxy/wire/serialise.h"

#include <algorithm>
#include <array>

#include "proxy/wire/fields.h"
#include "proxy/wire/writer.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::string_view websocket_fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
constexpr std::string_view close_field = "Connection: close\r\n";
constexpr std::string_view keep_alive_field = "Connection: keep-alive\r\n";
constexpr std::string_view length_name = "Content-Length: ";
constexpr std::string_view chunked_framing = "Transfer-Encoding: chunked\r\n\r\n";

// What a head can become: each field gets at most a space that it did not have; the rest is what we
// say ourselves, without the values that come from elsewhere.
std::size_t most_of(const Head& head) {
  constexpr std::size_t own_words = 512;
  return head.size + head.fields.size() + own_words;
}

void put_field(Writer& to, std::string_view name, std::string_view value) {
  to.text(name);
  to.text(": ");
  to.text(value);
  to.text(crlf);
}

// `label` is the name and what stands between it and the value.
template <std::size_t size_with_nul>
[[gnu::always_inline]] inline void put_own_field(Writer& to, const char (&label)[size_with_nul],
                                                 std::string_view value) {
  to.text({label, size_with_nul - 1});
  to.text(value);
  to.text(crlf);
}

// Of a stranger: whatever it says itself is left out.
void put_what_is_seen(Writer& to, const RequestFacts& facts) {
  to.text("X-Forwarded-For: ");
  to.text(facts.client);
  if (facts.is_encrypted)
    to.text("\r\nX-Forwarded-Proto: https\r\n");
  else
    to.text("\r\nX-Forwarded-Proto: http\r\n");
  if (!facts.host.empty()) put_own_field(to, "X-Forwarded-Host: ", facts.host);
}

// The addresses that a trusted sender named, then its own.
void put_forwarded_for(Writer& to, const Head& request, const RequestFacts& facts) {
  to.text("X-Forwarded-For: ");
  if (request.has(set_of(FieldId::x_forwarded_for)))
    for (const Field& field : request.fields) {
      if (field.id != FieldId::x_forwarded_for || field.value.empty()) continue;
      to.text(field.value);
      to.text(", ");
    }
  to.text(facts.client);
  to.text(crlf);
}

std::string_view scheme_of(const RequestFacts& facts) {
  return facts.is_encrypted ? "https" : "http";
}

// What a trusted sender says, else what we see.
std::string_view said_or_seen(const Head& request, FieldId id, std::string_view seen) {
  if (request.has(set_of(id)))
    for (const Field& field : request.fields)
      if (field.id == id && !field.value.empty()) return field.value;
  return seen;
}

// A chain that a trusted sender began goes on (RFC 7239 section 4); none is begun.
void put_forwarded(Writer& to, const Head& request, const RequestFacts& facts) {
  if (!request.has(set_of(FieldId::forwarded))) return;
  bool has_begun = false;
  for (const Field& field : request.fields) {
    if (field.id != FieldId::forwarded || field.value.empty()) continue;
    to.text(has_begun ? ", " : "Forwarded: ");
    to.text(field.value);
    has_begun = true;
  }
  if (!has_begun) return;
  const bool is_unix = facts.client == "unix:";  // no node of RFC 7239 section 6: an obfuscated one
  const bool is_v6 = !is_unix && facts.client.find(':') != std::string_view::npos;
  to.text(is_v6 ? ", for=\"[" : ", for=");
  to.text(is_unix ? std::string_view("_unix") : facts.client);
  to.text(is_v6 ? "]\";proto=" : ";proto=");
  to.text(scheme_of(facts));
  if (!facts.host.empty()) {
    to.text(";host=\"");
    to.text(facts.host);
    to.text("\"");
  }
  to.text(crlf);
}

void put_what_is_said(Writer& to, const Head& request, const RequestFacts& facts) {
  put_forwarded_for(to, request, facts);
  put_forwarded(to, request, facts);
  put_own_field(to, "X-Forwarded-Proto: ",
                said_or_seen(request, FieldId::x_forwarded_proto, scheme_of(facts)));
  if (const auto host = said_or_seen(request, FieldId::x_forwarded_host, facts.host); !host.empty())
    put_own_field(to, "X-Forwarded-Host: ", host);
}

void put_via(Writer& to, const Head& message, std::string_view name) {
  to.text("Via: ");
  if (message.has(set_of(FieldId::via)))
    for (const Field& field : message.fields) {
      if (field.id != FieldId::via || field.value.empty()) continue;
      to.text(field.value);
      to.text(", ");
    }
  to.text(message.came_by_http2 ? "2.0 " : message.minor_version == 0 ? "1.0 " : "1.1 ");
  to.text(name);
  to.text(crlf);
}

// Lines that go on as they came, as long as they adjoin: one copy for all of them.
class Run {
 public:
  explicit Run(Writer& to) : to_(to) {}
  void add(const Field& field) {
    if (field.name.data() != end_) {
      put();
      begin_ = field.name.data();
    }
    end_ = field.value.data() + field.value.size() + crlf.size();
  }
  void put() {
    to_.text({begin_, end_});
    begin_ = end_ = nullptr;
  }

 private:
  Writer& to_;
  const char* begin_ = nullptr;
  const char* end_ = nullptr;
};

// All fields but those in `dropped`, counting `claims` in, and those that the message's own
// Connection names.
void put_fields_but(Writer& to, const Head& message, FieldSet dropped,
                    const FieldNames* claims = nullptr) {
  Run run(to);
  for (const Field& field : message.fields) {
    if ((set_of(field.id) & dropped) != 0) continue;
    if (claims != nullptr && (set_of(claims->id_of(field.name)) & dropped) != 0) continue;
    if (message.nominates_fields && is_hop_by_hop(field, message)) continue;
    if (field.is_plain) {
      run.add(field);
    } else {
      run.put();
      put_field(to, field.name, field.value);
    }
  }
  run.put();
}

// Whether put_fields_but() puts one of these.
bool goes_on(const Head& message, FieldId id) {
  if (!message.has(set_of(id))) return false;
  return !message.nominates_fields || std::ranges::any_of(message.fields, [&](const Field& field) {
    return field.id == id && !is_hop_by_hop(field, message);
  });
}

// Dropped, or said anew below.
constexpr FieldSet rewritten_in_requests =
    hop_by_hop | set_of(FieldId::host, FieldId::content_length, FieldId::expect, FieldId::via,
                        FieldId::client_subject, FieldId::forwarded, FieldId::x_forwarded_for,
                        FieldId::x_forwarded_host, FieldId::x_forwarded_proto,
                        FieldId::x_request_id);
constexpr FieldSet believed_from_trusted = set_of(FieldId::x_forwarded_other, FieldId::x_real_ip);

void put_request_head(Writer& to, const Head& request, const RequestFacts& facts) {
  to.text(request.method);
  to.text(" ");
  to.text(facts.target);
  to.text(" HTTP/1.1\r\n");
  if (!lacks_host(request, facts)) put_own_field(to, "Host: ", facts.host);
  put_fields_but(to, request,
                 rewritten_in_requests | (facts.sender_is_trusted ? 0 : believed_from_trusted),
                 facts.also_claims);
  if (facts.sender_is_trusted)
    put_what_is_said(to, request, facts);
  else
    put_what_is_seen(to, facts);
  if (!facts.client_subject.empty())
    put_own_field(to, "X-Client-Cert-Subject: ", facts.client_subject);
  put_via(to, request, facts.via_name);
  put_own_field(to, "X-Request-Id: ", facts.request_id);
  if (facts.wants_websocket) to.text(websocket_fields);
}

void put_status_line(Writer& to, const Head& answer) {
  std::array line{'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '0', '0', '0', ' '};
  const auto status = static_cast<unsigned>(answer.status);  // three digits (RFC 9112 section 4)
  line[9] = static_cast<char>('0' + status / 100);
  line[10] = static_cast<char>('0' + status / 10 % 10);
  line[11] = static_cast<char>('0' + status % 10);
  to.text({line.data(), line.size()});
  to.text(answer.reason_phrase);
  to.text(crlf);
}

void put_length_framing(Writer& to, std::uint64_t length) {
  to.text(length_name);
  to.number(length);
  to.text("\r\n\r\n");
}

void put_answer_head(Writer& to, const Head& answer, const AnswerFacts& facts) {
  put_status_line(to, answer);
  put_fields_but(to, answer, hop_by_hop | set_of(FieldId::content_length, FieldId::via));
  put_via(to, answer, "classgate");
  if (!goes_on(answer, FieldId::date)) put_own_field(to, "Date: ", facts.date);
  if (!goes_on(answer, FieldId::x_request_id))
    put_own_field(to, "X-Request-Id: ", facts.request_id);
  if (facts.close)
    to.text(close_field);
  else if (facts.says_keep_alive)
    to.text(keep_alive_field);
  if (facts.framing == Framing::chunked)
    to.text(chunked_framing);
  else if (facts.says_length)
    put_length_framing(to, facts.content_length);
  else
    to.text(no_framing);
}

void put_interim_fields(Writer& to, const Head& answer) {
  put_status_line(to, answer);
  put_fields_but(to, answer, hop_by_hop | set_of(FieldId::content_length));
}

}  // namespace

void append_request_head(std::string& out, const Head& request, const RequestFacts& facts) {
  const std::size_t values = facts.target.size() + 3 * facts.host.size() + 2 * facts.client.size() +
                             facts.request_id.size() + facts.client_subject.size() +
                             facts.via_name.size();
  append(out, most_of(request) + values, [&](Writer& to) { put_request_head(to, request, facts); });
}

void append_trace(std::string& out, const Head& request) {
  constexpr std::array secret{"authorization", "proxy-authorization", "cookie", "x-api-key"};
  out.append(request.method).append(" ").append(request.target);
  out.append(request.came_by_http2        ? " HTTP/2.0"
             : request.minor_version == 0 ? " HTTP/1.0"
                                          : " HTTP/1.1");
  out.append(crlf);
  for (const Field& field : request.fields)
    if (std::ranges::none_of(secret, [&](auto name) { return equal_names(field.name, name); }))
      out.append(field.name).append(": ").append(field.value).append(crlf);
  out.append(crlf);
}

void append_answer_head(std::string& out, const Head& answer, const AnswerFacts& facts) {
  append(out, most_of(answer) + facts.date.size() + facts.request_id.size(),
         [&](Writer& to) { put_answer_head(to, answer, facts); });
}

void append_interim_head(std::string& out, const Head& answer) {
  append(out, most_of(answer), [&](Writer& to) {
    put_interim_fields(to, answer);
    to.text(crlf);
  });
}

void append_switch_head(std::string& out, const Head& answer) {
  append(out, most_of(answer), [&](Writer& to) {
    put_interim_fields(to, answer);
    to.text(websocket_fields);
    to.text(crlf);
  });
}

void append_length_framing(std::string& out, std::uint64_t length) {
  constexpr std::size_t most = length_name.size() + Digits::most + no_framing.size() + crlf.size();
  append(out, most, [&](Writer& to) { put_length_framing(to, length); });
}

void append_chunked_framing(std::string& out) { out.append(chunked_framing); }

void append_chunk_size(std::string& out, std::size_t size) {
  out.append(Digits(size, 16));
  out.append(crlf);
}

void append_last_chunk(std::string& out, const std::vector<Parser::Trailer>& trailers) {
  out.append("0\r\n");
  for (const Parser::Trailer& trailer : trailers)
    if (may_be_trailer(trailer.name))
      append(out, trailer.name.size() + trailer.value.size() + 4,
             [&](Writer& to) { put_field(to, trailer.name, trailer.value); });
  out.append(crlf);
}

}  // namespace classgate::proxy::wire
