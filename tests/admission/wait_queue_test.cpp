// The queue: the order of those who wait, clients that take turns in it, and both against a plain
// model. Long, because the order with clients is another than without, and each has its half.

#include "admission/wait_queue.h"

#include <algorithm>
#include <map>

#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// The owner serves as a name.
Waiter waiter(int priority, std::uint32_t name, std::uint64_t bytes = 0) {
  return {.priority = priority, .bytes = bytes, .joined = start, .owner = name};
}

std::vector<std::uint32_t> names_in_order(WaitQueue& queue) {
  std::vector<std::uint32_t> names;
  while (const auto entry = queue.pop_front()) names.push_back(entry->waiter.owner);
  return names;
}

using Owners = std::vector<std::uint32_t>;

TEST_CASE("who came first goes first") {
  WaitQueue queue;
  for (std::uint32_t name = 1; name <= 5; ++name) queue.join(waiter(3, name));
  CHECK(names_in_order(queue) == Owners{1, 2, 3, 4, 5});
}

TEST_CASE("a better priority goes first and FIFO holds inside each") {
  WaitQueue queue;
  const int priorities[] = {5, 3, 1, 4, 5, 2, 3, 1, 4, 2};
  for (std::uint32_t name = 0; name < 10; ++name) queue.join(waiter(priorities[name], name));
  CHECK(names_in_order(queue) == Owners{2, 7, 5, 9, 1, 6, 3, 8, 0, 4});
}

TEST_CASE("an empty queue has no front and nobody to give way") {
  WaitQueue queue;
  CHECK(queue.front() == nullptr);
  CHECK_FALSE(queue.pop_front());
  CHECK_FALSE(queue.pop_newest_worse_than(1));
  CHECK_FALSE(queue.leave({}));
  CHECK_FALSE(queue.leave({7, 0}));
}

TEST_CASE("the front stays where it is") {
  WaitQueue queue;
  queue.join(waiter(4, 1));
  queue.join(waiter(2, 2));
  REQUIRE(queue.front() != nullptr);
  CHECK(queue.front()->owner == 2);
  CHECK(queue.size() == 2);
}

TEST_CASE("a waiter who leaves gives up its place wherever it stands") {
  for (std::uint32_t leaving = 0; leaving < 4; ++leaving) {
    CAPTURE(leaving);
    WaitQueue queue;
    std::vector<Ticket> tickets;
    for (std::uint32_t name = 0; name < 4; ++name) tickets.push_back(queue.join(waiter(3, name)));
    const auto left = queue.leave(tickets[leaving]);
    REQUIRE(left);
    CHECK(left->owner == leaving);
    CHECK(queue.size() == 3);
    Owners others{0, 1, 2, 3};
    std::erase(others, leaving);
    CHECK(names_in_order(queue) == others);
  }
}

// Its links against plain lists: taking the first leaves stale ones behind, that nothing may
// follow.
TEST_CASE("whoever is taken from wherever, the others keep their order") {
  struct Standing {
    std::uint32_t name;
    ClientNumber client;
    Ticket ticket;
  };
  INFO(replay(run().seed));
  Random random(run().seed);
  WaitQueue queue;
  std::map<int, std::vector<Standing>> lists;  // by priority, in the order of joining
  std::uint32_t joined = 0;
  const auto take = [&](const Waiter& waiter, bool is_last_of_client) {
    auto& list = lists[waiter.priority];
    const auto is_client = [&](const Standing& each) { return each.client == waiter.client; };
    auto found = std::ranges::find_if(list, is_client);
    if (is_last_of_client)
      for (auto next = found; next != list.end(); ++next)
        if (is_client(*next)) found = next;
    REQUIRE(found != list.end());
    REQUIRE(found->name == waiter.owner);
    list.erase(found);
  };
  for (int i = 0; i < 100'000; ++i) {
    const int priority = static_cast<int>(random.between(2, 4));
    auto& list = lists[priority];
    switch (random.below(queue.size() < 12 ? 9 : 6)) {
      case 0: {
        if (const auto first = queue.pop_front()) take(first->waiter, false);
        break;
      }
      case 1: {
        const auto oldest = queue.pop_oldest_of(priority);
        REQUIRE(oldest.has_value() == !list.empty());
        if (!oldest) break;
        REQUIRE(oldest->waiter.owner == list.front().name);
        list.erase(list.begin());
        break;
      }
      case 2: {
        if (const auto newest = queue.pop_newest_of_largest(priority)) take(newest->waiter, true);
        break;
      }
      case 3: {
        if (list.empty()) break;
        const auto leaving = list.begin() + static_cast<std::ptrdiff_t>(random.below(list.size()));
        const auto left = queue.leave(leaving->ticket);
        REQUIRE(left);
        REQUIRE(left->owner == leaving->name);
        list.erase(leaving);
        break;
      }
      default: {
        Waiter one = waiter(priority, joined++);
        one.client = random.chance(50) ? no_client : static_cast<ClientNumber>(random.below(3));
        list.push_back({one.owner, one.client, queue.join(one)});
      }
    }
    REQUIRE(queue.size_of(priority) == list.size());
  }
}

