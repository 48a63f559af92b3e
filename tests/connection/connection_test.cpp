#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/connection/world.h"

namespace classgate::connection_test {
namespace {

std::uint64_t seed = 1;
int script_count = 300;

using Bytes = std::vector<std::uint8_t>;

// Steps in the proportions of a day: most clients send and read, now and then somebody leaves. How
// much of it is left to chance is a byte's other half.
Bytes random_script(std::mt19937_64& random) {
  //                         connect request send drip read time answer reload leave hurt raw all
  static constexpr std::array steps{0U, 1U, 3U, 5U, 6U, 7U, 9U, 8U, 10U, 11U, 12U, 13U, 14U};
  std::discrete_distribution<std::size_t> step{8, 20, 8, 5, 12, 4, 18, 6, 2, 1, 1, 1, 24};
  Bytes script(std::uniform_int_distribution<std::size_t>(20, 600)(random));
  for (std::uint8_t& byte : script)
    byte = static_cast<std::uint8_t>(steps[step(random)] + 16 * (random() % 16));
  return script;
}

Outcome play_scripts(std::uint64_t first, int count, Wires wires = Wires::any) {
  std::mt19937_64 random(first);
  Outcome sum;
  for (int i = 0; i < count; ++i) {
    const Outcome outcome = play(random_script(random), {.wires = wires});
    if (outcome.fault != "") MESSAGE("script " << i << " of --seed=" << first);
    REQUIRE(outcome.fault == "");
    sum.requests += outcome.requests;
    sum.served += outcome.served;
    sum.refused += outcome.refused;
    sum.served_by_tls += outcome.served_by_tls;
    sum.served_introduced += outcome.served_introduced;
    sum.cut += outcome.cut;
  }
  return sum;
}

// A head without its end, time to just before header_timeout, the rest drop by drop, a byte a read:
// the header's deadline fell due over the body, and the process ended. Script 15 of this seed does
// so.
TEST_CASE("a deadline is void in any state but the one that it was set for") {
  play_scripts(1, 60, Wires::plain);
}

TEST_CASE("whatever clients, the service, time and reloads do: the model holds") {
  const Outcome sum = play_scripts(seed, script_count);
  MESSAGE(sum.requests << " requests written, " << sum.served << " served (" << sum.served_by_tls
                       << " by TLS, " << sum.served_introduced << " behind a PROXY header), "
                       << sum.refused << " refused, " << sum.cut << " answers cut");
  // A model that sees nothing proves nothing.
  CHECK(sum.served > script_count);
  CHECK(sum.served_by_tls > script_count / 10);
  CHECK(sum.served_introduced > script_count / 20);
  CHECK(sum.refused > script_count / 10);
}

}  // namespace
}  // namespace classgate::connection_test

int main(int argc, char** argv) {
  using namespace classgate::connection_test;
  seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto read = [&](std::string_view key, auto& number) {
      if (argument.starts_with(key))
        std::from_chars(argument.data() + key.size(), argument.data() + argument.size(), number);
    };
    read("--seed=", seed);
    read("--scripts=", script_count);
  }
  std::printf("replay this run with: %s --seed=%llu --scripts=%d\n", argv[0],
              static_cast<unsigned long long>(seed), script_count);
  std::fflush(stdout);
  spdlog::set_level(spdlog::level::off);  // the failures here are made on purpose
  return doctest::Context(argc, argv).run();
}
