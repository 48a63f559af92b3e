// Random traffic of clients, against what must hold whoever asks for whatever.

#include <map>
#include <optional>
#include <vector>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// What must hold after every event, whoever asks for whatever: workers and places within the
// limits, in all and for each client; the books balance; nobody idles while someone waits who could
// go in; when all have gone nothing is left over.
class ClientsSimulation {
 public:
  explicit ClientsSimulation(std::uint64_t seed) : random_(seed) {
    settings_ = random_settings();
    controller_.emplace(settings_);
  }

  void run(int events) {
    for (int i = 0; i < events; ++i) {
      now_ += std::chrono::microseconds(random_.below(10'000));
      if (random_.below(10'000) == 0) now_ += 100h;
      if (random_.chance(3)) now_ -= 1ms;
      something_happens();
      listen();
      check();
    }
    while (!flights_.empty()) {
      finish(0);
      listen();
      check();
    }
    REQUIRE(waiting_.empty());
    const Snapshot books = controller_->snapshot(now_);
    REQUIRE(books.active_workers == 0);
    REQUIRE(books.in_flight == 0);
    REQUIRE(books.total == in_the_books(books));
  }
  ReasonCounts refused{};

 private:
  struct Waiting {
    Ticket ticket;
    std::uint64_t client;
    std::uint16_t workers;
  };
  struct Flight {
    Seat seat;
    std::uint64_t client;
  };

  conf::AdmissionSettings random_settings() {
    conf::AdmissionSettings settings;
    settings.workers = static_cast<std::uint32_t>(random_.between(1, 12));
    settings.queue_size = static_cast<std::uint32_t>(random_.below(30));
    settings.rate = random_.chance(75) ? 0 : 100;
    settings.fairness.is_on = true;
    settings.fairness.clients_max = static_cast<std::uint32_t>(random_.between(2, 60));
    settings.fairness.everybody.rate = random_.chance(75) ? 0 : 20;
    settings.fairness.everybody.burst = 5;
    settings.fairness.everybody.workers = static_cast<std::uint32_t>(random_.below(4));
    settings.fairness.everybody.queue_size =
        static_cast<std::uint32_t>(random_.chance(50) ? 0 : random_.below(10));
    settings.fairness.plans.push_back({.name = "gold", .rate = 50, .weight = 4, .clients = {}});
    if (random_.chance(25)) settings.route_rates = {{"/a", 30, 10}, {"/b", 0, 1}};
    return settings;
  }

  void something_happens() {
    if (random_.below(500) == 0) {
      settings_ = random_settings();
      return controller_->reconfigure(settings_, now_);
    }
    if (random_.chance(35) && !flights_.empty()) return finish(random_.below(flights_.size()));
    if (random_.chance(8) && !waiting_.empty()) {
      const std::size_t at = random_.below(waiting_.size());
      REQUIRE(controller_->leave(waiting_[at].ticket, Departure::abandoned, now_));
      waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
      return;
    }
    arrive();
  }

  void arrive() {
    // One of them sends half of all; some are never seen again.
    const std::uint64_t client = random_.chance(50)   ? 1
                                 : random_.chance(70) ? random_.between(2, 9)
                                                      : random_.between(10, 1'000'000);
    Arrival arrival{
        .priority = static_cast<int>(random_.between(1, 5)),
        .rate_limited = random_.chance(90),
        .cost = static_cast<std::uint32_t>(random_.chance(98) ? 1 : random_.between(0, 1'000'000)),
        .route = {.slot = static_cast<std::uint32_t>(random_.below(4))},
        .bytes = random_.below(100),
        .at = now_,
        .client = client,
        .plan = {.slot = static_cast<std::uint32_t>(client % 3)},
        .is_retry = random_.chance(20),
        .attempt = random_.below(50),
        .workers = static_cast<std::uint16_t>(random_.chance(80) ? 1 : random_.below(70'000))};
    if (const auto rejection = controller_->screen(arrival, now_)) {
      ++refused[conf::index_of(rejection->reason)];
      return;
    }
    const Verdict verdict = controller_->arrive(arrival, now_);
    if (const auto* admitted = std::get_if<Admitted>(&verdict))
      flights_.push_back({admitted->seat, client});
    else if (const auto* ticket = std::get_if<Ticket>(&verdict))
      waiting_.push_back({*ticket, client, arrival.workers});
  }

  void finish(std::size_t at) {
    controller_->finish(Outcome::processed(), flights_[at].seat, now_);
    flights_.erase(flights_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void listen() {
    while (const auto notice = controller_->next(now_)) {
      const auto told = std::ranges::find(waiting_, notice->ticket, &Waiting::ticket);
      REQUIRE(told != waiting_.end());
      if (const auto* granted = std::get_if<Granted>(&notice->news))
        flights_.push_back({granted->seat, told->client});
      else
        ++refused[conf::index_of(std::get<Rejection>(notice->news).reason)];
      waiting_.erase(told);
    }
  }

  void check() {
    const Snapshot books = controller_->snapshot(now_);
    std::uint64_t workers = 0;
    for (const Flight& flight : flights_) workers += flight.seat.workers;
    REQUIRE(books.active_workers == workers);
    REQUIRE(books.in_flight == flights_.size());
    REQUIRE(books.waiting == waiting_.size());
    REQUIRE(books.total == in_the_books(books));
    REQUIRE(books.clients.known <= 60);
    // With every worker free and nobody at a limit, nobody waits.
    if (flights_.empty()) REQUIRE(waiting_.empty());
  }

  Random random_;
  conf::AdmissionSettings settings_;
  std::optional<Controller> controller_;
  Time now_ = start;
  std::vector<Waiting> waiting_;
  std::vector<Flight> flights_;
};

TEST_CASE("random clients never break an invariant") {
  ReasonCounts refused{};
  for (std::uint64_t round = 0; round < 150; ++round) {
    INFO(replay(run().seed + round));
    ClientsSimulation simulation(run().seed + round);
    simulation.run(1'500);
    for (std::size_t i = 0; i < refused.size(); ++i) refused[i] += simulation.refused[i];
  }
  for (const conf::Reason reason :
       {conf::Reason::client_rate, conf::Reason::route_rate, conf::Reason::rate_limited,
        conf::Reason::client_queue, conf::Reason::retry_budget, conf::Reason::queue_full,
        conf::Reason::displaced, conf::Reason::fair_share}) {
    CAPTURE(conf::word_of(reason));
    CHECK(refused[conf::index_of(reason)] > 0);
  }
}

}  // namespace
}  // namespace classgate::admission
