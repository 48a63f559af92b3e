#include <doctest/doctest.h>

#include <algorithm>
#include <random>

#include "tests/gateway/kit.h"

// Many clients at once that do everything, and leave anywhere. What each of them does follows from
// the seed that main prints; how they meet does not.

namespace classgate::gateway::test {
namespace {

using conf::OnClientAbort;
using Random = std::mt19937_64;

int draw(Random& random, int from, int to) {
  return std::uniform_int_distribution<int>(from, to)(random);
}

constexpr std::size_t big_body = 300'000;

// pattern(size), out of one that is made once.
std::string some_body(std::size_t size) {
  static const std::string all = pattern(big_body);
  return all.substr(0, size);
}

// Computes for a while, and knows how many of it do so at once.
class BusyUpstream {
 public:
  FakeUpstream::Script script() {
    return FakeUpstream::each([this](Peer& peer, const Message& request) { serve(peer, request); });
  }
  int most_at_once() const { return most_; }
  std::uint64_t served() const { return served_; }
  std::uint64_t damaged() const { return damaged_; }

 private:
  void serve(Peer& peer, const Message& request) {
    const int now = ++running_;
    for (int seen = most_; now > seen && !most_.compare_exchange_weak(seen, now);) {
    }
    if (!request.body.empty() && request.body != some_body(request.body.size())) ++damaged_;
    // Every third takes long enough for clients to grow impatient; a client that is gone does not
    // stop it.
    const std::uint64_t number = ++served_;
    if (number % 3 == 0) peer.work(milliseconds(number % 4));
    --running_;  // before the answer: with its last byte the gateway may send the next
    const bool is_big = request.target().ends_with("/big");
    peer.send(
        answer_with(is_big ? some_body(big_body) : request.method() + " " + request.target()));
  }

  std::atomic<int> running_{0}, most_{0};
  std::atomic<std::uint64_t> served_{0}, damaged_{0};
};

// What the clients have seen.
struct Seen {
  std::atomic<std::uint64_t> begun{0};      // requests of which something was sent
  std::atomic<std::uint64_t> answered{0};   // 200, complete
  std::atomic<std::uint64_t> refused{0};    // 503
  std::atomic<std::uint64_t> surprises{0};  // anything else
};

// One thread's clients, one after the other.
class Clients {
 public:
  Clients(const Gateway& gateway, Seen& seen, std::uint64_t seed)
      : gateway_(gateway), seen_(seen), random_(seed) {}

  void make_requests(int count) {
    for (int i = 0; i < count; ++i) {
      if (!client_) client_ = std::make_unique<Client>(gateway_, draw(random_, 0, 1) * 4096);
      make_request();
    }
  }