TEST_CASE("a queue that was emptied by leaving takes new waiters in order") {
  WaitQueue queue;
  const Ticket first = queue.join(waiter(3, 1));
  const Ticket second = queue.join(waiter(3, 2));
  queue.leave(second);
  queue.leave(first);
  CHECK(queue.front() == nullptr);
  queue.join(waiter(3, 3));
  queue.join(waiter(3, 4));
  CHECK(names_in_order(queue) == Owners{3, 4});
}

TEST_CASE("a ticket is good once") {
  WaitQueue queue;
  const Ticket ticket = queue.join(waiter(3, 1));
  CHECK(queue.leave(ticket));
  CHECK_FALSE(queue.leave(ticket));
}

TEST_CASE("a ticket of old does not open the place of whoever came after") {
  WaitQueue queue;
  const Ticket old = queue.join(waiter(3, 1));
  CHECK(queue.pop_front()->ticket == old);
  const Ticket fresh = queue.join(waiter(3, 2));
  CHECK(fresh.slot == old.slot);
  CHECK_FALSE(fresh == old);
  CHECK_FALSE(queue.leave(old));
  CHECK(queue.size() == 1);
  CHECK(queue.leave(fresh)->owner == 2);
}

TEST_CASE("the newest of the worst is the one to give way") {
  WaitQueue queue;
  const int priorities[] = {3, 5, 4, 5, 4, 3};
  for (std::uint32_t name = 0; name < 6; ++name) queue.join(waiter(priorities[name], name));
  CHECK(queue.pop_newest_worse_than(3)->waiter.owner == 3);
  CHECK(queue.pop_newest_worse_than(3)->waiter.owner == 1);
  CHECK(queue.pop_newest_worse_than(3)->waiter.owner == 4);
  CHECK_FALSE(queue.pop_newest_worse_than(4));
  CHECK(queue.pop_newest_worse_than(3)->waiter.owner == 2);
  CHECK_FALSE(queue.pop_newest_worse_than(3));
  CHECK(names_in_order(queue) == Owners{0, 5});
}

TEST_CASE("sizes and bytes are those of the ones who wait") {
  WaitQueue queue;
  const Ticket ten = queue.join(waiter(2, 1, 10));
  queue.join(waiter(4, 2, 200));
  queue.join(waiter(5, 3, 3000));
  CHECK(queue.size() == 3);
  CHECK(queue.bytes() == 3210);
  CHECK(queue.size_of(4) == 1);
  CHECK(queue.size_of(3) == 0);
  CHECK(queue.size_worse_than(1) == 3);
  CHECK(queue.size_worse_than(2) == 2);
  CHECK(queue.size_worse_than(5) == 0);
  CHECK(queue.bytes_worse_than(1) == 3210);
  CHECK(queue.bytes_worse_than(4) == 3000);
  queue.leave(ten);
  CHECK(queue.bytes() == 3200);
  queue.pop_newest_worse_than(1);
  CHECK(queue.bytes() == 200);
  queue.pop_front();
  CHECK(queue.bytes() == 0);
  CHECK(queue.size() == 0);
}

// ---- Clients ------------------------------------------------------------------------------------

Waiter of_client(ClientNumber client, std::uint32_t name, std::uint32_t cost = 1,
                 std::uint16_t weight = 1) {
  Waiter result = waiter(3, name);
  result.client = client;
  result.cost = cost;
  result.weight = weight;
  return result;
}

