// Those who were refused and come when they were told to, against those who come as they like.

#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <utility>
#include <vector>

#include "admission/explain.h"
#include "tests/admission/house.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

Arrival by(std::uint64_t client, Time now, int priority = 3) {
  Arrival arrival = request(priority, now);
  arrival.client = client;
  return arrival;
}

conf::AdmissionSettings settings_with_clients(std::uint32_t workers, std::uint32_t queue_size) {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = workers;
  settings.queue_size = queue_size;
  settings.retry_after_spread = 30s;
  settings.fairness.is_on = true;
  settings.fairness.retry_budget = 0.2;
  return settings;
}

// A worker that is taken, and known to come back after 100 ms.
const Time then = start + 100ms;
struct KnownHouse : FullHouse {
  explicit KnownHouse(const conf::AdmissionSettings& settings) : FullHouse(settings) {
    finish(Outcome::processed(), a_seat(*this), then);
    REQUIRE(said(enter(*this, request(1), then)) == "admitted");
  }
};
// A queue with 20 places that 20 clients have.
struct FullQueue : KnownHouse {
  explicit FullQueue(const conf::AdmissionSettings& settings) : KnownHouse(settings) {
    for (std::uint64_t client = 1; client <= 20; ++client)
      tickets.push_back(wait_in(*this, by(client, then), then));
  }
  void let_one_leave(Time now) {
    REQUIRE(leave(tickets.back(), Departure::abandoned, now));
    tickets.pop_back();
  }
  std::vector<Ticket> tickets;
};

TEST_CASE("the last places are for those who come when they were told to, once for each promise") {
  FullQueue controller(settings_with_clients(1, 20));
  const Time turn = then + retry_after(enter(controller, by(100, then), then));
  CHECK(said(enter(controller, by(101, then), then)) == "queue_full");
  controller.let_one_leave(then);
  CHECK(said(enter(controller, by(200, then), then)) == "queue_full");  // though there is a place
  CHECK(said(enter(controller, by(100, turn - 100ms), turn - 100ms)) == "queue_full");  // not yet
  CHECK(controller.explain(by(100, turn), turn).kind == Explanation::Kind::waits);
  CHECK(said(enter(controller, by(100, turn), turn)) == "waits");
  controller.let_one_leave(turn);
  CHECK(said(enter(controller, by(100, turn), turn)) == "queue_full");  // it has had its place
  // Who may send others away need not be kept from a place.
  CHECK(said(enter(controller, by(201, turn, 1), turn)) == "waits");
}

TEST_CASE("who comes much later than it was told, or when nobody is expected, is a newcomer") {
  FullQueue controller(settings_with_clients(1, 20));
  const Time turn = then + retry_after(enter(controller, by(100, then), then));
  const Time later = then + 20s;
  CHECK(said(enter(controller, by(101, later), later)) == "queue_full");  // somebody is expected
  REQUIRE(turn + 5s < later);
  controller.let_one_leave(later);
  CHECK(said(enter(controller, by(100, later), later)) == "queue_full");
  const Time end = later + 2min;
  CHECK(said(enter(controller, by(102, end), end)) == "waits");
}

TEST_CASE(
    "nothing is kept of a queue that has turned nobody away, nor where nobody knows who asks") {
  FullQueue controller(settings_with_clients(1, 20));  // all 20 have found a place
  conf::AdmissionSettings settings = settings_with_clients(1, 20);
  settings.fairness.is_on = false;
  KnownHouse anonymous(settings);
  std::vector<Ticket> tickets;
  for (int i = 0; i < 20; ++i) tickets.push_back(wait_in(anonymous, request(3), then));
  CHECK(said(enter(anonymous, request(3), then)) == "queue_full");
  REQUIRE(anonymous.leave(tickets.back(), Departure::abandoned, then));
  CHECK(said(enter(anonymous, request(3), then)) == "waits");
}

