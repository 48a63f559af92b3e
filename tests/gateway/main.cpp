#include <doctest/doctest.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

#include "conf/format.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

Run the_run;

template <typename Number>
void read_number(std::string_view argument, std::string_view key, Number& number) {
  if (!argument.starts_with(key)) return;
  const std::string_view value = argument.substr(key.size());
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc{} && end == value.data() + value.size()) return;
  std::fprintf(stderr, "not a number: %.*s\n", static_cast<int>(argument.size()), argument.data());
  std::exit(2);
}

}  // namespace

const Run& run() { return the_run; }

}  // namespace classgate::gateway::test

int main(int argc, char** argv) {
  using namespace classgate::gateway::test;
  the_run.seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    read_number(argv[i], "--threads=", the_run.threads);
    read_number(argv[i], "--seed=", the_run.seed);
    read_number(argv[i], "--stress=", the_run.stress_requests);
  }
  // Said beforehand: a broken invariant aborts, and then no test says anything more.
  std::printf("replay this run with: %s --threads=%u --seed=%llu --stress=%d\n", argv[0],
              the_run.threads, static_cast<unsigned long long>(the_run.seed),
              the_run.stress_requests);
  std::fflush(stdout);
  spdlog::set_level(spdlog::level::off);  // the failures here are made on purpose
  return doctest::Context(argc, argv).run();
}
