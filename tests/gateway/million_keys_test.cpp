// The attack of a million invented API keys, ten minutes of it in one, in virtual time: who the
// requests are (ClientIdentities) and what becomes of them (Controller) as the gateway has it.

#include <doctest/doctest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "admission/controller.h"
#include "conf/format.h"
#include "gateway/clients/client_identity.h"
#include "gateway/clients/quota_table.h"
#include "gateway/first_look.h"

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;
using admission::Time;
using conf::UnknownClients;

constexpr int customers = 20;
constexpr int million = 1'000'000;
constexpr int fewer = 100'000;  // where the number proves nothing more
constexpr int run_milliseconds = 60'000;
constexpr std::uint32_t unknown_max = 1'000;
constexpr double client_rate = 5;  // of one client, a second
constexpr double client_burst = 20;

// A file of them, each with a key of its own; `more` is said of each.
std::shared_ptr<const conf::KnownClients> customers_with(std::string_view more) {
  std::string file;
  for (int i = 0; i < customers; ++i)
    file += fmt::format("customer-{} {}key=sha256:{}\n", i, more,
                        conf::hex_of(conf::sha256(fmt::format("customer-key-{}", i))));
  return std::make_shared<const conf::KnownClients>(*conf::read_known_clients(file));
}

conf::Settings settings_for(UnknownClients unknown) {
  conf::Settings settings;
  conf::FairnessSettings& fairness = settings.admission.fairness;
  settings.admission.workers = 1'000;  // for all that the rates let in
  fairness.is_on = true;
  fairness.identity = {{conf::IdentitySource::Kind::header, "X-Api-Key"}};
  fairness.everybody.rate = client_rate;
  fairness.everybody.burst = client_burst;
  fairness.unknown_max = settings.clients.unknown_max = unknown_max;
  settings.clients.unknown = unknown;
  settings.clients.known = customers_with("");
  return settings;
}

class Attack {
 public:
  Attack(UnknownClients unknown, int keys, int addresses)
      : settings_(settings_for(unknown)),
        ids_(settings_),
        clients_(settings_, ids_, HashKey{1, 2}),
        controller_(settings_.admission, ids_),
        keys_(keys),
        addresses_(addresses) {
    run();
  }

  std::uint64_t known_asked = 0, known_served = 0, unknown_asked = 0, unknown_served = 0;
  std::size_t remembered() const { return controller_.snapshot(now_).clients.known; }
  std::uint64_t forgotten_early() const {
    return controller_.snapshot(now_).clients.forgotten_early;
  }

 private:
  void run() {
    int asked = 0;
    for (int ms = 0; ms < run_milliseconds; ++ms, now_ += 1ms) {
      while (!busy_.empty() && busy_.front().first <= now_) {
        controller_.finish(admission::Outcome::processed(), busy_.front().second, now_);
        busy_.pop_front();
      }
      // Each customer asks four times a second.
      if (ms % 250 < customers && ask(fmt::format("customer-key-{}", ms % 250), "192.0.2.1"))
        ++known_served;
      known_asked += ms % 250 < customers ? 1 : 0;
      for (; asked < static_cast<std::int64_t>(keys_) * (ms + 1) / run_milliseconds; ++asked) {
        ++unknown_asked;
        const std::string address =
            fmt::format("198.51.{}.{}", 100 + asked % addresses_ / 250, asked % addresses_ % 250);
        if (ask(fmt::format("invented-{}", asked), address)) ++unknown_served;
      }
    }
  }
  // Nobody needs to wait.
  bool ask(const std::string& key, const std::string& address) {
    proxy::wire::Head head;
    head.fields = {{"X-Api-Key", key}};
    admission::Arrival arrival{.priority = 3, .at = now_};
    const auto identity =
        recognise(clients_, {head, *conf::IpAddress::parse(address), {}}, "/", arrival);
    if (identity.is_refused) return false;
    if (controller_.screen(arrival, now_)) return false;
    const auto verdict = controller_.arrive(arrival, now_);
    const auto* const admitted = std::get_if<admission::Admitted>(&verdict);
    REQUIRE(admitted != nullptr);
    busy_.emplace_back(now_ + 20ms, admitted->seat);
    return true;
  }

  const conf::Settings settings_;
  const admission::Ids ids_;
  const ClientIdentities clients_;
  admission::Controller controller_;
  const int keys_;
  const int addresses_;
  Time now_ = Time{} + 1h;
  std::deque<std::pair<Time, admission::Seat>> busy_;
};

// What one client may have in this time, and not one request more.
constexpr auto share =
    static_cast<std::uint64_t>(client_burst + client_rate * run_milliseconds / 1000);