std::vector<ClientNumber> clients_in_order(WaitQueue& queue, std::size_t count) {
  std::vector<ClientNumber> clients;
  while (count-- > 0) clients.push_back(queue.pop_front()->waiter.client);
  return clients;
}

using Clients = std::vector<ClientNumber>;

TEST_CASE("clients take turns, and each one's own requests are first come first served") {
  WaitQueue queue;
  for (std::uint32_t name = 1; name <= 3; ++name) queue.join(of_client(7, name));
  for (std::uint32_t name = 4; name <= 6; ++name) queue.join(of_client(8, name));
  CHECK(names_in_order(queue) == Owners{1, 4, 2, 5, 3, 6});
}

TEST_CASE("a client that has waited for its turn goes before the second turn of another") {
  WaitQueue queue;
  for (std::uint32_t name = 1; name <= 100; ++name) queue.join(of_client(1, name));
  clients_in_order(queue, 10);
  queue.join(of_client(2, 200));
  queue.join(of_client(3, 300));
  CHECK(clients_in_order(queue, 4) == Clients{2, 3, 1, 1});
}

TEST_CASE("twice the weight is twice as many turns") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_client(1, name, 1, 2));
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_client(2, name, 1, 1));
  const Clients turns = clients_in_order(queue, 60);
  CHECK(std::ranges::count(turns, 1) == 40);
}

TEST_CASE("who asks for ten at a time has a tenth of the turns") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_client(1, name, 10));
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_client(2, name, 1));
  const Clients turns = clients_in_order(queue, 55);
  CHECK(std::ranges::count(turns, 1) == 5);
}

TEST_CASE("coming back one at a time earns no more turns than waiting with many") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 100; ++name) queue.join(of_client(1, name));
  queue.join(of_client(2, 0, 10));
  int turns = 0;
  for (int i = 0; i < 55; ++i) {
    const auto entry = queue.pop_front();
    if (entry->waiter.client == 1) continue;
    ++turns;
    queue.join(of_client(2, 0, 10));  // at once the next one
  }
  CHECK(turns == 5);
}

TEST_CASE("when nobody has waited for a moment everything is paid") {
  WaitQueue queue;
  queue.join(of_client(1, 1, 1000));
  queue.join(of_client(2, 2));
  clients_in_order(queue, 2);
  queue.join(of_client(1, 3));
  queue.join(of_client(2, 4));
  CHECK(names_in_order(queue) == Owners{3, 4});
}

TEST_CASE("who is away saves no turns up") {
  WaitQueue queue;
  queue.join(of_client(2, 0));
  for (std::uint32_t name = 0; name < 100; ++name) queue.join(of_client(1, name));
  clients_in_order(queue, 60);
  for (std::uint32_t name = 0; name < 20; ++name) queue.join(of_client(2, name));
  const Clients turns = clients_in_order(queue, 20);
  CHECK(std::ranges::count(turns, 2) == 10);
}

Waiter of_plan(ClientNumber client, std::uint32_t name, int plan_priority,
               std::uint16_t weight = 1) {
  Waiter result = of_client(client, name, 1, weight);
  result.plan_priority = static_cast<std::uint8_t>(plan_priority);
  return result;
}

TEST_CASE("inside a priority the plans of a better one go first, and their clients take turns") {
  WaitQueue queue;
  queue.join(of_plan(1, 1, 4));
  queue.join(of_plan(2, 2, 2));
  queue.join(of_plan(2, 3, 2));
  queue.join(of_plan(3, 4, 2));
  queue.join(of_plan(4, 5, 3));
  CHECK(names_in_order(queue) == Owners{2, 4, 3, 5, 1});
}

TEST_CASE("the priority of a route comes before that of a plan") {
  WaitQueue queue;
  queue.join(of_plan(1, 1, 1));
  Waiter urgent = of_plan(2, 2, 5);
  urgent.priority = 1;
  queue.join(urgent);
  CHECK(names_in_order(queue) == Owners{2, 1});
}

TEST_CASE("weights share among plans of one priority only") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_plan(1, name, 2, 2));
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_plan(2, name, 2, 1));
  for (std::uint32_t name = 0; name < 60; ++name) queue.join(of_plan(3, name, 3, 1000));
  const Clients turns = clients_in_order(queue, 60);
  CHECK(std::ranges::count(turns, 1) == 40);
  CHECK(std::ranges::count(turns, 3) == 0);
}

