#include "admission/wait_queue.h"

#include "tests/admission/kit.h"

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

using Names = std::vector<std::uint32_t>;

TEST_CASE("who came first goes first") {
  WaitQueue queue;
  for (std::uint32_t name = 1; name <= 5; ++name) queue.join(waiter(3, name));
  CHECK(names_in_order(queue) == Names{1, 2, 3, 4, 5});
}

TEST_CASE("a better priority goes first and FIFO holds inside each") {
  WaitQueue queue;
  const int priorities[] = {5, 3, 1, 4, 5, 2, 3, 1, 4, 2};
  for (std::uint32_t name = 0; name < 10; ++name) queue.join(waiter(priorities[name], name));
  CHECK(names_in_order(queue) == Names{2, 7, 5, 9, 1, 6, 3, 8, 0, 4});
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
    Names others{0, 1, 2, 3};
    std::erase(others, leaving);
    CHECK(names_in_order(queue) == others);
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
  CHECK(names_in_order(queue) == Names{3, 4});
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
  CHECK(names_in_order(queue) == Names{0, 5});
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

}  // namespace
}  // namespace classgate::admission
