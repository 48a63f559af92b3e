// What is known of routes and plans over reloads that move, add, remove and rename them.

#include "admission/ids.h"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "admission/gate.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

using Names = std::vector<std::string>;

conf::Settings settings_with(const Names& routes, const Names& plans = {}) {
  conf::Settings settings;
  settings.routes.clear();
  for (const std::string& path : routes) settings.routes.push_back({.path = path});
  for (const std::string& name : plans)
    settings.admission.fairness.plans.push_back({.name = name, .clients = {}});
  return settings;
}

Ids following(Ids ids, const Names& routes, const Names& plans = {}) {
  ids.follow(settings_with(routes, plans));
  return ids;
}

Arrival on(RouteId route, Time at = start, Time deadline = Time::max()) {
  return {.priority = 3, .route = route, .at = at, .deadline = deadline};
}

TEST_CASE("a route and a plan keep their ids wherever they stand") {
  const Ids before = following({}, {"/a", "/b"}, {"gold", "silver"});
  const Ids after = following(before, {"/new", "/b", "/a"}, {"silver", "new", "gold"});
  CHECK(after.route("/a") == before.route("/a"));
  CHECK(after.route("/b") == before.route("/b"));
  CHECK(after.plan("gold") == before.plan("gold"));
  CHECK(after.plan("silver") == before.plan("silver"));
  CHECK(after.name_of(before.plan("silver")) == "silver");
  CHECK(after.route("/new") != before.route("/a"));
  CHECK(after.route("/new") != RouteId{});
}

TEST_CASE("a path and a prefix of the same letters are two routes") {
  conf::Settings settings = settings_with({"/a"});
  settings.routes.push_back({.path = "/a", .is_prefix = true});
  const Ids ids(settings);
  CHECK(ids.route("/a") != ids.route("/a*"));
}

TEST_CASE("what has no id is the catch-all's and everybody's") {
  const Ids ids = following({}, {"/a"}, {"gold"});
  CHECK(ids.route("/b") == RouteId{});
  CHECK(ids.route("*") == RouteId{});
  CHECK(ids.plan("silver") == PlanId{});
  CHECK(ids.name_of(PlanId{}).empty());
}

TEST_CASE("the ids of a conf that follows none are always the same") {
  const conf::Settings settings;
  for (const conf::RouteSettings& route : settings.routes) {
    CHECK(Ids(settings).route(route.path) == Ids(settings).route(route.path));
    CHECK(Ids(settings).route(route.path) == Ids(settings.routes).route(route.path));
  }
}

// Ten thousand reloads, each with five new names in place of five old ones.
TEST_CASE("ids of names that have gone are never given again, and their slots are") {
  std::set<std::pair<std::uint32_t, std::uint32_t>> given;
  Ids ids;
  for (int reload = 0; reload < 10'000; ++reload) {
    Names names{"/stays"};
    for (int i = 0; i < 5; ++i) names.push_back("/" + std::to_string(5 * reload + i));
    const RouteId stays = ids.route("/stays");
    ids = following(ids, names, {names.begin() + 1, names.end()});
    if (reload > 0) REQUIRE(ids.route("/stays") == stays);
    for (std::size_t i = 1; i < names.size(); ++i) {
      const RouteId id = ids.route(names[i]);
      REQUIRE(given.emplace(id.slot, id.generation).second);
    }
    REQUIRE(ids.route_slots() == 1 + 6);
    REQUIRE(ids.plan_generations().size() == 1 + 5);
  }
}

TEST_CASE("a table by id forgets who has gone when its slot goes to another, and not before") {
  ById<RouteId, int> table;
  const RouteId first{.slot = 3}, second{.slot = 3, .generation = 1};
  *table.find_or_add(first) = 7;
  CHECK(*table.find(first) == 7);
  CHECK(table.find(second) == nullptr);
  CHECK(*table.find_or_add(second) == 0);
  CHECK(table.find(first) == nullptr);
  CHECK(table.find_or_add(first) == nullptr);  // late news of who has gone
  CHECK(table.find(second) != nullptr);
  CHECK(table.find(RouteId{.slot = 99}) == nullptr);
  // Generations are counted round.
  const RouteId last{.slot = 3, .generation = 0xffffffff}, next{.slot = 3, .generation = 0};
  ById<RouteId, int> old;
  CHECK(old.find_or_add(last) != nullptr);
  CHECK(old.find_or_add(next) != nullptr);
  CHECK(old.find_or_add(last) == nullptr);
}

