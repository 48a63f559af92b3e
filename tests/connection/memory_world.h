#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "gateway/client_stream.h"
#include "gateway/refusal.h"
#include "gateway/station.h"
#include "proxy/http1_upstream.h"
#include "tests/connection/virtual_time.h"

// A gateway without a socket: the client is a ClientStream and the service an UpstreamStream of the
// test's, between them is an Exchange of a real station with a real gate. Time is the test's, too.

namespace classgate::connection_test {

using namespace std::chrono_literals;
using proxy::UpstreamStream;
using proxy::wire::Framing;

// What a client is told.
struct MemoryClient final : gateway::ClientStream {
  MemoryClient() { facts_ = {.ip = *conf::IpAddress::parse("10.0.0.1"), .address = "10.0.0.1"}; }
  void send_interim(const proxy::wire::Head& head) override { say("interim", head.status); }
  void send_head(const proxy::wire::Head& head, Framing, std::string_view) override {
    say("head", head.status);
  }
  void send_body(std::string_view part) override { said += fmt::format("body {}, ", part); }
  void send_end(const std::vector<proxy::wire::Parser::Trailer>&) override { said += "end, "; }
  void send_refusal(const gateway::Refusals& texts, const gateway::Refusal& refusal) override {
    say(conf::word_of(refusal.rejection.reason), texts.status(refusal.rejection.reason));
    gives_up = refusal.gives_up_request;
    retry_after = refusal.rejection.retry_after;
  }
  void send_own(const gateway::OwnAnswer& answer) override { say("own", answer.status); }
  void flush() override {}
  void finish() override { said += "finish"; }
  void cut(conf::Reason) override { said += "cut"; }
  void reset() override { said += "reset"; }
  bool begin_tunnel(const proxy::wire::Head& head) override {
    say("tunnel", head.status);
    return true;
  }
  void end_tunnel_output() override { said += "no more, "; }
  void stream_body() override { ++wanted; }
  Progress progress() const override { return {pending, taken}; }
  void say(std::string_view what, int status) { said += fmt::format("{} {}, ", what, status); }

  std::string said;
  std::size_t pending = 0;
  std::uint64_t taken = 0;
  int wanted = 0;
  bool gives_up = false;
  admission::Duration retry_after{};
};

// What the service is told, and a place to answer from.
struct MemoryService final : UpstreamStream {
  void send(const Request& request) override {
    is_open = true;
    got = "sent";
    is_whole = request.is_whole;
    if (throws) throw std::runtime_error("a fault of the test's");
  }
  void send_body(std::string_view part) override { got += fmt::format(" {}", part); }
  void end_body(const std::vector<proxy::wire::Parser::Trailer>&) override { is_whole = true; }
  void send_raw(std::string_view bytes) override { got += fmt::format(" raw {}", bytes); }
  void end_raw() override { got += " raw end"; }
  std::size_t pending() const override { return 0; }
  bool request_is_sent() const override { return is_whole; }
  void resume() override { ++resumed; }
  void await_proof() override { awaits_proof = true; }
  void cancel() override {
    is_open = false;
    got += " cancelled";
  }
  std::size_t held_bytes() const override { return 0; }

  void head(int status, Framing framing, std::string_view type = "application/json") {
    proxy::wire::Head answer;
    answer.status = status;
    answer.framing = framing;
    answer.fields.push_back({"Content-Type", type, proxy::wire::FieldId::other});
    listener->on_answer_head(answer, framing);
  }
  void answer() {
    head(200, Framing::length);
    reader->on_answer_body("ok");
    end();
  }
  void end() {
    is_open = false;
    listener->on_answer_end({});
  }
  void lose(Lost what, Taken taken, bool answer_has_begun = false) {
    if (taken != Taken::not_known_yet) is_open = false;
    listener->on_lost({.what = what,
                       .why = "the test says so",
                       .error = what == Lost::unreachable ? ECONNREFUSED : 0,
                       .taken = taken,
                       .answer_has_begun = answer_has_begun});
  }
  // It alone, and the connection stays.
  void decline() {
    is_open = false;
    listener->on_lost({.why = "the test declines it", .taken = Taken::no, .was_declined = true});
  }

  Listener* listener = nullptr;
  Reader* reader = nullptr;
  bool is_open = false;
  bool is_whole = false;
  bool awaits_proof = false;
  bool throws = false;
  int resumed = 0;
  std::string got;
};

// Gives each request the service's one stream; the next attempt a further one.
class MemoryPool final : public proxy::UpstreamPool {
 public:
  MemoryPool(proxy::net::Loop& loop, std::shared_ptr<proxy::Servers> servers,
             const conf::UpstreamSettings& settings,
             std::vector<std::unique_ptr<MemoryService>>& opened)
      : UpstreamPool(loop, std::move(servers), settings, 0,
                     [](std::size_t, bool, const std::string&) {}),
        opened_(opened) {}
  UpstreamStream* open(std::size_t, Which, proxy::Http1Upstream& room, int& error) override {
    error = EBUSY;
    if (is_full) return nullptr;
    opened_.push_back(std::make_unique<MemoryService>());
    opened_.back()->listener = &room.listener();
    opened_.back()->reader = &room.reader();
    opened_.back()->throws = throws;
    return opened_.back().get();
  }
  bool throws = false;
  bool is_full = false;  // others have been quicker to take the last places

