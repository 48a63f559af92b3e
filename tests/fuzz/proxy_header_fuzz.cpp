// What a trusted proxy sends first. A header ends where it ends, whatever follows; cut short it is
// never taken for another one; and what is malformed stays so.

#include "proxy/wire/proxy_header.h"

#include <cstdint>

#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace classgate::proxy::wire;
  using enum ProxyHeaderProgress;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ProxyHeader whole;
  const ProxyHeaderProgress progress = read_proxy_header(text, whole);
  if (progress == done) {
    FUZZ_REQUIRE(whole.size > 0 && whole.size <= text.size() && whole.size <= proxy_header_max);
    ProxyHeader alone;
    FUZZ_REQUIRE(read_proxy_header(text.substr(0, whole.size), alone) == done);
    FUZZ_REQUIRE(alone.size == whole.size && alone.source == whole.source);
  }
  bool was_malformed = false;
  for (std::size_t part = 0; part <= text.size() && part <= 300; ++part) {
    ProxyHeader header;
    const ProxyHeaderProgress now = read_proxy_header(text.substr(0, part), header);
    FUZZ_REQUIRE(!was_malformed || now == malformed);
    was_malformed = now == malformed;
    if (progress == done && part < whole.size) FUZZ_REQUIRE(now == need_more);
  }
  return 0;
}
