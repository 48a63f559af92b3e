#include <doctest/doctest.h>

#include <memory>
#include <optional>
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

// Every way in which one request can end, without a socket: its client is a ClientStream and the
// service an UpstreamStream of the test's, between them is an Exchange of a real station with a
// real gate. Time is the test's, too.

namespace classgate::connection_test {
namespace {

using namespace std::chrono_literals;
using conf::Reason;
using proxy::UpstreamStream;
using proxy::wire::Framing;

// What a client is told.
struct Client final : gateway::ClientStream {
  Client() { facts_ = {.ip = *conf::IpAddress::parse("10.0.0.1"), .address = "10.0.0.1"}; }
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
  void cut() override { said += "cut"; }
  void reset() override { said += "reset"; }
  void begin_tunnel(const proxy::wire::Head& head) override { say("tunnel", head.status); }
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
struct Service final : UpstreamStream {
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
    listener->on_answer_body("ok");
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

  Listener* listener = nullptr;
  bool is_open = false;
  bool is_whole = false;
  bool awaits_proof = false;
  bool throws = false;
  int resumed = 0;
  std::string got;
};

// Gives each request the service's one stream; the next attempt a further one.
class Pool final : public proxy::UpstreamPool {
 public:
  Pool(proxy::net::Loop& loop, std::shared_ptr<proxy::Servers> servers,
       const conf::UpstreamSettings& settings, std::vector<std::unique_ptr<Service>>& opened)
      : UpstreamPool(loop, std::move(servers), settings, 0,
                     [](std::size_t, bool, const std::string&) {}),
        opened_(opened) {}
  UpstreamStream* open(std::size_t, bool, proxy::Http1Upstream& room, int& error) override {
    error = EBUSY;
    if (is_full) return nullptr;
    opened_.push_back(std::make_unique<Service>());
    opened_.back()->listener = &room.listener();
    opened_.back()->throws = throws;
    return opened_.back().get();
  }
  bool throws = false;
  bool is_full = false;  // others have been quicker to take the last places

