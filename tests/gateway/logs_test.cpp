#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "conf/format.h"
#include "gateway/access_log.h"
#include "gateway/error_log.h"
#include "gateway/log_target.h"
#include "gateway/milestones.h"
#include "tests/gateway/kit.h"
#include "tests/gateway/log_folder.h"

// Where lines go: files that are turned away, filled up, exchanged while lines are being written.

namespace classgate::gateway::test {
namespace {

namespace fs = std::filesystem;

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++count;
  return count;
}

conf::LogSettings to(const std::string& access, const std::string& error = "stderr") {
  conf::LogSettings settings;
  settings.access = access;
  settings.error = error;
  return settings;
}

std::unique_ptr<AccessLog> open_access_log(const conf::LogSettings& settings) {
  auto log = AccessLog::open(settings);
  REQUIRE(log);
  return std::move(*log);
}

// The error log takes the place of spdlog's default logger, and that of the tests comes back.
class TestErrorLog {
 public:
  explicit TestErrorLog(const conf::LogSettings& settings)
      : before_(spdlog::default_logger()), log_(ErrorLog::open(settings)) {
    REQUIRE(log_);
  }
  ~TestErrorLog() {
    {
      const ErrorLog last = std::move(*log_);
    }
    spdlog::set_default_logger(before_);
  }
  ErrorLog& log() { return *log_; }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::expected<ErrorLog, std::string> log_;
};

std::expected<void, std::string> change(AccessLog& log, const conf::LogSettings& settings) {
  auto target = AccessLog::open_target(settings);
  if (!target) return std::unexpected(target.error());
  return log.reconfigure(settings, std::move(*target));
}

std::expected<void, std::string> change(ErrorLog& log, const conf::LogSettings& settings) {
  auto target = ErrorLog::open_target(settings);
  if (!target) return std::unexpected(target.error());
  log.reconfigure(settings, std::move(*target));
  return {};
}

TEST_CASE("a log that is renamed and reopened goes on in a new file of its name") {
  const LogFolder folder;
  const auto log = open_access_log(to(folder.at("a")));
  log->hand_over("one\ntwo", 2);
  REQUIRE(comes_to_hold(folder.at("a"), "two"));
  fs::rename(folder.at("a"), folder.at("a.1"));
  log->hand_over("three", 1);
  log->reopen();
  CHECK(await([&] { return fs::exists(folder.at("a")); }));  // though nothing is written
  log->hand_over("four", 1);
  CHECK(comes_to_hold(folder.at("a"), "four"));
  CHECK(text_of(folder.at("a.1")) == "one\ntwo\nthree\n");
  CHECK(text_of(folder.at("a")) == "four\n");
  CHECK(log->dropped_lines() == 0);
  CHECK((fs::status(folder.at("a")).permissions() & fs::perms::others_all) == fs::perms::none);
}

TEST_CASE("a log that cannot be reopened goes on where it was, and says so") {
  const LogFolder folder;
  TestErrorLog errors(to("off", folder.at("errors")));
  fs::create_directory(folder.at("logs"));
  const auto log = open_access_log(to(folder.at("logs/a")));
  fs::rename(folder.at("logs"), folder.at("moved"));
  log->reopen();
  log->hand_over("still here", 1);
  CHECK(comes_to_hold(folder.at("moved/a"), "still here\n"));
  CHECK(comes_to_hold(folder.at("errors"),
                      "the access log cannot be opened anew: " + folder.at("logs/a") +
                          ": No such file or directory"));
  fs::create_directory(folder.at("logs"));
  log->reopen();
  CHECK(await([&] { return fs::exists(folder.at("logs/a")); }));
  CHECK(log->dropped_lines() == 0);
}

TEST_CASE("at its end the error log tells how many lines the access log is short of, if any") {
  for (const std::uint64_t lost : {std::uint64_t{0}, std::uint64_t{3}}) {
    const LogFolder folder;
    TestErrorLog errors(to("off", folder.at("errors")));
    auto log = open_access_log(to(folder.at("a")));
    log->hand_over("one", 1);
    for (std::uint64_t i = 0; i < lost; ++i) log->count_dropped_line();
    log.reset();
    spdlog::warn("behind it");
    REQUIRE(comes_to_hold(folder.at("errors"), "behind it"));
    const std::string text = text_of(folder.at("errors"));
    CHECK(text.contains("the access log has 3 lines less than there were requests") == (lost == 3));
    CHECK(count_of(text, "less than") == (lost == 0 ? 0 : 1));
  }
}

TEST_CASE("what a full disk does not take is counted and told, and later lines come again") {
  const LogFolder folder;
  TestErrorLog errors(to("off", folder.at("errors")));
  const auto log = open_access_log(to("/dev/full"));
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) log->hand_over("one\ntwo\nthree", 3);
  CHECK(await([&] { return log->dropped_lines() == 300; }));
  const auto seconds =
      std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - began);
  CHECK(comes_to_hold(folder.at("errors"),
                      "the access log cannot be written: No space left on device; 3 lines lost so "
                      "far (log.access)"));
  CHECK(change(*log, to(folder.at("a"))));
  log->hand_over("again", 1);
  CHECK(comes_to_hold(folder.at("a"), "again\n"));
  CHECK(comes_to_hold(folder.at("errors"), "the access log is written again; 300 lines were lost"));
  CHECK(count_of(text_of(folder.at("errors")), "cannot be written") <=
        static_cast<std::size_t>(seconds.count()));
  CHECK(log->dropped_lines() == 300);
}

