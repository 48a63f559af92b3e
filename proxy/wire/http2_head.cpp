#include "proxy/wire/http2_head.h"

#include <algorithm>
#include <array>

#include "proxy/wire/fields.h"
#include "proxy/wire/lines.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::size_t overhead_of_field = 32;  // RFC 9113 section 10.5.1
constexpr std::size_t flood_factor = 4;
constexpr std::size_t pseudo_of_request = 4;  // which do not count as fields

// In lower case (RFC 9113 section 8.2).
bool is_http2_name(std::string_view name) {
  return !name.empty() && token_size(name) == name.size() &&
         std::ranges::none_of(name, [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_http2_value(std::string_view value) {
  return is_field_text(value) && trim_blanks(value).size() == value.size();
}

// What only a connection of HTTP/1 knows (section 8.2.2).
bool is_of_connection(std::string_view name, std::string_view value) {
  constexpr std::array names{"connection",        "keep-alive", "proxy-connection",
                             "transfer-encoding", "upgrade",    "http2-settings"};
  if (name == "te") return !equal_names(value, "trailers");
  return std::ranges::find(names, name) != names.end();
}

bool is_graphic(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7f;
  });
}

}  // namespace

void Http2Head::begin(const HeadLimits& limits) {
  limits_ = &limits;
  text_.clear();
  cookie_.clear();
  spans_.clear();
  std::ranges::fill(pseudo_, PseudoField{});
  bytes_ = count_ = 0;
  has_priority_ = has_secret_crumb_ = false;
  fault_ = Fault::none;
  static_cast<HeadFacts&>(head_) = {};
  head_.fields.clear();
}

// The first that is found.
void Http2Head::blame(Fault fault) {
  if (fault_ == Fault::none) fault_ = fault;
}

bool Http2Head::is_flood() const {
  return bytes_ > flood_factor * limits_->header_bytes ||
         count_ > flood_factor * (limits_->header_count + pseudo_of_request);
}

void Http2Head::add(std::string_view name, std::string_view value, bool is_never_indexed) {
  bytes_ += name.size() + value.size() + overhead_of_field;
  ++count_;
  const bool is_pseudo = name.starts_with(':');
  if (bytes_ > limits_->header_bytes) {
    const bool is_target = is_pseudo && name == ":path" && value.size() > limits_->target_bytes;
    return blame(is_target ? Fault::target_too_long : Fault::header_too_large);
  }
  if (count_ > limits_->header_count + pseudo_of_request) return blame(Fault::header_too_large);
  if (fault_ != Fault::none) return;
  is_pseudo ? add_pseudo(name, value) : add_regular(name, value, is_never_indexed);
}

// Each once, before all others (section 8.3).
void Http2Head::add_pseudo(std::string_view name, std::string_view value) {
  constexpr std::array<std::string_view, 5> names{":method", ":scheme", ":authority", ":path",
                                                  ":protocol"};
  const auto known = std::ranges::find(names, name);
  if (known == names.end() || !spans_.empty() || !cookie_.empty()) return blame(Fault::malformed);
  PseudoField& field = pseudo_[known - names.begin()];
  if (field.is_there || !is_graphic(value)) return blame(Fault::malformed);
  field = {true, text_.size(), value.size()};
  text_ += value;
}

void Http2Head::add_regular(std::string_view name, std::string_view value, bool is_never_indexed) {
  if (!is_http2_name(name) || !is_http2_value(value) || is_of_connection(name, value))
    return blame(Fault::malformed);
  if (name == "te") return;  // it is ours to say to the service
  has_priority_ = has_priority_ || name == "priority";
  if (name == "cookie") {
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
    has_secret_crumb_ = has_secret_crumb_ || is_never_indexed;
    return;
  }
  // Not of HTTP/2 (RFC 8441 section 5), and ours to say.
  if (pseudo_[protocol].is_there && name == "sec-websocket-key") return;
  add_line(name, value, is_never_indexed);
}

void Http2Head::add_line(std::string_view name, std::string_view value, bool is_never_indexed) {
  spans_.push_back({text_.size(), name.size(), value.size(), is_never_indexed});
  text_.append(name).append(": ").append(value).append("\r\n");
}

bool Http2Head::asks_for_websocket() const {
  return fault_ == Fault::none && value_of(method) == "CONNECT" &&
         value_of(protocol) == "websocket";
}

void Http2Head::become_upgrade(std::string_view key) {
  add_line("connection", "Upgrade");
  add_line("upgrade", "websocket");
  add_line("sec-websocket-key", key);
}

