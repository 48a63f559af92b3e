// Bytes of an HTTP/2 server behind its SETTINGS, on a connection that three requests share:
// whatever it says, and wherever it breaks off, each of them ends once, no answer is larger than
// its window where nobody reads, and what is said to be an answer can be said in HTTP/1.

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/forwarding.h"
#include "proxy/net/timeout_list.h"
#include "proxy/net/watch.h"
#include "proxy/upstream_pool.h"
#include "proxy/wire/parser.h"
#include "proxy/wire/serialise.h"
#include "tests/fuzz/require.h"
#include "tests/proxy/servers.h"

namespace classgate::fuzz {
namespace {

using namespace proxy;

constexpr std::size_t window = 64 * 1024;
constexpr std::size_t requests = 3;
constexpr wire::HeadLimits roomy{1 << 20, 1000, 1 << 20};

class World;

// A request, until it ends.
class Asked final : public Forwarding::Client {
 public:
  Asked(World& world, unsigned number) : world_(world), number_(number) {}
  void start();
  bool is_over() const { return is_over_; }

 private:
  void on_interim_answer(const wire::Head& head) override {
    FUZZ_REQUIRE(!is_over_ && !has_head_ && head.status >= 100 && head.status < 200);
  }
  void on_switched(const wire::Head&) override { FUZZ_REQUIRE(false); }
  void on_answer_body(std::string_view part) override {
    FUZZ_REQUIRE(has_head_ && !is_over_);
    bytes_ += part.size();
    if (is_blocked()) FUZZ_REQUIRE(bytes_ <= window);
  }
  void on_answer_part_end() override { FUZZ_REQUIRE(!is_over_); }
  void on_server_ended() override { FUZZ_REQUIRE(false); }
  bool is_answer_blocked() override { return is_blocked(); }
  void on_upload_drained() override {}
  void on_fault() override { FUZZ_REQUIRE(false); }
  void on_answer_head(const wire::Head& head, wire::Framing framing) override;
  void on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) override;
  void on_answer_failed(Forwarding::Failure, const std::string& why) override {
    FUZZ_REQUIRE(!why.empty());
    end();
  }
  bool is_blocked() const { return number_ == 1; }
  void end();

  World& world_;
  const unsigned number_;
  std::size_t bytes_ = 0;
  std::uint64_t length_ = 0;
  bool has_length_ = false;
  bool has_head_ = false;
  bool is_over_ = false;
  Forwarding forwarding_{*this};
};

// The pool, and the server. One for all inputs: each has connections of its own.
class World {
 public:
  World();
  ~World() { ::unlink(path_.c_str()); }
  void run(std::string_view says);
  void on_ended() {
    if (--left_ == 0) loop.stop();
  }

  net::Loop loop;
  std::unique_ptr<UpstreamPool> pool;

 private:
  void accept();
  void on_said();
  void say(std::string_view bytes);
  void close();

