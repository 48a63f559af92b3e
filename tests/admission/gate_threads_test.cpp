#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/admission/inbox.h"
#include "tests/admission/kit.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

// What all loops watch together. A permit is counted after it came and until before it goes: never
// more than are out, so that a count above `workers` is proof of a permit too many.
struct Watch {
  std::atomic<std::uint32_t> permits{0};
  std::atomic<std::uint32_t> most_permits{0};
  std::atomic<std::uint64_t> arrivals{0};
  std::atomic<std::uint64_t> processed{0};
  std::atomic<std::uint64_t> unbalanced{0};
  std::atomic<std::uint64_t> letters_to_nobody{0};

  void permit_came() {
    const std::uint32_t out = ++permits;
    std::uint32_t most = most_permits;
    while (out > most && !most_permits.compare_exchange_weak(most, out)) {
    }
  }
  void permit_goes() { --permits; }
};

// One loop with its own clients, on its own thread. Its clock is its own too: a little apart from
// those of the others, as in life.
class Loop {
 public:
  Loop(Gate& gate, Watch& watch, std::uint64_t seed) : gate_(gate), watch_(watch), random_(seed) {
    owner_ = gate.attach(inbox_);
  }

  void turn(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      now_ += std::chrono::microseconds(random_.below(200));
      do_something();
      if (random_.chance(50)) read_letters();
    }
  }
  // Ends everything that this loop has; false when there was nothing.
  bool wind_up() {
    const bool had_letters = read_letters();
    const bool had_more = had_letters || !permits_.empty() || !places_.empty();
    places_.clear();
    while (!permits_.empty()) end_permit();
    return had_more;
  }

 private:
  void do_something() {
    const std::uint64_t dice = random_.below(100);
    if (dice < 50) return arrive();
    if (dice < 80 && !permits_.empty()) return end_permit();
    if (dice < 88 && !places_.empty()) return leave();
    if (dice < 94 && !places_.empty()) return time_out();
    const Snapshot books = gate_.snapshot(now_);
    if (books.total != in_the_books(books) || books.active_workers > books.workers ||
        books.waiting > books.queue_limit)
      ++watch_.unbalanced;
  }

  void arrive() {
    Arrival arrival{.priority = static_cast<int>(random_.between(1, 5)),
                    .rate_limited = random_.chance(50),
                    .bytes = random_.below(100),
                    .at = now_,
                    .owner = owner_};
    ++watch_.arrivals;
    if (random_.chance(50)) return take(gate_.enter(arrival, now_));
    if (gate_.screen(arrival, now_)) return;
    random_.chance(10) ? gate_.abandon() : take(gate_.arrive(arrival, now_));
  }
  void take(Gate::Answer answer) {
    if (auto* permit = std::get_if<Permit>(&answer)) hold(std::move(*permit));
    if (auto* place = std::get_if<Place>(&answer)) places_.push_back(std::move(*place));
  }
  void hold(Permit permit) {
    watch_.permit_came();
    permits_.push_back(std::move(permit));
  }

  void end_permit() {
    Permit permit = take_out(permits_);
    watch_.permit_goes();
    if (random_.chance(10)) permit.orphan();
    if (random_.chance(20)) return;  // dropped without a word
    if (random_.chance(20))
      return permit.finish(Outcome::failed(conf::Reason::upstream_broken), now_);
    ++watch_.processed;
    permit.finish(Outcome::processed(), now_);
  }
  void leave() { const Place gone = take_out(places_); }
  void time_out() {
    Place place = take_out(places_);
    if (!place.leave(Departure::timed_out, now_)) places_.push_back(std::move(place));
  }

  bool read_letters() {
    bool had_some = false;
    while (auto letter = inbox_.take()) {
      had_some = true;
      const auto place = std::ranges::find(places_, letter->ticket, &Place::ticket);
      if (place == places_.end()) {
        ++watch_.letters_to_nobody;
        continue;
      }
      place->release();
      places_.erase(place);
      if (auto* permit = std::get_if<Permit>(&letter->news)) hold(std::move(*permit));
    }
    return had_some;
  }

  template <typename T>
  T take_out(std::vector<T>& from) {
    std::swap(from[random_.below(from.size())], from.back());
    T taken = std::move(from.back());
    from.pop_back();
    return taken;
  }

  Gate& gate_;
  Watch& watch_;
  Random random_;
  Inbox inbox_;
  std::uint32_t owner_ = 0;
  Time now_ = start;
  std::vector<Place> places_;
  std::vector<Permit> permits_;
};

TEST_CASE("loops on four threads share the workers and lose none") {
  INFO("threads interleave anew each time, yet: ", replay(run().seed));
  conf::AdmissionSettings settings;
  settings.workers = 5;
  settings.queue_size = 12;
  settings.queue_bytes = {600};
  settings.rate = 20'000;
  settings.burst = 100;
  settings.queue_timeout = 5ms;
  const std::uint64_t operations = run().events / 20;

  Gate gate(settings);
  Watch watch;
  std::vector<std::unique_ptr<Loop>> loops;
  for (std::uint64_t i = 0; i < 4; ++i)
    loops.push_back(std::make_unique<Loop>(gate, watch, run().seed + i));
  {
    std::vector<std::jthread> threads;
    for (const auto& loop : loops)
      threads.emplace_back([&loop, operations] { loop->turn(operations); });
  }
  const auto wind_up_all = [&loops] {
    bool had_more = false;
    for (const auto& loop : loops) had_more = loop->wind_up() || had_more;
    return had_more;
  };
  while (wind_up_all()) {
  }

  const Snapshot books = gate.snapshot(start);
  CHECK(watch.unbalanced == 0);
  CHECK(watch.most_permits <= settings.workers);
  CHECK(watch.permits == 0);
  CHECK(books.active_workers == 0);
  CHECK(books.workers_without_client == 0);
  CHECK(books.waiting == 0);
  CHECK(books.waiting_bytes == 0);
  CHECK(books.total == watch.arrivals);
  CHECK(books.total == in_the_books(books));
  CHECK(books.processed == watch.processed);
  MESSAGE(books.total, " arrivals on four threads, ", books.processed, " processed, ",
          sum(books.rejected), " rejected, ", watch.letters_to_nobody.load(),
          " letters came after their waiter had left");
}

}  // namespace
}  // namespace classgate::admission
