// What is usual for each client, as one process writes it and the next one reads it.

#include "gateway/ops/pattern_text.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "admission/client_patterns.h"
#include "conf/format.h"
#include "conf/sha256.h"

namespace classgate::gateway {
namespace {

using admission::ClientPatterns;
using admission::Duration;
using admission::PatternMemo;
using admission::Time;
using namespace std::chrono_literals;
using Ground = ClientPatterns::Look::Ground;

const conf::PlanSettings everybody_plan;
constexpr std::uint64_t key_of_ids = 77;
constexpr auto wall_noon = std::chrono::system_clock::time_point(std::chrono::days(20'000) + 12h);

conf::PatternSettings with_patterns(std::uint32_t clients_max = 10'000) {
  conf::PatternSettings settings;
  settings.is_on = true;
  settings.clients_max = clients_max;
  return settings;
}

// A machine on which the clock of admission began so long before noon of some day.
struct Machine {
  explicit Machine(Duration up, std::uint32_t clients_max = 10'000) : now(Time{} + up) {
    patterns.use(with_patterns(clients_max));
  }
  PatternClock clock() const { return {now, wall}; }
  void pass(Duration time) {
    now += time;
    wall += std::chrono::duration_cast<std::chrono::system_clock::duration>(time);
  }
  // So much a second, by day or night.
  void serve(std::uint64_t id, double rate) {
    patterns.wait_for(id, everybody_plan, 1, now);
    patterns.take(id, 60 * rate);
    patterns.note_served(id, everybody_plan, 60 * rate, now);
  }
  std::string text() const {
    PatternMemo memo{.at = now,
                     .learning = patterns.learning_since(now),
                     .silent = patterns.silent_since(now),
                     .places = patterns.counts(now).places};
    patterns.show(0, SIZE_MAX / 2, now, memo.clients);
    return pattern_text(memo, key_of_ids, clock());
  }
  std::string take_up(std::string_view from) {
    const auto memo = read_pattern_text(from, key_of_ids, clock());
    if (!memo) return memo.error();
    patterns.resume(memo->at, memo->learning, memo->silent);
    for (const auto& client : memo->clients) patterns.resume(client, memo->at, now);
    return {};
  }
  ClientPatterns::Look look(std::uint64_t id) const {
    return patterns.look(id, everybody_plan, now);
  }

  ClientPatterns patterns;
  Time now;
  std::chrono::system_clock::time_point wall = wall_noon;
};

// Client 5 comes by day, client 6 always, for nine days; at noon of the tenth it ends.
Machine nine_days(Duration up = 100 * 24h) {
  Machine machine(up);
  for (int minute = 0; minute < 9 * 24 * 60; ++minute) {
    const auto hour = minute / 60 % 24;  // since noon
    if (hour < 6 || hour >= 20) machine.serve(5, 10);
    machine.serve(6, 2);
    machine.pass(1min);
  }
  return machine;
}

void check_alike(const ClientPatterns::Look& a, const ClientPatterns::Look& b) {
  CHECK(a.ground == b.ground);
  CHECK(a.usual == doctest::Approx(b.usual));
  CHECK(a.rate == doctest::Approx(b.rate));
  CHECK(a.burst == doctest::Approx(b.burst));
}

TEST_CASE("what is usual for each client is the same for the process that comes after") {
  Machine before = nine_days();
  REQUIRE(before.look(5).ground == Ground::usual);
  REQUIRE(before.look(5).usual == doctest::Approx(10).epsilon(0.02));
  const std::string text = before.text();
  CHECK(text.size() < 1200);
  Machine after(100 * 24h + 9 * 24h + 3s);
  after.wall = before.wall + 3s;
  CHECK(after.take_up(text).empty());
  CHECK(after.patterns.counts(after.now).clients == 2);
  CHECK_FALSE(after.patterns.counts(after.now).is_learning);
  check_alike(after.look(5), before.look(5));
  check_alike(after.look(6), before.look(6));
  // And it goes on: at night nothing of it is usual for the first one.
  for (Machine* const machine : {&before, &after})
    for (int minute = 0; minute < 10 * 60; ++minute) {
      machine->serve(6, 2);
      machine->pass(1min);
    }
  CHECK(after.look(5).usual < 7);
  check_alike(after.look(5), before.look(5));
  check_alike(after.look(6), before.look(6));
}

TEST_CASE("a machine that has begun anew knows it too, by the clock on the wall") {
  const Machine before = nine_days();
  const std::string text = before.text();
  for (const Duration up : {Duration(40s), Duration(29min), Duration(3h + 59min)}) {
    CAPTURE(up.count());
    Machine after(up);
    after.wall = before.wall + 5min;
    CHECK(after.take_up(text).empty());
    check_alike(after.look(5), before.look(5));
    CHECK_FALSE(after.patterns.counts(after.now).is_learning);
  }
}

TEST_CASE("hours in which there was no process had nothing, and after a week all are new") {
  const Machine before = nine_days();
  Machine after(5min);
  after.wall = before.wall + 20h;
  CHECK(after.take_up(before.text()).empty());
  CHECK(after.look(6).ground == Ground::usual);
  Machine late(5min);
  late.wall = before.wall + 8 * 24h;
  CHECK(late.take_up(before.text()).empty());
  CHECK(late.look(6).ground == Ground::learning);  // it has seen nobody for a day
}

TEST_CASE("of a clock on the wall that was set back no time has passed") {
  const Machine before = nine_days();
  Machine after(5min);
  after.wall = before.wall - 100 * 24h;
  CHECK(after.take_up(before.text()).empty());
  check_alike(after.look(5), before.look(5));
}

TEST_CASE("a bucket that is empty is not full after a restart, and is in the end") {
  Machine before = nine_days();
  for (int i = 0; i < 20; ++i) before.serve(6, 1000);
  REQUIRE(before.look(6).tokens < 1);
  Machine after(1h);
  after.wall = before.wall + 2s;
  CHECK(after.take_up(before.text()).empty());
  CHECK(after.look(6).tokens < 10);
  Machine later(1h);
  later.wall = before.wall + 6min;
  CHECK(later.take_up(before.text()).empty());
  CHECK(later.look(6).tokens == later.look(6).burst);
}

TEST_CASE("a process with fewer places takes as many, and none twice") {
  Machine before(100 * 24h);
  for (std::uint64_t id = 1; id <= 300; ++id) before.serve(id, 1);
  Machine after(1h, 100);
  CHECK(after.take_up(before.text()).empty());
  CHECK(after.patterns.counts(after.now).clients == 100);
  CHECK(after.take_up(before.text()).empty());
  CHECK(after.patterns.counts(after.now).clients == 100);
}

TEST_CASE("a client that is forgotten is not in what is written") {
  Machine machine = nine_days();
  const std::uint64_t named = 0x1234'5678'0000'0001;
  machine.serve(named, 3);
  CHECK(machine.patterns.forget(0x1234'5678) == 1);
  CHECK(machine.look(named).ground == Ground::newcomer);
  const auto memo = read_pattern_text(machine.text(), key_of_ids, machine.clock());
  REQUIRE(memo);
  CHECK(memo->clients.size() == 2);
  machine.serve(named, 3);  // and may come again
  CHECK(read_pattern_text(machine.text(), key_of_ids, machine.clock())->clients.size() == 3);
}

std::string summed(std::string text) { return text + conf::hex_of(conf::sha256(text)); }

TEST_CASE("what is damaged, of another version or of other ids is not taken") {
  const Machine machine = nine_days();
  const std::string text = machine.text();
  const auto why = [&](std::string_view of) {
    const auto read = read_pattern_text(of, key_of_ids, machine.clock());
    return read ? std::string() : read.error();
  };
  CHECK(why(text).empty());
  CHECK(why("").contains("none of ours"));
  CHECK(why("classgate patterns 1\n").contains("first line"));
  CHECK(why(text.substr(0, text.size() - 1)).contains("checksum"));
  std::string other = text;
  other[text.size() / 2] = static_cast<char>(other[text.size() / 2] ^ 1);
  CHECK(why(other).contains("checksum"));
  other = text;
  other.replace(0, 20, "classgate patterns 2");
  CHECK(why(other).contains("it is of version 2, and 1 is known here"));
  CHECK(read_pattern_text(text, key_of_ids + 1, machine.clock())
            .error()
            .contains("another key than clients.secret has"));
  const std::string head = "classgate patterns 1 77 1 0 0 0 1\n";
  CHECK(why(summed(head)).empty());
  CHECK(why(summed(head + "x")).contains("a client of it"));
  CHECK(why(summed("classgate patterns 1 77 99999999999999999 0 0 0 1\n")).contains("none"));
}

// With a checksum that is right, so that what is behind it is read.
TEST_CASE("whatever is written there, it is read within bounds") {
  const Machine machine = nine_days();
  const std::string text = machine.text();
  const std::string body = text.substr(0, text.size() - 64);
  const std::size_t head = body.find('\n') + 1;
  std::mt19937 random(std::random_device{}());
  for (int round = 0; round < 20'000; ++round) {
    std::string changed = body;
    for (int i = 0; i < 3; ++i)
      changed[head + random() % (changed.size() - head)] = static_cast<char>(random());
    if (random() % 4 == 0) changed.resize(head + random() % (changed.size() - head));
    Machine reader(1h);
    if (reader.take_up(summed(changed)).empty()) {
      const ClientPatterns::Look look = reader.look(6);
      CHECK(std::isfinite(look.rate));
      CHECK(look.rate >= 0);
      CHECK(std::isfinite(look.tokens));
    }
  }
}

}  // namespace
}  // namespace classgate::gateway
