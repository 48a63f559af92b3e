#include "admission/top_clients.h"

#include "admission/gate.h"
#include "tests/admission/kit.h"

namespace classgate::admission {
namespace {

ClientState client(std::uint64_t id, std::uint32_t active, std::uint32_t waiting,
                   double tokens = 10) {
  return {id,
          {.number = static_cast<ClientNumber>(id),
           .tokens = tokens,
           .rate = 1,
           .burst = 10,
           .active = active,
           .waiting = waiting}};
}

std::vector<std::uint64_t> ids(std::vector<ClientState> clients) {
  std::vector<std::uint64_t> found;
  for (const ClientState& state : clients) found.push_back(state.id);
  return found;
}

TEST_CASE("who has most workers is first, then who has most places, then who has spent most") {
  TopClients top(4);
  for (const ClientState& state : {client(1, 0, 9), client(2, 3, 0), client(3, 0, 0, 2),
                                   client(4, 3, 1), client(5, 0, 0, 1), client(6, 0, 2)})
    top.offer(state);
  CHECK(ids(top.take()) == std::vector<std::uint64_t>{4, 2, 1, 6});
}

TEST_CASE("who has nothing is left out, and of equals the first numbers stay") {
  TopClients top(2);
  for (const ClientState& state :
       {client(5, 1, 0), client(1, 0, 0), client(3, 1, 0), client(4, 1, 0)})
    top.offer(state);
  CHECK(ids(top.take()) == std::vector<std::uint64_t>{3, 4});
  TopClients nobody(0);
  nobody.offer(client(1, 1, 1));
  CHECK(nobody.take().empty());
}

TEST_CASE("the whole table is looked at, however large it is") {
  conf::AdmissionSettings settings = small_settings();
  settings.fairness.is_on = true;
  settings.fairness.everybody.rate = 1;
  settings.fairness.everybody.burst = 10;
  settings.workers = 10'000;
  Gate gate(settings);
  std::vector<Permit> permits;
  for (std::uint64_t id = 1; id <= 5'000; ++id) {
    auto answer = gate.enter({.at = start, .client = id}, start);
    if (id % 1'000 == 0) permits.push_back(std::get<Permit>(std::move(answer)));
  }
  CHECK(ids(gate.top_clients(5, start)) ==
        std::vector<std::uint64_t>{1'000, 2'000, 3'000, 4'000, 5'000});
  const std::vector<ClientState> all = gate.top_clients(10'000, start);
  CHECK(all.size() == 5'000);
  CHECK(all.back().now.tokens == 9);
  CHECK(Gate(small_settings()).top_clients(10, start).empty());
}

}  // namespace
}  // namespace classgate::admission
