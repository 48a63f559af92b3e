// The service behind the gateways that are compared: answers every request with the same bytes, at
// once or after a fixed service time, as many at once as come. One thread, one read and one write
// for each exchange.
//   upstream --service-us 4000 --answer-bytes 100
// GET /stats tells how many it has served, how many are in it, and how many were in it at most.

#include <array>
#include <cerrno>
#include <cxxopts.hpp>
#include <deque>
#include <memory>
#include <unordered_map>

#include "tests/bench/messages.h"
#include "tests/bench/sockets.h"

namespace bench {
namespace {

struct Connection {
  int fd = -1;
  std::uint64_t serial = 0;
  MessageReader request;
  std::string_view unsent;
  std::string stats;
};

class Upstream {
 public:
  Upstream(sockaddr_in address, std::chrono::microseconds service_time, std::size_t answer_bytes)
      : service_time_(service_time),
        answer_(answer(std::string(answer_bytes, 'x'))),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)),
        listener_(listen_on(address)) {
    watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  void run_until(Clock::time_point end) {
    std::array<epoll_event, 256> events;
    while (Clock::now() < end) {
      const auto next = being_served_.empty() ? end : std::min(end, being_served_.front().due);
      const int count = wait_until(epoll_, events.data(), events.size(), next);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.ptr == nullptr)
          accept_all();
        else
          on_event(*static_cast<Connection*>(event.data.ptr), event.events);
      }
      serve_due();
    }
  }

 private:
  struct Served {
    Clock::time_point due;
    std::uint64_t serial;
  };

  static std::string answer(const std::string& body) {
    return "HTTP/1.1 200 OK\r\nServer: upstream\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
           "Content-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0) return;
      set_no_delay(fd);
      auto connection = std::make_unique<Connection>();
      connection->fd = fd;
      connection->serial = ++serials_;
      connection->request.keep_start_line();
      watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, connection.get());
      connections_.emplace(connection->serial, std::move(connection));
    }
  }

  void on_event(Connection& connection, std::uint32_t events) {
    if (events & EPOLLOUT) return send(connection);
    const ssize_t size = ::recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return close(connection);
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
    if (connection.request.take(bytes)) on_request(connection);
  }

  void on_request(Connection& connection) {
    if (connection.request.start_line().starts_with("GET /stats ")) {
      connection.stats =
          answer("{\"served\": " + std::to_string(served_) + ", \"now\": " + std::to_string(now_) +
                 ", \"most\": " + std::to_string(most_) + "}");
      connection.unsent = connection.stats;
      return send(connection);
    }
    most_ = std::max(most_, ++now_);
    if (service_time_.count() > 0)
      being_served_.push_back({Clock::now() + service_time_, connection.serial});
    else
      finish(connection);
  }

  void serve_due() {
    while (!being_served_.empty() && being_served_.front().due <= Clock::now()) {
      const auto found = connections_.find(being_served_.front().serial);
      being_served_.pop_front();
      if (found != connections_.end())
        finish(*found->second);
      else
        --now_;  // its connection has gone: it computed on for nobody
    }
  }

  void finish(Connection& connection) {
    --now_;
    ++served_;
    connection.unsent = answer_;
    send(connection);
  }

  void send(Connection& connection) {
    const bool waited = connection.unsent.size() != answer_.size();
    const ssize_t size =
        ::send(connection.fd, connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN) return close(connection);
    if (size > 0) connection.unsent.remove_prefix(static_cast<std::size_t>(size));
    if (!connection.unsent.empty())
      watch(epoll_, EPOLL_CTL_MOD, connection.fd, EPOLLIN | EPOLLOUT, &connection);
    else if (waited)
      watch(epoll_, EPOLL_CTL_MOD, connection.fd, EPOLLIN, &connection);
  }

  void close(Connection& connection) {
    ::close(connection.fd);
    connections_.erase(connection.serial);
  }

  const std::chrono::microseconds service_time_;
  const std::string answer_;
  const int epoll_;
  const int listener_;
  std::array<char, 256 * 1024> buffer_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::deque<Served> being_served_;  // all take the same time: in order of when they are due
  std::uint64_t serials_ = 0;
  std::uint64_t served_ = 0;
  std::uint64_t now_ = 0;
  std::uint64_t most_ = 0;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  cxxopts::Options table("upstream", "answers everything, at once or after a fixed time");
  table.add_options()("listen", "address:port",
                      cxxopts::value<std::string>()->default_value("127.0.0.1:0"))(
      "service-us", "", cxxopts::value<long>()->default_value("0"))(
      "answer-bytes", "", cxxopts::value<std::size_t>()->default_value("100"))(
      "seconds", "ends after", cxxopts::value<long>()->default_value("3600"));
  const auto given = table.parse(argc, argv);
  bench::wake_in_time();
  const auto upstream =
      std::make_unique<bench::Upstream>(bench::address_of(given["listen"].as<std::string>()),
                                        std::chrono::microseconds(given["service-us"].as<long>()),
                                        given["answer-bytes"].as<std::size_t>());
  upstream->run_until(bench::Clock::now() + std::chrono::seconds(given["seconds"].as<long>()));
}
