#include "gateway/ops/grpc_server.h"

#include <algorithm>
#include <array>
#include <utility>

namespace classgate::gateway {

using proxy::wire::Http2Error;
using proxy::wire::Http2Field;
using proxy::wire::Http2Session;
using proxy::wire::Http2StreamId;

namespace {

constexpr std::size_t prefix_size = 5;  // of a message: whether it is compressed, and its size
constexpr std::size_t path_max = 256;
constexpr std::size_t unsent_max = 256 * 1024;  // of one call, which then ends
constexpr proxy::wire::Http2Limits grpc_limits{.streams = GrpcServer::calls_max,
                                               .stream_window = 128 * 1024,
                                               .connection_window = 256 * 1024,
                                               .header_list_bytes = 16 * 1024,
                                               .acknowledgements = 64};

// "Length-Prefixed-Message" of gRPC over HTTP/2.
void put_message(std::string& to, std::string_view message) {
  to += '\0';
  for (int shift = 24; shift >= 0; shift -= 8)
    to += static_cast<char>(message.size() >> shift & 0xff);
  to += message;
}

std::size_t size_in(std::string_view prefix) {
  std::size_t size = 0;
  for (std::size_t i = 1; i < prefix_size; ++i)
    size = size << 8 | static_cast<unsigned char>(prefix[i]);
  return size;
}

// Why there is no answer.
struct Refused {
  const char* http;
  GrpcCode code;
  const char* why;
};

}  // namespace

class GrpcServer::Call final : public Http2Session::Stream {
 public:
  Call(GrpcServer& server, Http2StreamId id) : server_(server), id_(id) {}

  bool goes_on() const { return is_answered_ && !is_all_; }
  void send(std::string_view path, std::string_view message) {
    if (!goes_on() || path != request_.path) return;
    put_message(unsent_, message);
    if (unsent_.size() > unsent_max) return server_.session_.reset(id_, Http2Error::cancel);
    server_.session_.resume(id_);
  }

 private:
  void answer(const GrpcAnswer& answer) {
    is_answered_ = true;
    if (answer.status != GrpcAnswer::ok) return end_without("200", answer.status, answer.text);
    put_message(unsent_, answer.text);
    is_all_ = !answer.goes_on;
    const std::array fields{Http2Field{":status", "200"},
                            Http2Field{"content-type", "application/grpc"}};
    server_.session_.send_head(id_, fields, true);
  }
  // "Trailers-Only".
  void end_without(std::string_view http, unsigned status, std::string_view why) {
    is_answered_ = is_all_ = true;
    const std::string code = std::to_string(status);
    const std::array fields{Http2Field{":status", http},
                            Http2Field{"content-type", "application/grpc"},
                            Http2Field{"grpc-status", code}, Http2Field{"grpc-message", why}};
    server_.session_.send_head(id_, fields, false);
  }
  void refuse(const Refused& refused) {
    if (!is_answered_) end_without(refused.http, static_cast<unsigned>(refused.code), refused.why);
  }

  void on_field(std::string_view name, std::string_view value) override {
    if (name == ":path")
      request_.path = value.substr(0, path_max);
    else if (name == ":method")
      is_post_ = value == "POST";
    else if (name == "authorization")
      request_.authorization = value;
    else if (name == "content-type")
      is_grpc_ = is_grpc_type(value);
  }
  void on_fields_end(bool) override {
    if (!is_grpc_)
      refuse({"415", GrpcCode::unknown, "HTTP/2 is for gRPC here: ask with HTTP/1.1"});
    else if (!is_post_)
      refuse({"405", GrpcCode::unknown, "calls are made with POST"});
  }
  void on_body(std::string_view part) override {
    server_.session_.took(id_, part.size());
    server_.session_.took_of_connection(part.size());
    if (is_answered_) return;
    request_.message += part;
    if (request_.message.size() > prefix_size + message_max)
      refuse({"200", GrpcCode::resource_exhausted, "a message has 64 KiB at most"});
  }
  void on_body_part_end() override {}
  void on_request_end() override {
    if (is_answered_) return;
    std::string& message = request_.message;
    if (message.size() < prefix_size || size_in(message) != message.size() - prefix_size)
      return refuse({"200", GrpcCode::internal, "that is not one message"});
    if (message.front() != 0)
      return refuse({"200", GrpcCode::unimplemented, "compressed messages are not read"});
    message.erase(0, prefix_size);
    answer(server_.owner_.on_call(request_));
  }
  void on_closed(Http2Error) override {
    const auto found = server_.calls_.find(id_);
    server_.gone_ = std::move(found->second);
    server_.calls_.erase(found);
  }

  Ready ready(std::size_t most) override {
    Ready ready{.size = std::min(most, unsent_.size()),
                .is_all = is_all_ && unsent_.size() <= most};
    ready.has_trailers = ready.is_all;
    if (ready.is_all)
      server_.session_.add_trailers(id_, std::array{Http2Field{"grpc-status", "0"}});
    return ready;
  }
  void put_frame(std::string_view head, std::size_t size) override {
    *server_.gathered_ += head;
    server_.gathered_->append(unsent_, 0, size);
    unsent_.erase(0, size);
  }
  void on_answer_sent() override {}

  GrpcServer& server_;
  const Http2StreamId id_;
  Request request_;
  std::string unsent_;
  bool is_post_ = false;
  bool is_grpc_ = false;
  bool is_answered_ = false;
  bool is_all_ = false;
};

bool GrpcServer::is_begun_by(std::string_view first_bytes) {
  constexpr std::string_view preface = proxy::wire::http2_preface;
  return first_bytes.substr(0, preface.size()) == preface;
}

GrpcServer::GrpcServer(Owner& owner) : owner_(owner), session_(*this, grpc_limits) {}

GrpcServer::~GrpcServer() = default;

bool GrpcServer::receive(std::string_view bytes) {
  if (!has_failed_) has_failed_ = !session_.receive(bytes);
  return !has_failed_ && !session_.is_over();
}

bool GrpcServer::output(std::string& bytes) {
  gathered_ = &bytes;
  std::string_view part;
  std::size_t before = 0;
  while (!has_failed_) {
    before = bytes.size();
    has_failed_ = !session_.next_output(part);
    bytes += part;
    if (bytes.size() == before) break;
  }
  gathered_ = nullptr;
  if (has_failed_) bytes += session_.goodbye(session_.why()).text();
  return !has_failed_ && !session_.is_over();
}

void GrpcServer::send(std::string_view path, std::string_view message) {
  for (const auto& [id, call] : calls_) call->send(path, message);
}

bool GrpcServer::goes_on() const {
  return std::ranges::any_of(calls_, [](const auto& one) { return one.second->goes_on(); });
}

Http2Session::Stream* GrpcServer::begin_stream(Http2StreamId id) {
  if (calls_.size() >= calls_max) return nullptr;
  if (++requests_ == requests_max) go_away();
  return (calls_[id] = std::make_unique<Call>(*this, id)).get();
}

}  // namespace classgate::gateway
