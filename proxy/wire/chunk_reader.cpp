#include "proxy/wire/chunk_reader.h"

#include <algorithm>

#include "proxy/wire/fields.h"

namespace classgate::proxy::wire {
namespace {

// How much a chunked body may spend on extensions, leading zeros and chunks of a few bytes before
// it is taken for an attempt to make us read for nothing.
constexpr std::size_t overhead_max = 16 * 1024;

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

void ChunkReader::begin(Side side, const HeadLimits& limits) {
  limits_ = &limits;
  side_ = side;
  state_ = State::size;
  has_digit_ = false;
  left_ = 0;
  overhead_ = trailer_bytes_ = 0;
  why_ = "";
  line_.clear();
  trailers_.clear();
}

std::size_t ChunkReader::held_bytes() const {
  return line_.capacity() + trailers_.capacity() * sizeof(Trailer) + trailer_bytes_;
}

ChunkReader::Progress ChunkReader::read(std::string_view bytes,
                                        std::vector<std::string_view>& spans,
                                        std::size_t& consumed) {
  std::size_t at = 0, data = 0, count = 0;
  while (at < bytes.size() && state_ < State::trailers) {
    if (state_ != State::data) {
      if (!take_framing_byte(bytes[at++])) return Progress::malformed;
      continue;
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size() - at));
    spans.push_back(bytes.substr(at, size));
    at += size;
    data += size;
    ++count;
    left_ -= size;
    if (left_ == 0) state_ = State::data_cr;
  }
  consumed = at;
  if (!is_overhead_fair(at - data, data, count)) return Progress::malformed;
  if (state_ != State::trailers) return Progress::need_more;
  return take_trailers(bytes, consumed);
}

// One byte of what stands between the data.
bool ChunkReader::take_framing_byte(char c) {
  const bool is_blank = c == ' ' || c == '\t';
  switch (state_) {
    case State::size: return take_size_byte(c);
    case State::blank:
      if (c == ';') state_ = State::extension;
      return is_blank || c == ';' || fail("white space behind a chunk's size");
    case State::extension:
      if (c == '\r') state_ = State::size_lf;
      return c == '\r' || is_field_text({&c, 1}) || fail("a control character in an extension");
    case State::size_lf:
      state_ = left_ > 0 ? State::data : State::trailers;
      return c == '\n' || fail("a chunk's size does not end with CRLF");
    case State::data_cr:
      state_ = State::data_lf;
      return c == '\r' || fail("a chunk is longer than it says");
    case State::data_lf:
      state_ = State::size;
      has_digit_ = false;
      return c == '\n' || fail("a chunk does not end with CRLF");
    default: return fail("");
  }
}

bool ChunkReader::take_size_byte(char c) {
  if (const int digit = digit_of(c); digit >= 0) {
    if (left_ >> 60 != 0) return fail("a chunk's size is too large");
    left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
    has_digit_ = true;
    return true;
  }
  if (!has_digit_) return fail("a chunk's size is no number");
  if (c == '\r')
    state_ = State::size_lf;
  else if (c == ';')
    state_ = State::extension;
  else if (c == ' ' || c == '\t')
    state_ = State::blank;
  else
    return fail("a chunk's size is no number");
  return true;
}

// A chunk may cost a dozen bytes and as many again as it carries; what goes beyond adds up.
bool ChunkReader::is_overhead_fair(std::size_t overhead, std::size_t data, std::size_t spans) {
  const std::size_t fair = 2 * data + 16 * (spans + 1);
  overhead_ += overhead > fair ? overhead - fair : 0;
  return overhead_ <= overhead_max || fail("its chunks are nearly all framing");
}

ChunkReader::Progress ChunkReader::take_trailers(std::string_view bytes, std::size_t& consumed) {
  while (consumed < bytes.size()) {
    const std::string_view rest = bytes.substr(consumed);
    const std::size_t end = rest.find('\n');
    const std::size_t size = end == std::string_view::npos ? rest.size() : end + 1;
    trailer_bytes_ += size;
    if (trailer_bytes_ > limits_->header_bytes) return Progress::too_large;
    line_.append(rest.substr(0, size));
    consumed += size;
    if (end == std::string_view::npos) break;
    if (!line_.ends_with("\r\n")) {
      why_ = "a trailer does not end with CRLF";
      return Progress::malformed;
    }
    line_.resize(line_.size() - 2);
    if (line_.empty()) {
      state_ = State::done;
      return Progress::done;
    }
    if (const Progress progress = take_trailer(line_); progress != Progress::need_more)
      return progress;
    line_.clear();
  }
  return Progress::need_more;
}

ChunkReader::Progress ChunkReader::take_trailer(std::string_view line) {
  FieldLine field;
  if (const char* const wrong = read_field_line(line, side_, field)) {
    why_ = wrong;
    return Progress::malformed;
  }
  // Here they come too late to frame anything (RFC 9110 section 6.5.1), but some believe them.
  const FieldId id = field_id(field.name);
  if (id == FieldId::content_length || id == FieldId::transfer_encoding) {
    why_ = "a trailer that would frame the message";
    return Progress::malformed;
  }
  if (trailers_.size() >= limits_->header_count) return Progress::too_large;
  trailers_.push_back({std::string(field.name), std::string(field.value)});
  return Progress::need_more;
}

}  // namespace classgate::proxy::wire