TEST_CASE("who was passed over for better plans has no turns saved up when they are gone") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 30; ++name) queue.join(of_plan(1, name, 3));
  for (std::uint32_t name = 0; name < 100; ++name) queue.join(of_plan(2, name, 2));
  clients_in_order(queue, 100);
  for (std::uint32_t name = 0; name < 30; ++name) queue.join(of_plan(3, name, 3));
  const Clients turns = clients_in_order(queue, 20);
  CHECK(std::ranges::count(turns, 3) >= 9);
}

TEST_CASE("ahead of a client are the better plans, and as many of each of its own as it has") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 3; ++name) queue.join(of_plan(1, name, 2));
  for (std::uint32_t name = 0; name < 10; ++name) queue.join(of_plan(2, name, 3));
  for (std::uint32_t name = 0; name < 10; ++name) queue.join(of_plan(3, name, 4));
  CHECK(queue.ahead_of(3, 9, 1) == 0);
  CHECK(queue.ahead_of(3, 1, 2) == 3);
  CHECK(queue.ahead_of(3, 9, 2) == 1);
  CHECK(queue.ahead_of(3, 9, 3) == 3 + 1);
  CHECK(queue.ahead_of(3, 3, 4) == 3 + 10 + 10);
}

TEST_CASE("a parked client of the best plan is passed by, and is first again afterwards") {
  WaitQueue queue;
  queue.join(of_plan(1, 1, 1));
  queue.join(of_plan(2, 2, 5));
  queue.join(of_plan(2, 3, 5));
  queue.park(1);
  CHECK(queue.pop_front()->waiter.owner == 2);
  queue.unpark(1);
  CHECK(names_in_order(queue) == Owners{1, 3});
}

TEST_CASE("the newest of the client with the most waiting gives way") {
  WaitQueue queue;
  queue.join(of_client(1, 1));
  queue.join(of_client(2, 2));
  queue.join(of_client(2, 3));
  queue.join(of_client(1, 4));
  queue.join(of_client(1, 5));
  queue.join(of_client(3, 6));
  CHECK(queue.largest_size_of(3) == 3);
  CHECK(queue.pop_newest_worse_than(2)->waiter.owner == 5);
  CHECK(queue.largest_size_of(3) == 2);
  const auto second = queue.pop_newest_worse_than(2);
  const auto third = queue.pop_newest_worse_than(2);
  CHECK(second->waiter.client != third->waiter.client);
  CHECK(queue.size_of(3, 1) == 1);
  CHECK(queue.size_of(3, 2) == 1);
  // Nobody has two any more.
  CHECK(queue.largest_size_of(3) == 1);
  CHECK(queue.pop_newest_worse_than(2)->waiter.owner == 6);
  CHECK(queue.pop_newest_worse_than(2)->waiter.owner == 2);
  CHECK(queue.pop_newest_worse_than(2)->waiter.owner == 1);
  CHECK(queue.largest_size_of(3) == 0);
  CHECK_FALSE(queue.pop_newest_worse_than(2));
}

TEST_CASE("a parked client keeps its places and has no turn") {
  WaitQueue queue;
  queue.join(of_client(1, 1));
  queue.join(of_client(2, 2));
  queue.join(of_client(1, 3));
  queue.park(1);
  CHECK(queue.pop_front()->waiter.owner == 2);
  CHECK(queue.front() == nullptr);
  CHECK(queue.size() == 2);
  queue.unpark(1);
  CHECK(names_in_order(queue) == Owners{1, 3});
}

TEST_CASE("a parked waiter can leave") {
  WaitQueue queue;
  const Ticket ticket = queue.join(of_client(1, 1));
  queue.park(1);
  CHECK(queue.leave(ticket));
  CHECK(queue.size() == 0);
  queue.join(of_client(1, 2));
  CHECK(queue.pop_front()->waiter.owner == 2);
}

