#include "gateway/planning/workload_clients.h"

#include <doctest/doctest.h>

#include <memory>

#include "conf/known_clients.h"
#include "gateway/planning/workload_traffic.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

// Known by X-Api-Key: who has the key "gold-1" or "gold-2" is on the plan gold.
conf::Settings settings_with_gold() {
  conf::Settings settings;
  settings.admission.fairness.is_on = true;
  settings.admission.fairness.identity = {
      {.kind = conf::IdentitySource::Kind::header, .name = "X-Api-Key"}, {}};
  settings.admission.fairness.plans = {
      {.name = "gold", .clients = {"header:X-Api-Key:gold-1", "header:X-Api-Key:gold-2"}}};
  return settings;
}

conf::Workload workload_with(std::vector<std::string> keys, std::uint32_t clients) {
  conf::Workload workload;
  workload.key_header = "x-api-key";
  workload.duration = 10s;
  workload.classes = {
      {.name = "before", .clients = 2, .rates = {{0s, 10}}},
      {.name = "of keys", .keys = std::move(keys), .clients = clients, .rates = {{0s, 10}}}};
  return workload;
}

std::vector<simulation::ClassTraffic::Client> found(const conf::Workload& workload,
                                                    const conf::Settings& settings) {
  auto clients = clients_of(workload, settings);
  REQUIRE(clients.has_value());
  return *clients;
}

TEST_CASE("a client of a workload is on the plan that has its key, and one without key is not") {
  const conf::Settings settings = settings_with_gold();
  const admission::PlanId gold = admission::Ids(settings).plan("gold");
  const auto clients = found(workload_with({"gold-1", "gold-2", "other"}, 3), settings);
  REQUIRE(clients.size() == 5);
  CHECK(clients[0].plan == admission::PlanId{});
  CHECK(clients[2].plan == gold);
  CHECK(clients[3].plan == gold);
  CHECK(clients[4].plan == admission::PlanId{});
  for (std::uint32_t i = 0; i < 5; ++i) CHECK(clients[i].number == i);
}

TEST_CASE("clients that send the same key are one, and their requests say so") {
  const conf::Settings settings = settings_with_gold();
  const conf::Workload workload = workload_with({"gold-1"}, 3);
  const auto clients = found(workload, settings);
  CHECK(clients[2].number == 2);
  CHECK(clients[3].number == 2);
  CHECK(clients[4].number == 2);
  WorkloadTraffic traffic(workload, admission::RouteTable(settings.routes), clients);
  for (simulation::Wish wish; traffic.next(wish);)
    if (wish.group == 1) {
      CHECK(wish.client == 2);
      CHECK(wish.plan == admission::Ids(settings).plan("gold"));
    }
}

TEST_CASE("who sends a key that nobody knows is what the conf makes of such") {
  conf::Settings settings = settings_with_gold();
  const conf::Workload workload = workload_with({"invented"}, 2);
  settings.clients.unknown = conf::UnknownClients::own;
  CHECK(found(workload, settings)[3].number == 2);
  settings.clients.unknown = conf::UnknownClients::address;
  CHECK(found(workload, settings)[3].number == 3);
  settings.clients.unknown = conf::UnknownClients::refuse;
  CHECK_FALSE(clients_of(workload, settings).has_value());
}

TEST_CASE("a client of the file is known by each of its keys") {
  conf::Settings settings = settings_with_gold();
  const auto known = std::make_shared<conf::KnownClients>();
  known->clients.resize(1);
  known->clients.front().name = "acme";
  known->clients.front().plan = "gold";
  known->keys = {{conf::sha256("one"), 0, 1}, {conf::sha256("two"), 0, 1}};
  settings.clients.known = known;
  const auto clients = found(workload_with({"one", "two"}, 2), settings);
  CHECK(clients[2].plan == admission::Ids(settings).plan("gold"));
  CHECK(clients[3].number == 2);
}

TEST_CASE("a header in which the conf looks for tokens is no answer") {
  conf::Settings settings = settings_with_gold();
  settings.admission.fairness.identity = {{.kind = conf::IdentitySource::Kind::jwt, .name = "sub"}};
  CHECK_FALSE(clients_of(workload_with({"gold-1"}, 1), settings).has_value());
}

}  // namespace
}  // namespace classgate::planning