TEST_CASE("a retry at the time that it was told is none too many") {
  KnownHouse controller(settings_with_clients(1, 20));
  const auto retry = [&](Time now) {
    Arrival arrival = by(100, now);
    arrival.is_retry = true;
    return enter(controller, arrival, now);
  };
  int others = 0;
  while (said(retry(then)) == "waits") REQUIRE(++others < 20);  // what it may, without an excuse
  const Verdict refused = retry(then);
  REQUIRE(said(refused) == "retry_budget");
  const Time first_turn = then + retry_after(refused);
  CHECK(said(retry(first_turn - 100ms)) == "retry_budget");
  Arrival other = by(100, first_turn);
  other.is_retry = true;
  CHECK(controller.explain(other, first_turn).kind == Explanation::Kind::waits);
  CHECK(said(retry(first_turn)) == "waits");
}

// So many clients at 10 workers of 100 ms; each asks, thinks, and asks again, so that twice as much
// would come as can be served if all were answered at once. Who is refused comes when it is told
// to, up to twice, as SDKs do.
struct Tries {
  int refused = 0;
  int served_at_first_retry = 0;
  int told_at_first = 0;  // who did not come back yet
  Duration told{};        // all of them together
  int storms = 0;         // requests of the storm that were served
  int too_soon = 0;       // and that were refused for that
};
constexpr std::uint64_t storming = 1000;  // a client

struct Crowd {
  std::uint64_t seed = 11;
  std::uint64_t clients = 200;
  int storms = 0;  // connections of one more client, which asks again every 18 ms
};

