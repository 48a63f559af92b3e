#include "proxy/wire/http2_answer_head.h"

#include <algorithm>

#include "conf/ascii.h"
#include "conf/printable.h"
#include "proxy/wire/fields.h"
#include "proxy/wire/http2_head.h"
#include "proxy/wire/lines.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::size_t field_overhead = 32;  // RFC 9113 section 10.5.1
constexpr std::size_t flooding = 4;         // times what is allowed
constexpr std::string_view between = ": ";

// Three digits (RFC 9110 section 15); 0: it is none.
int status_in(std::string_view text) {
  if (text.size() != 3 || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }))
    return 0;
  const int status = 100 * (text[0] - '0') + 10 * (text[1] - '0') + text[2] - '0';
  return status >= 100 && status <= 599 ? status : 0;
}

}  // namespace

void Http2AnswerHead::begin(const HeadLimits& limits) {
  limits_ = &limits;
  text_.clear();
  why_.clear();
  spans_.clear();
  status_ = 0;
  bytes_ = count_ = 0;
  fault_ = Fault::none;
  static_cast<HeadFacts&>(head_) = {};
  head_.fields.clear();
}

// The first that is found.
void Http2AnswerHead::blame(Fault fault, std::string_view why, std::string_view name) {
  if (fault_ != Fault::none) return;
  fault_ = fault;
  constexpr std::size_t shown_max = 64;
  why_ = why;
  if (!name.empty()) why_ += " \"" + conf::printable(std::string(name.substr(0, shown_max))) + "\"";
}

bool Http2AnswerHead::is_flood() const {
  return bytes_ > flooding * limits_->header_bytes || count_ > flooding * limits_->header_count;
}

void Http2AnswerHead::add(std::string_view name, std::string_view value, bool is_never_indexed) {
  bytes_ += name.size() + value.size() + field_overhead;
  ++count_;
  if (bytes_ > limits_->header_bytes || count_ > limits_->header_count)
    return blame(Fault::header_too_large, "its head is too large");
  if (fault_ != Fault::none) return;
  if (name == ":status") {  // once, before all others (section 8.3)
    if (status_ != 0 || !spans_.empty() || status_in(value) == 0)
      return blame(Fault::malformed, "there is no such status");
    status_ = status_in(value);
    return;
  }
  if (status_ == 0 || !Http2Head::is_good_trailer(name, value))
    return blame(Fault::malformed, "no field of an answer by HTTP/2:", name);
  spans_.push_back({text_.size(), name.size(), value.size(), is_never_indexed});
  text_.append(name).append(between).append(value).append("\r\n");
}

Fault Http2AnswerHead::finish(bool ends_stream, bool of_head) {
  if (status_ == 0) blame(Fault::malformed, "it has no status");
  // Section 8.6; and nothing ends with an interim answer (section 8.1).
  if (status_ == 101) blame(Fault::malformed, "101 is no answer by HTTP/2");
  if (status_ < 200 && ends_stream) blame(Fault::malformed, "it ends before it has begun");
  if (fault_ != Fault::none) return fault_;
  put_together();
  if (status_ >= 200) judge_length(ends_stream, of_head);
  return fault_;
}

void Http2AnswerHead::put_together() {
  const std::string_view text = text_;
  head_.status = status_;
  head_.came_by_http2 = true;
  head_.fields.reserve(spans_.size());
  for (const Span& span : spans_) {
    const std::string_view name = text.substr(span.name_at, span.name_size);
    const std::string_view value =
        text.substr(span.name_at + span.name_size + between.size(), span.value_size);
    head_.fields.push_back({name, value, field_id(name), true, span.is_never_indexed});
    head_.present |= set_of(head_.fields.back().id);
  }
  head_.size = text_.size() + std::string_view("HTTP/1.1 200 \r\n\r\n").size();
}

void Http2AnswerHead::judge_length(bool ends_stream, bool of_head) {
  int lengths = 0;
  bool is_trailers_only = false;  // of gRPC: what is said is the end, and nothing is added to it
  for (const Field& field : head_.fields) {
    is_trailers_only = is_trailers_only || field.name == "grpc-status";
    if (field.id != FieldId::content_length) continue;
    if (++lengths > 1 || !read_length(field.value, head_.content_length))
      return blame(Fault::malformed, "a content-length that is no number, or two");
  }
  head_.has_content_length = lengths == 1;
  const bool never_has_body = of_head || status_ == 204 || status_ == 304;
  if (ends_stream && !never_has_body && head_.content_length > 0)
    return blame(Fault::malformed, "it ends before the length that it says");
  if (ends_stream) {
    if (!never_has_body && !is_trailers_only) head_.has_content_length = true;
    head_.framing = never_has_body && head_.content_length > 0 ? Framing::length : Framing::none;
  } else {
    head_.framing = head_.content_length > 0 ? Framing::length : Framing::chunked;
  }
}

std::size_t Http2AnswerHead::held_bytes() const {
  return sizeof *this + text_.capacity() + why_.capacity() + spans_.capacity() * sizeof(Span) +
         head_.fields.capacity() * sizeof(Field);
}

}  // namespace classgate::proxy::wire
