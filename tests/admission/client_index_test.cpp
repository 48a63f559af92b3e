#include "admission/client_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// An index of clients whose identities stand in a plain map.
struct IndexedClients {
  explicit IndexedClients(std::size_t count) { index.clear(count); }

  void add(std::uint64_t id, ClientNumber number) {
    index.insert(id, number);
    ids[number] = id;
  }
  void remove(ClientNumber number) {
    index.erase(number, [this](ClientNumber each) { return ids.at(each); });
    ids.erase(number);
  }
  ClientNumber find(std::uint64_t id) const {
    return index.find(id, [&](ClientNumber number) { return ids.at(number) == id; });
  }

  ClientIndex index;
  std::map<ClientNumber, std::uint64_t> ids;
};

TEST_CASE("an index without room finds nobody") {
  const ClientIndex index;
  CHECK(index.find(1, [](ClientNumber) { return true; }) == no_client);
}

TEST_CASE("identities that are alike in all but one bit are told apart") {
  IndexedClients clients(64);
  for (unsigned bit = 0; bit < 64; ++bit) clients.add(std::uint64_t{1} << bit, bit + 1);
  for (unsigned bit = 0; bit < 64; ++bit) CHECK(clients.find(std::uint64_t{1} << bit) == bit + 1);
  CHECK(clients.find(3) == no_client);
}

TEST_CASE("who stood behind one that has gone is found, over the end of the table too") {
  // All at home in the last place.
  constexpr std::uint64_t last = 0xff;
  for (ClientNumber leaving = 1; leaving <= 5; ++leaving) {
    CAPTURE(leaving);
    IndexedClients clients(100);
    for (ClientNumber number = 1; number <= 5; ++number)
      clients.add(last | std::uint64_t{number} << 60, number);
    clients.remove(leaving);
    for (ClientNumber number = 1; number <= 5; ++number)
      CHECK(clients.find(last | std::uint64_t{number} << 60) ==
            (number == leaving ? no_client : number));
  }
}

TEST_CASE(
    "as full as it may be, an index of clients that come and go knows whom a plain map knows") {
  for (std::uint64_t round = 0; round < 20; ++round) {
    INFO(replay(run().seed + round));
    Random random(run().seed + round);
    constexpr std::size_t room = 102;  // of 128 places: four fifths
    IndexedClients clients(room);
    // Few homes, so that many are pushed out of theirs.
    const auto draw = [&] { return random.below(40) * 3 | random.below(50) << 58; };
    for (int event = 0; event < 3'000; ++event) {
      const std::uint64_t id = draw();
      const ClientNumber known = clients.find(id);
      const auto model =
          std::ranges::find_if(clients.ids, [id](const auto& each) { return each.second == id; });
      REQUIRE(known == (model == clients.ids.end() ? no_client : model->first));
      if (known != no_client && random.below(2) == 0) {
        clients.remove(known);
      } else if (known == no_client && clients.ids.size() < room) {
        ClientNumber free = 1;
        while (clients.ids.contains(free)) ++free;
        clients.add(id, free);
      }
    }
  }
}

}  // namespace
}  // namespace classgate::admission
