#include "proxy/wire/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <cstring>

#include "proxy/wire/fields.h"

namespace classgate::proxy::wire {

struct Parser::State {
  llhttp_t parser;
};

// llhttp calls these; each is a cast and a few writes. During the head they note offsets; trailers,
// whose bytes are not kept by anybody, are copied.
struct ParserCallbacks {
  static Parser& self(llhttp_t* parser) { return *static_cast<Parser*>(parser->data); }
  static std::uint32_t offset(const Parser& p, const char* at) {
    return static_cast<std::uint32_t>(at - p.base_);
  }

  static int on_url(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    if (p.target_size_ == 0) p.target_at_ = offset(p, at);
    if (offset(p, at) != p.target_at_ + p.target_size_) return stop(p, Fault::malformed);
    p.target_size_ += static_cast<std::uint32_t>(size);
    return p.target_size_ > p.limits_->target_bytes ? stop(p, Fault::target_too_long) : 0;
  }

  // A name may come in pieces, which adjoin: between two names there is at least a colon.
  static int on_name(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    const std::uint32_t begin = offset(p, at);
    if (begin != p.name_end_) {
      if (p.next_span_ == p.end_of_spans_ && !p.make_room_for_field())
        return stop(p, Fault::header_too_large);
      *p.next_span_++ = {.name_at = begin};
    }
    p.next_span_[-1].name_size += static_cast<std::uint32_t>(size);
    p.name_end_ = begin + static_cast<std::uint32_t>(size);
    return 0;
  }

  static int on_value(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    Parser::FieldSpan& field = p.next_span_[-1];
    if (field.value_size == 0) field.value_at = offset(p, at);
    // Pieces that do not adjoin: it goes on in another line (obs-fold).
    if (offset(p, at) != field.value_at + field.value_size) return stop(p, Fault::malformed);
    field.value_size += static_cast<std::uint32_t>(size);
    return 0;
  }

  static int on_trailer_name(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    if (p.in_trailer_value_) {
      if (p.trailers_.size() >= p.limits_->header_count) return stop(p, Fault::header_too_large);
      p.trailers_.emplace_back();
      p.in_trailer_value_ = false;
    }
    p.trailers_.back().name.append(at, size);
    return count_trailer_bytes(p, size);
  }

  static int on_trailer_value(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    p.trailers_.back().value.append(at, size);
    p.in_trailer_value_ = true;
    return count_trailer_bytes(p, size);
  }

  static int on_trailer_value_complete(llhttp_t* parser) {
    self(parser).in_trailer_value_ = true;  // an empty value has no span
    return 0;
  }

  static int count_trailer_bytes(Parser& p, std::size_t size) {
    p.trailer_bytes_ += size;
    return p.trailer_bytes_ > p.limits_->header_bytes ? stop(p, Fault::header_too_large) : 0;
  }

  static int on_body(llhttp_t* parser, const char* at, std::size_t size) {
    self(parser).spans_.emplace_back(at, size);
    return 0;
  }

  static int pause(llhttp_t*) { return HPE_PAUSED; }

  // The last chunk's size has been read: from here on the trailer section is looked at as well.
  static int on_chunk_header(llhttp_t* parser) {
    if (parser->content_length > 0) return 0;
    self(parser).in_trailer_section_ = true;
    return HPE_PAUSED;
  }

  static int stop(Parser& p, Fault fault) {
    p.fault_ = fault;
    return HPE_USER;
  }

  static llhttp_settings_t for_heads() {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_url = on_url;
    s.on_header_field = on_name;
    s.on_header_value = on_value;
    s.on_headers_complete = pause;
    return s;
  }

  static llhttp_settings_t for_chunks() {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_header_field = on_trailer_name;
    s.on_header_value = on_trailer_value;
    s.on_header_value_complete = on_trailer_value_complete;
    s.on_body = on_body;
    s.on_chunk_header = on_chunk_header;
    s.on_message_complete = pause;
    return s;
  }

  // As llhttp_init() makes it, ready to be copied.
  static const llhttp_t& at_head_of(Parser::Kind kind) {
    struct Fresh {
      llhttp_settings_t settings = for_heads();
      llhttp_t request, response;
      Fresh() {
        llhttp_init(&request, HTTP_REQUEST, &settings);
        llhttp_init(&response, HTTP_RESPONSE, &settings);
      }
    };
    static const Fresh fresh;
    return kind == Parser::Kind::request ? fresh.request : fresh.response;
  }

