#include "admission/gate.h"

#include <type_traits>
#include <vector>

#include "tests/admission/inbox.h"
#include "tests/admission/kit.h"
#include "tests/doctest/last_words.h"

namespace classgate::admission {
namespace {

static_assert(!std::is_copy_constructible_v<Permit> && !std::is_copy_assignable_v<Permit>);
static_assert(!std::is_copy_constructible_v<Place> && !std::is_copy_assignable_v<Place>);
static_assert(std::is_nothrow_move_constructible_v<Permit>);
static_assert(std::is_nothrow_move_constructible_v<Place>);

// A gate and two loops.
struct House {
  explicit House(const conf::AdmissionSettings& settings = small_settings()) : gate(settings) {
    gate.attach(first);
    gate.attach(second);
  }
  Permit admit(int priority = 3) {
    Gate::Answer answer = gate.enter(request(priority), start);
    REQUIRE(std::holds_alternative<Permit>(answer));
    return std::get<Permit>(std::move(answer));
  }
  Place wait(int priority = 3, std::uint32_t owner = 0, Time now = start) {
    Arrival arrival = request(priority, now);
    arrival.owner = owner;
    Gate::Answer answer = gate.enter(arrival, now);
    REQUIRE(std::holds_alternative<Place>(answer));
    return std::get<Place>(std::move(answer));
  }
  Snapshot books() const { return gate.snapshot(start); }