TEST_CASE("a line of which only a part was written is ended before the next one") {
  const LogFolder folder;
  auto target = LogTarget::open(folder.at("a"));
  REQUIRE(target);
  WriteTime time;
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto former = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{12, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const auto torn = target->write("first\nsecond\nthird\n", 0, time);
  const auto none = target->write("fourth\nfifth\n", 0, time);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, former);
  CHECK(torn.lost_lines == 2);
  CHECK(torn.error == EFBIG);
  CHECK(none.lost_lines == 2);
  CHECK(target->write("sixth\nseventh\n", 0, time).lost_lines == 0);
  CHECK(target->write("eighth\n", 0, time).lost_lines == 0);
  CHECK(text_of(folder.at("a")) == "first\nsecond\nsixth\nseventh\neighth\n");
}

TEST_CASE("a new file does not begin with the end of a line in the old one") {
  const LogFolder folder;
  auto target = LogTarget::open(folder.at("a"));
  REQUIRE(target);
  WriteTime time;
  REQUIRE(target->write("torn", 0, time).lost_lines == 0);
  REQUIRE(target->reopen());  // the same file
  target->write("whole\n", 0, time);
  CHECK(text_of(folder.at("a")) == "torn\nwhole\n");
  target->write("torn", 0, time);
  fs::rename(folder.at("a"), folder.at("a.1"));
  REQUIRE(target->reopen());
  target->write("whole\n", 0, time);
  CHECK(text_of(folder.at("a")) == "whole\n");
}

TEST_CASE("the access log goes over to another place and format, and what was handed over stays") {
  const LogFolder folder;
  const auto log = open_access_log(to(folder.at("a")));
  CHECK_FALSE(log->is_json());
  log->hand_over("old", 1);
  conf::LogSettings other = to(folder.at("b"));
  other.format = conf::LogFormat::json;
  CHECK(change(*log, other));
  CHECK(log->is_json());
  log->hand_over("new", 1);
  CHECK(comes_to_hold(folder.at("b"), "new\n"));
  CHECK(text_of(folder.at("a")) == "old\n");
}

TEST_CASE("a place that cannot be written is told at once, and nothing changes") {
  const LogFolder folder;
  const std::string under_a_file = folder.at("a") + "/b";
  const auto log = open_access_log(to(folder.at("a")));
  conf::LogSettings bad = to(under_a_file);
  bad.format = conf::LogFormat::json;
  const auto result = change(*log, bad);
  REQUIRE_FALSE(result);
  CHECK(result.error() ==
        "cannot write the access log: " + under_a_file + ": Not a directory (see log.access)");
  CHECK_FALSE(log->is_json());
  log->hand_over("as before", 1);
  CHECK(comes_to_hold(folder.at("a"), "as before\n"));
  CHECK_FALSE(AccessLog::open(bad));
}

