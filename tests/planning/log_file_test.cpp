#include "gateway/planning/log_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "conf/format.h"
#include "gateway/planning/line_file.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {
namespace {

using testing::WrittenFile;

std::uint64_t lines_of(const std::shared_ptr<const LogFile>& log) {
  auto lines = LineFile::open(log);
  REQUIRE(lines);
  for (std::string_view line; lines->next(line);) {
  }
  CHECK(lines->error().empty());
  return lines->number();
}

// What `text` brings, as /dev/stdin or <(zcat ...) brings it.
class Piped {
 public:
  explicit Piped(std::string text) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    read_ = proxy::net::Fd(ends[0]);
    writer_ = std::jthread([fd = proxy::net::Fd(ends[1]), text = std::move(text)] {
      for (std::size_t at = 0; at < text.size();) {
        const ssize_t wrote = ::write(fd.get(), text.data() + at, text.size() - at);
        if (wrote <= 0) return;
        at += static_cast<std::size_t>(wrote);
      }
    });
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", read_.get()); }
  void hang_up() { read_.reset(); }

 private:
  proxy::net::Fd read_;
  std::jthread writer_;
};

// It was opened twice, and each reader had the lines that the other had not taken: the first
// 200,000 were gone without a word.
TEST_CASE("a log that comes through a pipe has all its lines, for each who reads it") {
  std::string text;
  for (int i = 0; i < 250'000; ++i) text += "a line\n";
  const Piped piped(std::move(text));
  const auto log = LogFile::open(piped.path());
  REQUIRE(log);
  CHECK(lines_of(*log) == 250'000);
  CHECK(lines_of(*log) == 250'000);
}

TEST_CASE("of what comes through a pipe so much is copied and not more, and this is told") {
  const auto refused = LogFile::open(Piped(std::string(1001, 'x')).path(), 1000);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().contains("more than the 1000 bytes that are copied"));
  CHECK(LogFile::open(Piped(std::string(1000, 'x')).path(), 1000));
}

TEST_CASE("a copy that there is no room for says where, and what to do") {
  const char* const before = std::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("TMPDIR", "/nowhere", 1);
  const auto refused = LogFile::open(Piped("x").path());
  before == nullptr ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", kept.c_str(), 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().contains("its copy in /nowhere failed: No such file or directory"));
}

// Each conf of a sweep would else see other traffic.
TEST_CASE("a log that grows while it is read is as long as it was at the start") {
  WrittenFile file("one\ntwo\n");
  const auto log = file.log();
  file.add("three\n");
  CHECK(lines_of(log) == 2);
  CHECK(lines_of(file.log()) == 3);
}

TEST_CASE("a log that is rotated away while it is read is still read to its end") {
  std::shared_ptr<const LogFile> log;
  {
    const WrittenFile file("one\ntwo\n");
    log = file.log();
  }
  CHECK(lines_of(log) == 2);
}

TEST_CASE("what is no log is refused by its name") {
  CHECK(LogFile::open("/nowhere/access.log").error() ==
        "/nowhere/access.log: No such file or directory");
  CHECK(LogFile::open("/proc").error() == "/proc: is a directory: name the log that is in it");
}

}  // namespace
}  // namespace classgate::planning