  static void go_on_with_chunks(llhttp_t& parser) {
    static const llhttp_settings_t settings = for_chunks();
    parser.settings = const_cast<llhttp_settings_t*>(&settings);
  }
};

namespace {

constexpr int connection_options_max = 32;
// How much a chunked body may spend on extensions, leading zeros and chunks of a few bytes before
// it is taken for an attempt to make us read for nothing.
constexpr std::size_t chunk_overhead_max = 16 * 1024;

bool is_token_char(char c) {  // RFC 9110 section 5.6.2
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool is_pair(const char* at, const char (&two)[3]) { return at[0] == two[0] && at[1] == two[1]; }

bool is_crlf(std::string_view text, std::size_t at) {
  return at + 1 < text.size() && text[at] == '\r' && text[at + 1] == '\n';
}

std::string_view trim(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

std::string_view trim_end(std::string_view value) {
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  return value;
}

// Nothing but digits, so few that they fit.
bool parse_length(std::string_view text, std::uint64_t& length) {
  if (text.empty() || text.size() > 18) return false;
  length = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    length = 10 * length + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

}  // namespace

Parser::Parser() : state_(std::make_unique<State>()) {}
Parser::~Parser() = default;

void Parser::begin(Kind kind, const HeadLimits& limits) {
  kind_ = kind;
  limits_ = &limits;
  state_->parser = ParserCallbacks::at_head_of(kind);
  state_->parser.data = this;
  static_cast<HeadFacts&>(head_) = {};  // the fields keep their memory
  head_size_ = 0;
  fault_ = Fault::none;
  fed_ = 0;
  target_at_ = target_size_ = 0;
  next_span_ = spans_of_fields_.data();
  // A reload may change the limit: a head that is under way keeps the one that it began with.
  end_of_spans_ = next_span_ + std::min(spans_of_fields_.size(), limits.header_count);
  name_end_ = no_name;
  lengths_ = hosts_ = 0;
  trailers_.clear();
  trailer_bytes_ = 0;
  chunk_overhead_ = 0;
  in_trailer_value_ = true;  // what comes first is a name
  in_trailer_section_ = false;
  last_trailer_byte_ = '\n';
}

bool Parser::make_room_for_field() {
  const std::size_t count = field_count();
  if (count >= limits_->header_count) return false;
  spans_of_fields_.resize(std::min(std::max<std::size_t>(2 * count, 16), limits_->header_count));
  next_span_ = spans_of_fields_.data() + count;
  end_of_spans_ = spans_of_fields_.data() + spans_of_fields_.size();
  return true;
}

Parser::Progress Parser::fail(Fault fault) {
  if (fault_ == Fault::none) fault_ = fault;
  return Progress::fault;
}

std::size_t Parser::held_bytes() const {
  const auto size_of = [](const auto& vector) { return vector.capacity() * sizeof(vector[0]); };
  return sizeof *this + sizeof *state_ + size_of(head_.fields) + size_of(spans_of_fields_) +
         size_of(spans_) + size_of(trailers_) + trailer_bytes_;
}

Parser::Progress Parser::parse_head(std::string_view text) {
  base_ = text.data();
  const llhttp_errno_t error =
      llhttp_execute(&state_->parser, text.data() + fed_, text.size() - fed_);
  if (error == HPE_PAUSED) {
    head_size_ = static_cast<std::size_t>(llhttp_get_error_pos(&state_->parser) - text.data());
    if (head_size_ > limits_->header_bytes) return fail(Fault::header_too_large);
    return finish_head(text);
  }
  if (error == HPE_INVALID_METHOD) return judge_strange_method(text);
  if (error == HPE_INVALID_VERSION && kind_ == Kind::request) return judge_strange_version(text);
  if (error != HPE_OK) return fail(Fault::malformed);
  fed_ = text.size();
  if (fed_ >= limits_->header_bytes)
    return fail(field_count() == 0 && kind_ == Kind::request ? Fault::target_too_long
                                                             : Fault::header_too_large);
  return Progress::need_more;
}

// llhttp knows a list of methods. Another one is no mistake of the client's (RFC 9110 section 9.1),
// unless the line is none of a request at all.
Parser::Progress Parser::judge_strange_method(std::string_view text) {
  while (text.starts_with("\r\n")) text.remove_prefix(2);
  const auto method_end =
      static_cast<std::size_t>(std::ranges::find_if_not(text, is_token_char) - text.begin());
  if (method_end == 0) return fail(Fault::malformed);
  if (method_end < text.size() && text[method_end] != ' ') return fail(Fault::malformed);
  const std::size_t line_end = text.find('\r');
  if (line_end == std::string_view::npos)
    return text.size() < limits_->header_bytes ? Progress::need_more : fail(Fault::malformed);
  const std::string_view line = text.substr(0, line_end);
  const std::size_t version_at = line.rfind(" HTTP/1.");
  const bool is_request = version_at != std::string_view::npos && version_at > method_end + 1 &&
                          version_at + 9 == line.size() &&
                          line.find('\n') == std::string_view::npos;
  return fail(is_request ? Fault::unknown_method : Fault::malformed);
}

// A version that is not ours, or none at all (RFC 9112 section 2.3): told when the line is there.
Parser::Progress Parser::judge_strange_version(std::string_view text) {
  const std::string_view line = text.substr(0, text.find('\r', target_at_ + target_size_));
  if (line.size() == text.size() && text.size() < limits_->header_bytes) return Progress::need_more;
  const std::string_view version = line.substr(std::min(line.rfind(' ') + 1, line.size()));
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool is_version = version.size() == 8 && version.starts_with("HTTP/") &&
                          is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
  return fail(is_version ? Fault::unsupported_version : Fault::malformed);
}

Parser::Progress Parser::finish_head(std::string_view text) {
  if (!read_lines(text.substr(0, head_size_))) return fail(Fault::malformed);
  ParserCallbacks::go_on_with_chunks(state_->parser);
  head_.size = head_size_;
  head_.minor_version = state_->parser.http_minor;
  if (state_->parser.http_major != 1 || head_.minor_version > 1)
    return fail(Fault::unsupported_version);
  if (const Fault fault = read_framing(); fault != Fault::none) return fail(fault);
  // It is llhttp that will read the chunks: where it would not ("chunked" and a tab, in an answer),
  // others may not either.
  const bool reads_chunks = (state_->parser.flags & F_CHUNKED) != 0;
  if (reads_chunks != (head_.framing == Framing::chunked)) return fail(Fault::malformed);
  if (const Fault fault = read_connection_options(); fault != Fault::none) return fail(fault);
  const Fault fault = kind_ == Kind::request ? judge_request() : judge_response();
  return fault == Fault::none ? Progress::done : fail(fault);
}

// The head is nothing but a first line and "name: value" lines, each with its CRLF, and an empty
// one: no line ends otherwise, begins with white space (obs-fold) or has an empty name, and no NUL
// stands anywhere (RFC 9112 sections 2.2, 5; RFC 9110 section 5.5). llhttp lets some of that pass.
// Every byte is accounted for by what it found: names, values and targets have no line ends in
// them.
bool Parser::read_lines(std::string_view head) {
  if (std::memchr(head.data(), '\0', head.size()) != nullptr) return false;
  const std::size_t fields_at =
      kind_ == Kind::request ? read_request_line(head) : read_status_line(head);
  if (fields_at == no_line) return false;
  // Ends with the two CRLF that llhttp has seen there, so that looking ahead stays within.
  const char* const begin = head.data();
  if (head.size() < 4 || !is_pair(begin + head.size() - 4, "\r\n") ||
      !is_pair(begin + head.size() - 2, "\r\n"))
    return false;
  const char* at = begin + fields_at;
  head_.fields.resize(field_count());
  Field* field = head_.fields.data();
  for (const FieldSpan& span : field_spans()) {
    if (begin + span.name_at != at || span.name_size == 0) return false;
    at = is_plain_line(begin, span) ? read_plain_line(at, span, *field)
                                    : read_line(begin, span, *field);
    if (at == nullptr) return false;
    field->id = field_id(field->name);
    if (field->id != FieldId::other) note_known(*field);
    ++field;
  }
  return at + 2 == begin + head.size();
}

// As nearly all are: "name: value", without white space that says nothing.
bool Parser::is_plain_line(const char* begin, const FieldSpan& span) {
  const std::uint32_t colon_at = span.name_at + span.name_size;
  const char* const value_end = begin + span.value_at + span.value_size;
  return span.value_at == colon_at + 2 && span.value_size > 0 && is_pair(begin + colon_at, ": ") &&
         is_pair(value_end, "\r\n") && !is_blank(value_end[-1]);
}

const char* Parser::read_plain_line(const char* at, const FieldSpan& span, Field& field) {
  field.name = {at, span.name_size};
  field.value = {at + span.name_size + 2, span.value_size};
  field.is_plain = true;
  return at + span.name_size + span.value_size + 4;
}

// Where the next line begins, or nullptr. The name is where it should be.
const char* Parser::read_line(const char* begin, const FieldSpan& span, Field& field) {
  const char* at = begin + span.name_at;
  field.name = {at, span.name_size};
  at += span.name_size;
  if (*at++ != ':') return nullptr;
  while (is_blank(*at)) ++at;
  if (span.value_size > 0 && begin + span.value_at != at) return nullptr;
  field.value = trim_end({at, span.value_size});
  field.is_plain = false;
  at += span.value_size;
  while (is_blank(*at)) ++at;
  return is_pair(at, "\r\n") ? at + 2 : nullptr;
}

void Parser::note_known(const Field& field) {
  head_.present |= set_of(field.id);
  switch (field.id) {
    case FieldId::content_length:
      ++lengths_;
      length_ = field.value;
      break;
    case FieldId::host:
      ++hosts_;
      head_.host = field.value;
      break;
    default: break;
  }
}

// Where the line behind it begins. One space on either side of the target (RFC 9112 section 3);
// empty lines may come before (section 2.2). llhttp also knows other protocols (RTSP, ICE) by
// their own names.
std::size_t Parser::read_request_line(std::string_view head) {
  head_.method = llhttp_method_name(static_cast<llhttp_method_t>(state_->parser.method));
  head_.target = head.substr(target_at_, target_size_);
  const std::size_t before_target = head_.method.size() + 1;
  if (target_at_ < before_target) return no_line;
  const std::size_t begin = target_at_ - before_target;
  for (std::size_t at = 0; at < begin; at += 2)
    if (!is_crlf(head, at)) return no_line;
  if (head.substr(begin, before_target - 1) != head_.method || head[target_at_ - 1] != ' ')
    return no_line;
  const std::size_t version_at = target_at_ + target_size_;
  constexpr std::size_t version_size = std::string_view(" HTTP/1.1").size();
  if (!head.substr(version_at).starts_with(" HTTP/") || !is_crlf(head, version_at + version_size))
    return no_line;
  return version_at + version_size + 2;
}

// "HTTP/1.1 200 OK" (RFC 9112 section 4): llhttp also takes empty lines before it, a status with
// leading zeros and control characters in the phrase.
std::size_t Parser::read_status_line(std::string_view head) {
  const std::size_t end = head.find('\r');
  const std::string_view line = head.substr(0, end);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_text = [](char c) {
    return (static_cast<unsigned char>(c) >= 0x20 || c == '\t') && c != '\x7f';
  };
  const bool is_clean = line.size() >= 12 && line[8] == ' ' &&
                        std::ranges::all_of(line.substr(9, 3), is_digit) &&
                        (line.size() == 12 || line[12] == ' ') &&
                        std::ranges::all_of(line.substr(12), is_text) && is_crlf(head, end);
  if (!is_clean) return no_line;
  head_.status = state_->parser.status_code;
  head_.reason_phrase = line.substr(std::min<std::size_t>(line.size(), 13));
  return end + 2;
}

Fault Parser::read_framing() {
  if (lengths_ > 1) return Fault::malformed;
  head_.has_content_length = lengths_ == 1;
  if (head_.has_content_length && !parse_length(length_, head_.content_length))
    return Fault::malformed;
  if (head_.has(set_of(FieldId::transfer_encoding))) return read_codings();
  if (head_.has_content_length)
    head_.framing = head_.content_length > 0 ? Framing::length : Framing::none;
  else
    head_.framing = kind_ == Kind::request ? Framing::none : Framing::until_close;
  return Fault::none;
}

Fault Parser::read_codings() {
  bool is_chunked = false, has_unknown_coding = false;
  for (const Field& field : head_.fields) {
    if (field.id != FieldId::transfer_encoding) continue;
    std::string_view list = field.value;
    for (bool is_last = false; !is_last;) {
      const std::size_t comma = list.find(',');
      is_last = comma == std::string_view::npos;
      const std::string_view coding = trim(list.substr(0, comma));
      list.remove_prefix(is_last ? list.size() : comma + 1);
      // Empty, quoted, with parameters or behind chunked: others may read it otherwise.
      if (is_chunked || coding.empty() || !std::ranges::all_of(coding, is_token_char))
        return Fault::malformed;
      (equal_names(coding, "chunked") ? is_chunked : has_unknown_coding) = true;
    }
  }
  // Both at once is how requests are smuggled (RFC 9112 section 6.3, rule 3); there are no codings
  // in HTTP/1.0; and without chunked as the last one nobody knows where the body ends (rule 4).
  if (head_.has_content_length || head_.minor_version == 0 || !is_chunked) return Fault::malformed;
  if (has_unknown_coding) return Fault::unknown_coding;
  head_.framing = Framing::chunked;
  return Fault::none;
}

Fault Parser::read_connection_options() {
  int options = 0;
  bool keep_alive = head_.minor_version == 1;
  if (!head_.has(set_of(FieldId::connection))) {
    head_.wants_close = !keep_alive;
    return Fault::none;
  }
  for (const Field& field : head_.fields) {
    if (field.id != FieldId::connection) continue;
    options += static_cast<int>(std::ranges::count(field.value, ',')) + 1;  // empty ones too
    for_each_element(field.value, [&](std::string_view option) {
      if (equal_names(option, "close"))
        head_.wants_close = true;
      else if (equal_names(option, "keep-alive"))
        keep_alive = true;
      else
        head_.nominates_fields = true;
    });
  }
  if (!keep_alive) head_.wants_close = true;
  // Each is looked for among all fields: many of them would cost much before anybody is asked.
  return options > connection_options_max ? Fault::malformed : Fault::none;
}

Fault Parser::judge_request() {
  // RFC 9112 section 3.2: exactly one, which HTTP/1.0 may leave out.
  if (hosts_ > 1 || (hosts_ == 0 && head_.minor_version == 1)) return Fault::malformed;
  if (!head_.has(set_of(FieldId::expect))) return Fault::none;
  for (const Field& field : head_.fields)
    if (field.id == FieldId::expect)
      (equal_names(field.value, "100-continue") ? head_.expects_continue : head_.expects_other) =
          true;
  // An HTTP/1.0 client does not know 100 (RFC 9110 section 10.1.1).
  if (head_.minor_version == 0) head_.expects_continue = false;
  return Fault::none;
}

Fault Parser::judge_response() {
  if (head_.status < 100 || head_.status > 599) return Fault::malformed;
  return Fault::none;
}

Parser::Progress Parser::parse_chunked(std::string_view bytes) {
  spans_.clear();
  consumed_ = 0;
  const bool was_in_trailer_section = in_trailer_section_;
  Progress progress = feed_chunked(bytes);
  if (progress == Progress::fault) return progress;
  if (!was_in_trailer_section && !is_chunk_overhead_fair()) return fail(Fault::malformed);
  if (!in_trailer_section_) return progress;
  const std::size_t trailers_at = was_in_trailer_section ? 0 : consumed_;
  if (!was_in_trailer_section) progress = feed_chunked(bytes);
  if (progress == Progress::fault) return progress;
  return has_clean_trailers(bytes.substr(trailers_at, consumed_ - trailers_at))
             ? progress
             : fail(Fault::malformed);
}

// From where the last call stopped, until llhttp pauses or wants more.
Parser::Progress Parser::feed_chunked(std::string_view bytes) {
  llhttp_t* parser = &state_->parser;
  if (llhttp_get_errno(parser) == HPE_PAUSED) llhttp_resume(parser);
  const llhttp_errno_t error =
      llhttp_execute(parser, bytes.data() + consumed_, bytes.size() - consumed_);
  if (error == HPE_PAUSED) {
    consumed_ = static_cast<std::size_t>(llhttp_get_error_pos(parser) - bytes.data());
    return Progress::done;
  }
  if (error != HPE_OK) return fail(Fault::malformed);
  consumed_ = bytes.size();
  return Progress::need_more;
}

// A chunk may cost a dozen bytes and as many again as it carries; what goes beyond adds up.
bool Parser::is_chunk_overhead_fair() {
  std::size_t data = 0;
  for (const std::string_view span : spans_) data += span.size();
  const std::size_t fair = 2 * data + 16 * (spans_.size() + 1);
  const std::size_t overhead = consumed_ - data;
  chunk_overhead_ += overhead > fair ? overhead - fair : 0;
  return chunk_overhead_ <= chunk_overhead_max;
}

// That lines end and begin as they should, for bytes that come in pieces and are not kept.
bool Parser::has_clean_trailers(std::string_view bytes) {
  for (const char c : bytes) {
    const bool begins_line = last_trailer_byte_ == '\n';
    if ((c == '\n') != (last_trailer_byte_ == '\r') || c == '\0') return false;
    if (begins_line && (c == ' ' || c == '\t' || c == ':')) return false;
    last_trailer_byte_ = c;
  }
  return true;
}

Framing response_framing(const Head& response, bool request_was_head) {
  const bool never_has_body =
      response.status < 200 || response.status == 204 || response.status == 304 || request_was_head;
  return never_has_body ? Framing::none : response.framing;
}

}  // namespace classgate::proxy::wire
