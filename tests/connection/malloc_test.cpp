// Out of memory in C: what libevent and OpenSSL ask malloc() for is refused, each time in turn,
// while clients are served. (allocation_test.cpp does the same for operator new.)

#include <doctest/doctest.h>
#include <event2/event.h>
#include <openssl/crypto.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iterator>

#include "tests/connection/allocations.h"
#include "tests/connection/ordinary_minute.h"

using classgate::connection_test::Allocations;

namespace {

// Which library's allocations count now.
enum class Library { none, libevent, openssl };
Library counted = Library::none;

bool is_bad(Library whose) { return counted == whose && Allocations::next_is_bad(); }

void* event_malloc(std::size_t size) {
  return is_bad(Library::libevent) ? nullptr : std::malloc(size);
}
void* event_realloc(void* memory, std::size_t size) {
  return is_bad(Library::libevent) ? nullptr : std::realloc(memory, size);
}

// Over the gateway's own (tls_memory.h), which count what TLS holds.
CRYPTO_malloc_fn gateways_malloc = nullptr;
CRYPTO_realloc_fn gateways_realloc = nullptr;
CRYPTO_free_fn gateways_free = nullptr;

void* openssl_malloc(std::size_t size, const char* file, int line) {
  return is_bad(Library::openssl) ? nullptr : gateways_malloc(size, file, line);
}
void* openssl_realloc(void* memory, std::size_t size, const char* file, int line) {
  return size > 0 && is_bad(Library::openssl) ? nullptr
                                              : gateways_realloc(memory, size, file, line);
}

bool stand_in() {
  event_set_mem_functions(event_malloc, event_realloc, std::free);
  CRYPTO_get_mem_functions(&gateways_malloc, &gateways_realloc, &gateways_free);
  return CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, gateways_free) == 1;
}

}  // namespace

namespace classgate::connection_test {
namespace {

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

// So many of them, at equal distances; the environment may ask for more (CLASSGATE_MOST).
void fail_each(Library library, std::int64_t most) {
  if (const char* const given = std::getenv("CLASSGATE_MOST")) most = std::atoll(given);
  counted = library;
  play_with(0, 0);  // what is made once in a process is made
  const Outcome whole = play_with(0, 0);
  REQUIRE(whole.fault == "");
  REQUIRE(whole.served >= 15);
  const std::int64_t count = Allocations::seen;
  MESSAGE(count << " allocations; " << whole.served << " served");
  REQUIRE(count > 0);
  const std::ptrdiff_t open = descriptors();
  int harmed_in_all = 0;
  const std::int64_t step = std::max<std::int64_t>(1, (count + most - 1) / most);
  for (std::int64_t bad = 1; bad <= count; bad += step) {
    CAPTURE(bad);
    const Outcome outcome = play_with(bad, 1);
    CHECK(outcome.fault == "");
    REQUIRE(outcome.served_of_client.size() == whole.served_of_client.size());
    const int lost = harmed(outcome, whole);
    CHECK(lost <= 1);
    CHECK(descriptors() == open);
    harmed_in_all += lost;
  }
  CHECK(harmed_in_all > 0);  // they did fail
  counted = Library::none;
}

TEST_CASE("libevent without memory costs one client at most") {
  fail_each(Library::libevent, 1000);
}

TEST_CASE("OpenSSL without memory costs one client at most") { fail_each(Library::openssl, 500); }

}  // namespace
}  // namespace classgate::connection_test

int main(int argc, char** argv) {
  if (!stand_in()) return EXIT_FAILURE;
  spdlog::set_level(spdlog::level::off);  // the failures here are made on purpose
  return doctest::Context(argc, argv).run();
}