TEST_CASE("what was charged without a turn is paid by waiting longer") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 20; ++name) queue.join(of_client(1, name));
  for (std::uint32_t name = 0; name < 20; ++name) queue.join(of_client(2, name));
  queue.charge(2, 3, 1, 5);
  CHECK(clients_in_order(queue, 6) == Clients{1, 1, 1, 1, 1, 2});
  queue.charge(2, 3, 1, 50);
  queue.charge(2, 3, 1, -100);
  CHECK(clients_in_order(queue, 4) == Clients{1, 2, 1, 2});
}

TEST_CASE("a number that stands for another client has a clean slate") {
  WaitQueue queue;
  for (std::uint32_t name = 0; name < 20; ++name) queue.join(of_client(1, name));
  queue.join(of_client(2, 0, 1000));
  clients_in_order(queue, 2);
  queue.forget(2);
  queue.join(of_client(2, 0));
  const Clients turns = clients_in_order(queue, 2);
  CHECK(std::ranges::count(turns, 2) == 1);
}

// Against a plain model: lists, searched from end to end.
TEST_CASE("random clients are served as a plain model of fair queueing would") {
  struct Line {
    std::int64_t start = 0;
    std::uint64_t since = 0;
    std::vector<std::pair<Ticket, Waiter>> waiters;
  };
  for (std::uint64_t round = 0; round < 60; ++round) {
    INFO(replay(run().seed + round));
    Random random(run().seed + round);
    WaitQueue queue;
    std::map<ClientNumber, Line> lines;  // that wait
    std::map<ClientNumber, std::int64_t> paid;
    std::int64_t now = 0;
    std::int64_t all_paid = 0;
    std::uint64_t since = 0;
    std::size_t waiting = 0;
    const auto remove = [&](ClientNumber client, std::size_t at) {
      Line& line = lines[client];
      line.waiters.erase(line.waiters.begin() + static_cast<std::ptrdiff_t>(at));
      --waiting;
      if (!line.waiters.empty()) return;
      paid[client] = line.start;
      lines.erase(client);
      if (lines.empty()) now = std::max(now, all_paid);
    };
    for (int event = 0; event < 2'000; ++event) {
      const std::uint64_t dice = random.below(100);
      if (dice < 52) {
        const auto client = static_cast<ClientNumber>(random.below(12));
        // Weights that divide the unit of virtual time: the model rounds no differently.
        const Waiter waiter = of_client(client, static_cast<std::uint32_t>(event),
                                        static_cast<std::uint32_t>(random.between(0, 20)),
                                        static_cast<std::uint16_t>(1U << (client % 3)));
        if (!lines.contains(client)) lines[client] = {std::max(now, paid[client]), since++, {}};
        lines[client].waiters.push_back({queue.join(waiter), waiter});
        ++waiting;
      } else if (waiting > 0 && dice < 70) {
        auto line = lines.begin();
        std::advance(line, static_cast<std::ptrdiff_t>(random.below(lines.size())));
        const std::size_t at = random.below(line->second.waiters.size());
        const auto left = queue.leave(line->second.waiters[at].first);
        REQUIRE(left);
        REQUIRE(left->owner == line->second.waiters[at].second.owner);
        remove(line->first, at);
      } else if (waiting > 0 && dice < 75) {
        const auto given_way = queue.pop_newest_worse_than(1);
        REQUIRE(given_way);
        const Line& line = lines[given_way->waiter.client];
        for (const auto& [client, other] : lines) {
          REQUIRE(line.waiters.size() >= other.waiters.size());
          if (line.waiters.size() == 1)  // nobody has two: the newest of all
            REQUIRE(line.waiters[0].second.owner >= other.waiters[0].second.owner);
        }
        REQUIRE(line.waiters.back().first == given_way->ticket);
        remove(given_way->waiter.client, line.waiters.size() - 1);
      } else if (waiting > 0) {
        const auto first = std::ranges::min_element(lines, {}, [](const auto& each) {
          return std::pair(each.second.start, each.second.since);
        });
        Line& line = first->second;
        const auto entry = queue.pop_front();
        REQUIRE(entry);
        REQUIRE(entry->ticket == line.waiters.front().first);
        now = std::max(now, line.start);
        line.start += std::int64_t{1024} * entry->waiter.cost / entry->waiter.weight;
        line.since = since++;
        all_paid = std::max(all_paid, line.start);
        remove(first->first, 0);
      }
      REQUIRE(queue.size() == waiting);
    }
  }
}

}  // namespace
}  // namespace classgate::admission