TEST_CASE("an access log can be turned off and on, and what loops have begun is still written") {
  const LogFolder folder;
  const auto log = open_access_log(to("off"));
  CHECK_FALSE(log->is_on());
  log->reopen();
  CHECK(change(*log, to(folder.at("a"))));
  CHECK(log->is_on());
  log->hand_over("on", 1);
  CHECK(change(*log, to("off")));
  CHECK_FALSE(log->is_on());
  log->hand_over("begun before", 1);
  CHECK(comes_to_hold(folder.at("a"), "on\nbegun before\n"));
  fs::remove(folder.at("a"));
  log->reopen();
  CHECK(change(*log, to(folder.at("b"))));
  log->hand_over("on again", 1);
  CHECK(comes_to_hold(folder.at("b"), "on again\n"));
  CHECK_FALSE(fs::exists(folder.at("a")));
}

TEST_CASE("no line is lost or torn while loops write and the log is moved and reopened") {
  const LogFolder folder;
  constexpr int threads = 4;
  constexpr int lines_each = 20'000;
  auto log = open_access_log(to(folder.at("0")));
  std::atomic<int> writing{threads};
  std::vector<std::jthread> loops;
  for (int t = 0; t < threads; ++t)
    loops.emplace_back([&, t] {
      for (int i = 0; i < lines_each; i += 2)
        if (log->is_on()) log->hand_over(fmt::format("<{} {}>\n<{} {}>", t, i, t, i + 1), 2);
      --writing;
    });
  constexpr int places = 5;
  for (int turn = 0; writing > 0; ++turn) {
    conf::LogSettings next = to(folder.at(std::to_string(turn % places)));
    next.format = turn % 2 == 0 ? conf::LogFormat::json : conf::LogFormat::text;
    CHECK(change(*log, next));
    log->reopen();
    std::this_thread::yield();
  }
  loops.clear();
  const std::uint64_t dropped = log->dropped_lines();
  log.reset();  // writes what is left
  std::uint64_t written = 0;
  for (int place = 0; place < places; ++place)
    for (const std::string& line : lines_of(folder.at(std::to_string(place)))) {
      ++written;
      if (!line.starts_with('<') || line.find('>') != line.size() - 1) FAIL_CHECK(line);
    }
  CHECK(written + dropped == static_cast<std::uint64_t>(threads) * lines_each);
}

TEST_CASE("the error log goes over to another place, level and format, and can be reopened") {
  const LogFolder folder;
  TestErrorLog errors(to("off", folder.at("a")));
  spdlog::debug("too light");
  spdlog::info("first");
  REQUIRE(comes_to_hold(folder.at("a"), "first"));
  CHECK(text_of(folder.at("a")).ends_with(" info first\n"));

  conf::LogSettings other = to("off", folder.at("b"));
  other.level = conf::LogLevel::debug;
  other.format = conf::LogFormat::json;
  CHECK(change(errors.log(), other));
  spdlog::debug("\"second\"");
  CHECK(comes_to_hold(folder.at("b"), R"("level":"debug","message":"\"second\""})"));
  CHECK(lines_of(folder.at("a")).size() == 1);

  other.error = folder.at("b") + "/c";
  const auto result = change(errors.log(), other);
  REQUIRE_FALSE(result);
  CHECK(result.error() ==
        "cannot write the log: " + other.error + ": Not a directory (see log.error)");

  fs::rename(folder.at("b"), folder.at("b.1"));
  errors.log().reopen();
  CHECK(await([&] { return fs::exists(folder.at("b")); }));
  spdlog::info("third");
  CHECK(comes_to_hold(folder.at("b"), "third"));
  CHECK(errors.log().dropped_lines() == 0);
}

