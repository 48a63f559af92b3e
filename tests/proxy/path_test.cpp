#include "proxy/wire/path.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::proxy::wire {
namespace {

std::string normal(std::string_view path) {
  std::string out = "left over from the last request";
  return normalise_path(path, out) ? out : "refused";
}

struct Spelling {
  std::string_view path;
  std::string_view normal;
};

TEST_CASE("every spelling of a path has one normal form") {
  constexpr Spelling spellings[] = {
      {"/", "/"},
      {"/health", "/health"},
      {"/health/", "/health/"},
      {"/Health", "/Health"},
      // Dot segments, RFC 3986 section 5.2.4.
      {"/v1/classify/../../health", "/health"},
      {"/a/b/c/./../../g", "/a/g"},
      {"/.", "/"},
      {"/./", "/"},
      {"/..", "/"},
      {"/../", "/"},
      {"/../../health", "/health"},
      {"/a/.", "/a/"},
      {"/a/./", "/a/"},
      {"/a/./b", "/a/b"},
      {"/a/..", "/"},
      {"/a/../", "/"},
      {"/a/b/..", "/a/"},
      {"/a/b/../c", "/a/c"},
      {"/a/b/../../../c", "/c"},
      // Dots that are part of a name.
      {"/...", "/..."},
      {"/.hidden", "/.hidden"},
      {"/..hidden", "/..hidden"},
      {"/a..", "/a.."},
      {"/a./b", "/a./b"},
      {"/a/..;/b", "refused"},
      // Slashes.
      {"//", "/"},
      {"//health", "/health"},
      {"/v1//classify", "/v1/classify"},
      {"///v1///classify///", "/v1/classify/"},
      {"/a//../b", "/b"},
      {"/a/..//b", "/b"},
      // Escapes of what needs none, RFC 3986 section 6.2.2.
      {"/%68ealth", "/health"},
      {"/%68%65%61%6C%74%68", "/health"},
      {"/%68%65%61%6c%74%68", "/health"},
      {"/a%2Db%2Ec%5Fd%7Ee", "/a-b.c_d~e"},
      {"/%2e", "/"},
      {"/v1/%2e%2e/health", "/health"},
      {"/v1/.%2E/health", "/health"},
      {"/v1/%2e/classify", "/v1/classify"},
      // Escapes that carry meaning stay, in upper case.
      {"/v1%2Fclassify", "/v1%2Fclassify"},
      {"/v1%2fclassify", "/v1%2Fclassify"},
      {"/%2f%2f", "/%2F%2F"},
      {"/a/%2f../b", "refused"},
      {"/health%2F..%2Fv1%2Fclassify", "refused"},
      {"/health%5c..%5cv1", "refused"},
      {"/health\\..\\v1", "refused"},
      {"/health/%2e%2e%3bx/v1", "refused"},
      {"/health/.;x/v1", "refused"},
      {"/a%2F..b/...;/c", "/a%2F..b/...;/c"},
      {"/a;..;b/c", "/a;..;b/c"},
      {"/%3f%23%20", "/%3F%23%20"},
      {"/%c3%a9", "/%C3%A9"},
      {"/%2568ealth", "/%2568ealth"},
      {"/%25", "/%25"},
      {"/%0a", "/%0A"},
      // Parameters are part of the name: no route of ours has one.
      {"/health;x", "/health;x"},
      {"/health;x=/../y", "/y"},
      {"/v1/classify;v=1", "/v1/classify;v=1"},
      // Refused.
      {"", "refused"},
      {"health", "refused"},
      {"*", "refused"},
      {"%2Fhealth", "refused"},
      {"http://host/health", "refused"},
      {"/%", "refused"},
      {"/%6", "refused"},
      {"/%6g", "refused"},
      {"/%g6", "refused"},
      {"/%%68", "refused"},
      {"/%-1", "refused"},
      {"/%00", "refused"},
      {"/health%00", "refused"},
  };
  for (const Spelling& spelling : spellings) {
    CAPTURE(spelling.path);
    CHECK(normal(spelling.path) == std::string(spelling.normal));
    if (is_normal_path(spelling.path)) CHECK(spelling.path == spelling.normal);
  }
}

TEST_CASE("a path that some server would read another way has more than one reading") {
  for (const std::string_view path :
       {"/", "/health", "/v1/classify/", "/a-b.c_d~e", "/...", "/.a/..b", "/%7Euser", "/%61",
        "/a%20b", "/%C3%A9", "/\xc3\xa9", "/a=b,c:d@e&f", "/%3F"})
    CHECK_MESSAGE(has_one_reading(path), path);
  for (const std::string_view path :
       {"//",        "//a",           "/a//b",      "/a//",  "/.",        "/..",
        "/./a",      "/a/.",          "/a/../b",    "/a/..", "/%2e/a",    "/a/%2E%2e",
        "/a/.%2e/b", "/a%2fb",        "/a%2Fb",     "/%2f",  "/a%5cb",    "/a\\b",
        "/a%255cb",  "/%252e%252e/a", "/%25",       "/a;b",  "/a;",       "/a%3bb",
        "/a%3B",     "/%00",          "/a%00b",     "/%0a",  "/%1F",      "/%7f",
        "/%C0%AF",   "/%c0%ae%c0%ae", "/%E0%80%AF", "/%80",  "/\xc0\xaf", "/%u002f",
        "/%",        "/%2",           "/%zz"})
    CHECK_FALSE_MESSAGE(has_one_reading(path), path);
}

TEST_CASE("the paths of everyday traffic need no rewriting") {
  for (const std::string_view path : {"/", "/health", "/v1/classify", "/v1/classify/batch", "/a/"})
    CHECK(is_normal_path(path));
  for (const std::string_view path : {"", "health", "//", "/a//b", "/.", "/a/..", "/%61"})
    CHECK_FALSE(is_normal_path(path));
}

bool has_dot_segment_after_unescaping(std::string_view path) {
  std::string plain;
  for (std::size_t at = 0; at < path.size(); at += path[at] == '%' ? 3 : 1)
    plain += path[at] == '%' ? '/' : path[at];
  plain += '/';
  return plain.contains("/./") || plain.contains("/../");
}

// The same rules told slowly: split into segments, then put together again.
std::string normal_told_slowly(std::string_view path) {
  std::vector<std::string> segments;
  bool ends_in_slash = true;
  std::string segment;
  const auto finish_segment = [&segments, &segment, &ends_in_slash] {
    if (segment == ".." && !segments.empty()) segments.pop_back();
    ends_in_slash = segment.empty() || segment == "." || segment == "..";
    if (!ends_in_slash) segments.push_back(segment);
    segment.clear();
  };
  for (std::size_t i = 1; i < path.size(); ++i) {
    const std::string_view escape = path.substr(i, 3);
    if (path[i] == '/') {
      finish_segment();
    } else if (path[i] == '%') {
      segment += escape == "%2e" || escape == "%2E" ? "." : escape == "%61" ? "a" : "%2F";
      i += 2;
    } else {
      segment += path[i];
    }
  }
  finish_segment();
  std::string normal_form;
  for (const std::string& name : segments) normal_form += "/" + name;
  if (ends_in_slash) normal_form += "/";
  return has_dot_segment_after_unescaping(normal_form) ? "refused" : normal_form;
}

TEST_CASE("random spellings agree with a slow reading of the rules and stay as they are") {
  const char* const given = std::getenv("CLASSGATE_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::uint64_t{std::random_device{}()};
  INFO("CLASSGATE_SEED=", seed);
  std::mt19937_64 random(seed);
  constexpr std::string_view pieces[] = {"/", "/",   "/",   ".",   ".",   "a",
                                         "b", "%2e", "%2E", "%61", "%2f", "%2F"};
  for (int round = 0; round < 20'000; ++round) {
    std::string path = "/";
    for (auto left = random() % 14; left > 0; --left) path += pieces[random() % 12];
    CAPTURE(path);
    const std::string once = normal(path);
    REQUIRE(once == normal_told_slowly(path));
    if (once == "refused") continue;
    REQUIRE(normal(once) == once);
    if (is_normal_path(path)) REQUIRE(once == path);
  }
}

}  // namespace
}  // namespace classgate::proxy::wire
