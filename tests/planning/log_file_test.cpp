#include "gateway/planning/log_file.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
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
    ::signal(SIGPIPE, SIG_IGN);
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
  ~Piped() {
    read_.reset();  // or what is not read is never written
  }

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
  const auto refused = LogFile::open(Piped(std::string(1001, 'x')).path(), {.bytes_max = 1000});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().contains("more than the 1000 bytes that are copied"));
  CHECK(LogFile::open(Piped(std::string(1000, 'x')).path(), {.bytes_max = 1000}));
}

// It filled the file system, for all who needed it.
TEST_CASE("a copy leaves room for others, or is refused with the way out") {
  const std::string text(20 << 20, '\n');
  const auto refused = LogFile::open(Piped(text).path(), {.left_free = 1ULL << 60});
  REQUIRE_FALSE(refused);
  CHECK(
      refused.error().contains("MiB of it had been copied less than 1099511627776 MiB were free"));
  CHECK(refused.error().contains("TMPDIR names another directory"));
  CHECK(LogFile::open(Piped(text).path(), {.left_free = 1}));
}

TEST_CASE("what never ends a line is no log, and is not copied to its end") {
  const auto refused = LogFile::open(Piped(std::string(5 << 20, '\0')).path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().ends_with("no line ends in its first 4 MiB: this is no log"));
  const std::string packed = "\x1f\x8b" + std::string(5 << 20, '\0');
  CHECK(LogFile::open(Piped(packed).path()));
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
  CHECK(LogFile::open("/dev/zero").error() ==
        "/dev/zero: is a device: name a file, or let a pipe bring the log");
  CHECK(LogFile::open("/proc").error() == "/proc: is a directory: name the file that is in it");
}

}  // namespace
}  // namespace classgate::planning
