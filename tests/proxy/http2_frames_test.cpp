#include "proxy/wire/http2_frames.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace classgate::proxy::wire {
namespace {

struct Cut {
  explicit Cut(std::size_t preface) : cutter(preface) {}
  void receive(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view part = cutter.next(bytes, [this](const Http2FrameCutter::Head& head) {
        heads.push_back(head);
        return true;
      });
      passed_on += part;
    }
  }

  Http2FrameCutter cutter;
  std::vector<Http2FrameCutter::Head> heads;
  std::string passed_on;
};

const std::string ping("\0\0\10\6\1\0\0\0\0abcdefgh", 17);
const std::string priority("\0\0\5\2\0\0\0\0\3\200\0\0\7x", 14);
const std::string empty_settings("\0\0\0\4\0\0\0\0\0", 9);
const std::string unknown("\0\1\0\120\377\177\377\377\377", 9);

TEST_CASE(
    "http2 frames: however they come, each is told once, and all bytes go on in their order") {
  const std::string all =
      "pre" + ping + priority + empty_settings + unknown + std::string(256, 'y');
  for (std::size_t piece = 1; piece <= all.size(); ++piece) {
    CAPTURE(piece);
    Cut cut(3);
    for (std::size_t at = 0; at < all.size(); at += piece)
      cut.receive(std::string_view(all).substr(at, piece));
    CHECK(cut.passed_on == all);
    CHECK(cut.cutter.is_between());
    REQUIRE(cut.heads.size() == 4);
    CHECK((cut.heads[0].size == 8 && cut.heads[0].type == 6 && cut.heads[0].flags == 1));
    CHECK((cut.heads[1].stream == 3 && cut.heads[1].depends_on == 7));
    CHECK((cut.heads[2].type == 4 && cut.heads[2].size == 0));
    CHECK((cut.heads[3].type == 0x50 && cut.heads[3].size == 256));
    CHECK(cut.heads[3].stream == 0x7fffffff);
  }
}

TEST_CASE("http2 frames: half a head is kept, and nothing of it goes on") {
  Cut cut(0);
  CHECK(cut.cutter.is_between());
  cut.receive(std::string_view(ping).substr(0, 8));
  CHECK(cut.passed_on.empty());
  CHECK(!cut.cutter.is_between());
  cut.receive(std::string_view(ping).substr(8, 1));
  CHECK(cut.passed_on == ping.substr(0, 9));
  CHECK(!cut.cutter.is_between());
}

TEST_CASE("http2 frames: what is refused does not go on") {
  Http2FrameCutter cutter(0);
  std::string_view bytes = ping;
  CHECK(cutter.next(bytes, [](const Http2FrameCutter::Head&) { return false; }).empty());
}

}  // namespace
}  // namespace classgate::proxy::wire
