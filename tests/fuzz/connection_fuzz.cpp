// A whole connection: bytes, timers, ends, resets and reloads in any order, against the model of
// tests/connection/world.h.

#include <spdlog/spdlog.h>

#include "tests/connection/world.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto outcome = classgate::connection_test::play({data, size});
  if (outcome.fault != "") std::fprintf(stderr, "%s\n", outcome.fault.c_str());
  FUZZ_REQUIRE(outcome.fault == "");
  return 0;
}
