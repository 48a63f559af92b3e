#include "gateway/planning/unpacked.h"

#include <doctest/doctest.h>

#include <array>

#include "conf/format.h"
#include "gateway/planning/line_file.h"
#include "tests/planning/packed.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {
namespace {

using namespace std::string_literals;
using testing::gzip;
using testing::WrittenFile;
using testing::zstd;

struct Read {
  std::string text;  // of all lines
  std::string error;
  std::size_t longest = 0;
};

Read read(std::string_view bytes) {
  const WrittenFile file(bytes);
  auto lines = LineFile::open(file.log());
  if (!lines) return {{}, lines.error()};
  Read read;
  for (std::string_view line; lines->next(line);) {
    read.longest = std::max(read.longest, line.size());
    read.text.append(line).append("\n");
  }
  read.error = lines->error();
  return read;
}

std::string some_lines(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i) text += fmt::format("line {} of {}\n", i, i * 7919 % 1009);
  return text;
}

TEST_CASE("what gzip and zstd packed is read, in one part or in several") {
  const std::string first = some_lines(0, 50'000), second = some_lines(50'000, 50'010);
  for (const auto& pack : {gzip, zstd}) {
    const Read one = read(pack(first));
    CHECK(one.error == "");
    CHECK((one.text == first));
    const Read two = read(pack(first) + pack(second));
    CHECK(two.error == "");
    CHECK((two.text == first + second));
  }
}

TEST_CASE("a line may begin in one part and end in the next") {
  CHECK(read(gzip("ab") + gzip("") + gzip("c\nd\n")).text == "abc\nd\n");
  CHECK(read(zstd("ab") + zstd("") + zstd("c\nd\n")).text == "abc\nd\n");
}

TEST_CASE("zeros behind what gzip packed are padding") {
  const Read padded = read(gzip("a\n") + std::string(700, '\0'));
  CHECK(padded.error == "");
  CHECK(padded.text == "a\n");
}

// A copy that was broken off, a full disk: what is there is read, and it is said that it is not
// all.
TEST_CASE("what was cut says so, wherever that was") {
  const std::string text = some_lines(0, 30);
  for (const auto& pack : {gzip, zstd}) {
    const std::string packed = pack(text);
    for (std::size_t size = 4; size < packed.size(); ++size) {
      const Read cut = read(std::string_view(packed).substr(0, size));
      CHECK(cut.error.starts_with("is cut"));
    }
    CHECK(read(packed).error == "");
  }
}

TEST_CASE("what is damaged says before which byte") {
  std::string packed = gzip(some_lines(0, 3000));
  packed[packed.size() / 2] = static_cast<char>(packed[packed.size() / 2] ^ 0x55);
  const Read damaged = read(packed);
  CHECK(damaged.error.starts_with("is damaged: gzip cannot unpack it before byte "));
  CHECK(read(gzip("a\n") + "something else").error.starts_with("is damaged: gzip"));
  CHECK(read(zstd("a\n") + "something else").error.starts_with("is damaged: zstd"));
}

// 64 MiB of one letter are 64 KiB of gzip.
TEST_CASE("a line of which there is no end comes in pieces, however little it was packed into") {
  const std::string bomb(64ULL << 20, 'a');
  for (const auto& pack : {gzip, zstd}) {
    const Read exploded = read(pack(bomb));
    CHECK(exploded.error == "");
    CHECK(exploded.longest < LineFile::line_max + (1ULL << 20));
  }
}

TEST_CASE("a frame that wants more memory than is given is refused") {
  // Its window is 256 MiB (RFC 8878, section 3.1.1.1.2).
  const Read large = read("\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00"s);
  CHECK(large.error.starts_with("is damaged: zstd cannot unpack it before byte"));
  CHECK(large.error.contains("memory"));
}

TEST_CASE("what is packed with something else is named, with the command that unpacks it") {
  for (const auto& [bytes, what] :
       {std::pair{"\xfd"
                  "7zXZ\0\0"s,
                  "xz -dc "},
        std::pair{"BZh91AY"s, "bzip2 -dc "}, std::pair{"\x04\x22\x4d\x18"s, "lz4 -dc "},
        std::pair{"PK\x03\x04"s, "unzip -p "}, std::pair{"LPKSHHRH"s, "journalctl --file "}})
    CHECK(read(bytes).error.contains(what));
}

}  // namespace
}  // namespace classgate::planning