TEST_CASE(
    "a million invented keys from one address get one client's share, known clients all theirs") {
  for (const auto& [unknown, keys] :
       {std::pair(UnknownClients::address, million), std::pair(UnknownClients::shared, fewer)}) {
    const Attack attack(unknown, keys, 1);
    CHECK(attack.unknown_asked == static_cast<std::uint64_t>(keys));
    CHECK(attack.unknown_served <= share);
    CHECK(attack.unknown_served >= share * 9 / 10);  // it is a client, too
    CHECK(attack.known_asked == 4 * 60 * customers);
    CHECK(attack.known_served >= attack.known_asked * 99 / 100);
    CHECK(attack.remembered() == customers + 1);
    CHECK(attack.forgotten_early() == 0);
  }
}

TEST_CASE(
    "of refused clients a million keys get nothing, from many addresses one share where they "
    "share") {
  const Attack refused(UnknownClients::refuse, fewer, 100);
  CHECK(refused.unknown_served == 0);
  CHECK(refused.known_served == refused.known_asked);
  CHECK(refused.remembered() == customers);
  const Attack shared(UnknownClients::shared, fewer, 10'000);
  CHECK(shared.unknown_served <= share);
  CHECK(shared.known_served >= shared.known_asked * 99 / 100);
}

TEST_CASE("however many unknown ones there are, they push out none that is known") {
  // Each key, and each address, is a client: unsafe, and bounded all the same.
  for (const UnknownClients unknown : {UnknownClients::own, UnknownClients::address}) {
    const Attack attack(unknown, fewer, 10'000);
    CHECK(attack.remembered() == customers + unknown_max);
  }
}

// Of a plan's network anybody may be, who has an address there: of 0.0.0.0/0 everybody.
TEST_CASE("strangers in a plan's network take neither rights nor quotas of clients with keys") {
  // Tables for a hundred clients; each of 1,000 addresses asks once, and then the paying ones come.
  conf::Settings settings = settings_for(UnknownClients::address);
  conf::FairnessSettings& fairness = settings.admission.fairness;
  settings.admission.rate = 0;  // each has its own
  fairness.clients_max = fairness.network_max = settings.clients.quota_clients_max = 100;
  fairness.plans = {{.name = "gold", .rate = 0.5, .burst = 5, .clients = {}},
                    {.name = "free", .rate = 0.01, .burst = 2, .clients = {"address:0.0.0.0/0"}}};
  fairness.plans[0].quota.month = 1'000;
  fairness.plans[1].quota.day = 20;
  fairness.everybody.rate = 0.01;
  fairness.everybody.burst = 2;
  settings.clients.known = customers_with("plan=gold ");
  const HashKey key{1, 2};
  const admission::Ids ids(settings);
  const ClientIdentities clients(settings, ids, key);
  admission::Controller controller(settings.admission, ids);
  QuotaTable quotas(std::make_shared<const conf::TimeZone>(), settings.clients.quota_clients_max,
                    quota_names_of(settings, key));
  const PlanQuota gold("gold", fairness.plans[0].quota), free("free", fairness.plans[1].quota);
  const Time now = Time{} + 1h;
  const auto midday = std::chrono::sys_days(std::chrono::year(2026) / 11 / 27) + 12h;
  const auto come = [&](const std::string& api_key, const std::string& address) {
    proxy::wire::Head head;
    if (!api_key.empty()) head.fields = {{"X-Api-Key", api_key}};
    admission::Arrival arrival{.priority = 3, .at = now};
    recognise(clients, {head, *conf::IpAddress::parse(address), {}}, "/", arrival);
    return arrival;
  };
  const auto is_let_in = [&](admission::Arrival arrival) {
    return !controller.screen(arrival, now);
  };
  const auto has_quota = [&](const admission::Arrival& arrival, const PlanQuota& plan) {
    return !quotas
                .take(arrival.client, plan, 1, midday,
                      arrival.client_kind == admission::ClientKind::known)
                .refused;
  };
  for (int i = 0; i < 1'000; ++i) {
    const auto stranger = come("", fmt::format("198.51.{}.{}", i / 250, i % 250));
    CHECK(stranger.plan == ids.plan("free"));
    is_let_in(stranger);
    has_quota(stranger, free);
  }
  for (int i = 0; i < customers; ++i) {
    const auto customer = come(fmt::format("customer-key-{}", i), "198.51.0.1");
    int let_in = 0, within = 0;
    for (int request = 0; request < 20; ++request) let_in += is_let_in(customer) ? 1 : 0;
    for (int request = 0; request < 1'200; ++request) within += has_quota(customer, gold) ? 1 : 0;
    CHECK(let_in == 5);
    CHECK(within == 1'000);
  }
  const auto counts = controller.snapshot(now).clients;
  CHECK(counts.network == 100);
  CHECK(counts.known == 100 + customers);
  CHECK(quotas.clients() <= 100 + 1);  // and the one that the strangers without a place share
}

}  // namespace
}  // namespace classgate::gateway
