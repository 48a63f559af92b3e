// Two weeks of a service with 200 clients that have their days and nights, in
// virtual time.

#include <cmath>
#include <numbers>
#include <queue>
#include <vector>

#include "admission/ceilings.h"
#include "admission/explain.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

constexpr std::uint64_t client_count = 200;
constexpr std::uint64_t flood = 1, grower = 2;
constexpr int days_simulated = 14;
constexpr Duration work_time = 1s;

// When what happens on the last day, in hours: the flood begins, and at the time of day when most
// is asked for the service loses half of what it can do, for an hour.
constexpr double flood_begins = (days_simulated - 1) * 24 + 9,
                 half_begins = (days_simulated - 1) * 24 + 12;

struct Account {
  std::uint64_t wished = 0, served = 0, beyond = 0;
  void operator+=(const Account& other) {
    wished += other.wished;
    served += other.served;
    beyond += other.beyond;
  }
};

class PatternWorld {
 public:
  PatternWorld(const conf::AdmissionSettings& settings, std::uint64_t seed, double begins = 0)
      : controller_(settings), workers_(settings.workers), random_(seed) {
    for (std::uint64_t client = 1; client <= client_count; ++client) plan_next(client, begins);
  }

  void run_until(double hour) {
    while (!happenings_.empty() && happenings_.top().hour < hour) {
      const Happening happening = happenings_.top();
      happenings_.pop();
      happening.is_end ? finish(happening) : arrive(happening);
    }
  }
  // What each has had since it was last asked.
  std::vector<Account> take_accounts() { return std::exchange(accounts_, empty_accounts()); }
  void set_capacity(double share) {
    controller_.set_ceiling(Ceilings::Source::upstream,
                            static_cast<std::uint32_t>(share * workers_));
  }
  Explanation explain(std::uint64_t client, double hour) const {
    return controller_.explain({.at = at(hour), .client = client}, at(hour));
  }
  // Requests a second that it would like to make.
  static double wish(std::uint64_t client, double hour) {
    const double of_day = 1 + 0.9 * std::sin(2 * std::numbers::pi * (hour - 6) / 24);
    if (client == flood) return hour >= flood_begins ? 30 : 0.05 * of_day;
    if (client == grower) return 0.05 * of_day * std::pow(1.1, std::floor(hour / 24));
    return 0.005 * static_cast<double>(1 + client % 5) * of_day;
  }

 private:
  struct Happening {
    double hour;
    std::uint64_t client;
    Seat seat;
    bool is_end = false;
    bool operator>(const Happening& other) const { return hour > other.hour; }
  };
  static Time at(double hour) {
    return start + Duration(static_cast<Duration::rep>(hour * 3600e9));
  }
  static std::vector<Account> empty_accounts() { return std::vector<Account>(client_count + 1); }

