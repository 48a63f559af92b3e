#include "proxy/http2_check.h"

#include <array>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "proxy/upstream_pool.h"

namespace classgate::proxy {
namespace {

constexpr std::size_t health_answer_max = 64;               // bytes; two are enough
constexpr std::string_view empty_message("\0\0\0\0\0", 5);  // the server as a whole

std::string_view value_of(const wire::Head& head, std::string_view name) {
  for (const wire::Field& field : head.fields)
    if (field.name == name) return field.value;
  return {};
}

}  // namespace

// HealthCheckResponse has one field, `status`, an enum: tag 8 and a number. A message without it
// has the first value.
std::string why_not_serving(std::string_view grpc_status, std::string_view body) {
  if (grpc_status == "12") return "it has no grpc.health.v1.Health (UNIMPLEMENTED)";
  if (grpc_status != "0")
    return grpc_status.empty()
               ? "its answer has no grpc-status"
               : "it answered grpc-status " + conf::printable(grpc_status.substr(0, 8));
  constexpr std::size_t prefix = 5;
  if (body.size() < prefix || body[0] != 0) return "its answer is no message of gRPC";
  const std::string_view message = body.substr(prefix);
  constexpr std::array<std::string_view, 4> words{"UNKNOWN", "SERVING", "NOT_SERVING",
                                                  "SERVICE_UNKNOWN"};
  std::size_t status = 0;
  if (!message.empty()) {
    if (message.size() < 2 || message[0] != 8) return "its answer is no HealthCheckResponse";
    status = static_cast<unsigned char>(message[1]);
  }
  if (status == 1) return {};
  return status < words.size() ? "it says " + std::string(words[status])
                               : fmt::format("it says status {}", status);
}

Http2Check::Http2Check(UpstreamPool& pool, Asker& asker, std::size_t server)
    : pool_(pool), asker_(&asker), server_(server), is_grpc_(pool.settings().check.grpc) {}

int Http2Check::ask() {
  Http2UpstreamConnection::Owner& owner = *this;
  connection_ = std::make_unique<Http2UpstreamConnection>(pool_, owner, server_);
  if (const int error = connection_->connect(true); error != 0) return error;
  const std::string& authority = pool_.servers().authority(server_);
  const std::string& path = pool_.settings().check.path;
  head_ = is_grpc_ ? std::string("POST /grpc.health.v1.Health/Check") : "GET " + path;
  head_ += " HTTP/1.1\r\nHost: " + authority + "\r\nUser-Agent: classgate-check\r\n";
  if (is_grpc_) head_ += "Content-Type: application/grpc\r\n";
  Http2Upstream& stream = connection_->open(*this, *this, false);
  stream_ = &stream;
  stream.send({.head = head_,
               .body = is_grpc_ ? empty_message : std::string_view(),
               .is_whole = true,
               .framing = is_grpc_ ? wire::Framing::chunked : wire::Framing::none});
  return 0;
}

void Http2Check::stop() {
  asker_ = nullptr;
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->cancel();
  if (connection_) connection_->wind_up();
}

void Http2Check::answer(const std::string& why) {
  if (asker_ != nullptr) std::exchange(asker_, nullptr)->on_http2_answer(why);
}

void Http2Check::on_answer_head(const wire::Head& head, wire::Framing) {
  status_ = head.status;
  grpc_status_ = value_of(head, "grpc-status");
  if (is_grpc_ && status_ == 200) return;
  const bool is_well = !is_grpc_ && status_ >= 200 && status_ <= 399;
  answer(is_well ? std::string() : "it answered " + std::to_string(status_));
}

void Http2Check::on_answer_body(std::string_view part) {
  if (body_.size() < health_answer_max) body_ += part.substr(0, health_answer_max - body_.size());
}

void Http2Check::on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) {
  stream_ = nullptr;
  for (const wire::Parser::Trailer& trailer : trailers)
    if (trailer.name == "grpc-status") grpc_status_ = trailer.value;
  answer(why_not_serving(grpc_status_, body_));
}

void Http2Check::on_lost(const UpstreamStream::Loss& loss) {
  stream_ = nullptr;
  if (chose_http1_ && !is_grpc_ && asker_ != nullptr)
    return std::exchange(asker_, nullptr)->on_http1_instead();
  answer(chose_http1_ ? "it speaks HTTP/1.1, in which there is no gRPC" : loss.why);
}

void Http2Check::on_fault() {
  if (stream_ != nullptr) std::exchange(stream_, nullptr)->cancel();
  answer("the check failed within the gateway: see the log");
}

void Http2Check::on_http1_chosen(std::unique_ptr<UpstreamConnection> connection) {
  chose_http1_ = true;
  pool_.close(std::move(connection));
}

void Http2Check::on_connection_over(Http2UpstreamConnection& connection) {
  if (connection_.get() == &connection) pool_.loop().retire(std::move(connection_));
}

}  // namespace classgate::proxy
