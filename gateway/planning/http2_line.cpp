#include "gateway/planning/http2_line.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "conf/ascii.h"
#include "gateway/planning/answer_ending.h"

namespace classgate::planning {

using proxy::wire::Fault;
using proxy::wire::Http2Error;
using proxy::wire::Http2Field;
using proxy::wire::Http2Session;

namespace {

constexpr proxy::wire::HeadLimits answer_limits{64 * 1024, 200, 8 * 1024};

proxy::wire::Http2Limits limits_of_client() {
  constexpr std::uint32_t window = 1024 * 1024, all_windows = 16 * 1024 * 1024;
  return {.streams = 0,
          .stream_window = window,
          .connection_window = all_windows,
          .header_list_bytes = static_cast<std::uint32_t>(answer_limits.header_bytes),
          .acknowledgements = 1000};
}

int number_in(std::string_view text) {
  int number = Http2Line::Answer::none;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

}  // namespace

class Http2Line::Call final : public Http2Session::Stream {
 public:
  Call(Http2Line& line, std::uint32_t number, const std::string& body)
      : line_(line), answer_{.call = number}, body_(body) {}

  void on_field(std::string_view name, std::string_view value) override {
    if (name == "grpc-status") answer_.grpc_status = number_in(value);
    if (name == "grpc-retry-pushback-ms") pushback_ = std::chrono::milliseconds(number_in(value));
    if (has_head_) return;  // trailers
    if (!std::exchange(is_in_head_, true)) line_.head_.begin(answer_limits);
    line_.head_.add(name, value);
  }
  void on_fields_end(bool ends_stream) override {
    if (has_head_ || !std::exchange(is_in_head_, false)) return;
    if (line_.head_.finish(ends_stream, is_head) != Fault::none) {
      is_malformed_ = true;
      return;
    }
    if (line_.head_.head().status < 200) return;
    has_head_ = true;
    answer_.status = line_.head_.head().status;
    answer_.ending = ending_of(line_.head_.head());
  }
  void on_body(std::string_view part) override { line_.session_.took(id, part.size()); }
  void on_body_part_end() override {}
  void on_request_end() override { is_whole_ = true; }
  void on_closed(Http2Error error) override {
    const bool is_ours =
        std::exchange(line_.reset_, Http2Error::none) == error && error != Http2Error::none;
    answer_.was_not_taken = !is_ours && error == Http2Error::refused_stream && !has_head_;
    if (!is_whole_ || is_malformed_) answer_.status = 0;
    answer_.fault = is_ours || is_whole_ || is_malformed_ ? Answers::broken_http2
                    : answer_.was_not_taken               ? Answers::refused
                                                          : Answers::reset;
    if (line_.calls_grpc_) answer_.ending = ending_of_call(answer_.ending, answer_.grpc_status);
    if (pushback_.count() > 0) answer_.ending.retry_after = pushback_;
    line_.end(*this, answer_);
  }

  Ready ready(std::size_t most) override {
    const std::size_t left = body_.size() - sent_;
    return {.size = std::min(most, left), .is_all = left <= most};
  }
  void put_frame(std::string_view head, std::size_t size) override {
    line_.out_.append(head).append(body_, sent_, size);
    sent_ += size;
  }
  void on_answer_sent() override {}

  std::uint32_t number() const { return answer_.call; }
  proxy::wire::Http2StreamId id = 0;
  bool is_head = false;  // its method

 private:
  Http2Line& line_;
  Answer answer_;
  const std::string body_;
  std::size_t sent_ = 0;
  std::chrono::milliseconds pushback_{0};
  bool is_in_head_ = false;
  bool has_head_ = false;
  bool is_whole_ = false;
  bool is_malformed_ = false;
};

Http2Line::Http2Line(std::uint32_t streams, bool calls_grpc)
    : streams_(streams),
      calls_grpc_(calls_grpc),
      session_(*this, limits_of_client(), proxy::wire::Http2Role::client) {}

Http2Line::~Http2Line() = default;

std::size_t Http2Line::room() const {
  const std::size_t most = std::min(streams_, session_.most_requests());
  return is_going_away_ || most <= calls_.size() ? 0 : most - calls_.size();
}

bool Http2Line::ask(std::uint32_t call, const Question& question, std::string_view authority,
                    const std::vector<RequestField>& fields) {
  std::vector<Http2Field> list{{":method", question.method},
                               {":scheme", "http"},
                               {":authority", authority},
                               {":path", question.path}};
  for (const RequestField& field : fields)
    if (!conf::equal_but_for_case(field.name, "host"))
      list.push_back({field.name, field.value});
    else
      list[2].value = field.value;
  calls_.push_back(std::make_unique<Call>(*this, call, question.body));
  Call& own = *calls_.back();
  own.is_head = question.method == "HEAD";
  own.id = session_.send_request(list, !question.body.empty(), own);
  if (own.id != 0) return true;
  calls_.pop_back();
  is_going_away_ = true;
  return false;
}

void Http2Line::leave(std::uint32_t call) {
  const auto found =
      std::ranges::find_if(calls_, [&](const auto& one) { return one->number() == call; });
  if (found == calls_.end()) return;
  session_.forget((*found)->id);
  session_.reset((*found)->id, Http2Error::cancel);
  calls_.erase(found);
}

// Within the session: it has no more to tell of it.
void Http2Line::end(Call& call, Answer answer) {
  answers_.push_back(answer);
  std::erase_if(calls_, [&](const auto& one) { return one.get() == &call; });
}

bool Http2Line::receive(std::string_view bytes) {
  constexpr std::string_view of_http1 = "HTTP/1.";
  if (first_.size() < of_http1.size()) {
    first_.append(bytes.substr(0, of_http1.size() - first_.size()));
    is_http1_ = first_ == of_http1;
  }
  return session_.receive(bytes);
}

bool Http2Line::take_output(std::string& out) {
  for (std::string_view bytes;;) {
    if (!session_.next_output(bytes)) return false;
    if (bytes.empty()) break;
    out_.append(bytes);
  }
  out.append(out_);
  out_.clear();
  return true;
}

void Http2Line::lose(int fault) {
  for (const auto& call : calls_) answers_.push_back({.call = call->number(), .fault = fault});
  calls_.clear();
}

}  // namespace classgate::planning
