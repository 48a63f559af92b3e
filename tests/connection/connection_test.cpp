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

// A step as World::step() reads it, and whether it is taken in a turn that has events of its own.
void add(Bytes& script, unsigned what, unsigned more) {
  script.push_back(static_cast<std::uint8_t>(what + 16 * more));
}

// Steps for a loop that is idle at each of them.
Bytes idle_script(std::initializer_list<std::pair<unsigned, unsigned>> steps) {
  Bytes script;
  for (const auto& [what, more] : steps) add(script, what, more);
  return script;
}

TEST_CASE("a head's deadline is void when its body drips in") {
  // The head without its end; almost header_timeout passes; the rest drips, a byte a read, and the
  // rest of the time passes before the loop comes to the next sixteen.
  for (const unsigned before : {10U, 11U, 12U, 13U}) {
    for (unsigned length = 0; length < 64; ++length) {
      Bytes script = idle_script({{0, 0}, {1, 8}, {4, 1}, {7, before}, {5, 0}});
      for (unsigned i = 0; i < 40; ++i) script.push_back(static_cast<std::uint8_t>(i * length));
      const Outcome outcome = play(script);
      CHECK(outcome.fault == "");
    }
  }
}

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

TEST_CASE("whatever clients, the service, time and reloads do: the model holds") {
  std::mt19937_64 random(seed);
  Outcome sum;
  for (int i = 0; i < script_count; ++i) {
    const Bytes script = random_script(random);
    const Outcome outcome = play(script);
    if (outcome.fault != "") MESSAGE("script " << i << " of --seed=" << seed);
    REQUIRE(outcome.fault == "");
    sum.requests += outcome.requests;
    sum.served += outcome.served;
    sum.refused += outcome.refused;
    sum.cut += outcome.cut;
  }
  MESSAGE(sum.requests << " requests written, " << sum.served << " served, " << sum.refused
                       << " refused, " << sum.cut << " answers cut");
  // A model that sees nothing proves nothing.
  CHECK(sum.served > script_count);
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
