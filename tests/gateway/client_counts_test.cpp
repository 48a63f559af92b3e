#include "gateway/client_counts.h"

#include <doctest/doctest.h>

namespace classgate::gateway {
namespace {

conf::IpAddress ip(std::string_view text) { return *conf::IpAddress::parse(text); }

TEST_CASE("each address has as many connections as it may, in IPv6 its /64") {
  for (const HashKey& key : {HashKey{1, 2}, HashKey{3, 4}}) {
    ClientCounts counts(key);
    CHECK(counts.enter(ip("192.0.2.1"), 2));
    CHECK(counts.enter(ip("192.0.2.1"), 2));
    CHECK_FALSE(counts.enter(ip("192.0.2.1"), 2));
    CHECK(counts.enter(ip("192.0.2.2"), 2));
    counts.leave(ip("192.0.2.1"));
    CHECK(counts.enter(ip("192.0.2.1"), 2));
    CHECK(counts.enter(ip("2001:db8::1"), 1));
    CHECK_FALSE(counts.enter(ip("2001:db8::2"), 1));
    CHECK(counts.enter(ip("2001:db8:0:1::2"), 1));
    counts.leave(ip("2001:db8::7"));
    CHECK(counts.enter(ip("2001:db8::2"), 1));
    CHECK(counts.enter(ip("::1"), 1));
    CHECK(counts.enter(ip("unix:"), 1));
  }
}

}  // namespace
}  // namespace classgate::gateway