Tries watch_sdks(std::uint32_t queue_size, Duration from, Duration to, const Crowd& crowd = {}) {
  Random random(crowd.seed);
  Controller controller(settings_with_clients(10, queue_size));
  struct Event {
    Time at;
    std::uint64_t client;  // 0: a worker comes back
    int attempts = 0;
    Seat seat{};
    bool operator>(const Event& other) const { return at > other.at; }
  };
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events;
  std::vector<std::pair<std::uint64_t, int>> waiting;  // by tag
  for (std::uint64_t client = 1; client <= crowd.clients; ++client)
    events.push({start + std::chrono::milliseconds(random.between(0, 1'900)), client});
  for (int i = 0; i < crowd.storms; ++i)
    events.push({start + std::chrono::milliseconds(random.between(0, 100)), storming});
  Tries tries;
  while (events.top().at < start + to) {
    const Event event = events.top();
    events.pop();
    const Time now = event.at;
    const auto served = [&](std::uint64_t client, const Seat& seat) {
      events.push({now + 100ms, 0, 0, seat});
      if (client == storming) {
        if (now >= start + from) ++tries.storms;
        return events.push({now + 101ms, client});
      }
      events.push({now + 100ms + std::chrono::milliseconds(random.between(0, 1'900)), client});
    };
    if (event.client == 0) {
      controller.finish(Outcome::processed(), event.seat, now);
    } else {
      Arrival arrival = by(event.client, now);
      arrival.tag = static_cast<std::uint32_t>(waiting.size());
      waiting.push_back({event.client, event.attempts});
      const Explanation foretold = controller.explain(arrival, now);
      const Verdict verdict = enter(controller, arrival, now);
      const bool is_refused = std::holds_alternative<Rejection>(verdict);
      REQUIRE((foretold.kind == Explanation::Kind::refused) == is_refused);
      if (is_refused) {
        REQUIRE(said(verdict) == conf::word_of(foretold.rejection.reason));
        if (event.client == storming && said(verdict) == "too_soon") ++tries.too_soon;
      }
      if (event.client != storming && now >= start + from && event.attempts == 0 && is_refused) {
        ++tries.told_at_first;
        tries.told += retry_after(verdict);
      }
      if (now >= start + from && event.attempts == 1) {
        ++tries.refused;
        if (!is_refused) ++tries.served_at_first_retry;
      }
      if (const auto* const admitted = std::get_if<Admitted>(&verdict))
        served(event.client, admitted->seat);
      if (is_refused && event.client == storming) {
        events.push({now + 18ms, storming});
      } else if (is_refused) {
        const bool gives_up = event.attempts == 2;
        events.push({now + retry_after(verdict) + 1ms +
                         (gives_up ? std::chrono::milliseconds(random.between(0, 1'900)) : 0ms),
                     event.client, gives_up ? 0 : event.attempts + 1});
      }
    }
    while (const auto notice = controller.next(now)) {
      const auto* const granted = std::get_if<Granted>(&notice->news);
      if (granted != nullptr) {
        served(waiting[notice->tag].first, granted->seat);
      } else {  // displaced
        REQUIRE(waiting[notice->tag].first == storming);
        events.push({now + 18ms, storming});
      }
    }
  }
  return tries;
}

TEST_CASE("SDKs that obey are served at their first retry, at first and later, at twice the load") {
  for (const std::uint32_t queue_size : {20U, 100U}) {
    CAPTURE(queue_size);
    for (const auto& [from, to] : {std::pair(3s, 18s), std::pair(60s, 240s)}) {
      const Tries tries = watch_sdks(queue_size, from, to);
      CAPTURE(from.count());
      CHECK(tries.refused > 50);
      CAPTURE(tries.refused);
      CHECK(tries.served_at_first_retry >= tries.refused * 95 / 100);
    }
  }
}

Tries operator+(Tries tries, const Tries& more) {
  tries.refused += more.refused;
  tries.served_at_first_retry += more.served_at_first_retry;
  tries.told_at_first += more.told_at_first;
  tries.told += more.told;
  tries.storms += more.storms;
  tries.too_soon += more.too_soon;
  return tries;
}

TEST_CASE("a client that storms has its part, and those who obey are told no more for it") {
  Tries alone;
  Tries beside;
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    alone = alone + watch_sdks(20, 60s, 120s, {.seed = seed});
    beside = beside + watch_sdks(20, 60s, 120s, {.seed = seed, .storms = 18});
  }
  CHECK(beside.too_soon > 0);
  CHECK(beside.storms < 5 * 60);  // its part is a 201st of 100 a second; it had four times that
  CHECK(beside.served_at_first_retry >= beside.refused * 95 / 100);
  CHECK(beside.told / beside.told_at_first < alone.told / alone.told_at_first * 11 / 10);
}

TEST_CASE("a client that storms has all that those who obey have no use for") {
  const Tries tries = watch_sdks(20, 20s, 80s, {.clients = 40, .storms = 60});
  CHECK(tries.storms > 55 * 60);  // 38 a second of 100 are for the others
}

// Ten workers of 2 s each, and newcomers who take them as they come.
struct SlowService : Controller {
  static conf::AdmissionSettings patient_settings(std::chrono::milliseconds spread) {
    conf::AdmissionSettings settings = settings_with_clients(10, 20);
    settings.request_timeout = settings.queue_timeout = 1h;
    settings.retry_after_spread = spread;
    return settings;
  }
  explicit SlowService(std::chrono::milliseconds spread = 30s)
      : Controller(patient_settings(spread)) {
    now += 2s;
    for (const Seat& seat : take_all()) end(seat);
  }
  std::vector<Seat> take_all() {
    std::vector<Seat> seats;
    for (int i = 0; i < 10; ++i)
      seats.push_back(std::get<Admitted>(enter(*this, by(++newcomers, now), now)).seat);
    return seats;
  }
  // Until one is refused.
  std::vector<Ticket> fill_queue() {
    std::vector<Ticket> tickets;
    while (true) {
      const Verdict verdict = enter(*this, by(++newcomers, now), now);
      if (std::holds_alternative<Rejection>(verdict)) return tickets;
      tickets.push_back(std::get<Ticket>(verdict));
    }
  }
  // Whenever it went in, it has taken 2 s.
  void end(Seat seat) {
    seat.since = now - 2s;
    finish(Outcome::processed(), seat, now);
  }
  Time now = start;
  std::uint64_t newcomers = 1000;  // the last one's number
};
constexpr std::uint64_t office = 100;  // a client with several users

// And more newcomers than can be served, who would take every place, as time goes on.
struct CrowdedService : SlowService {
  explicit CrowdedService(std::chrono::milliseconds spread = 30s) : SlowService(spread) {
    for (const Seat& seat : take_all()) working.emplace_back(now + 2s, seat);
    fill_queue();
  }
  void pass(Duration step) {
    now += step;
    while (next_newcomer <= now) {
      enter(*this, by(++newcomers, now), now);
      next_newcomer += 190ms;
    }
    for (auto& [end, seat] : working) {
      if (end > now) continue;
      finish(Outcome::processed(), seat, now);
      std::optional<Notice> notice;
      do notice = this->next(now);  // somebody may have been displaced
      while (!std::holds_alternative<Granted>(notice.value().news));
      seat = std::get<Granted>(notice->news).seat;
      end = now + 2s;
      served[notice->tag]++;
    }
  }
  Verdict ask(std::uint64_t client) {
    Arrival arrival = by(client, now);
    arrival.tag = static_cast<std::uint32_t>(client);
    return enter(*this, arrival, now);
  }
  std::map<std::uint32_t, int> served;  // of those who waited, by tag: the newcomers have none
  std::vector<std::pair<Time, Seat>> working;
  Time next_newcomer = now;
};

TEST_CASE("each of a client's users has a place when it was told to come, up to eight of them") {
  CrowdedService service;
  std::vector<Time> told;
  for (int i = 0; i < 8; ++i) told.push_back(service.now + retry_after(service.ask(office)));
  std::ranges::sort(told);
  while (!told.empty()) {
    service.pass(1ms);
    while (!told.empty() && told.front() <= service.now) {
      CHECK(said(service.ask(office)) == "waits");
      told.erase(told.begin());
    }
  }
}

TEST_CASE("a client that comes at all of many times that it was told has no more than its part") {
  conf::AdmissionSettings settings = settings_with_clients(10, 20);
  settings.retry_after_spread = 2s;  // so that they are soon
  for (const double workers : {1.0, 4.0}) {
    CAPTURE(workers);
    ClientTable clients;
    clients.use(settings.fairness, Ids(settings), start);
    RetryAfter retry_after(settings, clients);
    const RetryAfter::Queue queue{.waiting = 20, .workers = 10, .usual_turn = 2s};  // 5 a second
    std::vector<Time> told;
    int came = 0;
    for (Time now = start; now < start + 120s; now += 10ms) {
      for (std::uint64_t client = 1; client <= 10; ++client) {  // all of them want as much
        const auto number = clients.find_or_add(client, {}, now).number;
        clients.asks_greedily(number, 1, now);
      }
      if (retry_after.is_due({.client = 1, .wants = workers, .at = now}, queue, now)) {
        CHECK_FALSE(retry_after.note_came({.client = 1, .wants = workers, .at = now}, queue, now));
        ++came;
      }
      std::erase_if(told, [&](Time time) { return time <= now; });
      if (told.size() < ToldTimes::most)
        told.push_back(now + retry_after.time_for_worker(1s, {.client = 1}, queue, now));
    }
    CHECK(came * static_cast<int>(workers) > 40);
    CHECK(came < 60 / static_cast<int>(workers) + 20);  // a tenth of 5 workers a second, and eight
  }
}

TEST_CASE("who begins when it was told has its place when its body is whole, however late") {
  FullQueue controller(settings_with_clients(1, 20));
  const Time turn = then + retry_after(enter(controller, by(100, then), then));
  const Time whole = turn + 8s;
  CHECK(said(enter(controller, by(101, whole), whole)) == "queue_full");  // somebody is expected
  controller.let_one_leave(whole);
  CHECK(said(controller.arrive(by(102, turn), whole)) == "queue_full");
  CHECK(said(controller.arrive(by(100, turn), whole)) == "waits");
}

TEST_CASE("nothing is kept for anybody where all are told the earliest") {
  conf::AdmissionSettings settings = settings_with_clients(1, 20);
  settings.retry_after_spread = {};
  FullQueue controller(settings);
  CHECK(said(enter(controller, by(100, then), then)) == "queue_full");
  controller.let_one_leave(then);
  CHECK(said(enter(controller, by(101, then), then)) == "waits");
}

TEST_CASE("nobody comes too soon while a quarter of the workers is free, or one of its reserve") {
  SlowService service;
  std::vector<Seat> seats = service.take_all();
  const std::vector<Ticket> waiting = service.fill_queue();
  REQUIRE(retry_after(enter(service, by(office, service.now), service.now)) > 1s);
  for (const Ticket ticket : waiting)
    REQUIRE(service.leave(ticket, Departure::abandoned, service.now));
  const auto come_back = [&] {
    service.end(seats.back());
    seats.pop_back();
  };
  for (int i = 0; i < 200; ++i) {  // newcomers use all that there is, and more
    come_back();
    seats.push_back(
        std::get<Admitted>(enter(service, by(++service.newcomers, service.now), service.now)).seat);
  }
  const auto ask = [&] { return enter(service, by(office, service.now), service.now); };
  for (int i = 0; i < 3; ++i) come_back();
  for (int i = 0; i < 20; ++i) {  // three of ten
    const Verdict verdict = ask();
    REQUIRE(said(verdict) == "admitted");
    service.end(std::get<Admitted>(verdict).seat);
  }
  REQUIRE(said(ask()) == "admitted");  // two are free from now on
  const Verdict refused = ask();
  CHECK(said(refused) == "too_soon");
  CHECK(retry_after(refused) > 1s);
  // Nor where its priority has a worker of its own left.
  CHECK(said(enter(service, by(office, service.now, 1), service.now)) == "too_soon");
  conf::AdmissionSettings settings = SlowService::patient_settings(30s);
  settings.reserve.shares[0] = 0.1;
  service.reconfigure(settings, Ids(settings), service.now);
  CHECK(said(enter(service, by(office, service.now, 1), service.now)) == "admitted");
}

TEST_CASE(
    "those who wait and hang up are no use of the workers: who is early is let in beside them") {
  Controller controller(settings_with_clients(10, 20));
  const Time now = start + 2s;  // a turn takes 2 s: 5 a second
  const auto take_all = [&](Time at) {
    std::vector<Seat> seats;
    for (int i = 0; i < 10; ++i)
      seats.push_back(std::get<Admitted>(enter(controller, by(1, at), at)).seat);
    return seats;
  };
  for (const Seat& seat : take_all(start)) controller.finish(Outcome::processed(), seat, now);
  const std::vector<Seat> seats = take_all(now);
  const auto come_and_go = [&](std::uint64_t first, bool is_full) {
    std::vector<Ticket> tickets;
    while (tickets.size() < 16)  // the last places are kept
      tickets.push_back(wait_in(controller, by(first + tickets.size(), now), now));
    while (is_full && tickets.size() < 20)
      tickets.push_back(wait_in(controller, by(first + tickets.size(), now), now));
    if (is_full) REQUIRE(said(enter(controller, by(100, now), now)) == "queue_full");
    for (const Ticket ticket : tickets)
      REQUIRE(controller.leave(ticket, Departure::abandoned, now));
  };
  come_and_go(1000, true);
  for (std::uint64_t i = 2; i < 6; ++i) come_and_go(1000 * i, false);
  controller.finish(Outcome::processed(), seats[0], now);
  for (int i = 0; i < 20; ++i) {
    const Verdict verdict = enter(controller, by(100, now), now);
    REQUIRE(said(verdict) == "admitted");
    controller.finish(Outcome::processed(), std::get<Admitted>(verdict).seat, now);
  }
}

}  // namespace
}  // namespace classgate::admission
