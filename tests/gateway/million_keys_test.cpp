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
  std::string file;
  for (int i = 0; i < customers; ++i)
    file += fmt::format("customer-{} key=sha256:{}\n", i,
                        conf::hex_of(conf::sha256(fmt::format("customer-key-{}", i))));
  settings.clients.known =
      std::make_shared<const conf::KnownClients>(*conf::read_known_clients(file));
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
    const auto identity = clients_.of({head, *conf::IpAddress::parse(address), {}}, {});
    if (identity.is_refused) return false;
    admission::Arrival arrival{.priority = 3,
                               .at = now_,
                               .client = identity.id,
                               .plan = identity.plan,
                               .is_known = identity.is_known};
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

}  // namespace
}  // namespace classgate::gateway
