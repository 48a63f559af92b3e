#include <doctest/doctest.h>
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "conf/format.h"
#include "gateway/server.h"
#include "gateway/station.h"
#include "tests/connection/sockets.h"
#include "tests/connection/virtual_time.h"

namespace classgate::connection_test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t answer_size = 32 << 20;
constexpr std::size_t bytes_at_once = 4'000;
constexpr auto pace = 20ms;  // between two reads: almost three minutes for the whole answer

// A client reads a streamed answer a little at a time, or not at all, with buffers as small as they
// may be, so that what it has not taken stands in the gateway. Nothing else happens: each read is a
// turn.
class SlowReader {
 public:
  explicit SlowReader(std::string_view request, bool reads = true)
      : time_([this](bool is_idle) { on_turn(is_idle); }, [] {}), request_(request), reads_(reads) {
    conf::Settings settings;
    settings.listen = {{"127.0.0.1", 0, "127.0.0.1:0"}};
    settings.threads = 1;
    const std::uint16_t port = port_of(listener_);
    settings.upstream.servers = {{"127.0.0.1", port, fmt::format("127.0.0.1:{}", port)}};
    settings.upstream.stream_idle_timeout = 1s;  // less than what it needs for response_buffer
    // More than the kernel takes off it at once: it drains in many steps.
    settings.client.response_buffer = conf::MiB(8);
    settings.log.access = "off";
    auto opened = gateway::Server::open(settings);
    if (!opened) throw std::runtime_error(opened.error());
    server_ = std::move(*opened);
    const std::string address = server_->listen_addresses().front();
    const int small = 4096;
    const int segment = 536;
    ::setsockopt(client_.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ::setsockopt(client_.get(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    connect_to_loopback(
        client_, static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  }
  ~SlowReader() {
    reset(client_);
    for (Peer& peer : peers_) reset(peer.fd);
  }
  SlowReader(const SlowReader&) = delete;
  SlowReader& operator=(const SlowReader&) = delete;

  void run() { server_->stations().front()->run(); }
  const std::string& got() const { return got_; }
  admission::Snapshot snapshot() const { return server_->snapshot(); }
  // What it could still read, and how that ends: 0 in order, or an errno.
  int read_rest() {
    std::array<char, 4096> bytes;
    for (;;) {
      const ssize_t size = ::recv(client_.get(), bytes.data(), bytes.size(), 0);
      if (size <= 0) return size < 0 ? errno : 0;
      got_.append(bytes.data(), static_cast<std::size_t>(size));
    }
  }

 private:
  struct Peer {
    Fd fd;
    std::string answer;  // what has not gone out yet
  };

  void on_turn(bool is_idle) {
    serve();
    if (!is_idle) return;
    if (!is_asked_) {
      is_asked_ = true;
      ::send(client_.get(), request_.data(), request_.size(), MSG_NOSIGNAL);
      return;
    }
    if (!reads_) {
      if (server_->connections() == 0) return server_->stop();
      return VirtualTime::advance(100ms);
    }
    const bool goes_on = read_all(client_, got_, bytes_at_once);
    if (!goes_on || got_.ends_with("0\r\n\r\n")) return server_->stop();
    VirtualTime::advance(pace);
  }

  // The first connection is a look whether it is there.
  void serve() {
    for (Fd fd = accept_one(listener_); fd; fd = accept_one(listener_))
      peers_.push_back({std::move(fd), {}});
    std::erase_if(peers_, [](Peer& peer) {
      std::string asked;
      if (!read_all(peer.fd, asked)) return true;
      if (!asked.empty()) peer.answer = whole_answer();
      if (peer.answer.empty()) return false;
      const ssize_t sent =
          ::send(peer.fd.get(), peer.answer.data(), peer.answer.size(), MSG_NOSIGNAL);
      if (sent > 0) peer.answer.erase(0, static_cast<std::size_t>(sent));
      return false;
    });
  }

  static std::string whole_answer() {
    return fmt::format(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        answer_size, std::string(answer_size, 'x'));
  }

  VirtualTime time_;
  Fd listener_ = listen_on_loopback();
  Fd client_ = open_socket();
  std::vector<Peer> peers_;
  std::unique_ptr<gateway::Server> server_;
  std::string got_;
  const std::string_view request_;
  const bool reads_;
  bool is_asked_ = false;
};

TEST_CASE("a client that reads slowly is no silence of the service") {
  SlowReader world("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  world.run();
  CHECK(world.got().size() > answer_size);
  CHECK(world.got().ends_with("0\r\n\r\n"));
  CHECK(world.snapshot().processed == 1);
}

// To an HTTP/1.0 client the end of the connection is the end of the answer.
TEST_CASE(
    "a client that takes nothing for client.send_timeout never takes the part for the whole") {
  SlowReader world("GET /stream HTTP/1.0\r\n\r\n", false);
  world.run();
  CHECK(world.read_rest() == ECONNRESET);
  CHECK(world.got().size() < answer_size);
}

}  // namespace
}  // namespace classgate::connection_test