  Gate gate;
  Inbox first;   // owner 0
  Inbox second;  // owner 1
};

std::string said(const std::optional<Letter>& letter) {
  if (!letter) return "nothing";
  if (std::holds_alternative<Permit>(letter->news)) return "granted";
  return said(std::get<Rejection>(letter->news));
}

// --- permits

TEST_CASE("a permit that is destroyed gives the worker back") {
  House house;
  {
    const Permit permit = house.admit();
    CHECK(permit);
    CHECK(house.books().active_workers == 1);
  }
  CHECK(house.books().active_workers == 0);
  CHECK(house.books().abandoned == 1);
}

TEST_CASE("a permit that is destroyed by an exception gives the worker back") {
  House house;
  try {
    const Permit permit = house.admit();
    throw 1;
  } catch (int) {
  }
  CHECK(house.books().active_workers == 0);
}

TEST_CASE("a permit that is finished says how it went and comes back once") {
  House house;
  {
    Permit permit = house.admit();
    permit.finish(Outcome::processed(), start + 1s);
    CHECK_FALSE(permit);
    CHECK(house.books().active_workers == 0);
  }
  CHECK(house.books().processed == 1);
  CHECK(house.books().abandoned == 0);
  CHECK(house.books().average_process == 1s);
}

TEST_CASE("a permit that was moved from is empty and only the other gives the worker back") {
  House house;
  {
    Permit permit = house.admit();
    Permit moved(std::move(permit));
    CHECK_FALSE(permit);
    CHECK(moved);
    CHECK(moved.since() == start);
    CHECK(house.books().active_workers == 1);
  }
  CHECK(house.books().active_workers == 0);
  CHECK(house.books().abandoned == 1);
}

TEST_CASE("a permit that is assigned to gives the worker back that it had") {
  auto settings = small_settings();
  settings.workers = 2;
  House house(settings);
  Permit kept = house.admit();
  Permit other = house.admit();
  kept = std::move(other);
  CHECK(kept);
  CHECK_FALSE(other);
  CHECK(house.books().active_workers == 1);
  kept = Permit();
  CHECK_FALSE(kept);
  CHECK(house.books().active_workers == 0);
}

TEST_CASE("a worker without a client is shown until its permit comes back from wherever it moved") {
  House house;
  Permit permit = house.admit();
  permit.orphan();
  permit.orphan();  // its client got a 504, then left: the worker is one worker
  CHECK(house.books().workers_without_client == 1);
  CHECK(house.books().active_workers == 1);
  Permit moved(std::move(permit));
  CHECK(house.books().workers_without_client == 1);
  moved.finish(Outcome::abandoned(), start);
  CHECK(house.books().workers_without_client == 0);
  CHECK(house.books().active_workers == 0);
}

// --- places

TEST_CASE("a place that is destroyed leaves the line") {
  House house;
  Permit permit = house.admit();
  {
    const Place place = house.wait();
    CHECK(place);
    CHECK(house.books().waiting == 1);
  }
  CHECK(house.books().waiting == 0);
  CHECK(house.books().abandoned == 1);
  permit.finish(Outcome::processed(), start);
  CHECK(said(house.first.take()) == "nothing");
}

TEST_CASE("a place that was moved from is empty and only the other leaves the line") {
  House house;
  const Permit permit = house.admit();
  {
    Place place = house.wait();
    const Ticket ticket = place.ticket();
    Place moved(std::move(place));
    CHECK_FALSE(place);
    CHECK(moved);
    CHECK(moved.ticket() == ticket);
    CHECK(house.books().waiting == 1);
  }
  CHECK(house.books().abandoned == 1);
}

TEST_CASE("a place that is assigned to leaves the line where it stood") {
  House house;
  const Permit permit = house.admit();
  Place kept = house.wait();
  Place other = house.wait();
  const Ticket ticket = other.ticket();
  kept = std::move(other);
  CHECK(kept.ticket() == ticket);
  CHECK_FALSE(other);
  CHECK(house.books().waiting == 1);
}

TEST_CASE("a place that was released leaves nothing") {
  House house;
  Permit permit = house.admit();
  Place place = house.wait();
  permit.finish(Outcome::processed(), start);
  auto letter = house.first.take();
  REQUIRE(said(letter) == "granted");
  CHECK(letter->ticket == place.ticket());
  place.release();
  CHECK_FALSE(place);
  CHECK(house.books().active_workers == 1);
  CHECK(house.books().abandoned == 0);
}

TEST_CASE("a waiter that waited too long is rejected and has no place any more") {
  House house;
  const Permit permit = house.admit();
  Place place = house.wait();
  CHECK(place.leave(Departure::timed_out, start + 30s));
  CHECK_FALSE(place);
  CHECK(house.books().waiting == 0);
  CHECK(house.books().rejected[conf::index_of(conf::Reason::queue_timeout)] == 1);
}

TEST_CASE("a waiter does not time out while the news of its turn is on the way") {
  House house;
  Permit permit = house.admit();
  Place place = house.wait();
  permit.finish(Outcome::processed(), start);
  CHECK_FALSE(place.leave(Departure::timed_out, start + 30s));
  CHECK(place);
  CHECK(said(house.first.take()) == "granted");
}

// --- news

TEST_CASE("a worker that comes back goes to the loop of the one who waits") {
  House house;
  Permit permit = house.admit();
  const Place place = house.wait(3, 1);
  permit.finish(Outcome::processed(), start + 40ms);
  CHECK(said(house.first.take()) == "nothing");
  auto letter = house.second.take();
  REQUIRE(said(letter) == "granted");
  CHECK(letter->ticket == place.ticket());
  const auto& granted = std::get<Permit>(letter->news);
  CHECK(granted.since() == start + 40ms);
  CHECK(granted.waited() == 40ms);
  CHECK(house.books().active_workers == 1);
}

TEST_CASE("a worker granted to a waiter that left meanwhile comes back and goes to the next") {
  // A finishes; the worker is granted to B; B's client leaves before B's loop reads the letter;
  // the letter finds nobody and is dropped; the worker goes on to C.
  House house;
  Permit a = house.admit();
  Place b = house.wait(3, 0);
  const Place c = house.wait(3, 1);
  a.finish(Outcome::processed(), start);
  b = Place();
  CHECK(house.books().active_workers == 1);
  CHECK(house.books().waiting == 1);
  CHECK(said(house.second.take()) == "nothing");

  {
    const auto letter_to_nobody = house.first.take();
    CHECK(said(letter_to_nobody) == "granted");
  }

  const auto letter = house.second.take();
  CHECK(said(letter) == "granted");
  CHECK(letter->ticket == c.ticket());
  CHECK(house.books().active_workers == 1);
  CHECK(house.books().abandoned == 1);
  CHECK(house.books().total == in_the_books(house.books()));
}

TEST_CASE("who gave way is told on its own loop") {
  auto settings = small_settings();
  settings.queue_size = 1;
  House house(settings);
  const Permit permit = house.admit();
  Place displaced = house.wait(5, 1);
  const Place urgent = house.wait(1, 0);
  CHECK(said(house.first.take()) == "nothing");
  const auto letter = house.second.take();
  CHECK(said(letter) == "displaced");
  CHECK(letter->ticket == displaced.ticket());
  displaced.release();
  CHECK(house.books().waiting == 1);
  CHECK(house.books().abandoned == 0);
}

TEST_CASE("who gave way and left before the news came is counted once") {
  auto settings = small_settings();
  settings.queue_size = 1;
  House house(settings);
  const Permit permit = house.admit();
  Place displaced = house.wait(5);
  const Place urgent = house.wait(1);
  displaced = Place();
  CHECK(house.books().abandoned == 0);
  CHECK(house.books().rejected[conf::index_of(conf::Reason::displaced)] == 1);
  CHECK(house.books().total == in_the_books(house.books()));
}

TEST_CASE("one worker that comes back tells any number of waiters that their time was up") {
  auto settings = small_settings();
  settings.queue_size = 50;
  settings.queue_timeout = 5s;
  House house(settings);
  Permit permit = house.admit();
  std::vector<Place> places;
  for (int i = 0; i < 40; ++i) places.push_back(house.wait());
  const Place in_time = house.wait(3, 1, start + 1s);
  permit.finish(Outcome::processed(), start + 5s);
  for (int i = 0; i < 40; ++i) CHECK(said(house.first.take()) == "queue_timeout");
  CHECK(said(house.first.take()) == "nothing");
  CHECK(said(house.second.take()) == "granted");
  CHECK(said(house.second.take()) == "nothing");
  for (Place& place : places) place.release();
}

TEST_CASE("a worker dropped without a word goes on at the latest time that the gate has heard of") {
  // A takes a worker at 0 s; B waits from 10 s and until 15 s; C waits from 20 s; A's permit is
  // destroyed. It knows no time but 0 s: B goes in though its time is up, and before it came.
  auto settings = small_settings();
  settings.queue_timeout = 5s;
  House house(settings);
  std::optional<Permit> a = house.admit();
  Place b = house.wait(3, 0, start + 10s);
  const Place c = house.wait(3, 1, start + 20s);
  a.reset();
  CHECK(said(house.first.take()) == "queue_timeout");
  const auto letter = house.second.take();
  REQUIRE(said(letter) == "granted");
  CHECK(std::get<Permit>(letter->news).since() == start + 20s);
  CHECK(house.books().average_process == Duration::zero());  // it was not used
  b.release();
}

// Hears news on the thread that made it, and asks the gate back.
class Curious final : public Waiters {
 public:
  explicit Curious(Gate& gate) : gate_(gate) {}
  void on_granted(Ticket, std::uint32_t, Permit permit) override {
    heard_ += gate_.snapshot(start).active_workers;
    permit.finish(Outcome::processed(), start);
  }
  void on_shed(Ticket, std::uint32_t, const Rejection&) override { heard_ += 100; }
  std::uint64_t heard() const { return heard_; }