 private:
  std::vector<std::unique_ptr<MemoryService>>& opened_;
};

inline conf::Settings memory_settings() {
  conf::Settings made;
  made.threads = 1;
  made.admission.workers = 1;
  made.admission.queue_size = 1;
  made.admission.request_timeout = 10s;
  made.admission.queue_timeout = 4s;
  made.admission.rate = 0;
  made.upstream.hold = 0ms;
  made.upstream.stream_idle_timeout = 5s;
  made.upstream.stream_time_max = 60s;
  made.client.body_buffer = conf::KiB(1);
  made.log.access = "off";
  return made;
}

class MemoryWorld {
 public:
  explicit MemoryWorld(const conf::Settings& wanted = memory_settings())
      : time_([this](bool is_idle) { stop_when(is_idle); }, [] {}),
        ids_(wanted),
        log_(std::move(*gateway::AccessLog::open(wanted.log))),
        key_(gateway::make_hash_key()),
        shared_(wanted, ids_, *log_, key_),
        servers_(proxy::Servers::make(wanted.upstream.servers, nullptr,
                                      proxy::Servers::look_up(wanted.upstream))) {
    servers_->mark(0, proxy::Servers::State::reachable);  // nobody asks whether it is there
    const auto policy = std::make_shared<const gateway::Policy>(
        gateway::Policy{.rules = std::make_shared<const gateway::Rules>(wanted, ids_, 100, key_),
                        .servers = servers_,
                        .tls = {},
                        .history = {}});
    station_ = std::make_unique<gateway::Station>(shared_, policy, gateway::Sockets{},
                                                  gateway::Station::Milestones{});
    auto pool =
        std::make_unique<MemoryPool>(station_->loop(), servers_, wanted.upstream, services_);
    pool_ = pool.get();
    station_->use_upstreams(std::move(pool));
    limits_ = station_->request_limits();
  }

  // A request of which the head has come; with all of its body when it `is_whole`.
  gateway::Exchange& ask(MemoryClient& client, std::string_view text, bool is_whole = true) {
    gateway::Exchange& exchange = station_->take_exchange();
    latest_ = &exchange;
    parser_.begin(proxy::wire::Parser::Kind::request, limits_);
    text_ = text;
    REQUIRE(parser_.parse_head(text_) == proxy::wire::Parser::Progress::done);
    exchange.on_head(client, parser_.head(), is_whole);
    if (is_whole) exchange.on_body_end({});
    return exchange;
  }
  gateway::Exchange& get(MemoryClient& client, std::string_view path = "/v1/classify") {
    return ask(client, fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path));
  }
  gateway::Exchange& post(MemoryClient& client) {
    return ask(client, "POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  }
  gateway::Exchange& upload(MemoryClient& client) {
    return ask(client,
               "POST /v1/classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
               false);
  }
  MemoryService& service(std::size_t attempt = 0) {
    REQUIRE(services_.size() > attempt);
    return *services_[attempt];
  }
  gateway::Exchange& latest() { return *latest_; }
  std::size_t attempts() const { return services_.size(); }
  // All that is due by then happens.
  void pass(std::chrono::milliseconds time = 0ms) {
    settle();
    VirtualTime::advance(time);
    settle();
  }
  void end() { station_.reset(); }
  gateway::Station& station() { return *station_; }
  MemoryPool& pool() { return *pool_; }

  // The books: each request has ended once, as this says, and its worker is free.
  bool balances(std::uint64_t processed, std::uint64_t failed, std::uint64_t rejected,
                std::uint64_t abandoned) {
    const auto sum = [](const auto& counts) {
      std::uint64_t all = 0;
      for (const auto count : counts) all += count;
      return all;
    };
    const admission::Snapshot now = shared_.gate.snapshot(std::chrono::steady_clock::now());
    CHECK(now.processed == processed);
    CHECK(sum(now.failed) == failed);
    CHECK(sum(now.rejected) == rejected);
    CHECK(now.abandoned == abandoned);
    CHECK(now.active_workers == 0);
    CHECK(now.waiting == 0);
    return now.total == processed + failed + rejected + abandoned;
  }
  std::uint32_t workers_without_client() {
    return shared_.gate.snapshot(std::chrono::steady_clock::now()).workers_without_client;
  }

 private:
  void settle() {
    is_told_to_stop_ = false;
    station_->run();
  }
  void stop_when(bool is_idle) {
    if (is_idle && !std::exchange(is_told_to_stop_, true)) station_->send(gateway::Stop{});
  }

  VirtualTime time_;
  bool is_told_to_stop_ = false;
  const admission::Ids ids_;
  std::unique_ptr<gateway::AccessLog> log_;
  const gateway::HashKey key_;
  gateway::Shared shared_;
  std::shared_ptr<proxy::Servers> servers_;
  std::vector<std::unique_ptr<MemoryService>> services_;  // one for each attempt
  std::unique_ptr<gateway::Station> station_;
  MemoryPool* pool_ = nullptr;
  gateway::Exchange* latest_ = nullptr;
  proxy::wire::HeadLimits limits_{};
  proxy::wire::Parser parser_;
  std::string text_;
};

}  // namespace classgate::connection_test
