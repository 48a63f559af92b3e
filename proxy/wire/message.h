#pragma once

// The head of an HTTP message as it was parsed: views into the bytes it was read from, valid as
// long as those are.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace classgate::proxy::wire {

// The fields that a proxy must know; everything else passes through as `other`.
enum class FieldId : std::uint8_t {
  other,
  misspelt,  // one of the others with underscores: some servers take it for that one
  connection,
  keep_alive,
  proxy_connection,
  te,
  transfer_encoding,
  upgrade,
  content_length,
  date,
  host,
  expect,
  via,
  client_subject,  // of a certificate: ours to say
  forwarded,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_other,  // X-Forwarded-Port and whatever else begins like it
  x_forwarded_proto,
  x_real_ip,
  x_request_id,
};

struct Field {
  std::string_view name;
  std::string_view value;
  FieldId id = FieldId::other;
  // It was read from a line "name: value" with its CRLF, which is there to be copied as it is.
  bool is_plain = false;
  // It came by HTTP/2 as one that is never indexed, and goes on as such (RFC 7541 section 7.1.3).
  bool is_never_indexed = false;
};

struct HeadLimits {
  std::size_t header_bytes;
  std::size_t header_count;
  std::size_t target_bytes;
};

// Where a message's body ends (RFC 9112 section 6.3).
enum class Framing : std::uint8_t { none, length, chunked, until_close };

// A set of field names: a bit for each FieldId.
using FieldSet = std::uint32_t;
constexpr FieldSet set_of(FieldId id) { return FieldSet{1} << static_cast<unsigned>(id); }
template <typename... Ids>
constexpr FieldSet set_of(FieldId first, Ids... rest) {
  return set_of(first) | set_of(rest...);
}

// Of a head, all but its fields.
struct HeadFacts {
  int minor_version = 1;            // of HTTP/1; 1 where it came by HTTP/2
  bool came_by_http2 = false;       // and was put together to what HTTP/1 would have
  FieldSet present = 0;             // which fields there are
  std::size_t size = 0;             // bytes as read, with the empty line, and those of added fields
  Framing framing = Framing::none;  // of a response: as if its request had not been HEAD
  std::uint64_t content_length = 0;
  bool has_content_length = false;
  bool wants_close = false;       // Connection: close, or HTTP/1.0 without keep-alive
  bool nominates_fields = false;  // Connection names fields of its own
  bool has(FieldSet wanted) const { return (present & wanted) != 0; }
  // Of a request:
  std::string_view method;  // any token: it has a case (RFC 9110 section 9.1)
  std::string_view target;
  std::string_view host;
  bool expects_continue = false;
  bool expects_other = false;
  // Of a response:
  int status = 0;
  std::string_view reason_phrase;
};

struct Head : HeadFacts {
  std::vector<Field> fields;
  // One that was not read: `size` must bound what is written. The views must outlive the head.
  void add(std::string_view name, std::string_view value) {
    fields.push_back({name, value, FieldId::other});
    size += name.size() + value.size() + std::string_view(": \r\n").size();
  }
};

}  // namespace classgate::proxy::wire
