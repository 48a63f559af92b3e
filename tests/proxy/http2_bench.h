#pragma once

// A pool of one loop before servers that are made of frames, and requests that tell what comes of
// them.

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/http1_upstream.h"
#include "proxy/net/listener.h"
#include "proxy/upstream_pool.h"
#include "tests/proxy/http2_peer.h"
#include "tests/proxy/servers.h"

namespace classgate::proxy {

inline constexpr std::string_view ok = "\x88";  // ":status: 200" (RFC 7541 appendix A)

// One request, and what comes of it.
struct Asked final : UpstreamStream::Listener, UpstreamStream::Reader {
  void on_interim_answer(const wire::Head& head) override {
    heard += std::to_string(head.status) + " ";
  }
  void on_switched(const wire::Head&) override { CHECK(false); }
  void on_answer_body(std::string_view part) override {
    if (throws) throw std::runtime_error("of the test's");
    body += part;
  }
  void on_answer_part_end() override {
    heard += ".";
    if (on_part) on_part();
  }
  void on_server_ended() override { CHECK(false); }
  bool is_answer_blocked() override { return is_blocked; }
  void on_upload_drained() override { ++drained; }
  void on_fault() override {
    ++faults;
    std::exchange(stream, nullptr)->cancel();
  }
  void on_answer_head(const wire::Head& head, wire::Framing with) override {
    heard += std::to_string(head.status) + " ";
    framing = with;
    for (const wire::Field& said : head.fields)
      fields.append(said.name).append("=").append(said.value).append(" ");
  }
  void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) override {
    stream = nullptr;
    heard += "end ";
    for (const auto& trailer : trailers) heard += trailer.name + "=" + trailer.value + " ";
    if (on_end) on_end();
  }
  void on_lost(const UpstreamStream::Loss& said) override {
    stream = nullptr;
    loss = said;
    is_lost = true;
  }

  UpstreamStream* stream = nullptr;
  std::string heard, body, fields;
  wire::Framing framing{};
  UpstreamStream::Loss loss;
  bool is_lost = false, is_blocked = false, throws = false;
  int drained = 0, faults = 0;
  std::function<void()> on_part, on_end;
  Http1Upstream room{*this, *this};
};

// A pool of one loop before servers of frames.
struct Http2Bench {
  explicit Http2Bench(conf::UpstreamSettings with = {}) : settings(std::move(with)) {
    auto listening = net::listen_on({"127.0.0.1", 0, "127.0.0.1:0"});
    REQUIRE(listening.has_value());
    socket = std::move(*listening);
    settings.servers = {{"127.0.0.1", socket.local.port(), "h2c://" + socket.local.text()}};
    settings.servers.front().is_http2 = true;
    auto resolved = look_up_servers(settings.servers);
    REQUIRE(resolved.has_value());
    servers = std::move(*resolved);
    pool = std::make_unique<UpstreamPool>(loop, servers, settings, 10,
                                          [](std::size_t, bool, const std::string&) {});
    loop.at_exception([](const std::exception&) {});
  }

  // Takes turns until the condition holds; false when it does not within five seconds.
  bool run_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    net::TimeoutList ticks(loop, std::chrono::milliseconds(1));
    struct Tick {
      Http2Bench& bench;
      const std::function<bool()>& condition;
      std::chrono::steady_clock::time_point end;
      net::TimeoutList& list;
      net::Timeout timeout{[](void* self) { static_cast<Tick*>(self)->look(); }, this};
      void look() {
        bench.listen();
        if (condition() || std::chrono::steady_clock::now() > end)
          bench.loop.stop();
        else
          list.set(timeout);
      }
    };
    Tick tick{*this, condition, end, ticks};
    ticks.set(tick.timeout);
    loop.run();
    return condition();
  }
  void listen() {
    for (;;) {
      net::Fd fd(::accept4(socket.fd.get(), nullptr, nullptr, SOCK_NONBLOCK));
      if (!fd) break;
      peers.push_back(std::make_unique<FramePeer>(std::move(fd)));
    }
    for (const auto& peer : peers) peer->listen();
  }
  FramePeer& peer(std::size_t which = 0) {
    REQUIRE(run_until([&] { return peers.size() > which && peers[which]->has_preface(); }));
    return *peers[which];
  }
  bool ask(Asked& asked, UpstreamStream::Request request = {},
           UpstreamPool::Which which = UpstreamPool::Which::any) {
    int error = 0;
    asked.stream = pool->open(0, which, asked.room, error);
    if (asked.stream == nullptr) return false;
    if (request.head.empty()) request.head = "GET /v1/classify HTTP/1.1\r\nHost: model\r\n";
    asked.stream->send(request);
    return true;
  }
  // A connection that is ready for requests.
  FramePeer& ready_peer(std::string_view said = settings_frame()) {
    Asked first;
    REQUIRE(ask(first));
    FramePeer& one = peer();
    one.say(said);
    REQUIRE(run_until([&] { return one.count(wire::Http2FrameType::headers) == 1; }));
    one.say(head_frame(1, ok, end_stream));
    REQUIRE(run_until([&] { return first.heard == "200 end "; }));
    return one;
  }

  net::Loop loop;
  net::ListeningSocket socket;
  conf::UpstreamSettings settings;
  std::shared_ptr<Servers> servers;
  std::unique_ptr<UpstreamPool> pool;
  std::vector<std::unique_ptr<FramePeer>> peers;
};

}  // namespace classgate::proxy
