#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <string_view>

#include "gateway/history/usage_codec.h"

namespace classgate::gateway::test {
namespace {

std::string_view view_of(const std::vector<std::uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_CASE("a sketch comes back as it was, in a byte a bin or so") {
  std::mt19937 random(1);
  history::QuantileSketch sketch;
  CHECK(bytes_of(sketch).empty());
  for (int i = 0; i < 2000; ++i) sketch.add(static_cast<std::uint32_t>(random() >> random() % 32));
  sketch.add(0, 5);
  sketch.add(UINT32_MAX, UINT64_MAX / 2);
  const auto bytes = bytes_of(sketch);
  const auto read = sketch_of(view_of(bytes));
  REQUIRE(read);
  CHECK(read->bins() == sketch.bins());
  CHECK(read->count() == sketch.count());
  CHECK(bytes.size() < 3 * sketch.bins().size());
}

TEST_CASE("of a sketch each bin takes some bits more than its noise") {
  std::mt19937 random(1);
  std::lognormal_distribution<double> wait(std::log(3000), 1.1);
  history::QuantileSketch sketch;
  for (int i = 0; i < 24'000; ++i) sketch.add(static_cast<std::uint32_t>(wait(random)));
  REQUIRE(sketch.bins().size() > 250);
  CHECK(bytes_of(sketch).size() < sketch.bins().size());
  CHECK(sketch_of(view_of(bytes_of(sketch)))->bins() == sketch.bins());
}

TEST_CASE("the bytes of a sketch are those that the manual tells") {
  history::QuantileSketch sketch;
  for (const auto& [bin, times] : {std::pair(2, 5), std::pair(3, 7), std::pair(20, 1)})
    REQUIRE(sketch.append({static_cast<std::uint16_t>(bin), static_cast<std::uint64_t>(times)}));
  // 2 empty, 2 bins, +5 (10), +2 (4); 16 empty, 1 bin, +1 (2); and half a byte.
  CHECK(bytes_of(sketch) == std::vector<std::uint8_t>{0x22, 0x1a, 0x84, 0x12, 0x82});
}

TEST_CASE("registers come back as they were, few of them in few bytes") {
  history::DistinctCount distinct;
  CHECK(bytes_of(distinct).empty());
  std::uint64_t id = 0;
  for (const int more : {3, 1000, 100'000}) {
    for (int i = 0; i < more; ++i) distinct.add(++id);
    const auto bytes = bytes_of(distinct);
    const auto read = distinct_of(view_of(bytes));
    REQUIRE(read);
    CHECK(read->ranks() == distinct.ranks());
    CHECK(bytes.size() <= std::min<std::size_t>(1 + 3 * id, 1 + history::DistinctCount::registers));
  }
}

TEST_CASE("words and counts come back as they were; other texts are none") {
  const WordCounts counts{{"queue_full", 3}, {"shed", 1}};
  CHECK(text_of(counts) == R"({"queue_full":3,"shed":1})");
  CHECK(counts_of(text_of(counts)) == counts);
  CHECK(counts_of("") == WordCounts());
  for (const char* const odd :
       {"{", "{}", "[]", R"({"a":1)", R"({"a":})", R"({"a":-1})", R"({"a" :1})", R"({"A":1})",
        R"({"a":1}x)", R"({"a":1,})", R"({"a":99999999999999999999})", R"({"":1})"})
    CHECK_FALSE(counts_of(odd));
}

TEST_CASE("of any bytes something is read, or nothing") {
  std::mt19937 random(22);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random() % (i % 2 == 0 ? 4 : 256));
    if (const auto sketch = sketch_of(bytes)) {
      CHECK(sketch->bins().size() <= history::QuantileSketch::bins_max);
      CHECK(sketch->quantile(0.5) >= 0);
    }
    if (const auto distinct = distinct_of(bytes)) CHECK(distinct->estimate() >= 0);
    (void)counts_of(bytes);
  }
}

}  // namespace
}  // namespace classgate::gateway::test
