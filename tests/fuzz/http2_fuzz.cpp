// Bytes of an HTTP/2 client, behind the preface: heads that are good go on as HTTP/1 and are read
// again as the same request; whatever comes, each stream that begins ends once, and windows are
// kept.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "proxy/wire/http2_head.h"
#include "proxy/wire/http2_session.h"
#include "proxy/wire/parser.h"
#include "proxy/wire/serialise.h"
#include "tests/fuzz/require.h"

namespace classgate::fuzz {
namespace {

using namespace proxy::wire;

const HeadLimits limits{.header_bytes = 4096, .header_count = 32, .target_bytes = 512};
const HeadLimits roomy{1 << 20, 1000, 1 << 20};
constexpr std::size_t window = 16 * 1024;

// What is written for the service, read again.
void check_forwarding(const Head& head) {
  std::string text;
  append_request_head(
      text, head,
      {.target = head.target, .host = head.host, .client = "192.0.2.1", .request_id = "id"});
  text.append(no_framing);
  Parser again;
  again.begin(Parser::Kind::request, roomy);
  FUZZ_REQUIRE(again.parse_head(text) == Parser::Progress::done);
  FUZZ_REQUIRE(again.head_size() == text.size());
  FUZZ_REQUIRE(again.head().method == head.method);
  FUZZ_REQUIRE(again.head().target == head.target);
  FUZZ_REQUIRE(again.head().host == head.host);
  FUZZ_REQUIRE(again.head().framing == Framing::none);
  const auto count = [](const Head& of, std::string_view name) {
    return std::ranges::count_if(of.fields, [&](const Field& field) { return field.name == name; });
  };
  for (const Field& field : head.fields)
    if (field.id == FieldId::other)
      FUZZ_REQUIRE(count(again.head(), field.name) == count(head, field.name));
}

class World;

class Request final : public Http2Session::Stream {
 public:
  Request(World& world, Http2StreamId id) : world_(world), id_(id) {}
  void on_field(std::string_view name, std::string_view value) override;
  void on_fields_end(bool ends_stream) override;
  void on_body(std::string_view part) override;
  void on_body_part_end() override { FUZZ_REQUIRE(!is_whole_); }
  void on_request_end() override;
  void on_closed(Http2Error) override {
    FUZZ_REQUIRE(!is_closed_);
    is_closed_ = true;
  }
  Ready ready(std::size_t most) override {
    FUZZ_REQUIRE(!is_closed_);
    return {.size = std::min(most, left_), .is_all = left_ <= most};
  }
  void put_frame(std::string_view head, std::size_t size) override {
    FUZZ_REQUIRE(head.size() == 9 && size <= left_);
    left_ -= size;
  }
  void on_answer_sent() override {}

 private:
  World& world_;
  const Http2StreamId id_;
  std::size_t untaken_ = 0;
  std::size_t left_ = 100;
  bool has_head_ = false;
  bool is_whole_ = false;
  bool is_closed_ = false;
};

class World final : public Http2Session::Handler {
 public:
  World()
      : session(*this, {.streams = 8,
                        .stream_window = window,
                        .connection_window = 1 << 20,
                        .header_list_bytes = 4096,
                        .acknowledgements = 64}) {}
  void on_frame(const Http2Session::Frame&) override {}
  Http2Session::Stream* begin_stream(Http2StreamId id) override {
    FUZZ_REQUIRE(!requests.contains(id));
    head.begin(limits);
    return &requests.try_emplace(id, *this, id).first->second;
  }
  void on_window_update(std::uint32_t) override {}
  void on_ping_answered() override {}
  void on_reset_sent(Http2Error) override {}

  bool send() {
    for (std::string_view bytes;;) {
      if (!session.next_output(bytes)) return false;
      if (bytes.empty()) return true;
    }
  }

  Http2Head head;
  std::map<Http2StreamId, Request> requests;
  Http2Session session;
};

void Request::on_field(std::string_view name, std::string_view value) {
  if (!has_head_) return world_.head.add(name, value);
  FUZZ_REQUIRE(!is_whole_);
  if (Http2Head::is_good_trailer(name, value)) FUZZ_REQUIRE(!name.contains(':'));
}

void Request::on_fields_end(bool ends_stream) {
  if (std::exchange(has_head_, true)) return;
  const std::vector<Http2Field> answer{{":status", "200"}, {"X-Upper", "a"}};
  if (world_.head.finish(ends_stream) != Fault::none)
    return world_.session.send_head(id_, answer, false);
  const Head& head = world_.head.head();
  FUZZ_REQUIRE(!ends_stream || head.framing == Framing::none);
  if (head.method != "CONNECT") check_forwarding(head);
  world_.session.send_head(id_, answer, true);
}

void Request::on_body(std::string_view part) {
  FUZZ_REQUIRE(has_head_ && !is_whole_ && !is_closed_);
  untaken_ += part.size();
  FUZZ_REQUIRE(untaken_ <= window);
  if (id_ % 4 == 1) world_.session.took(id_, std::exchange(untaken_, 0));
}

void Request::on_request_end() {
  FUZZ_REQUIRE(has_head_ && !is_whole_ && !is_closed_);
  is_whole_ = true;
}

}  // namespace
}  // namespace classgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace classgate::fuzz;
  World world;
  std::string bytes(classgate::proxy::wire::http2_preface);
  bytes.append("\0\0\0\4\0\0\0\0\0", 9);
  bytes.append(reinterpret_cast<const char*>(data), size);
  const std::size_t piece = size % 7 == 0 ? 1 + size % 50 : bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    if (!world.session.receive(std::string_view(bytes).substr(at, piece))) break;
    if (!world.send() || world.session.is_over()) break;
  }
  FUZZ_REQUIRE(world.session.held_bytes() < 1 << 20);
  return 0;
}
