#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

Run the_run;

void read_number(std::string_view argument, std::string_view key, std::uint64_t& number) {
  if (!argument.starts_with(key)) return;
  const std::string_view value = argument.substr(key.size());
  const char* const end = value.data() + value.size();
  if (const auto read = std::from_chars(value.data(), end, number);
      read.ec == std::errc{} && read.ptr == end)
    return;
  std::fprintf(stderr, "not a number: %.*s\n", static_cast<int>(argument.size()), argument.data());
  std::exit(2);
}

}  // namespace

const Run& run() { return the_run; }

// Where a name has commas doctest would see several filters.
std::string replay(std::uint64_t seed) {
  std::string name = doctest::getContextOptions()->currentTest->m_name;
  std::ranges::replace(name, ',', '?');
  return "replay with: " + the_run.program + " --seed=" + std::to_string(seed) + " -tc=\"" + name +
         "\"";
}

}  // namespace classgate::admission

int main(int argc, char** argv) {
  using classgate::admission::read_number;
  using classgate::admission::the_run;
  the_run.program = argv[0];
  the_run.seed = std::random_device{}();
  for (int i = 1; i < argc; ++i) {
    read_number(argv[i], "--seed=", the_run.seed);
    read_number(argv[i], "--events=", the_run.events);
  }
  // Said beforehand: a broken invariant aborts, and then no test says anything more.
  std::printf("replay this run with: %s --seed=%llu\n", argv[0],
              static_cast<unsigned long long>(the_run.seed));
  std::fflush(stdout);
  return doctest::Context(argc, argv).run();
}