 private:
  Gate& gate_;
  std::uint64_t heard_ = 0;
};

TEST_CASE("whoever hears news may call the gate: no lock is held") {
  Gate gate(small_settings());
  Curious curious(gate);
  gate.attach(curious);
  Gate::Answer first = gate.enter(request(3), start);
  std::vector<Gate::Answer> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(gate.enter(request(3), start));
  std::get<Permit>(first).finish(Outcome::processed(), start);
  CHECK(curious.heard() == 3);
  CHECK(gate.snapshot(start).processed == 4);
  CHECK(gate.snapshot(start).active_workers == 0);
}

TEST_CASE("who waits for several workers and leaves lets those behind it go in") {
  auto settings = small_settings();
  settings.workers = 3;
  House house(settings);
  const Permit running = house.admit();
  Arrival wide = request(3);
  wide.workers = 3;
  Gate::Answer answer = house.gate.enter(wide, start);
  REQUIRE(std::holds_alternative<Place>(answer));
  const Place behind = house.wait();
  CHECK(said(house.first.take()) == "nothing");
  std::get<Place>(answer) = {};
  CHECK(said(house.first.take()) == "granted");
}

TEST_CASE("the gate says what the controller says") {
  auto settings = small_settings();
  settings.queue_size = 0;
  House house(settings);
  CHECK(said(house.gate.screen(request(3), start)) == "passes");
  Gate::Answer admitted = house.gate.arrive(request(3), start);
  CHECK(std::holds_alternative<Permit>(admitted));
  const Gate::Answer refused = house.gate.enter(request(3), start);
  REQUIRE(std::holds_alternative<Rejection>(refused));
  CHECK(said(std::get<Rejection>(refused)) == "queue_full");
  CHECK(house.gate.return_time(0, start) == 1s);
  house.gate.refuse(conf::Reason::malformed, start);
  house.gate.abandon();
  house.gate.drain();
  CHECK(said(house.gate.screen(request(1), start)) == "draining");
  CHECK(house.books().draining);
  CHECK(house.books().total == 5);
  CHECK(house.books().total == in_the_books(house.books()));
}

TEST_CASE("loops get their numbers in the order in which they are attached") {
  Gate gate(small_settings());
  Inbox first;
  Inbox second;
  CHECK(gate.attach(first) == 0);
  CHECK(gate.attach(second) == 1);
}

TEST_CASE("a gate that goes before all its permits and places have come home ends the process") {
  CHECK(test::last_words([] {
          House house;
          const Permit kept = house.admit();
        }).empty());
  CHECK(test::last_words([] {
          Permit kept;
          {
            House house;
            kept = house.admit();
          }
        }).contains("in_flight == 0"));
  CHECK(test::last_words([] {
          Permit busy;
          Place kept;
          {
            House house;
            busy = house.admit();
            kept = house.wait();
          }
        }).contains("waiting == 0"));
}

TEST_CASE("what is on its way to a waiter when all goes comes home") {
  House house;
  Permit busy = house.admit();
  const Place waiting = house.wait();
  busy = {};  // granted: the letter with the permit lies unread
  CHECK(house.books().in_flight == 1);
}  // ~Gate asserts

}  // namespace
}  // namespace classgate::admission
