// The load generator of the benchmark.
//   load --target 127.0.0.1:8080 --connections 64 --warmup 2000 --requests 20000 --watch PID
//
// Closed loop: each connection asks again when it has its answer (--outstanding: so many of them at
// a time, in turn). Open loop (--rate): requests are due at fixed times whatever has been answered,
// and the latency counts from when one was due, so that a pause of the gateway is seen by all whom
// it delays (no coordinated omission).
//
// After --warmup answers a window opens, which closes with the --requests-th answer in it: these
// are the counted requests. The load goes on until the window has closed, then what is out is
// answered. With --watch the CPU time of these processes is read at both ends of the window: user
// and system time of all their threads, by the clock of the process (clock_getcpuclockid), which is
// exact to the nanosecond where /proc/PID/stat counts ticks. Prints one JSON line. Exit 1 when an
// answer could not be read, or time was up.

#include <array>
#include <csignal>
#include <ctime>
#include <cxxopts.hpp>
#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "tests/bench/client_stream.h"
#include "tests/bench/latencies.h"
#include "tests/bench/messages.h"

namespace bench {
namespace {

struct Plan {
  sockaddr_in target{};
  std::size_t connections = 1;
  std::size_t outstanding = 1;
  std::uint64_t warmup = 0;
  std::uint64_t requests = 0;
  double rate = 0;  // a second; 0: closed loop
  bool keeps_connections = true;
  bool has_tls = false;
  bool resumes = false;
  bool holds = false;
  std::chrono::seconds time_limit{};
  std::vector<int> watched;
  std::string request;
};

double cpu_seconds(const std::vector<int>& processes) {
  double seconds = 0;
  for (const int process : processes) {
    clockid_t clock = 0;
    timespec time{};
    if (::clock_getcpuclockid(process, &clock) != 0 || ::clock_gettime(clock, &time) != 0)
      fail("the clock of a watched process");
    seconds += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  }
  return seconds;
}

struct Client {
  ClientStream stream;
  std::size_t index = 0;
  bool is_waiting = false;  // a request is out
  bool was_counted_as_resumed = false;
  Clock::time_point due;
  std::string_view unsent;
  MessageReader answer;
};

struct Window {
  bool is_open = false;
  Clock::time_point began;
  double cpu_at_begin = 0;
  double seconds = 0;
  double cpu = 0;
  std::uint64_t answered = 0;
  std::map<std::string, std::uint64_t> by_status;
  Latencies latencies;
  Latencies send_lag;  // of the generator itself: from when a request was due to its first byte
};

class Load {
 public:
  explicit Load(const Plan& plan) : plan_(plan), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (plan.has_tls) tls_ = std::make_unique<TlsClient>(plan.resumes);
    for (std::size_t i = 0; i < plan.connections; ++i) {
      clients_.push_back(std::make_unique<Client>());
      clients_.back()->index = i;
      if (plan.keeps_connections) connect(*clients_.back());
      free_.push_back(clients_.back().get());
    }
  }

  bool run() {
    const auto end = Clock::now() + plan_.time_limit;
    began_ = Clock::now();
    if (plan_.warmup == 0) open_window();
    std::array<epoll_event, 256> events;
    send_due();
    while ((!is_done_ || out_ > 0) && Clock::now() < end) {
      const int count = wait_until(epoll_, events.data(), events.size(), std::min(end, next_due()));
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        on_event(*static_cast<Client*>(event.data.ptr), event.events);
      }
      send_due();
    }
    return is_done_ && out_ == 0 && unreadable_ == 0;
  }

  nlohmann::json report() const {
    nlohmann::json counted = {{"requests", window_.answered},
                              {"seconds", window_.seconds},
                              {"by_status", window_.by_status}};
    if (!plan_.watched.empty())
      counted["cpu_us"] = window_.cpu * 1e6 / static_cast<double>(window_.answered);
    counted["latency_us"] = percentiles(window_.latencies);
    counted["send_lag_us"] = percentiles(window_.send_lag);
    return {{"counted", counted},    {"sent", sent_},
            {"answered", answered_}, {"opened", opened_},
            {"resumed", resumed_},   {"broken", broken_},
            {"left_open", out_},     {"unreadable", unreadable_}};
  }