// A reload inserts a route before a slow one, of which a request is in flight. It ends, and then
// the new route is asked for with a deadline that the slow one could not keep.
TEST_CASE("a route that a reload inserts is not taken for the slow one that stood in its place") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 10;
  const Ids before = following({}, {"/slow"});
  Controller controller(settings, before);
  const RouteId slow = before.route("/slow");
  const Seat seat = std::get<Admitted>(enter(controller, on(slow))).seat;
  const Ids after = following(before, {"/new", "/slow"});
  controller.reconfigure(settings, after, start);
  const Time later = start + 10s;
  controller.finish(Outcome::processed(), seat, later);
  CHECK(said(enter(controller, on(after.route("/new"), later, later + 5s), later)) == "admitted");
  CHECK(controller.explain(on(after.route("/slow"), later), later).most_work == 10s);
  CHECK(said(enter(controller, on(slow, later, later + 5s), later)) == "would_miss_deadline");
}

// The slow route goes, and its slot goes to a new one while a request of it is in flight.
TEST_CASE("what is in flight on a route that has gone teaches nothing about the one in its slot") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 10;
  const Ids before = following({}, {"/slow"});
  Controller controller(settings, before);
  const RouteId slow = before.route("/slow");
  const Seat first = std::get<Admitted>(enter(controller, on(slow))).seat;
  const Seat second = std::get<Admitted>(enter(controller, on(slow))).seat;
  const Ids after = following(before, {"/new"});
  const RouteId fresh = after.route("/new");
  REQUIRE(fresh.slot == slow.slot);
  controller.reconfigure(settings, after, start);
  controller.finish(Outcome::processed(), first, start + 10s);
  const Seat third = std::get<Admitted>(enter(controller, on(fresh), start + 10s)).seat;
  controller.finish(Outcome::processed(), third, third.since + 1s);
  controller.finish(Outcome::processed(), second, start + 20s);
  CHECK(controller.explain(on(fresh), start + 20s).most_work == 1s);
}

TEST_CASE("a shadow's routes and plans are those of the same name, wherever they stand there") {
  conf::AdmissionSettings settings = small_settings();
  settings.workers = 10;
  settings.fairness.is_on = true;
  settings.fairness.plans = {{.name = "gold", .clients = {}}, {.name = "small", .clients = {}}};
  settings.route_rates = {{"/a", 0, 1}, {"/b", 0, 1}};
  conf::AdmissionSettings shadow = settings;
  shadow.route_rates = {{"/other", 0.001, 1}, {"/b", 0.001, 1}, {"/a", 0, 1}};
  shadow.fairness.plans = {{.name = "small", .rate = 0.001, .burst = 1, .clients = {}},
                           {.name = "gold", .rate = 0.001, .burst = 3, .clients = {}}};
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(shadow);
  const Ids ids(settings);
  Gate gate(settings, ids);
  const auto ask = [&](std::string_view route, std::uint64_t client, std::string_view plan) {
    Arrival arrival = on(ids.route(route));
    arrival.client = client;
    arrival.plan = ids.plan(plan);
    auto answer = gate.enter(arrival, start);
    std::get<Permit>(answer).finish(Outcome::processed(), start);
  };
  for (int i = 0; i < 3; ++i) ask("/a", 1, "gold");
  CHECK(sum(gate.snapshot(start).shadow.would_refuse) == 0);
  ask("/a", 1, "gold");
  for (int i = 0; i < 2; ++i) ask("/a", 2, "small");
  for (int i = 0; i < 2; ++i) ask("/b", 3, "");
  const ReasonCounts refused = gate.snapshot(start).shadow.would_refuse;
  CHECK(refused[conf::index_of(conf::Reason::client_rate)] == 2);
  CHECK(refused[conf::index_of(conf::Reason::route_rate)] == 1);
}

// Routes and plans of which each can be told from the others by its terms: requests of route n take
// n % 97 + 1 ms, its bucket holds n % 89 + 2; a plan of number n lets n % 83 + 2 in.
class Reloads {
 public:
  explicit Reloads(std::uint64_t seed) : random_(seed), settings_(draw()), ids_(settings_) {
    controller_ = std::make_unique<Controller>(settings_.admission, ids_);
  }

  void run(int reloads) {
    for (int i = 0; i < reloads; ++i) {
      for (int events = 0; events < 20; ++events) something_happens();
      check();
      settings_ = draw();
      ids_.follow(settings_);
      controller_->reconfigure(settings_.admission, ids_, now_);
      if (random_.chance(20)) listen();  // who waits may wait over several
      for (auto known = known_.begin(); known != known_.end();)
        known = ids_.route(name_of(known->first)) == known->second ? std::next(known)
                                                                   : known_.erase(known);
    }
    REQUIRE(ids_.route_slots() <= most_names + 1);
    REQUIRE(ids_.plan_generations().size() <= most_names + 1);
  }
  int compared = 0;