Fault Http2Head::finish(bool ends_stream) {
  if (!cookie_.empty()) add_line("cookie", cookie_, has_secret_crumb_);
  if (const Fault fault = judge_pseudo(ends_stream); fault != Fault::none) blame(fault);
  if (fault_ != Fault::none) return fault_;
  put_together();
  blame(judge_fields(ends_stream));
  return fault_;
}

Fault Http2Head::judge_pseudo(bool ends_stream) {
  const std::string_view said_method = value_of(method);
  const std::string_view said_path = value_of(path);
  if (!pseudo_[method].is_there || said_method.empty() ||
      token_size(said_method) != said_method.size())
    return Fault::malformed;
  if (said_method.size() > Parser::method_bytes_max) return Fault::unknown_method;
  head_.method = said_method;
  head_.came_by_http2 = true;
  const bool is_extended = pseudo_[protocol].is_there;  // RFC 8441 section 4
  if (is_extended && (said_method != "CONNECT" || ends_stream)) return Fault::malformed;
  if (said_method == "CONNECT" && !is_extended) {  // section 8.5
    if (pseudo_[scheme].is_there || pseudo_[path].is_there || value_of(authority).empty())
      return Fault::malformed;
    head_.target = value_of(authority);
    return Fault::none;
  }
  if (said_path.size() > limits_->target_bytes) return Fault::target_too_long;
  const std::string_view said_scheme = value_of(scheme);
  const bool is_known = equal_names(said_scheme, "http") || equal_names(said_scheme, "https");
  const bool is_origin =
      said_path.starts_with('/') || (said_path == "*" && said_method == "OPTIONS");
  if (!is_known || !is_origin) return Fault::malformed;
  if (pseudo_[authority].is_there && value_of(authority).empty()) return Fault::malformed;
  // RFC 9220 section 3: 501.
  if (is_extended && value_of(protocol) != "websocket") return Fault::unknown_method;
  if (is_extended) head_.method = "GET";
  head_.target = said_path;
  return Fault::none;
}

void Http2Head::put_together() {
  const std::string_view text = text_;
  head_.host = value_of(authority);
  head_.fields.reserve(spans_.size());
  for (const Span& span : spans_) {
    const std::string_view name = text.substr(span.name_at, span.name_size);
    const std::string_view value =
        text.substr(span.name_at + span.name_size + std::string_view(": ").size(), span.value_size);
    head_.fields.push_back({name, value, field_id(name), true, span.is_never_indexed});
    head_.present |= set_of(head_.fields.back().id);
  }
  head_.size = text_.size() + std::string_view("  HTTP/1.1\r\n\r\n").size();
}

// As Parser has it of HTTP/1.
Fault Http2Head::judge_fields(bool ends_stream) {
  std::size_t hosts = 0, lengths = 0;
  for (const Field& field : head_.fields) {
    switch (field.id) {
      case FieldId::host:
        ++hosts;
        if (!pseudo_[authority].is_there) head_.host = field.value;
        // Said twice, it must be the same (section 8.3.1).
        if (!equal_names(head_.host, field.value) || field.value.empty()) return Fault::malformed;
        break;
      case FieldId::content_length:
        ++lengths;
        if (!read_length(field.value, head_.content_length)) return Fault::malformed;
        break;
      case FieldId::expect:
        (equal_names(field.value, "100-continue") ? head_.expects_continue : head_.expects_other) =
            true;
        break;
      default: break;
    }
  }
  if (hosts > 1 || lengths > 1 || head_.host.empty()) return Fault::malformed;
  head_.has_content_length = lengths == 1;
  if (ends_stream && head_.content_length > 0) return Fault::malformed;
  // What follows is no body.
  if (pseudo_[protocol].is_there) return lengths > 0 ? Fault::malformed : Fault::none;
  if (head_.has_content_length)
    head_.framing = head_.content_length > 0 ? Framing::length : Framing::none;
  else
    head_.framing = ends_stream ? Framing::none : Framing::chunked;
  return Fault::none;
}

std::size_t Http2Head::held_bytes() const {
  return sizeof *this + text_.capacity() + cookie_.capacity() + spans_.capacity() * sizeof(Span) +
         head_.fields.capacity() * sizeof(Field);
}

bool Http2Head::is_good_trailer(std::string_view name, std::string_view value) {
  return is_http2_name(name) && is_http2_value(value) && !is_of_connection(name, value) &&
         name != "te";
}

}  // namespace classgate::proxy::wire
