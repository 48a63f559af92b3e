#include "tests/gateway/kit.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <future>
#include <semaphore>
#include <stdexcept>

#include "conf/format.h"
#include "gateway/health.h"

namespace classgate::gateway::test {

// Never released: what a poll with a deadline rests on.
static std::counting_semaphore<1> rest_of_a_poll(0);

bool await(const std::function<bool()>& condition, milliseconds wait) {
  const auto end = std::chrono::steady_clock::now() + wait;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    rest_of_a_poll.try_acquire_for(500us);
  }
  return true;
}

bool comes_to_hold(const FakeUpstream& upstream, int requests) {
  return await([&] { return upstream.holding() == requests; });
}

conf::Settings settings_for(std::uint16_t upstream_port) {
  conf::Settings settings;
  settings.listen = {{"127.0.0.1", 0, "127.0.0.1:0"}};
  settings.threads = run().threads;
  settings.upstream.servers = {
      {"127.0.0.1", upstream_port, "127.0.0.1:" + std::to_string(upstream_port)}};
  settings.upstream.probe_interval = 20ms;
  settings.upstream.hold = 0ms;
  settings.admission.workers = 4;
  settings.admission.queue_size = 10;
  settings.admission.rate = 0;
  settings.client.max_connections = 200;
  settings.client.connections_per_address = 0;  // all of a test's clients have the same
  settings.log.access = "off";
  settings.history.keep = false;  // usage_history_test has a folder for it
  return settings;
}

std::ostream& operator<<(std::ostream& out, const Books& books) {
  return out << "{processed " << books.processed << ", failed " << books.failed << ", rejected "
             << books.rejected << ", abandoned " << books.abandoned << "}";
}

namespace {

Books books_of(const admission::Snapshot& s) {
  return {s.processed, admission::sum(s.failed), admission::sum(s.rejected), s.abandoned};
}

}  // namespace

Gateway::Gateway(const conf::Settings& settings) {
  auto opened = Server::open(settings);
  if (!opened) throw std::runtime_error(opened.error());
  server_ = std::move(*opened);
  const std::string address = server_->listen_addresses().front();
  port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  server_->start([this] { drained_ = true; });
}

Gateway::~Gateway() { server_->stop(); }

admission::Snapshot Gateway::snapshot() const {
  const admission::Snapshot s = server_->snapshot();
  CHECK(s.total == s.processed + admission::sum(s.failed) + admission::sum(s.rejected) +
                       s.abandoned + s.waiting + s.in_flight);
  return s;
}

bool Gateway::settles_at(const Books& expected) const {
  admission::Snapshot last;
  const auto is_there = [&] {
    last = server_->snapshot();
    return last.active_workers == 0 && last.waiting == 0 && books_of(last) == expected;
  };
  const bool came = await(is_there);
  snapshot();
  if (!came)
    MESSAGE("the books say " << books_of(last) << ", active " << last.active_workers << ", waiting "
                             << last.waiting << "; expected " << expected);
  return came && last.workers_without_client == 0 && last.waiting_bytes == 0;
}

bool Gateway::comes_to_wait(std::size_t waiting) const {
  return await([&] { return snapshot().waiting == waiting; });
}

bool Gateway::comes_to_run(std::uint32_t active) const {
  return await([&] { return snapshot().active_workers == active; });
}

std::uint64_t Gateway::rejected(conf::Reason reason) const {
  return snapshot().rejected[conf::index_of(reason)];
}

std::uint64_t Gateway::failed(conf::Reason reason) const {
  return snapshot().failed[conf::index_of(reason)];
}

std::string Gateway::health() const {
  return make_health_page(server_->shared(), server_->policy(), std::chrono::steady_clock::now(),
                          Asker::operator_of_it)
      .json;
}

Message Client::read_answer(MessageReader::Kind kind) {
  return reader.read(kind).value_or(Message{});
}

bool Client::is_closed() {
  std::string rest;
  const Socket::Got got = socket.read(rest);
  return got == Socket::Got::end || got == Socket::Got::reset;
}

std::string get(std::string_view target, std::string_view fields) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: test\r\n{}\r\n", target, fields);
}

std::string post(std::string_view target, std::string_view body, std::string_view fields) {
  return fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{}\r\n{}", target,
                     body.size(), fields, body);
}

std::string chunk(std::string_view data) {
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

std::string post_chunked(std::string_view target, const std::vector<std::string>& chunks,
                         std::string_view trailers) {
  std::string text =
      fmt::format("POST {} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n", target);
  for (const std::string& data : chunks) text += chunk(data);
  return text + "0\r\n" + std::string(trailers) + "\r\n";
}

std::string pattern(std::size_t size) {
  std::string text;
  text.reserve(size + 16);
  while (text.size() < size) text += fmt::format("{:x}.", text.size());
  text.resize(size);
  return text;
}

bool every_loop_turns(Server& server, milliseconds within) {
  // Outlives the call: a loop may answer later.
  const auto turned = std::make_shared<std::atomic<std::size_t>>(0);
  const std::size_t loops = server.ask_turns([turned] { ++*turned; });
  return await([&] { return *turned == loops; }, within);
}

std::vector<WaitingRequest> waiting_requests(Server& server) {
  const auto answer = std::make_shared<std::promise<std::vector<WaitingRequest>>>();
  auto waiters = answer->get_future();
  REQUIRE(server.ask_waiters([answer](std::vector<WaitingRequest> found) {
    answer->set_value(std::move(found));
  }) == 1);
  REQUIRE(waiters.wait_for(patience) == std::future_status::ready);
  return waiters.get();
}

}  // namespace classgate::gateway::test
