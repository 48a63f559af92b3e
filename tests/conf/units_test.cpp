#include "conf/units.h"

#include <doctest/doctest.h>

namespace classgate::conf {
namespace {

constexpr std::string_view duration_hint =
    ": write a whole number with ms, s, m or h, such as \"30s\"";
constexpr std::string_view bytes_hint =
    ": write a whole number with B, KiB, MiB or GiB, such as \"64KiB\"";

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

TEST_CASE("a duration is a whole number with its unit, and 0 needs none") {
  struct Row {
    std::string_view text;
    std::int64_t ms;
    std::string_view printed;
  };
  for (const Row& row :
       {Row{"0", 0, "0ms"}, Row{"0s", 0, "0ms"}, Row{"1ms", 1, "1ms"}, Row{"007s", 7'000, "7s"},
        Row{"999ms", 999, "999ms"}, Row{"1000ms", 1'000, "1s"}, Row{"90s", 90'000, "90s"},
        Row{"60s", 60'000, "1m"}, Row{"5m", 300'000, "5m"}, Row{"2h", 7'200'000, "2h"},
        Row{"120m", 7'200'000, "2h"},
        Row{"4611686018427387904ms", 1LL << 62, "4611686018427387904ms"}}) {
    CAPTURE(row.text);
    const auto duration = parse_duration(row.text);
    REQUIRE(duration.has_value());
    CHECK(duration->count() == row.ms);
    CHECK(print_duration(*duration) == row.printed);
    CHECK(parse_duration(print_duration(*duration)) == *duration);
  }
}

TEST_CASE("a size is a whole number with its unit, and 0 needs none") {
  struct Row {
    std::string_view text;
    std::uint64_t count;
    std::string_view printed;
  };
  for (const Row& row :
       {Row{"0", 0, "0B"}, Row{"0GiB", 0, "0B"}, Row{"512B", 512, "512B"},
        Row{"1024B", 1024, "1KiB"}, Row{"1025B", 1025, "1025B"}, Row{"16KiB", 16 << 10, "16KiB"},
        Row{"2048KiB", 2 << 20, "2MiB"}, Row{"10MiB", 10 << 20, "10MiB"},
        Row{"1GiB", 1 << 30, "1GiB"}, Row{"1536MiB", 3ULL << 29, "1536MiB"},
        Row{"4294967296GiB", 1ULL << 62, "4294967296GiB"}}) {
    CAPTURE(row.text);
    const auto bytes = parse_bytes(row.text);
    REQUIRE(bytes.has_value());
    CHECK(bytes->count == row.count);
    CHECK(print_bytes(*bytes) == row.printed);
    CHECK(parse_bytes(print_bytes(*bytes)) == *bytes);
  }
}

TEST_CASE("a number without unit is told that it has none") {
  for (const std::string_view text : {"1", "30", "18446744073709551615"}) {
    CHECK(parse_duration(text).error() ==
          quoted(text) + " has no unit" + std::string(duration_hint));
    CHECK(parse_bytes(text).error() == quoted(text) + " has no unit" + std::string(bytes_hint));
  }
}

TEST_CASE("what is not a duration is told what one looks like") {
  for (const std::string_view text :
       {"",     " ",     "s",    "ms",   "-1s",  "-0s",   "+1s",      "1.5s",
        "1,5s", "1 s",   " 1s",  "1s ",  "1S",   "1MS",   "1us",      "1d",
        "1sec", "1s1ms", "0x1s", "1e3s", "1KiB", "ten s", "\xc2\xb5s"}) {
    CAPTURE(text);
    const auto duration = parse_duration(text);
    REQUIRE_FALSE(duration.has_value());
    CHECK(duration.error() == quoted(text) + " is not a duration" + std::string(duration_hint));
  }
}

TEST_CASE("what is not a size is told what one looks like") {
  for (const std::string_view text : {"", "B", "KiB", "-1B", "+1B", "1.5MiB", "1 KiB", " 1B", "1B ",
                                      "1b", "1kib", "1TB", "1TiB", "1s", "0x1B"}) {
    CAPTURE(text);
    const auto bytes = parse_bytes(text);
    REQUIRE_FALSE(bytes.has_value());
    CHECK(bytes.error() == quoted(text) + " is not a size" + std::string(bytes_hint));
  }
}

TEST_CASE("a size as other programs write it is told as it is written here") {
  for (const auto& [text, meant] : std::vector<std::pair<std::string_view, std::string_view>>{
           {"1K", "1KiB"}, {"1k", "1KiB"}, {"10m", "10MiB"}, {"10MB", "10MiB"}, {"2Gb", "2GiB"}}) {
    CAPTURE(text);
    const auto bytes = parse_bytes(text);
    REQUIRE_FALSE(bytes.has_value());
    CHECK(bytes.error() == quoted(text) +
                               " is not a size: write a whole number with B, KiB, MiB or GiB, such "
                               "as " +
                               quoted(meant));
  }
}

TEST_CASE("what is larger than any duration or size is told so") {
  // More than 2^62, by number and by unit.
  for (const std::string_view text : {"18446744073709551616s", "99999999999999999999999999h",
                                      "4611686018427387905ms", "1281023894008h"}) {
    CAPTURE(text);
    const auto duration = parse_duration(text);
    REQUIRE_FALSE(duration.has_value());
    CHECK(duration.error() ==
          quoted(text) + " is too large for a duration" + std::string(duration_hint));
  }
  for (const std::string_view text :
       {"18446744073709551616B", "4611686018427387905B", "4294967297GiB"}) {
    CAPTURE(text);
    const auto bytes = parse_bytes(text);
    REQUIRE_FALSE(bytes.has_value());
    CHECK(bytes.error() == quoted(text) + " is too large for a size" + std::string(bytes_hint));
  }
}

TEST_CASE("an address is a host and a port, and keeps its text") {
  struct Row {
    std::string_view text;
    std::string_view host;
    std::uint16_t port;
  };
  for (const Row& row :
       {Row{"127.0.0.1:8080", "127.0.0.1", 8080}, Row{"[::1]:8080", "::1", 8080},
        Row{"[fe80::1%eth0]:1", "fe80::1%eth0", 1}, Row{"*:0", "*", 0},
        Row{"host.example:65535", "host.example", 65535}, Row{"a:00080", "a", 80}}) {
    CAPTURE(row.text);
    const auto address = parse_address(row.text);
    REQUIRE(address.has_value());
    CHECK(*address == Address{std::string(row.host), row.port, std::string(row.text)});
  }
}

TEST_CASE("h2c:// is HTTP/2 by prior knowledge, http:// is the same as nothing") {
  const auto clear = parse_address("h2c://[::1]:9000");
  REQUIRE(clear.has_value());
  CHECK(clear->is_http2);
  CHECK_FALSE(clear->is_tls);
  CHECK(clear->host == "::1");
  CHECK_FALSE(parse_address("http://a:1")->is_http2);
  CHECK_FALSE(parse_address("h2c://a").has_value());
}

TEST_CASE("a service is a name without a port, proven as its domain") {
  const auto plain = parse_address("http+srv://_classify._tcp.example");
  REQUIRE(plain.has_value());
  CHECK(*plain == Address{"_classify._tcp.example", 0, "http+srv://_classify._tcp.example", false,
                          false, true});
  CHECK(plain->is_name());
  CHECK(plain->bare_host() == "example");
  const auto tls = parse_address("https+srv://_classify._tcp.eu.example.");
  REQUIRE(tls.has_value());
  CHECK(tls->is_tls);
  CHECK(tls->bare_host() == "eu.example");
  for (const std::string_view text : {"http+srv://", "http+srv://a.example:80", "https+srv://[::1]",
                                      "http+srv://a/b", "http+srv://*", "http+srv://a b"}) {
    CAPTURE(text);
    const auto address = parse_address(text);
    REQUIRE_FALSE(address.has_value());
    CHECK(address.error().starts_with(quoted(text) + " is no service: write http+srv://"));
  }
}

TEST_CASE("what DNS and this machine alone understand of a host stays out of its bare name") {
  const auto bare = [](std::string_view text) { return parse_address(text)->bare_host(); };
  CHECK(bare("[fe80::1%eth0]:1") == "fe80::1");
  CHECK(bare("model.example.:1") == "model.example");
  CHECK(bare("model.example:1") == "model.example");
  CHECK_FALSE(parse_address("[fe80::1%eth0]:1")->is_name());
  CHECK(parse_address("model.example.:1")->is_name());
}

TEST_CASE("what is not an address is told why") {
  struct Row {
    std::string_view text;
    std::string_view why;
  };
  constexpr std::string_view port = "has no port from 0 to 65535";
  constexpr std::string_view host = "has no usable host";
  for (const Row& row : {Row{"", "has no port"},
                         Row{"8080", "has no port"},
                         Row{"127.0.0.1", "has no port"},
                         Row{"[::1]", "has no port"},
                         Row{"a:", port},
                         Row{"a:-1", port},
                         Row{"a:+1", port},
                         Row{"a:65536", port},
                         Row{"a:99999999999", port},
                         Row{"a:http", port},
                         Row{"a:80 ", port},
                         Row{"a: 80", port},
                         Row{"::1:8080", "has an IPv6 address without brackets"},
                         Row{"[localhost]:80", "has no IPv6 address in brackets"},
                         Row{"[]:80", "has no IPv6 address in brackets"},
                         Row{":8080", host},
                         Row{"a b:1", host},
                         Row{"\ta:1", host},
                         Row{"a/b:1", host},
                         Row{"[a:1", host},
                         Row{"a]:1", host}}) {
    CAPTURE(row.text);
    const auto address = parse_address(row.text);
    REQUIRE_FALSE(address.has_value());
    CHECK(address.error() ==
          quoted(row.text) + " " + std::string(row.why) +
              ": write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\"");
  }
}

TEST_CASE("numbers are printed whole, however large") {
  CHECK(print_number(1'000'000) == "1000000");
  CHECK(print_number(900'000) == "900000");
  CHECK(print_number(1e15) == "1000000000000000");
  CHECK(print_number(0) == "0");
  CHECK(print_number(-3) == "-3");
  CHECK(print_number(0.1 * 3) == "0.3");
  CHECK(print_number(12.5) == "12.5");
  CHECK(print_number(123456.75) == "123456.75");
}

TEST_CASE("a route path is exact, or a prefix when it ends with a star") {
  struct Row {
    std::string_view text;
    std::string_view path;
    bool is_prefix;
  };
  for (const Row& row : {Row{"/", "/", false}, Row{"/*", "/", true}, Row{"/v1/a", "/v1/a", false},
                         Row{"/v1*", "/v1", true}, Row{"/v1/*", "/v1/", true},
                         Row{"/a/", "/a/", false}, Row{"/.a/..b", "/.a/..b", false},
                         Row{"/a%2Fb%20", "/a%2Fb%20", false}, Row{"/%C3%A4*", "/%C3%A4", true}}) {
    CAPTURE(row.text);
    const auto route = parse_route_path(row.text);
    REQUIRE(route.has_value());
    CHECK(route->path == row.path);
    CHECK(route->is_prefix == row.is_prefix);
  }
}

TEST_CASE("a route path that no request could have is told why") {
  struct Row {
    std::string_view text;
    std::string_view why;
  };
  constexpr std::string_view slash = "must begin with '/', such as \"/v1/classify\"";
  constexpr std::string_view star =
      "may have a '*' only at its end, where it makes the path a prefix";
  constexpr std::string_view alone = "must be a path alone, without query, fragment or spaces";
  constexpr std::string_view twice =
      "has a double slash: requests are compared after slashes were merged";
  constexpr std::string_view dot =
      "has a dot segment: requests are compared after these were removed";
  constexpr std::string_view escape =
      "has an escape that requests do not have when they are compared: write the character itself, "
      "or an escape such as %2F with capital letters";
  constexpr std::string_view pattern =
      "looks like a regular expression, and is compared as it stands: write a path, or its "
      "beginning "
      "with a '*' behind it";
  for (const Row& row :
       {Row{"", slash},
        Row{"v1", slash},
        Row{"*", slash},
        Row{"http://a/", slash},
        Row{"/a*b", star},
        Row{"/**", star},
        Row{"/*/a", star},
        Row{"/a?b", alone},
        Row{"/a#b", alone},
        Row{"/a b", alone},
        Row{"/a\t", alone},
        Row{"//", twice},
        Row{"/a//b", twice},
        Row{"/a//*", twice},
        Row{"/./a", dot},
        Row{"/a/../b", dot},
        Row{"/a/.", dot},
        Row{"/..", dot},
        Row{"/a/..*", dot},
        Row{"/%41", escape},
        Row{"/%7e", escape},
        Row{"/a%2E", escape},
        Row{"/a%", escape},
        Row{"/a%2", escape},
        Row{"/%zz", escape},
        Row{"/%2f", escape},
        Row{"/%00", escape},
        Row{"/v1/models/{id}",
            "has a placeholder, and there are none: write \"/v1/models/*\" for all that begin so"},
        Row{"/<id>/x", "has a placeholder, and there are none: write \"/*\" for all that begin so"},
        Row{"/gr\xc3\xb6\xc3\x9f"
            "e*",
            "has a character that requests escape: write \"/gr%C3%B6%C3%9Fe*\""},
        Row{"/(v1|v2)/x", pattern},
        Row{"/v[12]", pattern},
        Row{"/v\\d", pattern},
        Row{"/^x", pattern},
        Row{"/v1/x$", pattern},
        Row{"/v1/.+", pattern}}) {
    CAPTURE(row.text);
    const auto route = parse_route_path(row.text);
    REQUIRE_FALSE(route.has_value());
    CHECK(route.error() == "route path " + quoted(row.text) + " " + std::string(row.why));
  }
}

}  // namespace
}  // namespace classgate::conf