 private:
  static nlohmann::json percentiles(const Latencies& latencies) {
    return {{"p50", latencies.percentile(0.5)},
            {"p90", latencies.percentile(0.9)},
            {"p99", latencies.percentile(0.99)},
            {"max", latencies.most()}};
  }

  // An address has some 28,000 ports: beyond 20,000 connections the next one's are taken.
  void connect(Client& client) {
    sockaddr_in source{};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(client.index / 20'000));
    client.stream.open(connect_to(plan_.target, &source), tls_.get());
    client.answer.begin();
    client.was_counted_as_resumed = false;
    ++opened_;
    watch(epoll_, EPOLL_CTL_ADD, client.stream.fd(), EPOLLIN, &client);
  }

  Clock::time_point due_time(std::uint64_t number) const {
    return began_ + std::chrono::nanoseconds(
                        static_cast<std::int64_t>(static_cast<double>(number) * 1e9 / plan_.rate));
  }
  Clock::time_point next_due() const {
    const bool may_send = plan_.rate > 0 && !is_done_ && !free_.empty();
    return may_send ? due_time(sent_) : Clock::now() + std::chrono::seconds(1);
  }

  void send_due() {
    while (!is_done_ && !free_.empty()) {
      const auto now = Clock::now();
      const auto due = plan_.rate > 0 ? due_time(sent_) : now;
      if (due > now || (plan_.rate == 0 && out_ >= plan_.outstanding)) return;
      Client& client = *free_.front();
      free_.pop_front();
      if (window_.is_open) window_.send_lag.record(nanoseconds(now - due));
      ask(client, due);
    }
  }

  void ask(Client& client, Clock::time_point due) {
    if (!client.stream.is_open()) connect(client);
    ++sent_;
    ++out_;
    client.is_waiting = true;
    client.due = due;
    client.unsent = plan_.request;
    write(client);
  }

  void write(Client& client) {
    const bool was_blocked = client.unsent.size() < plan_.request.size();
    const auto state = client.stream.write(client.unsent);
    if (state == ClientStream::State::ended) return on_end(client);
    // A handshake wants to read; what is left then goes out with the next event.
    if (state == ClientStream::State::blocked && !tls_)
      watch(epoll_, EPOLL_CTL_MOD, client.stream.fd(), EPOLLIN | EPOLLOUT, &client);
    else if (was_blocked && !tls_)
      watch(epoll_, EPOLL_CTL_MOD, client.stream.fd(), EPOLLIN, &client);
  }

  void on_event(Client& client, std::uint32_t events) {
    if (!client.stream.is_open()) return;
    if (!client.unsent.empty() && (tls_ || events & EPOLLOUT)) write(client);
    if (!client.stream.is_open() || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
      std::string_view bytes;
      const auto state = client.stream.read(buffer_.data(), buffer_.size(), bytes);
      if (state == ClientStream::State::blocked) return;
      if (state == ClientStream::State::ended) return on_end(client);
      if (client.is_waiting && client.answer.take(bytes)) return on_answer(client);
      if (!tls_) return;  // with TLS bytes may be left where epoll does not see them
    }
  }

  void on_end(Client& client) {
    client.stream.close();
    if (!client.is_waiting) return;
    ++broken_;
    release(client);
  }

  void on_answer(Client& client) {
    const auto now = Clock::now();
    ++answered_;
    if (!client.answer.is_answer()) ++unreadable_;
    if (!client.was_counted_as_resumed && client.stream.was_resumed()) {
      client.was_counted_as_resumed = true;
      ++resumed_;
    }
    if (window_.is_open) count(client, now);
    if (answered_ == plan_.warmup) open_window();
    if (!plan_.keeps_connections || client.answer.closes()) client.stream.close();
    release(client);
  }

  void release(Client& client) {
    client.is_waiting = false;
    client.unsent = {};
    --out_;
    free_.push_back(&client);
  }

  static std::uint64_t nanoseconds(Clock::duration duration) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count());
  }

  void count(const Client& client, Clock::time_point now) {
    ++window_.answered;
    ++window_.by_status[std::to_string(client.answer.status())];
    window_.latencies.record(nanoseconds(now - client.due));
    if (window_.answered == plan_.requests) close_window();
  }

  void open_window() {
    window_.is_open = true;
    window_.began = Clock::now();
    window_.cpu_at_begin = cpu_seconds(plan_.watched);
  }

  void close_window() {
    window_.cpu = cpu_seconds(plan_.watched) - window_.cpu_at_begin;
    window_.seconds = std::chrono::duration<double>(Clock::now() - window_.began).count();
    window_.is_open = false;
    is_done_ = true;
  }

  const Plan& plan_;
  const int epoll_;
  std::unique_ptr<TlsClient> tls_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::deque<Client*> free_;  // in the order in which they became free
  std::array<char, 256 * 1024> buffer_;
  Clock::time_point began_;
  Window window_;
  bool is_done_ = false;
  std::uint64_t sent_ = 0;
  std::uint64_t out_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t opened_ = 0;
  std::uint64_t resumed_ = 0;
  std::uint64_t broken_ = 0;
  std::uint64_t unreadable_ = 0;
};

