#include "proxy/wire/proxy_header.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace classgate::proxy::wire {
namespace {

using enum ProxyHeaderProgress;

constexpr std::string_view v1_begin = "PROXY ";
constexpr std::size_t v1_max = 107;  // with CRLF
constexpr std::string_view v2_begin{"\r\n\r\n\0\r\nQUIT\n", 12};
constexpr std::size_t v2_fixed = 16;

// A word up to the next space, or up to the end.
std::string_view take_word(std::string_view& line) {
  const std::size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(space == std::string_view::npos ? line.size() : space + 1);
  return word;
}

bool is_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() && port <= 65535 &&
         (text.size() == 1 || text.front() != '0');
}

ProxyHeaderProgress read_v1(std::string_view bytes, ProxyHeader& into) {
  const std::size_t end = bytes.substr(0, v1_max).find("\r\n");
  if (end == std::string_view::npos) return bytes.size() < v1_max ? need_more : malformed;
  into.size = end + 2;
  std::string_view line = bytes.substr(v1_begin.size(), end - v1_begin.size());
  const std::string_view family = take_word(line);
  if (family == "UNKNOWN") return done;
  if (family != "TCP4" && family != "TCP6") return malformed;
  const auto source = conf::IpAddress::parse(take_word(line));
  const auto target = conf::IpAddress::parse(take_word(line));
  const std::string_view source_port = take_word(line);
  if (!source || !target || !is_port(source_port) || !is_port(line)) return malformed;
  if (family == "TCP4" && !(source->is_v4() && target->is_v4())) return malformed;
  into.source = *source;
  return done;
}

ProxyHeaderProgress read_v2(std::string_view bytes, ProxyHeader& into) {
  if (bytes.size() < v2_fixed) return need_more;
  const auto at = [&](std::size_t index) { return static_cast<std::uint8_t>(bytes[index]); };
  const std::uint8_t version_and_command = at(12), family = at(13);
  const std::size_t length = std::size_t{at(14)} << 8 | at(15);
  if (version_and_command != 0x20 && version_and_command != 0x21) return malformed;
  into.size = v2_fixed + length;
  if (into.size > proxy_header_max) return malformed;
  if (bytes.size() < into.size) return need_more;
  if (version_and_command == 0x20) return done;  // LOCAL: a check by the proxy itself
  switch (family >> 4) {
    case 0: return done;  // UNSPEC
    case 1:
      if (length < 12) return malformed;
      into.source =
          conf::IpAddress::from_v4(reinterpret_cast<const std::uint8_t*>(bytes.data() + v2_fixed));
      return done;
    case 2:
      if (length < 36) return malformed;
      into.source.emplace();
      std::ranges::copy(bytes.substr(v2_fixed, 16), into.source->bytes.begin());
      return done;
    case 3: return length < 216 ? malformed : done;  // a Unix socket: nobody we could name
    default: return malformed;
  }
}

}  // namespace

ProxyHeaderProgress read_proxy_header(std::string_view bytes, ProxyHeader& into) {
  into = {};
  const auto begins = [&](std::string_view wanted) {
    const std::size_t size = std::min(bytes.size(), wanted.size());
    return bytes.substr(0, size) == wanted.substr(0, size);
  };
  if (begins(v1_begin)) return bytes.size() < v1_begin.size() ? need_more : read_v1(bytes, into);
  if (begins(v2_begin)) return bytes.size() < v2_begin.size() ? need_more : read_v2(bytes, into);
  return malformed;
}

}  // namespace classgate::proxy::wire