  // By thinning (Lewis and Shedler, 1979): at the highest rate that it may have, of which some are
  // none.
  void plan_next(std::uint64_t client, double hour) {
    const double most = client == flood    ? (hour < flood_begins ? 0.1 : 30)
                        : client == grower ? 0.1 * std::pow(1.1, days_simulated)
                                           : 0.05;
    for (;;) {
      const double u = (static_cast<double>(random_.below(1'000'000'000)) + 1) / 1e9;
      hour += -std::log(u) / most / 3600;
      if (static_cast<double>(random_.below(1'000'000)) / 1e6 < wish(client, hour) / most) break;
      if (hour > days_simulated * 24 + 1) break;
    }
    happenings_.push({hour, client, {}});
  }
  void arrive(const Happening& happening) {
    const std::uint64_t client = happening.client;
    plan_next(client, happening.hour);
    const Time now = at(happening.hour);
    ++accounts_[client].wished;
    const Verdict verdict = enter(
        controller_,
        {.priority = 3, .at = now, .tag = static_cast<std::uint32_t>(client), .client = client},
        now);
    if (const auto* admitted = std::get_if<Admitted>(&verdict))
      go_in(client, admitted->seat, happening.hour);
    else if (const auto* refused = std::get_if<Rejection>(&verdict))
      accounts_[client].beyond += refused->reason == conf::Reason::client_pattern ? 1 : 0;
    listen(happening.hour);
  }
  void go_in(std::uint64_t client, const Seat& seat, double hour) {
    ++accounts_[client].served;
    happenings_.push(
        {hour + std::chrono::duration<double>(work_time).count() / 3600, client, seat, true});
  }
  void finish(const Happening& happening) {
    controller_.finish(Outcome::processed(), happening.seat, at(happening.hour));
    listen(happening.hour);
  }
  void listen(double hour) {
    while (const auto notice = controller_.next(at(hour)))
      if (const auto* granted = std::get_if<Granted>(&notice->news))
        go_in(notice->tag, granted->seat, hour);
  }

  Controller controller_;
  double workers_;
  Random random_;
  std::vector<Account> accounts_ = empty_accounts();
  std::priority_queue<Happening, std::vector<Happening>, std::greater<>> happenings_;
};

// Peak: 200 clients, 5.8 requests a second, each a second of work.
conf::AdmissionSettings world_settings(bool has_patterns) {
  conf::AdmissionSettings settings;
  settings.workers = 14;
  settings.queue_size = 100;
  settings.rate = 0;
  settings.fairness.is_on = true;
  settings.fairness.pattern.is_on = has_patterns;
  settings.fairness.pattern.floor = 0.01;  // so that it is what is usual that counts
  return settings;
}

Account of_others(const std::vector<Account>& accounts) {
  Account sum;
  for (std::uint64_t client = 3; client <= client_count; ++client) sum += accounts[client];
  return sum;
}
double lost(const Account& account) {
  return account.wished == 0
             ? 0
             : 1 - static_cast<double>(account.served) / static_cast<double>(account.wished);
}

TEST_CASE("who is within its pattern loses nothing to a flood while half the service is away") {
  INFO(replay(run().seed));
  PatternWorld world(world_settings(true), run().seed);
  for (int day = 0; day + 1 < days_simulated; ++day) {
    world.run_until(24 * (day + 1));
    const std::vector<Account> accounts = world.take_accounts();
    CAPTURE(day);
    CHECK(lost(accounts[grower]) < 0.01);
    CHECK(lost(of_others(accounts)) < 0.001);
  }
  world.run_until(flood_begins);
  world.take_accounts();
  const double usual_of_flood = PatternWorld::wish(flood, half_begins - 24);

  world.run_until(half_begins);
  const std::vector<Account> flooded = world.take_accounts();
  world.set_capacity(0.5);
  world.run_until(half_begins + 0.5);
  const Explanation of_flood = world.explain(flood, half_begins + 0.5);
  REQUIRE(of_flood.pattern.has_value());
  CHECK(of_flood.pattern->ground == ClientPatterns::Look::Ground::usual);
  CHECK(of_flood.pattern->rate < 2 * usual_of_flood);
  CHECK(of_flood.is_short);
  world.run_until(half_begins + 1);
  const std::vector<Account> halved = world.take_accounts();
  world.set_capacity(1);

  for (const auto& [accounts, hours] : {std::pair(&flooded, 3.0), std::pair(&halved, 1.0)}) {
    CAPTURE(hours);
    const Account others = of_others(*accounts);
    MESSAGE("of ", others.wished, " within their pattern lost ", 100 * lost(others),
            " %; the flood wished ", (*accounts)[flood].wished, " and got ",
            (*accounts)[flood].served, ", usual is ", usual_of_flood * 3600 * hours,
            "; the one that grows lost ", 100 * lost((*accounts)[grower]), " %");
    CHECK(lost(others) < 0.01);
    CHECK(others.beyond < others.wished / 1000);
    CHECK(lost((*accounts)[grower]) < 0.2);
    const double got = static_cast<double>((*accounts)[flood].served);
    CHECK(got > usual_of_flood * 3600 * hours);
  }
  // In the hour in which it counts: its pattern, with the headroom, and what its bucket held.
  CHECK(static_cast<double>(halved[flood].served) < 1.6 * 1.5 * usual_of_flood * 3600);
}

TEST_CASE("without patterns the same flood has several times as much") {
  INFO(replay(run().seed));
  PatternWorld world(world_settings(false), run().seed, flood_begins - 1);
  world.run_until(flood_begins);
  world.take_accounts();
  world.run_until(half_begins);
  world.take_accounts();
  world.set_capacity(0.5);
  world.run_until(half_begins + 1);
  const std::vector<Account> halved = world.take_accounts();
  MESSAGE("others lost ", 100 * lost(of_others(halved)), " %, the flood got ",
          halved[flood].served);
  CHECK(halved[flood].served > 2000);
}

}  // namespace
}  // namespace classgate::admission