std::string request_text(const std::string& method, const std::string& path, std::size_t size) {
  const std::string sentence = "we bake bread and cakes for weddings ";
  std::string text;
  while (text.size() + 11 < size) text += sentence;
  text.resize(size > 11 ? size - 11 : 0);
  const std::string body = size > 11 ? R"({"text":")" + text + R"("})" : std::string(size, 'x');
  std::string request = method + " " + path + " HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n";
  if (method == "GET") return request + "\r\n";
  return request +
         "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

Plan parse(int argc, char** argv) {
  cxxopts::Options table("load", "a load that is counted exactly");
  auto add = table.add_options();
  add("target", "address:port", cxxopts::value<std::string>());
  add("connections", "", cxxopts::value<std::size_t>()->default_value("64"));
  add("outstanding", "requests at once, closed loop; 0: one for each connection",
      cxxopts::value<std::size_t>()->default_value("0"));
  add("warmup", "answers before the window",
      cxxopts::value<std::uint64_t>()->default_value("1000"));
  add("requests", "counted", cxxopts::value<std::uint64_t>()->default_value("10000"));
  add("rate", "a second, open loop; 0: closed loop", cxxopts::value<double>()->default_value("0"));
  add("method", "", cxxopts::value<std::string>()->default_value("POST"));
  add("path", "", cxxopts::value<std::string>()->default_value("/v1/classify"));
  add("body-bytes", "of a POST", cxxopts::value<std::size_t>()->default_value("46"));
  add("new-connections", "one for each request");
  add("tls", "");
  add("resume", "TLS sessions");
  add("hold", "keep the connections until standard input ends");
  add("watch", "processes whose CPU time is counted", cxxopts::value<std::vector<int>>());
  add("seconds", "at most", cxxopts::value<int>()->default_value("60"));
  const auto given = table.parse(argc, argv);
  Plan plan;
  plan.target = address_of(given["target"].as<std::string>());
  plan.connections = given["connections"].as<std::size_t>();
  plan.outstanding = given["outstanding"].as<std::size_t>();
  if (plan.outstanding == 0) plan.outstanding = plan.connections;
  plan.warmup = given["warmup"].as<std::uint64_t>();
  plan.requests = given["requests"].as<std::uint64_t>();
  plan.rate = given["rate"].as<double>();
  plan.keeps_connections = !given["new-connections"].as<bool>();
  plan.has_tls = given["tls"].as<bool>();
  plan.resumes = given["resume"].as<bool>();
  plan.holds = given["hold"].as<bool>();
  plan.time_limit = std::chrono::seconds(given["seconds"].as<int>());
  if (given.count("watch") > 0) plan.watched = given["watch"].as<std::vector<int>>();
  plan.request = request_text(given["method"].as<std::string>(), given["path"].as<std::string>(),
                              given["body-bytes"].as<std::size_t>());
  return plan;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes without MSG_NOSIGNAL
  bench::wake_in_time();
  const bench::Plan plan = bench::parse(argc, argv);
  const auto load = std::make_unique<bench::Load>(plan);
  const bool went_well = load->run();
  std::printf("%s\n", load->report().dump().c_str());
  std::fflush(stdout);
  if (plan.holds) {
    ::alarm(static_cast<unsigned>(plan.time_limit.count()));
    while (std::getchar() != EOF) continue;
  }
  return went_well ? 0 : 1;
}
