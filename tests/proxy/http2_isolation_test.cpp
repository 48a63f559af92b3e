// What becomes of requests whose connection was closed because of one of them.

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "proxy/forwarding.h"
#include "tests/proxy/http2_bench.h"

namespace classgate::proxy {
namespace {

// An exchange that has a worker.
struct Carried final : Forwarding::Client {
  void on_interim_answer(const wire::Head&) override {}
  void on_switched(const wire::Head&) override { CHECK(false); }
  void on_answer_body(std::string_view) override {}
  void on_answer_part_end() override {}
  void on_server_ended() override { CHECK(false); }
  bool is_answer_blocked() override { return false; }
  void on_upload_drained() override {}
  void on_fault() override { CHECK(false); }
  void on_answer_head(const wire::Head& head, wire::Framing) override { status = head.status; }
  void on_answer_end(const std::vector<wire::Parser::Trailer>&) override { is_over = true; }
  void on_answer_failed(Forwarding::Failure, const std::string& why) override {
    failed_by = why;
    is_over = true;
  }

  int status = 0;
  bool is_over = false;
  std::string failed_by;
  Forwarding forwarding{*this};
};

// A server that closes its connection when /poison is asked for, and answers the rest when told to.
struct PoisonedBench : Http2Bench {
  using Http2Bench::Http2Bench;
  void start(Carried& carried, std::string_view path, bool is_idempotent = true) {
    heads.push_back(
        std::make_unique<std::string>("GET " + std::string(path) + " HTTP/1.1\r\nHost: model\r\n"));
    carried.forwarding.start(*pool, {.head = *heads.back(),
                                     .body = {},
                                     .is_idempotent = is_idempotent,
                                     .needs_isolation = needs_isolation});
  }
  bool serve_until(const std::function<bool()>& condition) {
    return run_until([&] {
      greeted.resize(peers.size());
      answered.resize(peers.size());
      for (std::size_t i = 0; i < peers.size(); ++i) serve(i);
      return condition();
    });
  }
  void serve(std::size_t which) {
    FramePeer& one = *peers[which];
    if (one.has_ended || !one.has_preface()) return;
    if (std::exchange(greeted[which], 1) == 0) one.say(settings_frame());
    if (one.fields.contains("/poison")) return one.close();
    const auto asked = static_cast<std::uint32_t>(one.count(wire::Http2FrameType::headers));
    while (answers && answered[which] < asked)
      one.say(head_frame(2 * answered[which]++ + 1, ok, end_stream));
  }
  std::size_t requests_on(std::size_t which) const {
    return which < peers.size() ? peers[which]->count(wire::Http2FrameType::headers) : 0;
  }

  std::vector<std::unique_ptr<std::string>> heads;
  std::vector<char> greeted;
  std::vector<std::uint32_t> answered;
  bool answers = false;
  bool needs_isolation = false;
};

// 1. Three share a connection. 2. The server closes it because of one of them. 3. All three may
// have been taken and may be asked for again: seen, they met on a second connection, which the same
// one had closed as well.
TEST_CASE("a request that a server closes its connection for takes its neighbours along once") {
  PoisonedBench bench;
  Carried first, second, poison, next;
  bench.start(first, "/a");
  bench.start(second, "/b");
  REQUIRE(bench.serve_until([&] { return bench.requests_on(0) == 2; }));
  bench.start(poison, "/poison");
  REQUIRE(bench.serve_until([&] { return poison.is_over; }));
  CHECK(poison.failed_by == "it closed the connection");
  REQUIRE(bench.serve_until([&] { return bench.peers.size() == 4; }));
  // Who comes now shares none of theirs.
  bench.start(next, "/c");
  bench.answers = true;
  REQUIRE(bench.serve_until([&] { return first.is_over && second.is_over && next.is_over; }));
  for (const Carried* carried : {&first, &second, &next}) CHECK(carried->status == 200);
  for (const Carried* carried : {&first, &second, &poison}) {
    CHECK(carried->forwarding.needs_isolation());
    CHECK(carried->forwarding.retries() == 1);
  }
  CHECK_FALSE(next.forwarding.needs_isolation());
  REQUIRE(bench.peers.size() == 5);
  for (std::size_t i = 1; i < 5; ++i) CHECK(bench.requests_on(i) == 1);
  // Theirs have gone with them; the last one's waits for the next request.
  CHECK(bench.run_until([&] { return bench.pool->http2_connections(0) == 1; }));
}

TEST_CASE("what may have been taken and is not idempotent is not sent again at all") {
  PoisonedBench bench;
  Carried first, poison;
  bench.start(first, "/a", false);
  REQUIRE(bench.serve_until([&] { return bench.requests_on(0) == 1; }));
  bench.start(poison, "/poison", false);
  REQUIRE(bench.serve_until([&] { return first.is_over && poison.is_over; }));
  CHECK(first.failed_by == "it closed the connection");
  CHECK(bench.peers.size() == 1);
  CHECK_FALSE(first.forwarding.needs_isolation());
}

TEST_CASE("a connection to itself is one of upstream.connections: without it there is an end") {
  conf::UpstreamSettings settings;
  settings.connections = 1;
  PoisonedBench bench(settings);
  std::vector<std::unique_ptr<Carried>> carried;
  for (int i = 0; i < 3; ++i) carried.push_back(std::make_unique<Carried>());
  bench.start(*carried[0], "/a");
  bench.start(*carried[1], "/b");
  REQUIRE(bench.serve_until([&] { return bench.requests_on(0) == 2; }));
  bench.start(*carried[2], "/poison");
  bench.answers = true;
  REQUIRE(bench.serve_until(
      [&] { return std::ranges::all_of(carried, [](const auto& one) { return one->is_over; }); }));
  CHECK(bench.peers.size() <= 2);
  int without = 0;
  for (const auto& one : carried)
    if (one->failed_by.ends_with("there may be none to this one alone (upstream.connections)"))
      ++without;
  CHECK(without == 2);
}

// A server that crashed is waited for (upstream.hold): what crashed it comes back with the others.
TEST_CASE("one that is started anew after that is alone again, and is not sent a third time") {
  PoisonedBench bench;
  Carried neighbour, poison;
  bench.start(neighbour, "/a");
  REQUIRE(bench.serve_until([&] { return bench.requests_on(0) == 1; }));
  bench.needs_isolation = true;
  bench.start(poison, "/poison");
  REQUIRE(bench.serve_until([&] { return poison.is_over; }));
  CHECK(bench.peers.size() == 2);
  CHECK(poison.forwarding.retries() == 0);
  bench.answers = true;
  REQUIRE(bench.serve_until([&] { return neighbour.is_over; }));
  CHECK(neighbour.status == 200);
}

}  // namespace
}  // namespace classgate::proxy
