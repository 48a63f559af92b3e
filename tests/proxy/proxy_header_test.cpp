#include "proxy/wire/proxy_header.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace classgate::proxy::wire {
namespace {

using enum ProxyHeaderProgress;

// "10.0.0.1 44": the source and the header's size; or what it is instead.
std::string read(std::string_view bytes) {
  ProxyHeader header;
  switch (read_proxy_header(bytes, header)) {
    case need_more: return "need_more";
    case malformed: return "malformed";
    case done: break;
  }
  return (header.source ? header.source->text() : "-") + " " + std::to_string(header.size);
}

std::string v2(std::uint8_t command, std::uint8_t family, const std::string& rest) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  out += static_cast<char>(command);
  out += static_cast<char>(family);
  out += static_cast<char>(rest.size() >> 8);
  out += static_cast<char>(rest.size() & 0xff);
  return out + rest;
}

const std::string tcp4("\x0a\x00\x00\x01\x0a\x00\x00\x02\x12\x34\x00\x50", 12);
const std::string tcp6 = std::string("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07", 16) +
                         std::string(16, '\0') + std::string("\x12\x34\x00\x50", 4);

TEST_CASE("version 1 names the client in text") {
  CHECK(read("PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\nGET / HTTP/1.1\r\n") == "192.0.2.7 41");
  CHECK(read("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n") == "2001:db8::7 36");
  CHECK(read("PROXY UNKNOWN\r\n") == "- 15");
  CHECK(read("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n") == "- 43");
}

TEST_CASE("version 2 names the client in bytes, and may say more behind it") {
  CHECK(read(v2(0x21, 0x11, tcp4) + "GET") == "10.0.0.1 28");
  CHECK(read(v2(0x21, 0x21, tcp6)) == "2001:db8::7 52");
  CHECK(read(v2(0x21, 0x11, tcp4 + std::string("\x04\x00\x01x", 4))) == "10.0.0.1 32");
  CHECK(read(v2(0x20, 0x11, tcp4)) == "- 28");  // LOCAL
  CHECK(read(v2(0x20, 0x00, "")) == "- 16");
  CHECK(read(v2(0x21, 0x00, "tlv")) == "- 19");
  CHECK(read(v2(0x21, 0x31, std::string(216, 'p'))) == "- 232");
}

TEST_CASE("a header that is cut anywhere wants more, and never means anything else") {
  for (const std::string& whole : {std::string("PROXY TCP4 192.0.2.7 10.0.0.2 56324 443\r\n"),
                                   v2(0x21, 0x11, tcp4), v2(0x21, 0x21, tcp6), v2(0x20, 0, "")}) {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      CHECK(read(whole.substr(0, size)) == "need_more");
    }
    CHECK(read(whole).ends_with(std::to_string(whole.size())));
  }
}

TEST_CASE("what is no header is malformed") {
  const std::vector<std::string> texts{"GET / HTTP/1.1\r\n",
                                       "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
                                       "PROXY\r\n",
                                       "PROXY TCP4\r\n",
                                       "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
                                       "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
                                       "PROXY TCP4 ::1 ::1 1 1\r\n",
                                       "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n" + std::string(107, 'x'),
                                       "PROXY " + std::string(101, 'x'),
                                       v2(0x11, 0x11, tcp4),
                                       v2(0x22, 0x11, tcp4),
                                       v2(0x21, 0x41, tcp4),
                                       v2(0x21, 0x11, tcp4.substr(1)),
                                       v2(0x21, 0x21, tcp4),
                                       v2(0x21, 0x31, tcp4),
                                       v2(0x21, 0x11, tcp4 + std::string(proxy_header_max, 'x'))};
  for (const std::string& text : texts) CHECK_MESSAGE(read(text) == "malformed", text);
}

}  // namespace
}  // namespace classgate::proxy::wire
