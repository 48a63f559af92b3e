#include "proxy/wire/parser.h"

#include <algorithm>
#include <cstring>

#include "conf/printable.h"
#include "proxy/wire/fields.h"
#include "proxy/wire/lines.h"

namespace classgate::proxy::wire {
namespace {

constexpr int connection_options_max = 32;
constexpr std::size_t shown_max = 80;  // bytes of a line that is wrong
constexpr std::size_t no_line_end = static_cast<std::size_t>(-1);

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t find_line_end(std::string_view text, std::size_t from) {
  const void* const found = std::memchr(text.data() + from, '\n', text.size() - from);
  return found == nullptr ? no_line_end
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

// "HTTP/1.1" (RFC 9112 section 2.3).
bool is_version(std::string_view text) {
  return text.size() == 8 && text.starts_with("HTTP/") && is_digit(text[5]) && text[6] == '.' &&
         is_digit(text[7]);
}

bool is_ours(std::string_view version) { return version[5] == '1' && version[7] <= '1'; }

bool is_target_text(std::string_view text) {
  unsigned is_wrong = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    is_wrong |= static_cast<unsigned>(byte <= 0x20) | static_cast<unsigned>(byte >= 0x7f);
  }
  return is_wrong == 0;
}

}  // namespace

void Parser::begin(Kind kind, const HeadLimits& limits) {
  kind_ = kind;
  limits_ = &limits;
  static_cast<HeadFacts&>(head_) = {};  // the fields keep their memory
  head_size_ = 0;
  fault_ = Fault::none;
  why_.clear();
  lengths_ = hosts_ = 0;
  line_at_ = seen_ = 0;
  has_first_line_ = false;
  rest_size_ = 0;
  field_spans_.clear();
  chunks_.begin(kind == Kind::request ? Side::request : Side::answer, limits);
}

Parser::Progress Parser::fail(Fault fault, const char* why, std::string_view line) {
  fault_ = fault;
  why_.clear();
  if (!line.empty()) {
    const bool is_long = line.size() > shown_max;
    const std::size_t number = has_first_line_ ? field_spans_.size() + 2 : 1;
    why_ = "line " + std::to_string(number) + " \"" + conf::printable(line.substr(0, shown_max)) +
           (is_long ? "...\": " : "\": ");
  }
  why_ += why;
  return Progress::fault;
}

std::size_t Parser::held_bytes() const {
  const auto size_of = [](const auto& vector) { return vector.capacity() * sizeof(vector[0]); };
  return sizeof *this + size_of(head_.fields) + size_of(field_spans_) + size_of(spans_) +
         chunks_.held_bytes();
}

// ---- The head's lines --------------------------------------------------------------------------

Parser::Progress Parser::parse_head(std::string_view text) {
  for (;;) {
    while (has_first_line_ && seen_ == line_at_ && take_plain_field(text));
    const std::size_t end = find_line_end(text, seen_);
    const bool is_whole = end != no_line_end;
    seen_ = is_whole ? end + 1 : text.size();
    // Of one that is not whole there is more to come.
    if (is_whole ? seen_ > limits_->header_bytes : seen_ >= limits_->header_bytes)
      return has_first_line_ || kind_ == Kind::response
                 ? fail(Fault::header_too_large, "it is too large")
                 : fail(Fault::target_too_long, "its first line is too long");
    if (!is_whole) return look_at_unfinished(text.substr(line_at_));
    const std::string_view line = text.substr(line_at_, end - line_at_);
    if (!line.ends_with('\r')) return fail(Fault::malformed, "it does not end with CRLF", line);
    const Progress progress = take_line(text, line.substr(0, line.size() - 1));
    if (progress != Progress::need_more) return progress;
    line_at_ = seen_;
  }
}

// Bytes that are no HTTP are told as soon as they are seen: their line may never end.
Parser::Progress Parser::look_at_unfinished(std::string_view line) {
  if (has_first_line_ || line.empty() || line == "\r") return Progress::need_more;
  if (kind_ == Kind::response) {
    constexpr std::string_view begin = "HTTP/";
    const std::size_t size = std::min(line.size(), begin.size());
    return line.substr(0, size) == begin.substr(0, size)
               ? Progress::need_more
               : fail(Fault::malformed, "it is no HTTP", line);
  }
  const std::size_t method = token_size(line.substr(0, method_bytes_max + 1));
  if (method > method_bytes_max) return fail(Fault::unknown_method, "its method is too long");
  if (method == line.size()) return Progress::need_more;
  if (method == 0 || line[method] != ' ') return fail(Fault::malformed, "it is no HTTP", line);
  const std::size_t target_at = method + 1;
  if (line.size() - target_at > limits_->target_bytes &&
      !line.substr(target_at, limits_->target_bytes + 1).contains(' '))
    return fail(Fault::target_too_long, "its target is too long");
  return Progress::need_more;
}

// Without its CRLF.
Parser::Progress Parser::take_line(std::string_view text, std::string_view line) {
  if (!has_first_line_) {
    // Empty lines may come before a request (RFC 9112 section 2.2).
    if (line.empty() && kind_ == Kind::request) return Progress::need_more;
    first_line_at_ = static_cast<std::uint32_t>(line_at_);
    const Progress progress =
        kind_ == Kind::request ? take_request_line(text, line) : take_status_line(text, line);
    has_first_line_ = progress != Progress::fault;
    return progress;
  }
  if (!line.empty()) return take_field(text, line);
  head_size_ = seen_;
  return finish_head(text);
}

// One space on either side of the target (RFC 9112 section 3). PRI is the preface of HTTP/2, and
// never a method (RFC 9113 section 11.6).
Parser::Progress Parser::take_request_line(std::string_view text, std::string_view line) {
  const std::size_t method = token_size(line);
  if (method == 0 || method == line.size() || line[method] != ' ' || line.starts_with("PRI "))
    return fail(Fault::malformed, "no method", line);
  const std::string_view rest = line.substr(method + 1);
  const std::size_t target = rest.find(' ');
  if (target == std::string_view::npos || target == 0)
    return fail(Fault::malformed, "no target or no version", line);
  if (target > limits_->target_bytes) return fail(Fault::target_too_long, "its target is too long");
  const std::string_view version = rest.substr(target + 1);
  if (!is_version(version) || !is_target_text(rest.substr(0, target)))
    return fail(Fault::malformed, "it is no request line", line);
  method_size_ = static_cast<std::uint32_t>(method);
  rest_at_ = static_cast<std::uint32_t>(rest.data() - text.data());
  rest_size_ = static_cast<std::uint32_t>(target);
  if (!is_ours(version)) return fail(Fault::unsupported_version, "its version is not ours", line);
  if (method > method_bytes_max) return fail(Fault::unknown_method, "its method is too long");
  head_.minor_version = version[7] - '0';
  return Progress::need_more;
}

// "HTTP/1.1 200 OK" (RFC 9112 section 4).
Parser::Progress Parser::take_status_line(std::string_view text, std::string_view line) {
  if (line.size() < 12 || !is_version(line.substr(0, 8)) || line[8] != ' ' ||
      !std::ranges::all_of(line.substr(9, 3), is_digit) || (line.size() > 12 && line[12] != ' ') ||
      !is_field_text(line.substr(12)))
    return fail(Fault::malformed, "it is no status line", line);
  if (!is_ours(line)) return fail(Fault::unsupported_version, "its version is not ours", line);
  head_.minor_version = line[7] - '0';
  head_.status = 100 * (line[9] - '0') + 10 * (line[10] - '0') + line[11] - '0';
  if (head_.status < 100 || head_.status > 599)
    return fail(Fault::malformed, "there is no such status", line);
  const std::string_view phrase = line.substr(std::min<std::size_t>(line.size(), 13));
  rest_at_ = static_cast<std::uint32_t>(phrase.data() - text.data());
  rest_size_ = static_cast<std::uint32_t>(phrase.size());
  return Progress::need_more;
}

// The line that comes, if it is one in which nothing can be wrong; what take_field() would do, in a
// third of the time.
bool Parser::take_plain_field(std::string_view text) {
  const PlainLine line = read_plain_line(text.data() + line_at_, text.data() + text.size());
  const std::size_t next = line_at_ + line.size();
  if (line.name_size == 0 || next > limits_->header_bytes ||
      field_spans_.size() >= limits_->header_count)
    return false;
  field_spans_.push_back(
      {.name_at = static_cast<std::uint32_t>(line_at_),
       .name_size = static_cast<std::uint32_t>(line.name_size),
       .value_at = static_cast<std::uint32_t>(line_at_ + line.name_size + PlainLine::between),
       .value_size = static_cast<std::uint32_t>(line.value_size) & 0x7fffffffU,
       .is_plain = 1U});
  line_at_ = seen_ = next;
  return true;
}

Parser::Progress Parser::take_field(std::string_view text, std::string_view line) {
  FieldLine field;
  const Side side = kind_ == Kind::request ? Side::request : Side::answer;
  if (const char* const wrong = read_field_line(line, side, field, text.data() + text.size()))
    return fail(Fault::malformed, wrong, line);
  if (field_spans_.size() >= limits_->header_count)
    return fail(Fault::header_too_large, "it has too many fields");
  const auto offset = [&](std::string_view part) {
    return static_cast<std::uint32_t>(part.data() - text.data());
  };
  field_spans_.push_back(
      {.name_at = offset(field.name),
       .name_size = static_cast<std::uint32_t>(field.name.size()),
       .value_at = offset(field.value),
       .value_size = static_cast<std::uint32_t>(field.value.size()) & 0x7fffffffU,
       .is_plain = field.is_plain ? 1U : 0U});
  return Progress::need_more;
}

// ---- The head as a whole -----------------------------------------------------------------------

Parser::Progress Parser::finish_head(std::string_view text) {
  if (kind_ == Kind::request) {
    head_.method = text.substr(first_line_at_, method_size_);
    head_.target = text.substr(rest_at_, rest_size_);
  } else {
    head_.reason_phrase = text.substr(rest_at_, rest_size_);
  }
  head_.size = head_size_;
  head_.fields.resize(field_spans_.size());
  Field* field = head_.fields.data();
  for (const FieldSpan& span : field_spans_) {
    field->name = {text.data() + span.name_at, span.name_size};
    field->value = {text.data() + span.value_at, span.value_size};
    field->is_plain = span.is_plain != 0;
    field->id = field_id(field->name);
    if (field->id != FieldId::other) note_known(*field);
    ++field;
  }
  if (read_framing() == Progress::fault || read_connection_options() == Progress::fault)
    return Progress::fault;
  return kind_ == Kind::request ? judge_request() : Progress::done;
}

const Head& Parser::head_so_far(std::string_view text) {
  if (head_size_ > 0 || rest_size_ == 0 || text.size() < std::size_t{rest_at_} + rest_size_)
    return head_;
  if (method_size_ <= method_bytes_max) head_.method = text.substr(first_line_at_, method_size_);
  head_.target = text.substr(rest_at_, rest_size_);
  head_.fields.clear();  // of the message before
  return head_;
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

Parser::Progress Parser::read_framing() {
  if (lengths_ > 1) return fail(Fault::malformed, "more than one Content-Length");
  head_.has_content_length = lengths_ == 1;
  if (head_.has_content_length && !read_length(length_, head_.content_length))
    return fail(Fault::malformed, "a Content-Length that is no number");
  if (head_.has(set_of(FieldId::transfer_encoding))) return read_codings();
  if (head_.has_content_length)
    head_.framing = head_.content_length > 0 ? Framing::length : Framing::none;
  else
    head_.framing = kind_ == Kind::request ? Framing::none : Framing::until_close;
  return Progress::done;
}

Parser::Progress Parser::read_codings() {
  bool is_chunked = false, has_unknown_coding = false;
  for (const Field& field : head_.fields) {
    if (field.id != FieldId::transfer_encoding) continue;
    std::string_view list = field.value;
    for (bool is_last = false; !is_last;) {
      const std::size_t comma = list.find(',');
      is_last = comma == std::string_view::npos;
      const std::string_view coding = trim_blanks(list.substr(0, comma));
      list.remove_prefix(is_last ? list.size() : comma + 1);
      // Empty, quoted, with parameters or behind chunked: others may read it otherwise.
      if (is_chunked || coding.empty() || token_size(coding) != coding.size())
        return fail(Fault::malformed, "a Transfer-Encoding that can be read in two ways");
      (equal_names(coding, "chunked") ? is_chunked : has_unknown_coding) = true;
    }
  }
  // Both at once is how requests are smuggled (RFC 9112 section 6.3, rule 3); there are no codings
  // in HTTP/1.0; and without chunked as the last one nobody knows where the body ends (rule 4).
  if (head_.has_content_length)
    return fail(Fault::malformed, "both Content-Length and Transfer-Encoding");
  if (head_.minor_version == 0) return fail(Fault::malformed, "a Transfer-Encoding in HTTP/1.0");
  if (!is_chunked) return fail(Fault::malformed, "a Transfer-Encoding without chunked at its end");
  if (has_unknown_coding) return fail(Fault::unknown_coding, "a transfer coding beside chunked");
  head_.framing = Framing::chunked;
  return Progress::done;
}

Parser::Progress Parser::read_connection_options() {
  int options = 0;
  bool keep_alive = head_.minor_version == 1;
  if (!head_.has(set_of(FieldId::connection))) {
    head_.wants_close = !keep_alive;
    return Progress::done;
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
  if (options > connection_options_max)
    return fail(Fault::malformed, "a Connection of too many options");
  return Progress::done;
}

Parser::Progress Parser::judge_request() {
  // RFC 9112 section 3.2: exactly one, which HTTP/1.0 may leave out.
  if (hosts_ > 1 || (hosts_ == 0 && head_.minor_version == 1))
    return fail(Fault::malformed, hosts_ == 0 ? "no Host" : "more than one Host");
  if (!head_.has(set_of(FieldId::expect))) return Progress::done;
  for (const Field& field : head_.fields)
    if (field.id == FieldId::expect)
      (equal_names(field.value, "100-continue") ? head_.expects_continue : head_.expects_other) =
          true;
  // An HTTP/1.0 client does not know 100 (RFC 9110 section 10.1.1).
  if (head_.minor_version == 0) head_.expects_continue = false;
  return Progress::done;
}

// ---- Chunks ------------------------------------------------------------------------------------

Parser::Progress Parser::parse_chunked(std::string_view bytes) {
  spans_.clear();
  consumed_ = 0;
  switch (chunks_.read(bytes, spans_, consumed_)) {
    case ChunkReader::Progress::need_more: return Progress::need_more;
    case ChunkReader::Progress::done: return Progress::done;
    case ChunkReader::Progress::malformed: return fail(Fault::malformed, chunks_.why());
    case ChunkReader::Progress::too_large: break;
  }
  return fail(Fault::header_too_large, "its trailers are too large");
}

Framing response_framing(const Head& response, bool request_was_head) {
  const bool never_has_body =
      response.status < 200 || response.status == 204 || response.status == 304 || request_was_head;
  return never_has_body ? Framing::none : response.framing;
}

}  // namespace classgate::proxy::wire