 private:
  std::vector<std::unique_ptr<Service>>& opened_;
};

conf::Settings settings() {
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

class World {
 public:
  explicit World(const conf::Settings& wanted = settings())
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
    auto pool = std::make_unique<Pool>(station_->loop(), servers_, wanted.upstream, services_);
    pool_ = pool.get();
    station_->use_upstreams(std::move(pool));
    limits_ = station_->request_limits();
  }

  // A request of which the head has come; with all of its body when it `is_whole`.
  gateway::Exchange& ask(Client& client, std::string_view text, bool is_whole = true) {
    gateway::Exchange& exchange = station_->take_exchange();
    latest_ = &exchange;
    parser_.begin(proxy::wire::Parser::Kind::request, limits_);
    text_ = text;
    REQUIRE(parser_.parse_head(text_) == proxy::wire::Parser::Progress::done);
    exchange.on_head(client, parser_.head(), is_whole);
    if (is_whole) exchange.on_body_end({});
    return exchange;
  }
  gateway::Exchange& get(Client& client, std::string_view path = "/v1/classify") {
    return ask(client, fmt::format("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", path));
  }
  gateway::Exchange& post(Client& client) {
    return ask(client, "POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  }
  gateway::Exchange& upload(Client& client) {
    return ask(client,
               "POST /v1/classify HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
               false);
  }
  Service& service(std::size_t attempt = 0) {
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
  Pool& pool() { return *pool_; }

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
  std::vector<std::unique_ptr<Service>> services_;  // one for each attempt
  std::unique_ptr<gateway::Station> station_;
  Pool* pool_ = nullptr;
  gateway::Exchange* latest_ = nullptr;
  proxy::wire::HeadLimits limits_{};
  proxy::wire::Parser parser_;
  std::string text_;
};

}  // namespace

TEST_CASE("ending: answered") {
  World world;
  Client client;
  world.post(client);
  world.service().answer();
  CHECK(client.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 0));
}

TEST_CASE("ending: interim answers, and a body that streams through the worker") {
  World world;
  Client client;
  gateway::Exchange& exchange = world.upload(client);
  exchange.on_body(std::string(1024, 'x'));
  exchange.on_body_part_end();  // as much as is held: a worker takes it
  CHECK(client.wanted == 1);
  exchange.on_body("rest");
  exchange.on_body_end({});
  CHECK(world.service().got == "sent rest");
  proxy::wire::Head hint;
  hint.status = 103;
  world.service().listener->on_interim_answer(hint);
  hint.status = 100;  // the gateway has said it
  world.service().listener->on_interim_answer(hint);
  world.service().answer();
  CHECK(client.said == "interim 103, head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 0));
}

TEST_CASE("ending: a request that can't be read, or may not be what it is") {
  World world;
  Client unreadable, tunnel, large, slow, half;
  world.station().take_exchange().on_unreadable(unreadable, Reason::malformed);
  CHECK(unreadable.said == "malformed 400, finish");
  world.ask(tunnel, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(tunnel.said == "method_refused 405, finish");
  world.ask(large, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", false);
  CHECK(large.said == "body_too_large 413, finish");
  world.upload(slow).on_body_fault(Reason::client_timeout);
  CHECK(slow.said == "client_timeout 408, finish");
  CHECK(slow.gives_up);
  world.upload(half);
  world.pass(10s);  // it never comes
  CHECK(half.said == "client_timeout 408, finish");
  CHECK(world.attempts() == 0);
  CHECK(world.balances(0, 0, 5, 0));
}

TEST_CASE("ending: too many wait, or for too long") {
  World world;
  Client served, waiting, refused;
  world.post(served);
  world.post(waiting);
  CHECK(waiting.said.empty());
  world.post(refused);
  CHECK(refused.said == "queue_full 503, finish");
  CHECK(refused.retry_after > 0s);
  world.pass(4s);
  CHECK(waiting.said == "queue_timeout 503, finish");
  CHECK(waiting.retry_after > 0s);
  world.service().answer();
  CHECK(world.balances(1, 0, 2, 0));
}

TEST_CASE("ending: too many in a second") {
  conf::Settings few = settings();
  few.admission.rate = few.admission.burst = 1;
  World world(few);
  Client served, limited;
  world.post(served);
  world.post(limited);
  CHECK(limited.said == "rate_limited 429, finish");
  CHECK(limited.retry_after > 0s);
  world.service().answer();
  CHECK(world.balances(1, 0, 1, 0));
}

TEST_CASE("ending: displaced by one of a higher priority") {
  World world;
  Client served, low, high;
  world.post(served);
  world.get(low, "/other");
  world.get(high, "/status");
  world.pass();
  CHECK(low.said == "displaced 503, finish");
  world.service(0).answer();
  world.pass();
  world.service(1).answer();
  CHECK(high.said == "head 200, body ok, end, finish");
  CHECK(world.balances(2, 0, 1, 0));
}

TEST_CASE("ending: its own deadline is over while it waits") {
  conf::Settings wanted = settings();
  wanted.admission.deadlines.from_client = true;
  World world(wanted);
  Client served, hurried;
  world.post(served);
  world.ask(hurried,
            "POST /v1/classify HTTP/1.1\r\nHost: a\r\nPrefer: wait=2\r\nContent-Length: 0\r\n\r\n");
  world.pass(2s);
  CHECK(hurried.said == "deadline 504, finish");
  world.service().answer();
  CHECK(world.balances(1, 0, 1, 0));
}

TEST_CASE("ending: the service can't be reached") {
  World world;
  Client client;
  world.post(client);
  world.service().lose(UpstreamStream::Lost::unreachable, UpstreamStream::Taken::no);
  CHECK(client.said == "upstream_unreachable 502, finish");
  CHECK(world.attempts() == 1);  // there is no other
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: with a worker but no place in a server it waits for one, not for ever") {
  conf::Settings wanted = settings();
  wanted.upstream.requests_per_server = 1;
  World world(wanted);
  Client quicker, served, late;
  world.pool().is_full = true;  // by the time it gets there
  world.post(quicker);
  CHECK(quicker.said.empty());
  world.pool().is_full = false;
  world.pass(20ms);
  world.service(0).answer();
  CHECK(quicker.said == "head 200, body ok, end, finish");

  world.pool().servers().enter(0, 0);  // there were more places until now
  world.post(served);
  world.pass(1s);
  CHECK(served.said.empty());
  world.pool().servers().leave(0);
  world.pass(20ms);
  world.service(1).answer();
  CHECK(served.said == "head 200, body ok, end, finish");

  world.pool().servers().enter(0, 0);
  world.post(late);
  world.pass(10s);
  CHECK(late.said == "queue_timeout 503, finish");
  CHECK(late.retry_after > 0s);
  CHECK(world.attempts() == 2);
  CHECK(world.balances(2, 0, 1, 0));
}

TEST_CASE("ending: a request that was not taken is sent once more, and only once") {
  World world;
  Client client;
  world.post(client);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::no);
  CHECK(client.said.empty());
  CHECK(world.attempts() == 2);
  world.service(1).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::no);
  CHECK(client.said == "upstream_broken 502, finish");
  CHECK(world.attempts() == 2);
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: one that may have been taken is not, unless it is idempotent") {
  World world;
  Client post, get;
  world.post(post);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  CHECK(post.said == "upstream_broken 502, finish");
  world.get(get);
  world.service(1).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps);
  REQUIRE(world.attempts() == 3);
  world.service(2).answer();
  CHECK(get.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 1, 0, 0));
}

TEST_CASE("ending: in doubt it waits for the proof") {
  for (const bool was_taken : {false, true}) {
    World world;
    Client client;
    world.post(client);
    world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::not_known_yet);
    CHECK(world.service(0).awaits_proof);
    CHECK(client.said.empty());
    world.service(0).lose(UpstreamStream::Lost::broken,
                          was_taken ? UpstreamStream::Taken::perhaps : UpstreamStream::Taken::no);
    CHECK(world.attempts() == (was_taken ? 1 : 2));
    if (!was_taken) world.service(1).answer();
    CHECK(client.said ==
          (was_taken ? "upstream_broken 502, finish" : "head 200, body ok, end, finish"));
    CHECK(world.balances(was_taken ? 0 : 1, was_taken ? 1 : 0, 0, 0));
  }
}

TEST_CASE("ending: garbage instead of a head, and an answer that breaks off") {
  World world;
  Client garbage, too_large, broken;
  world.post(garbage);
  world.service(0).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps, true);
  CHECK(garbage.said == "upstream_broken 502, finish");
  world.post(too_large);
  world.service(1).lose(UpstreamStream::Lost::head_too_large, UpstreamStream::Taken::perhaps, true);
  CHECK(too_large.said == "upstream_broken 502, finish");
  world.get(broken);  // idempotent: it is not sent again all the same
  world.service(2).head(200, Framing::length);
  world.service(2).listener->on_answer_body("half");
  world.service(2).lose(UpstreamStream::Lost::broken, UpstreamStream::Taken::perhaps, true);
  CHECK(broken.said == "head 200, body half, cut");
  CHECK(world.attempts() == 3);
  CHECK(world.balances(0, 3, 0, 0));
}

TEST_CASE("ending: the service is too slow, and computes on or is left") {
  for (const auto on_abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    conf::Settings wanted = settings();
    wanted.upstream.on_client_abort = on_abort;
    const bool computes_on = on_abort == conf::OnClientAbort::finish;
    World world(wanted);
    Client client;
    world.post(client);
    world.pass(10s);
    CHECK(client.said == "upstream_timeout 504, finish");
    CHECK(world.service().is_open == computes_on);
    CHECK(world.workers_without_client() == (computes_on ? 1 : 0));
    if (computes_on) {
      world.service().answer();
      CHECK(client.said == "upstream_timeout 504, finish");  // nobody hears of it
    }
    CHECK(world.balances(0, 1, 0, 0));
  }
}

TEST_CASE("ending: who computes on for nobody is left after one more request timeout") {
  World world;
  Client client;
  world.post(client);
  world.pass(10s);
  CHECK(world.service().is_open);
  world.pass(10s);
  CHECK_FALSE(world.service().is_open);
  CHECK(world.balances(0, 1, 0, 0));
}

TEST_CASE("ending: the client leaves") {
  for (const auto on_abort : {conf::OnClientAbort::finish, conf::OnClientAbort::cancel}) {
    conf::Settings wanted = settings();
    wanted.upstream.on_client_abort = on_abort;
    const bool computes_on = on_abort == conf::OnClientAbort::finish;
    World world(wanted);
    Client uploading, served, waiting;
    world.upload(uploading).on_client_gone();
    gateway::Exchange& first = world.post(served);
    world.post(waiting).on_client_gone();
    first.on_client_gone();
    CHECK(world.service().is_open == computes_on);
    if (computes_on) world.service().answer();
    CHECK(uploading.said + served.said + waiting.said == "");
    CHECK(world.attempts() == 1);
    CHECK(world.balances(0, 0, 0, 3));
  }
}

TEST_CASE("ending: a stream that is silent, or goes on for ever") {
  conf::Settings wanted = settings();
  World world(wanted);
  Client silent, endless;
  world.post(silent);
  world.service(0).head(200, Framing::chunked, "text/event-stream");
  world.service(0).listener->on_answer_part_end();
  world.pass(5s);
  CHECK(silent.said == "head 200, cut");
  CHECK_FALSE(world.service(0).is_open);
  world.post(endless);
  world.service(1).head(200, Framing::chunked, "text/event-stream");
  for (int i = 0; i < 20; ++i) {
    world.service(1).listener->on_answer_part_end();
    world.pass(3s);
  }
  CHECK(endless.said == "head 200, cut");
  CHECK_FALSE(world.service(1).is_open);
  CHECK(world.balances(0, 2, 0, 0));
}

TEST_CASE("ending: a reader that takes nothing while somebody waits for its worker") {
  World world;
  Client reader, waiting;
  world.post(reader);
  world.service(0).head(200, Framing::length);
  reader.pending = 100 << 20;
  CHECK(world.service(0).listener->is_answer_blocked());
  world.pass(1s);
  CHECK(reader.said == "head 200, ");  // nobody waits
  world.post(waiting);
  world.pass(1s);
  CHECK(reader.said == "head 200, reset");
  CHECK(waiting.said.empty());
  world.service(0).end();  // which computed on
  world.pass();
  world.service(1).answer();
  CHECK(waiting.said == "head 200, body ok, end, finish");
  CHECK(world.balances(1, 0, 0, 1));
}

TEST_CASE("ending: a tunnel, by either side") {
  conf::Settings wanted = settings();
  wanted.upstream.websocket = true;
  World world(wanted);
  constexpr std::string_view request =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  proxy::wire::Head agreed;
  agreed.status = 101;
  Client client, leaving;
  gateway::Exchange& tunnel = world.ask(client, request);
  world.service(0).listener->on_switched(agreed);
  tunnel.on_tunnel_bytes("hi");
  world.service(0).listener->on_answer_body("hello");
  world.service(0).listener->on_server_ended();
  tunnel.on_tunnel_client_ended();
  CHECK(world.service(0).got == "sent raw hi raw end");
  world.service(0).end();
  CHECK(client.said == "tunnel 101, body hello, no more, end, finish");
  gateway::Exchange& other = world.ask(leaving, request);
  world.service(1).listener->on_switched(agreed);
  other.on_client_gone();
  CHECK_FALSE(world.service(1).is_open);
  CHECK(world.balances(2, 0, 0, 0));
}

TEST_CASE("ending: the gateway ends") {
  World world;
  Client uploading, served, waiting;
  world.upload(uploading);
  world.post(served);
  world.service(0).head(200, Framing::length);
  world.post(waiting);
  world.end();
  CHECK(uploading.said == "draining 503, finish");
  CHECK(waiting.said == "draining 503, finish");
  CHECK(waiting.retry_after > 0s);
  CHECK(served.said == "head 200, cut");
  CHECK_FALSE(world.service(0).is_open);
}

TEST_CASE("ending: a fault within the gateway costs this request only") {
  World world;
  Client client, next;
  world.pool().throws = true;
  world.station().loop().guard([&] { world.post(client); }, [&] { world.latest().on_fault(); });
  world.pool().throws = false;
  CHECK(client.said == "reset");
  CHECK_FALSE(world.service(0).is_open);
  world.pass();
  world.post(next);
  world.service(1).answer();
  CHECK(next.said == "head 200, body ok, end, finish");
}

}  // namespace classgate::connection_test
