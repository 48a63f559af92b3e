// A storm of clients with bad manners: many keep-alive connections to the gateway, each sending one
// classify request after the other, a share of them aborted at a random moment (in the middle of
// the request, while it waits, while the answer comes). Bounded in requests and in time.
//   storm --target 127.0.0.1:8080 --requests 1000000 --connections 200 --abort 0.05 --seconds 600
// Prints one JSON line: what was sent, answered by status, aborted. Exit 1 when an answer could not
// be read as HTTP.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cxxopts.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/bench/messages.h"
#include "tests/bench/sockets.h"

namespace {

struct Options {
  sockaddr_in target{};
  std::uint64_t requests = 0;
  std::size_t connections = 0;
  double abort_share = 0;
  std::chrono::seconds time_limit{};
  std::uint64_t seed = 0;
};

struct Totals {
  std::uint64_t sent = 0;
  std::uint64_t aborted = 0;
  std::uint64_t broken = 0;  // closed by the gateway without an answer
  std::uint64_t unreadable = 0;
  std::map<int, std::uint64_t> by_status;
};

struct Client {
  int fd = -1;
  bool is_waiting = false;  // a request is out
  bool will_abort = false;
  bench::MessageReader answer;
};

class Storm {
 public:
  explicit Storm(const Options& options)
      : options_(options), random_(options.seed), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    const std::string body = R"({"text":"we bake bread and cakes for weddings"})";
    request_ =
        "POST /v1/classify HTTP/1.1\r\nHost: storm\r\nContent-Type: application/json\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    clients_.resize(options.connections);
  }

  Totals run() {
    const auto end = std::chrono::steady_clock::now() + options_.time_limit;
    for (Client& client : clients_) connect(client);
    std::array<epoll_event, 256> events;
    while (pending_ > 0 && std::chrono::steady_clock::now() < end) {
      const int count = ::epoll_wait(epoll_, events.data(), events.size(), 1000);
      for (int i = 0; i < count; ++i)
        on_readable(*static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr));
      abort_some();
    }
    for (Client& client : clients_)
      if (client.fd >= 0) ::close(client.fd);
    ::close(epoll_);
    return totals_;
  }

 private:
  void connect(Client& client) {
    if (totals_.sent >= options_.requests) return;
    client.fd = bench::connect_to(options_.target);
    bench::watch(epoll_, EPOLL_CTL_ADD, client.fd, EPOLLIN, &client);
    send_request(client);
  }

  void send_request(Client& client) {
    if (totals_.sent >= options_.requests) return close(client);
    ++totals_.sent;
    client.answer.begin();
    client.will_abort = share_(random_) < options_.abort_share;
    std::size_t size = request_.size();
    // A third of the aborted ones never send their last bytes.
    if (client.will_abort && random_() % 3 == 0) size = random_() % request_.size();
    if (size > 0 && ::send(client.fd, request_.data(), size, MSG_NOSIGNAL) < 0) {
      ++totals_.broken;
      close(client);
      return connect(client);
    }
    client.is_waiting = true;
    ++pending_;
    if (client.will_abort) doomed_.push_back(&client);
  }

  // Some of the doomed go now, the others after more turns: in the queue, in flight, mid-answer.
  void abort_some() {
    for (std::size_t i = 0; i < doomed_.size();) {
      if (random_() % 4 != 0) {
        ++i;
        continue;
      }
      Client& client = *doomed_[i];
      doomed_[i] = doomed_.back();
      doomed_.pop_back();
      if (!client.will_abort) continue;
      ++totals_.aborted;
      close(client);
      connect(client);
    }
  }

  void close(Client& client) {
    if (client.is_waiting) --pending_;
    client.is_waiting = client.will_abort = false;
    ::close(client.fd);
    client.fd = -1;
  }

  void on_readable(Client& client) {
    if (client.fd < 0) return;
    std::array<char, 16384> buffer;
    const ssize_t size = ::recv(client.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
      if (client.is_waiting && !client.will_abort) ++totals_.broken;
      if (client.is_waiting && client.will_abort) ++totals_.aborted;
      close(client);
      return connect(client);
    }
    std::string_view bytes(buffer.data(), static_cast<std::size_t>(size));
    if (client.answer.take(bytes)) on_answer(client);
  }

  void on_answer(Client& client) {
    if (!client.answer.is_answer()) {
      ++totals_.unreadable;
      close(client);
      return connect(client);
    }
    ++totals_.by_status[client.answer.status()];
    client.is_waiting = client.will_abort = false;
    --pending_;
    if (!client.answer.closes()) return send_request(client);
    close(client);
    connect(client);
  }

  const Options options_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<> share_{0, 1};
  int epoll_;
  std::string request_;
  std::vector<Client> clients_;
  std::vector<Client*> doomed_;
  std::size_t pending_ = 0;
  Totals totals_;
};

Options parse(int argc, char** argv) {
  cxxopts::Options table("storm", "clients with bad manners");
  table.add_options()("target", "address:port", cxxopts::value<std::string>())(
      "requests", "", cxxopts::value<std::uint64_t>()->default_value("100000"))(
      "connections", "", cxxopts::value<std::size_t>()->default_value("200"))(
      "abort", "share of requests that are aborted",
      cxxopts::value<double>()->default_value("0.05"))("seconds", "",
                                                       cxxopts::value<int>()->default_value("60"))(
      "seed", "", cxxopts::value<std::uint64_t>()->default_value("1"));
  const auto given = table.parse(argc, argv);
  Options options;
  options.target = bench::address_of(given["target"].as<std::string>());
  options.requests = given["requests"].as<std::uint64_t>();
  options.connections = given["connections"].as<std::size_t>();
  options.abort_share = given["abort"].as<double>();
  options.time_limit = std::chrono::seconds(given["seconds"].as<int>());
  options.seed = given["seed"].as<std::uint64_t>();
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const Totals totals = Storm(options).run();
  std::printf(
      "{\"sent\": %llu, \"aborted\": %llu, \"broken\": %llu, \"unreadable\": %llu, \"by_status\": "
      "{",
      static_cast<unsigned long long>(totals.sent), static_cast<unsigned long long>(totals.aborted),
      static_cast<unsigned long long>(totals.broken),
      static_cast<unsigned long long>(totals.unreadable));
  const char* separator = "";
  for (const auto& [status, count] : totals.by_status) {
    std::printf("%s\"%d\": %llu", separator, status, static_cast<unsigned long long>(count));
    separator = ", ";
  }
  std::printf("}}\n");
  return totals.unreadable == 0 ? 0 : 1;
}