  std::string path_ = "/tmp/classgate-fuzz-" + std::to_string(::getpid());
  net::Fd listener_;
  std::unique_ptr<net::Watch> accepting_;
  net::Fd server_;
  std::unique_ptr<net::Watch> hearing_;
  std::string heard_;
  std::size_t heads_ = 0;
  std::string_view says_;
  bool has_said_ = false;
  std::size_t left_ = 0;
  net::TimeoutList ends_{loop, std::chrono::seconds(10)};
  net::Timeout end_{[](void*) { FUZZ_REQUIRE(false && "one waits for ever"); }, nullptr};
};

World::World() {
  ::unlink(path_.c_str());
  listener_ = net::Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un at{.sun_family = AF_UNIX, .sun_path = {}};
  path_.copy(at.sun_path, sizeof at.sun_path - 1);
  FUZZ_REQUIRE(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
  FUZZ_REQUIRE(::listen(listener_.get(), 16) == 0);
  conf::UpstreamSettings settings;
  settings.servers = {{path_, 0, "h2c"}};
  settings.servers.front().is_unix = settings.servers.front().is_http2 = true;
  settings.connections = 1;
  settings.retry_budget = 0;
  settings.eject_after = 0;
  auto servers = look_up_servers(settings.servers);
  FUZZ_REQUIRE(servers.has_value());
  pool = std::make_unique<UpstreamPool>(loop, std::move(*servers), settings, 4,
                                        [](std::size_t, bool, const std::string&) {});
  pool->set_answer_window(window);
  loop.at_exception([](const std::exception&) { FUZZ_REQUIRE(false); });
  accepting_ = std::make_unique<net::Watch>(loop, listener_.get(), [this] { accept(); });
}

void World::run(std::string_view says) {
  says_ = says;
  has_said_ = false;
  std::array<std::unique_ptr<Asked>, requests> all;
  left_ = all.size();
  for (unsigned i = 0; i < all.size(); ++i) all[i] = std::make_unique<Asked>(*this, i);
  for (const auto& one : all) one->start();
  ends_.set(end_);
  if (left_ > 0) loop.run();
  end_.cancel();
  close();
  for (const auto& one : all) FUZZ_REQUIRE(one->is_over());
}

// One that comes when all has been said is for a second attempt, which is to fail.
void World::accept() {
  net::Fd server(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!server || has_said_) return;
  close();
  server_ = std::move(server);
  hearing_ = std::make_unique<net::Watch>(loop, server_.get(), [this] { on_said(); });
  say({"\0\0\0\4\0\0\0\0\0", 9});
}

// When it has all three it says what it has to say, and leaves.
void World::on_said() {
  constexpr std::size_t frame_head = 9;
  char buffer[16 * 1024];
  const ssize_t size = ::recv(server_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
  if (size <= 0) return close();
  heard_.append(buffer, static_cast<std::size_t>(size));
  if (heard_.starts_with(wire::http2_preface)) heard_.erase(0, wire::http2_preface.size());
  const auto byte = [this](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(heard_[at]));
  };
  while (heard_.size() >= frame_head) {
    const std::size_t whole = frame_head + (byte(0) << 16 | byte(1) << 8 | byte(2));
    if (heard_.size() < whole) break;
    if (byte(3) == static_cast<std::size_t>(wire::Http2FrameType::headers)) ++heads_;
    heard_.erase(0, whole);
  }
  if (heads_ < requests) return;
  has_said_ = true;
  say(says_);
  close();
}

void World::say(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(server_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void World::close() {
  loop.retire(std::move(hearing_));
  server_.reset();
  heard_.clear();
  heads_ = 0;
}

void Asked::start() {
  static constexpr std::string_view head = "POST /v1/classify HTTP/1.1\r\nHost: model\r\n";
  forwarding_.start(*world_.pool,
                    {.head = head,
                     .body = number_ == 2 ? "text" : "",
                     .framing = number_ == 2 ? wire::Framing::length : wire::Framing::none,
                     .length = number_ == 2 ? 4U : 0U});
}

void Asked::on_answer_head(const wire::Head& head, wire::Framing framing) {
  FUZZ_REQUIRE(!has_head_ && !is_over_ && head.status >= 200 && head.status <= 599);
  has_head_ = true;
  has_length_ = framing == wire::Framing::length;
  length_ = head.content_length;
  std::string text;
  wire::append_answer_head(text, head,
                           {.framing = wire::Framing::none, .request_id = {}, .date = {}});
  for (const char c : text) FUZZ_REQUIRE(c != '\0');
  wire::Parser again;
  again.begin(wire::Parser::Kind::response, roomy);
  FUZZ_REQUIRE(again.parse_head(text) == wire::Parser::Progress::done);
  FUZZ_REQUIRE(again.head_size() == text.size());
  FUZZ_REQUIRE(again.head().status == head.status);
}

void Asked::on_answer_end(const std::vector<wire::Parser::Trailer>& trailers) {
  FUZZ_REQUIRE(has_head_);
  if (has_length_) FUZZ_REQUIRE(bytes_ == length_);
  for (const auto& trailer : trailers)
    FUZZ_REQUIRE(trailer.name.find_first_of("\r\n: ") == std::string::npos);
  end();
}

void Asked::end() {
  FUZZ_REQUIRE(!is_over_);
  is_over_ = true;
  world_.on_ended();
}

}  // namespace
}  // namespace classgate::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static classgate::fuzz::World world;
  world.run({reinterpret_cast<const char*>(data), size});
  return 0;
}
