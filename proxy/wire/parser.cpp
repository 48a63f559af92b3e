#include "proxy/wire/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <charconv>
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
  static bool in_trailers(const Parser& p) { return p.head_size_ > 0; }

  static int on_url(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    if (p.target_size_ == 0) p.target_at_ = offset(p, at);
    if (offset(p, at) != p.target_at_ + p.target_size_) return stop(p, Fault::malformed);
    p.target_size_ += static_cast<std::uint32_t>(size);
    return p.target_size_ > p.limits_->target_bytes ? stop(p, Fault::target_too_long) : 0;
  }

  static int on_field(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    if (in_trailers(p)) return on_trailer_name(p, {at, size});
    if (p.in_value_) {
      if (p.field_count_ >= p.limits_->header_count) return stop(p, Fault::header_too_large);
      if (p.field_count_ == p.spans_of_fields_.size()) p.spans_of_fields_.emplace_back();
      p.spans_of_fields_[p.field_count_++] = {.name_at = offset(p, at)};
      p.in_value_ = false;
    }
    Parser::FieldSpan& field = p.spans_of_fields_[p.field_count_ - 1];
    if (offset(p, at) != field.name_at + field.name_size) return stop(p, Fault::malformed);
    field.name_size += static_cast<std::uint32_t>(size);
    return 0;
  }

  static int on_value(llhttp_t* parser, const char* at, std::size_t size) {
    Parser& p = self(parser);
    if (in_trailers(p)) return on_trailer_value(p, {at, size});
    Parser::FieldSpan& field = p.spans_of_fields_[p.field_count_ - 1];
    if (field.value_size == 0) field.value_at = offset(p, at);
    // Pieces that do not adjoin: it goes on in another line (obs-fold).
    if (offset(p, at) != field.value_at + field.value_size) return stop(p, Fault::malformed);
    field.value_size += static_cast<std::uint32_t>(size);
    p.in_value_ = true;
    return 0;
  }

  static int on_value_complete(llhttp_t* parser) {
    self(parser).in_value_ = true;  // an empty value has no span
    return 0;
  }

  static int on_trailer_name(Parser& p, std::string_view text) {
    if (p.trailers_.empty() || p.in_value_) {
      if (p.trailers_.size() >= p.limits_->header_count) return stop(p, Fault::header_too_large);
      p.trailers_.emplace_back();
      p.in_value_ = false;
    }
    p.trailers_.back().name += text;
    return count_trailer_bytes(p, text.size());
  }

  static int on_trailer_value(Parser& p, std::string_view text) {
    p.trailers_.back().value += text;
    p.in_value_ = true;
    return count_trailer_bytes(p, text.size());
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

  static const llhttp_settings_t* settings() {
    static const llhttp_settings_t table = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_url = on_url;
      s.on_header_field = on_field;
      s.on_header_value = on_value;
      s.on_header_value_complete = on_value_complete;
      s.on_headers_complete = pause;
      s.on_body = on_body;
      s.on_chunk_header = on_chunk_header;
      s.on_message_complete = pause;
      return s;
    }();
    return &table;
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

bool parse_length(std::string_view text, std::uint64_t& length) {
  if (text.empty() || text.size() > 18) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc{} && end == text.data() + text.size() && text.front() >= '0' &&
         text.front() <= '9';
}

}  // namespace

Parser::Parser() : state_(std::make_unique<State>()) {}
Parser::~Parser() = default;

void Parser::begin(Kind kind, const HeadLimits& limits) {
  kind_ = kind;
  limits_ = &limits;
  llhttp_init(&state_->parser, kind == Kind::request ? HTTP_REQUEST : HTTP_RESPONSE,
              ParserCallbacks::settings());
  state_->parser.data = this;
  auto fields = std::move(head_.fields);
  head_ = {};
  head_.fields = std::move(fields);  // keeps its memory
  head_size_ = 0;
  fault_ = Fault::none;
  fed_ = 0;
  target_at_ = target_size_ = 0;
  field_count_ = 0;
  in_value_ = true;  // what comes first is a name
  trailers_.clear();
  trailer_bytes_ = 0;
  chunk_overhead_ = 0;
  in_trailer_section_ = false;
  last_trailer_byte_ = '\n';
}