 private:
  static constexpr std::size_t most_names = 12;
  struct Flight {
    Seat seat;
    std::uint64_t route;
  };
  static Duration work_of(std::uint64_t route) { return 1ms * static_cast<int>(route % 97 + 1); }
  static double burst_of(std::uint64_t route) { return static_cast<double>(route % 89 + 2); }
  static double allowance_of(std::uint64_t plan) { return static_cast<double>(plan % 83 + 2); }
  static std::string name_of(std::uint64_t number) { return "/" + std::to_string(number); }

  // Some of before, in any order, some that never were, and now and then one that comes back.
  conf::Settings draw() {
    std::erase_if(numbers_, [this](std::uint64_t) { return random_.chance(25); });
    if (newest_ > 0 && random_.chance(50)) numbers_.push_back(random_.below(newest_));
    std::ranges::sort(numbers_);
    numbers_.erase(std::unique(numbers_.begin(), numbers_.end()), numbers_.end());
    while (numbers_.size() < most_names && random_.chance(80)) numbers_.push_back(newest_++);
    numbers_.resize(std::min(numbers_.size(), most_names));
    for (std::size_t i = numbers_.size(); i > 1; --i)
      std::swap(numbers_[i - 1], numbers_[random_.below(i)]);
    conf::Settings settings;
    settings.routes.clear();
    settings.admission.workers = 6;
    settings.admission.queue_size = 10;
    settings.admission.rate = 0;
    settings.admission.fairness.is_on = true;
    settings.admission.fairness.reserve = 0;
    settings.admission.fairness.clients_max = 20'000;
    for (const std::uint64_t number : numbers_) {
      settings.routes.push_back({.path = name_of(number)});
      settings.admission.route_rates.push_back({name_of(number), 1e-6, burst_of(number)});
      settings.admission.fairness.plans.push_back(
          {.name = name_of(number), .rate = 1e-6, .burst = allowance_of(number), .clients = {}});
    }
    return settings;
  }

  Arrival arrival_of(std::uint64_t number) const {
    Arrival arrival = on(ids_.route(name_of(number)), now_);
    arrival.tag = static_cast<std::uint32_t>(number);
    arrival.client = number + 1;
    arrival.plan = ids_.plan(name_of(number));
    return arrival;
  }

  void something_happens() {
    now_ += 10ms;
    if (random_.chance(40) || numbers_.empty()) return finish();
    const std::uint64_t number = numbers_[random_.below(numbers_.size())];
    const Verdict verdict = enter(*controller_, arrival_of(number), now_);
    if (const auto* admitted = std::get_if<Admitted>(&verdict))
      flights_.push_back({admitted->seat, number});
    listen();
  }

  void finish() {
    if (flights_.empty()) return;
    const Flight flight = flights_.front();
    flights_.pop_front();
    now_ = std::max(now_, flight.seat.since + work_of(flight.route));
    Outcome outcome = Outcome::processed();
    outcome.work = work_of(flight.route);
    controller_->finish(outcome, flight.seat, now_);
    if (flight.seat.route == ids_.route(name_of(flight.route)) && flight.seat.route != RouteId{})
      known_[flight.route] = flight.seat.route;
    listen();
  }

  void listen() {
    while (const auto notice = controller_->next(now_))
      if (const auto* granted = std::get_if<Granted>(&notice->news))
        flights_.push_back({granted->seat, notice->tag});
  }

  // Whatever is known of a route or a client is of it and of no other.
  void check() {
    for (const std::uint64_t number : numbers_) {
      const Explanation said = controller_->explain(arrival_of(number), now_);
      REQUIRE(said.most_work == (known_.contains(number) ? work_of(number) : 0ms));
      REQUIRE(said.buckets.route->burst == burst_of(number));
      REQUIRE(said.buckets.route->tokens <= burst_of(number));
      REQUIRE(said.client->burst == allowance_of(number));
      REQUIRE(said.client->tokens <= allowance_of(number));
      REQUIRE(said.client->plan == ids_.plan(name_of(number)));
      // A new one has its bucket full; one that has had requests has as much less.
      if (said.client->number == ClientTable::newcomer)
        REQUIRE(said.buckets.route->tokens == burst_of(number));
      ++compared;
    }
  }

  Random random_;
  std::vector<std::uint64_t> numbers_;
  std::uint64_t newest_ = 0;
  conf::Settings settings_;
  Ids ids_;
  std::unique_ptr<Controller> controller_;
  std::deque<Flight> flights_;
  std::map<std::uint64_t, RouteId> known_;  // routes of which a request has ended
  Time now_ = start;
};

TEST_CASE(
    "random reloads with ever new names: nothing is taken for another's, and ids are bounded") {
  INFO(replay(run().seed));
  Reloads reloads(run().seed);
  reloads.run(2'000);
  CHECK(reloads.compared > 10'000);
}

}  // namespace
}  // namespace classgate::admission
