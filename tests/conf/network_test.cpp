#include "conf/network.h"

#include <doctest/doctest.h>

namespace classgate::conf {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  REQUIRE_MESSAGE(address, text);
  return *address;
}

bool is_in(std::string_view network, std::string_view address) {
  const auto parsed = parse_network(network);
  REQUIRE_MESSAGE(parsed, network);
  return parsed->contains(ip(address));
}

std::string error_of(std::string_view text) {
  const auto parsed = parse_network(text);
  return parsed ? std::string() : parsed.error().substr(0, parsed.error().find(": write"));
}

TEST_CASE("an address is the same however it is written") {
  CHECK(ip("::ffff:10.0.0.1") == ip("10.0.0.1"));
  CHECK(ip("10.0.0.1").is_v4());
  CHECK(ip("10.0.0.1").text() == "10.0.0.1");
  CHECK(ip("2001:DB8:0:0::1").text() == "2001:db8::1");
  CHECK_FALSE(ip("2001:db8::1").is_v4());
  for (const auto* text : {"", "10.0.0", "10.0.0.1 ", "10.0.0.256", "[::1]", "::1%lo", "host"})
    CHECK_FALSE_MESSAGE(IpAddress::parse(text), text);
}

TEST_CASE("the machine itself is 127.0.0.0/8 and ::1") {
  for (const auto* text : {"127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"})
    CHECK_MESSAGE(ip(text).is_loopback(), text);
  for (const auto* text : {"126.0.0.1", "128.0.0.1", "10.0.0.127", "::2", "::", "fe80::1", "unix:"})
    CHECK_FALSE_MESSAGE(ip(text).is_loopback(), text);
}

TEST_CASE("a network holds the addresses that begin with its bits") {
  CHECK(is_in("10.0.0.0/8", "10.255.0.1"));
  CHECK_FALSE(is_in("10.0.0.0/8", "11.0.0.0"));
  CHECK(is_in("10.0.0.128/25", "10.0.0.200"));
  CHECK_FALSE(is_in("10.0.0.128/25", "10.0.0.127"));
  CHECK(is_in("10.0.0.7", "10.0.0.7"));
  CHECK_FALSE(is_in("10.0.0.7", "10.0.0.6"));
  CHECK(is_in("0.0.0.0/0", "192.0.2.1"));
  CHECK_FALSE(is_in("0.0.0.0/0", "2001:db8::1"));
  CHECK(is_in("2001:db8::/32", "2001:db8:ffff::1"));
  CHECK_FALSE(is_in("2001:db8::/32", "2001:db9::"));
  CHECK(is_in("::/0", "2001:db8::1"));
  CHECK(parse_network("!10.0.0.0/8")->is_excluded);
}

TEST_CASE("what is no network says why") {
  CHECK(error_of("10.0.0.1/8") == "\"10.0.0.1/8\" has bits set behind its first 8");
  CHECK(error_of("10.0.0.0/33") == "\"10.0.0.0/33\" has no prefix length from 0 to 32");
  CHECK(error_of("2001:db8::/129") == "\"2001:db8::/129\" has no prefix length from 0 to 128");
  for (const auto* text : {"10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0.0/+8"})
    CHECK_MESSAGE(error_of(text).contains("has no prefix length"), text);
  for (const auto* text : {"", "!", "/8", "localhost", "10.0.0.*", "!!10.0.0.1"})
    CHECK_MESSAGE(error_of(text).contains("is no network"), text);
}

TEST_CASE(
    "whoever comes by a Unix socket has a name, which is in no network of addresses but all") {
  const auto unix_clients = parse_network("unix:");
  REQUIRE(unix_clients.has_value());
  CHECK(unix_clients->contains(IpAddress()));
  CHECK_FALSE(unix_clients->contains(*IpAddress::parse("::1")));
  CHECK(IpAddress().text() == "unix:");
  CHECK(IpAddress::parse("unix:") == IpAddress());
  CHECK_FALSE(IpAddress::parse("unix").has_value());
  CHECK_FALSE(parse_network("127.0.0.0/8")->contains(IpAddress()));
  CHECK_FALSE(parse_network("0.0.0.0/0")->contains(IpAddress()));
}

TEST_CASE("a network has addresses of its own family only, whatever they are as numbers") {
  for (const auto* network : {"::/0", "::/64", "::/80"}) {
    CAPTURE(network);
    CHECK(is_in(network, "::1"));
    for (const auto* other : {"8.8.8.8", "127.0.0.1", "unix:"}) CHECK_FALSE(is_in(network, other));
    CHECK(parse_network(network)->first() <= IpAddress::parse("::1")->order());
    CHECK(parse_network(network)->last() >= IpAddress::parse("::1")->order());
    CHECK(parse_network(network)->first() > IpAddress::parse("8.8.8.8")->order());
  }
  CHECK_FALSE(is_in("0.0.0.0/0", "::1"));
  CHECK_FALSE(is_in("unix:", "::1"));
}

TEST_CASE("an IPv6 client is its block, and the machine itself is nobody else") {
  const auto client = [](const char* text) { return IpAddress::parse(text)->as_client(64).text(); };
  CHECK(client("2001:db8::1") == "2001:db8::");
  CHECK(client("::1") == "::1");
  CHECK(client("unix:") == "unix:");
  CHECK(IpAddress::parse("192.0.2.7")->as_client(v4_prefix_bits + 24).text() == "192.0.2.0");
  CHECK(IpAddress::parse("2001:db8::1")->as_client(2) ==
        IpAddress::parse("2001:db8:1::1")->as_client(2));
}

}  // namespace
}  // namespace classgate::conf