Parser::Progress Parser::fail(Fault fault) {
  if (fault_ == Fault::none) fault_ = fault;
  return Progress::fault;
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
    return fail(field_count_ == 0 && kind_ == Kind::request ? Fault::target_too_long
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
  in_value_ = false;
  build_fields(text);
  if (!has_clean_lines(text.substr(0, head_size_))) return fail(Fault::malformed);
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
bool Parser::has_clean_lines(std::string_view head) const {
  if (std::memchr(head.data(), '\0', head.size()) != nullptr) return false;
  const std::size_t fields_at =
      kind_ == Kind::request ? end_of_request_line(head) : end_of_status_line(head);
  if (fields_at == no_line) return false;
  // Ends with the two CRLF that llhttp has seen there, so that looking ahead stays within.
  if (!head.ends_with("\r\n\r\n")) return false;
  const char* const begin = head.data();
  const char* at = begin + fields_at;
  for (const FieldSpan& field : field_spans()) {
    if (begin + field.name_at != at || field.name_size == 0) return false;
    at += field.name_size;
    if (*at++ != ':') return false;
    while (is_blank(*at)) ++at;
    if (field.value_size > 0) {
      if (begin + field.value_at != at) return false;
      at += field.value_size;
      while (is_blank(*at)) ++at;
    }
    if (at[0] != '\r' || at[1] != '\n') return false;
    at += 2;
  }
  return at + 2 == begin + head.size();
}

// Where the line behind it begins. One space on either side of the target (RFC 9112 section 3);
// empty lines may come before (section 2.2). llhttp also knows other protocols (RTSP, ICE) by
// their own names.
std::size_t Parser::end_of_request_line(std::string_view head) const {
  const std::size_t before_target = head_.method.size() + 1;
  if (target_at_ < before_target) return no_line;
  const std::size_t begin = target_at_ - before_target;
  for (std::size_t at = 0; at < begin; at += 2)
    if (!is_crlf(head, at)) return no_line;
  if (head.substr(begin, before_target - 1) != head_.method || head[target_at_ - 1] != ' ')
    return no_line;
  const std::size_t version_at = target_at_ + target_size_;
  constexpr std::size_t version_size = std::string_view(" HTTP/1.1").size();
  if (head.substr(version_at, 6) != " HTTP/" || !is_crlf(head, version_at + version_size))
    return no_line;
  return version_at + version_size + 2;
}

// "HTTP/1.1 200 OK" (RFC 9112 section 4): llhttp also takes empty lines before it, a status with
// leading zeros and control characters in the phrase.
std::size_t Parser::end_of_status_line(std::string_view head) const {
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
  return is_clean ? end + 2 : no_line;
}

void Parser::build_fields(std::string_view text) {
  head_.fields.resize(field_count_);
  Field* into = head_.fields.data();
  for (const FieldSpan& span : field_spans()) {
    const std::string_view name(text.data() + span.name_at, span.name_size);
    const FieldId id = field_id(name);
    head_.present |= set_of(id);
    *into++ = {name, trim_end({text.data() + span.value_at, span.value_size}), id};
  }
  if (kind_ == Kind::request) {
    head_.method = llhttp_method_name(static_cast<llhttp_method_t>(state_->parser.method));
    head_.target = text.substr(target_at_, target_size_);
  } else {
    head_.status = state_->parser.status_code;
    // "HTTP/1.1 200 OK": the phrase is what stands behind the second space of the first line.
    const std::string_view line = text.substr(0, text.find('\r'));
    head_.reason_phrase = line.size() > 13 ? line.substr(13) : std::string_view{};
  }
}

Fault Parser::read_framing() {
  const Framing unsaid = kind_ == Kind::request ? Framing::none : Framing::until_close;
  if (!head_.has(set_of(FieldId::transfer_encoding, FieldId::content_length))) {
    head_.framing = unsaid;
    return Fault::none;
  }
  bool is_chunked = false, has_codings = false, has_unknown_coding = false;
  for (const Field& field : head_.fields) {
    if (field.id == FieldId::transfer_encoding) {
      has_codings = true;
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
    } else if (field.id == FieldId::content_length) {
      if (head_.has_content_length || !parse_length(field.value, head_.content_length))
        return Fault::malformed;
      head_.has_content_length = true;
    }
  }
  // Both at once is how requests are smuggled (RFC 9112 section 6.3, rule 3); there are no codings
  // in HTTP/1.0; and without chunked as the last one nobody knows where the body ends (rule 4).
  if (has_codings && (head_.has_content_length || head_.minor_version == 0 || !is_chunked))
    return Fault::malformed;
  if (has_unknown_coding) return Fault::unknown_coding;
  if (is_chunked)
    head_.framing = Framing::chunked;
  else if (head_.has_content_length)
    head_.framing = head_.content_length > 0 ? Framing::length : Framing::none;
  else
    head_.framing = unsaid;
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
  int hosts = 0;
  for (const Field& field : head_.fields) {
    if (field.id == FieldId::host) {
      ++hosts;
      head_.host = field.value;
    } else if (field.id == FieldId::expect) {
      (equal_names(field.value, "100-continue") ? head_.expects_continue : head_.expects_other) =
          true;
    }
  }
  // RFC 9112 section 3.2: exactly one, which HTTP/1.0 may leave out.
  if (hosts > 1 || (hosts == 0 && head_.minor_version == 1)) return Fault::malformed;
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