TEST_CASE(
    "a FIFO without a reader is refused at once; one that is full is not waited for at the end") {
  const LogFolder folder;
  REQUIRE(::mkfifo(folder.at("fifo").c_str(), 0600) == 0);
  const auto refused = AccessLog::open(to(folder.at("fifo")));
  REQUIRE_FALSE(refused);
  CHECK(refused.error() == "cannot write the access log: " + folder.at("fifo") +
                               ": nobody reads it (a FIFO needs a reader) (see log.access)");
  const proxy::net::Fd reader(::open(folder.at("fifo").c_str(), O_RDONLY | O_NONBLOCK));
  auto log = open_access_log(to(folder.at("fifo")));
  const std::string line(60'000, 'x');
  for (int i = 0; i < 10; ++i) log->hand_over(line, 1);
  log.reset();  // would wait for ever for a reader, or for WriteTime::each with every line
  std::string read(1 << 20, ' ');
  const ssize_t size = ::read(reader.get(), read.data(), read.size());
  CHECK(size >= 60'001);
}

TEST_CASE("the error log counts what it leaves out and what it loses") {
  const LogFolder folder;
  conf::LogSettings settings = to("off", folder.at("a"));
  settings.level = conf::LogLevel::error;
  settings.lines_max = 1;
  TestErrorLog errors(settings);
  errors.log().reopen();  // no line, whatever log.level is
  for (int i = 0; i < 100; ++i) spdlog::error("line {}", i);
  const auto written = [&] { return lines_of(folder.at("a")); };
  CHECK(await([&] {
    return errors.log().dropped_lines() + count_of(text_of(folder.at("a")), "error line") == 100;
  }));
  CHECK(errors.log().dropped_lines() > 0);
  CHECK(written().size() < 50);
}

TEST_CASE(
    "what an operator must see of the process is written beside log.lines_max, and is bounded") {
  const LogFolder folder;
  conf::LogSettings settings = to("off", folder.at("a"));
  settings.lines_max = 1;
  constexpr int said = 200;
  int lines = 0, milestones = 0, seconds = 0;
  {
    TestErrorLog errors(settings);
    const auto begin = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    for (int i = 0; i < said; ++i) spdlog::info("said {}", i);
    log_milestone(spdlog::level::info, "listening on {}", "a");
    log_milestone(spdlog::level::err, "ended {}", "b");
    for (int i = 0; i < said; ++i) log_milestone(spdlog::level::info, "reloaded {}", i);
    const auto end = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    seconds = static_cast<int>((end - begin).count()) + 1;
  }
  const std::string text = text_of(folder.at("a"));
  CHECK(text.contains("info listening on a\n"));
  CHECK(text.contains("error ended b\n"));
  lines = static_cast<int>(count_of(text, "info said"));
  milestones = static_cast<int>(count_of(text, "info reloaded"));
  CHECK(lines <= seconds);
  CHECK(milestones >= static_cast<int>(milestones_max) - 2);
  CHECK(milestones <= (static_cast<int>(milestones_max) + 1) * seconds);
}

TEST_CASE("what goes well leaves the error log lines for warnings, and both for errors") {
  const LogFolder folder;
  conf::LogSettings settings = to("off", folder.at("a"));
  settings.lines_max = 8;
  {
    TestErrorLog errors(settings);
    for (int i = 0; i < 200; ++i) spdlog::info("said {}", i);
    for (int i = 0; i < 200; ++i) spdlog::warn("warned {}", i);
    for (int i = 0; i < 200; ++i) spdlog::error("failed {}", i);
  }
  const std::string text = text_of(folder.at("a"));
  CHECK(count_of(text, "info said") >= 4);
  CHECK(count_of(text, "warning warned") >= 2);
  CHECK(count_of(text, "error failed") >= 2);
}

TEST_CASE("an answer that is cut because of its upload has that as its reason in the access log") {
  FakeUpstream upstream([](Peer& peer) {
    if (!peer.read_request_head()) return;
    peer.send("HTTP/1.1 200 Fine\r\nContent-Length: 100\r\n\r\nhalf");
    peer.wait_gone();
  });
  const LogFolder folder;
  conf::Settings settings = settings_for(upstream.port());
  settings.client.body_buffer = conf::Bytes{1};
  settings.client.body_timeout = 100ms;
  settings.log.access = folder.at("access");
  Gateway gateway(settings);
  Client client(gateway);
  client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nsome");
  CHECK_FALSE(client.read_answer().is_complete);
  CHECK(gateway.settles_at({.failed = 1}));
  CHECK(comes_to_hold(folder.at("access"), " reason=client_timeout "));
}

}  // namespace
}  // namespace classgate::gateway::test