 private:
  void make_request() {
    constexpr std::array targets{"/health", "/v1/classify", "/v1/classify/batch", "/elsewhere"};
    std::string target = targets[static_cast<std::size_t>(draw(random_, 0, 3))];
    const bool wants_big = draw(random_, 0, 9) == 0;
    if (wants_big) target = "/big";  // of the worst priority
    const std::string request = some_request(target);
    switch (draw(random_, 0, 9)) {
      case 0: return leave();  // before sending
      case 1: {                // in the head or in the body
        ++seen_.begun;
        const int size = static_cast<int>(request.size());
        client_->send(std::string_view(request).substr(
            0, static_cast<std::size_t>(draw(random_, 1, size - 1))));
        return leave();
      }
      case 2:  // at once, or in a moment: waiting, in flight, or just answered
      case 3:
        ++seen_.begun;
        client_->send(request);
        client_->socket.wait_readable(milliseconds(draw(random_, 0, 4)));
        return leave();
      case 4: {  // while reading
        ++seen_.begun;
        client_->send(request);
        std::string part;
        client_->socket.read(part, patience, static_cast<std::size_t>(draw(random_, 1, 40'000)));
        return leave();
      }
      case 5:  // with another one behind it, of which nothing is known
        seen_.begun += 2;
        client_->send(request + some_request("/behind"));
        read_answer(wants_big, request);
        return leave();
      default:
        ++seen_.begun;
        client_->send(request);
        read_answer(wants_big, request);
    }
  }

  std::string some_request(const std::string& target) {
    switch (draw(random_, 0, 3)) {
      case 0: return post(target, some_body(static_cast<std::size_t>(draw(random_, 1, 3000))));
      case 1: return post(target, some_body(100'000));  // streams: more than the body buffer
      case 2:
        return post_chunked(target, {some_body(static_cast<std::size_t>(draw(random_, 1, 9)))});
      default: return get(target);
    }
  }

  void read_answer(bool is_big, std::string_view request) {
    const Message answer = client_->read_answer();
    const std::string_view first_words = request.substr(0, request.find(" HTTP"));
    const bool is_right = is_big ? answer.body == some_body(big_body) : answer.body == first_words;
    if (answer.status() == 200 && answer.is_complete && is_right)
      ++seen_.answered;
    else if (answer.reason() == "queue_full" || answer.reason() == "displaced")
      ++seen_.refused;
    else
      ++seen_.surprises;
    if (answer.field("Connection") == "close") client_.reset();
  }

  void leave() {
    if (client_ && draw(random_, 0, 1) == 0) client_->socket.reset();
    client_.reset();
  }

  const Gateway& gateway_;
  Seen& seen_;
  Random random_;
  std::unique_ptr<Client> client_;
};

void run_clients(const Gateway& gateway, Seen& seen) {
  constexpr int threads = 12;
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i)
    all.emplace_back([&gateway, &seen, i] {
      Clients(gateway, seen, run().seed + static_cast<std::uint64_t>(i))
          .make_requests(run().stress_requests / threads);
    });
  for (std::thread& thread : all) thread.join();
}

bool is_at_rest(const admission::Snapshot& s) {
  return s.active_workers == 0 && s.waiting == 0 && s.waiting_bytes == 0 &&
         s.workers_without_client == 0;
}

TEST_CASE("whatever clients do, the limits hold, the books balance and nothing is left") {
  constexpr int workers = 3;
  for (const OnClientAbort on_abort : {OnClientAbort::finish, OnClientAbort::cancel}) {
    CAPTURE(static_cast<int>(on_abort));
    CAPTURE(run().seed);
    BusyUpstream busy;
    FakeUpstream upstream(busy.script());
    conf::Settings settings = settings_for(upstream.port());
    settings.admission.workers = workers;
    settings.admission.queue_size = 5;
    settings.client.linger_timeout = 200ms;
    settings.upstream.on_client_abort = on_abort;
    Gateway gateway(settings);
    Seen seen;
    std::atomic<bool> is_over{false};
    std::thread auditor([&] {
      await(
          [&] {
            const admission::Snapshot s = gateway.snapshot();  // checks that the books balance
            CHECK(s.active_workers <= workers);
            CHECK(s.waiting <= 5);
            return is_over.load();
          },
          1h);
    });
    run_clients(gateway, seen);
    is_over = true;
    auditor.join();

    CHECK(await([&] { return is_at_rest(gateway.server().snapshot()); }));
    CHECK(await([&] { return gateway.server().connections() == 0; }));
    const admission::Snapshot s = gateway.snapshot();
    INFO("of ", seen.begun.load(), " requests ", seen.answered.load(), " were answered, ",
         seen.refused.load(), " refused; the books: ", s.total, " in all, ", s.processed,
         " processed, ", s.abandoned, " abandoned, ", admission::sum(s.rejected), " rejected, ",
         admission::sum(s.failed), " failed");
    if (on_abort == OnClientAbort::finish)  // else it computes on for those that were cancelled
      CHECK(busy.most_at_once() <= workers);
    CHECK(busy.most_at_once() >= workers);
    CHECK(busy.damaged() == 0);
    CHECK(seen.surprises == 0);
    CHECK(seen.answered > 0);
    CHECK(seen.refused > 0);
    CHECK(s.abandoned > 0);
    CHECK(s.total <= seen.begun);
    CHECK(s.processed >= seen.answered);
    CHECK(s.processed <= busy.served());
    CHECK(admission::sum(s.rejected) >= seen.refused);
    for (const conf::ReasonText& text : conf::reason_texts) {
      CAPTURE(text.word);
      CHECK(s.failed[conf::index_of(text.reason)] == 0);
    }

    // All workers are there again.
    std::vector<std::unique_ptr<Client>> last;
    for (int i = 0; i < workers; ++i) {
      last.push_back(std::make_unique<Client>(gateway));
      CHECK(last.back()->ask(get("/last")).body == "GET /last");
    }
    CHECK(await([&] { return is_at_rest(gateway.server().snapshot()); }));
  }
}

TEST_CASE("the upstream sees waiting requests by priority, and first in, first out inside one") {
  struct Request {
    std::string target;
    int priority;
  };
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    const std::string query = "?" + std::to_string(i);
    requests.push_back({"/health" + query, 1});
    requests.push_back({"/v1/classify" + query, 3});
    requests.push_back({"/v1/classify/batch" + query, 4});
    requests.push_back({"/elsewhere" + query, 5});
  }
  Random random(run().seed);
  CAPTURE(run().seed);
  std::ranges::shuffle(requests, random);

  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 100;
  Gateway gateway(settings);
  Client first(gateway);
  first.send(get("/first"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  std::vector<std::unique_ptr<Client>> clients;
  for (const Request& request : requests) {
    clients.push_back(std::make_unique<Client>(gateway));
    clients.back()->send(get(request.target));
    REQUIRE(gateway.comes_to_wait(clients.size()));
  }

  upstream.release(static_cast<int>(requests.size()) + 1);
  for (std::size_t i = 0; i < requests.size(); ++i)
    CHECK(clients[i]->read_answer().body == "GET " + requests[i].target);
  std::vector<std::string> expected{"/first"};
  for (int priority = 1; priority <= conf::priority_worst; ++priority)
    for (const Request& request : requests)
      if (request.priority == priority) expected.push_back(request.target);
  CHECK(upstream.targets() == expected);
  CHECK(gateway.settles_at({.processed = requests.size() + 1}));
}

TEST_CASE("a full queue of low priority gives way to a high one, the newest first") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.admission.queue_size = 2;
  Gateway gateway(settings);
  Client first(gateway), older(gateway), newer(gateway), urgent(gateway), late(gateway);
  first.send(get("/first"));
  REQUIRE(await([&] { return upstream.holding() == 1; }));
  older.send(get("/older"));
  REQUIRE(gateway.comes_to_wait(1));
  newer.send(get("/newer"));
  REQUIRE(gateway.comes_to_wait(2));

  urgent.send(get("/health"));
  CHECK(newer.read_answer().reason() == "displaced");
  CHECK(late.ask(get("/late")).reason() == "queue_full");
  upstream.release(3);
  CHECK(older.read_answer().body == "GET /older");
  CHECK(urgent.read_answer().body == "GET /health");
  CHECK(first.read_answer().body == "GET /first");
  CHECK(upstream.targets() == std::vector<std::string>{"/first", "/health", "/older"});
  CHECK(gateway.settles_at({.processed = 3, .rejected = 2}));
}

}  // namespace
}  // namespace classgate::gateway::test
