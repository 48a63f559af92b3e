// The floor under every proxy of this kind: what forwarding costs when nothing is done but finding
// where messages end. One thread; a kept connection carries an exchange with two reads, two writes
// and its share of an epoll_wait. At most 50 requests at once in the service, the others wait in
// line. No field is looked at but Content-Length, nothing is added, nothing times out, and a
// message larger than the buffer ends the program: it is a measuring stick, not a proxy.
//   floor --upstream 127.0.0.1:9000

#include <array>
#include <cerrno>
#include <cxxopts.hpp>
#include <deque>
#include <memory>
#include <vector>

#include "tests/bench/messages.h"
#include "tests/bench/sockets.h"

namespace bench {
namespace {

// One end of the forwarder: a client, or a connection to the service.
struct End {
  int fd = -1;
  bool is_client = false;
  bool is_gone = false;
  MessageReader reader;
  std::string held;     // a message that came in parts, or a request in line
  End* peer = nullptr;  // while an exchange is under way
};

class Floor {
 public:
  Floor(sockaddr_in address, sockaddr_in upstream, std::size_t workers)
      : upstream_(upstream),
        workers_(workers),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        listener_(listen_on(address)) {
    watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  void run_until(Clock::time_point end) {
    std::array<epoll_event, 256> events;
    while (Clock::now() < end) {
      const int count = ::epoll_wait(epoll_, events.data(), events.size(), 1000);
      for (int i = 0; i < count; ++i) {
        auto* end_of = static_cast<End*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (end_of == nullptr)
          accept_all();
        else if (!end_of->is_gone)
          on_readable(*end_of);
      }
      gone_.clear();
    }
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) return;
      set_no_delay(fd);
      add(fd)->is_client = true;
    }
  }

  End* add(int fd) {
    const auto at = static_cast<std::size_t>(fd);
    if (ends_.size() <= at) ends_.resize(at + 1);
    ends_[at] = std::make_unique<End>();
    ends_[at]->fd = fd;
    watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, ends_[at].get());
    return ends_[at].get();
  }

  void on_readable(End& end) {
    const ssize_t size = ::recv(end.fd, buffer_.data(), buffer_.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return close(end);
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
    std::string_view rest = bytes;
    const bool is_whole = end.reader.take(rest);
    if (!is_whole || !end.held.empty()) end.held.append(bytes);
    if (!is_whole) return;
    const std::string_view message = end.held.empty() ? bytes : std::string_view(end.held);
    if (end.is_client)
      on_request(end, message);
    else
      on_answer(end, message);
  }

  void on_request(End& client, std::string_view message) {
    if (End* server = free_server()) return forward(client, *server, message);
    if (client.held.empty()) client.held.assign(message);
    line_.push_back(&client);
  }

  End* free_server() {
    if (!idle_.empty()) {
      End* server = idle_.back();
      idle_.pop_back();
      return server;
    }
    if (servers_ == workers_) return nullptr;
    ++servers_;
    return add(connect_to(upstream_));
  }

  static void forward(End& client, End& server, std::string_view message) {
    client.peer = &server;
    server.peer = &client;
    send(server, message);
    client.held.clear();
  }

  void on_answer(End& server, std::string_view message) {
    if (End* client = std::exchange(server.peer, nullptr)) {
      client->peer = nullptr;
      send(*client, message);
    }
    server.held.clear();
    if (line_.empty()) return idle_.push_back(&server);
    End* next = line_.front();
    line_.pop_front();
    forward(*next, server, next->held);
  }

  static void send(const End& end, std::string_view message) {
    const ssize_t size = ::send(end.fd, message.data(), message.size(), MSG_NOSIGNAL);
    if (size >= 0 && static_cast<std::size_t>(size) != message.size()) fail("floor: too large");
  }

  // Its memory stays until the turn is over: an event of this turn may still name it.
  void close(End& end) {
    if (!end.is_client) {
      --servers_;
      std::erase(idle_, &end);
    }
    std::erase(line_, &end);
    if (end.peer) end.peer->peer = nullptr;
    ::close(end.fd);
    end.is_gone = true;
    gone_.push_back(std::move(ends_[static_cast<std::size_t>(end.fd)]));
  }

  const sockaddr_in upstream_;
  const std::size_t workers_;
  const int epoll_;
  const int listener_;
  std::array<char, 64 * 1024> buffer_;
  std::vector<std::unique_ptr<End>> ends_;  // by file descriptor
  std::vector<std::unique_ptr<End>> gone_;
  std::vector<End*> idle_;
  std::deque<End*> line_;
  std::size_t servers_ = 0;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  cxxopts::Options table("floor", "forwards, and does nothing else");
  table.add_options()("listen", "address:port",
                      cxxopts::value<std::string>()->default_value("127.0.0.1:0"))(
      "upstream", "address:port", cxxopts::value<std::string>())(
      "workers", "requests in the service at once",
      cxxopts::value<std::size_t>()->default_value("50"))(
      "seconds", "ends after", cxxopts::value<long>()->default_value("3600"));
  const auto given = table.parse(argc, argv);
  const auto floor = std::make_unique<bench::Floor>(
      bench::address_of(given["listen"].as<std::string>()),
      bench::address_of(given["upstream"].as<std::string>()), given["workers"].as<std::size_t>());
  floor->run_until(bench::Clock::now() + std::chrono::seconds(given["seconds"].as<long>()));
}
