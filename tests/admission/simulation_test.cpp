// Random traffic through a Controller in virtual time. Every verdict and all news are held against
// the Model, and the invariants are checked after every event:
//   permits out <= workers; waiters <= queue_size, their bytes <= queue_bytes (after new limits:
//   never more than there were, until they are kept);
//   no worker idles while someone waits, once next() is silent;
//   every arrival gets exactly one ending; the books balance and agree with ours, column by column;
//   priority first, FIFO inside one; who gives way is the newest of the worst.

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/admission/kit.h"
#include "tests/admission/model.h"
#include "tests/admission/run.h"

namespace classgate::admission {
namespace {

void claim(bool holds, const char* what) {
  if (!holds) FAIL(std::string(what));
}

// Some rounds are a trickle, some a flood; some have hardly a queue, some hardly a worker.
conf::AdmissionSettings random_settings(Random& random) {
  conf::AdmissionSettings settings;
  settings.workers = static_cast<std::uint32_t>(random.between(1, random.chance(20) ? 40 : 5));
  settings.queue_size = static_cast<std::uint32_t>(random.below(random.chance(20) ? 100 : 12));
  settings.queue_bytes = {random.chance(50) ? 1'000'000 : random.below(2'000)};
  settings.rate = random.chance(50) ? 0 : static_cast<double>(2 * random.between(1, 200));
  settings.burst = static_cast<double>(random.between(1, 50));
  settings.request_timeout = std::chrono::milliseconds(random.between(20, 3'000));
  settings.queue_timeout = std::chrono::milliseconds(random.between(10, 2'000));
  settings.retry_after_spread =
      std::chrono::milliseconds(random.chance(50) ? 0 : random.below(60'000));
  return settings;
}

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : random_(seed),
        settings_(random_settings(random_)),
        controller_(settings_),
        model_(settings_),
        bounds_{settings_.workers, settings_.queue_size, settings_.queue_bytes.count},
        mean_gap_us_(random_.between(20, 20'000)),
        arrivals_percent_(random_.between(30, 70)),
        listens_late_(random_.chance(25)) {}

  std::uint64_t run(std::uint64_t events) {
    const std::uint64_t drain_at = events * 9 / 10;
    for (; events_ < events; ++events_) {
      if (events_ == drain_at) drain();
      pass_time();
      something_happens();
      // The Gate lets go of its lock between batches of news: others may come first.
      if (!listens_late_ || random_.chance(70)) listen();
      check_invariants();
    }
    wind_up();
    return events_;
  }
  // How many endings of each kind this round had.
  const ReasonCounts& rejected() const { return rejected_; }
  std::uint64_t processed() const { return processed_; }
  std::uint64_t reconfigured() const { return reconfigured_; }

 private:
  enum class Ending { none, processed, failed, rejected, abandoned };
  struct Flight {
    std::size_t request;
    Seat seat;
    bool is_orphan;
  };
  struct Upload {
    std::size_t request;
    Arrival arrival;
  };

  // --- what happens

  void pass_time() {
    now_ += std::chrono::microseconds(random_.below(2 * mean_gap_us_)) + Duration(random_.below(3));
    if (random_.below(1000) == 0) now_ += std::chrono::milliseconds(random_.below(5'000));
    // A loop whose turn began earlier comes later.
    event_time_ = random_.chance(5) ? now_ - std::chrono::microseconds(random_.below(2'000)) : now_;
  }

  void something_happens() {
    if (random_.chance(arrivals_percent_)) return arrive();
    if (random_.below(200) == 0) return reconfigure();
    const std::uint64_t dice = random_.below(100);
    if (dice < 10 && !uploads_.empty()) return upload_ends();
    if (dice < 18 && model_.size() > 0) return waiter_leaves();
    if (dice < 22) return stale_ticket_is_tried();
    if (dice < 25 && !flights_.empty()) return client_leaves_in_flight();
    if (dice < 27) return refuse_malformed();
    if (!flights_.empty()) return finish();
    arrive();
  }

  void arrive() {
    Arrival arrival{
        .priority = static_cast<int>(random_.between(1, 5)),
        .rate_limited = random_.chance(80),
        .cost = static_cast<std::uint32_t>(random_.chance(90) ? 1 : random_.between(0, 60)),
        .bytes = random_.chance(50) ? 0 : random_.below(800),
        .at = event_time_,
        .owner = static_cast<std::uint32_t>(random_.below(4))};
    const auto expected = model_.screen(arrival, event_time_);
    const auto rejection = controller_.screen(arrival, event_time_);
    claim(rejection.has_value() == expected.has_value(), "the head passes where the model says so");
    const std::size_t request = endings_.size();
    endings_.push_back(Ending::none);
    if (rejection) {
      ++total_;
      check_rejection(*rejection, *expected);
      return end_rejected(request, rejection->reason);
    }
    if (random_.chance(30))
      uploads_.push_back({request, arrival});
    else
      be_ready({request, arrival});
  }

  void upload_ends() {
    const Upload upload = take_out(uploads_);
    if (random_.chance(80)) return be_ready(upload);
    controller_.abandon();
    ++total_;
    end(upload.request, Ending::abandoned);
  }

  void be_ready(const Upload& upload) {
    const auto& [request, arrival] = upload;
    const Model::Way way = model_.way_of(arrival);
    const Duration drain_time = model_.drain_time();
    const Verdict verdict = controller_.arrive(arrival, event_time_);
    ++total_;
    if (const auto* rejection = std::get_if<Rejection>(&verdict)) {
      claim(way == Model::Way::away, "nobody is turned away who could go in or wait");
      check_rejection(*rejection, {conf::Reason::queue_full, drain_time});
      end_rejected(request, rejection->reason);
    } else if (const auto* ticket = std::get_if<Ticket>(&verdict)) {
      claim(way == Model::Way::wait, "nobody waits who should go in or be turned away");
      for (const Model::Waiting& waiting : model_.join(request, *ticket, arrival, event_time_)) {
        claim(waiting.arrival.priority > arrival.priority, "nobody gives way to an equal");
        end_rejected(waiting.request, conf::Reason::displaced);
        displaced_.push_back(waiting);
      }
    } else {
      claim(way == Model::Way::in, "nobody goes in who should wait or be turned away");
      take_worker(request, std::get<Admitted>(verdict).seat);
    }
  }

  void waiter_leaves() {
    const Model::Waiting waiting = model_.at(random_.below(model_.size()));
    const bool is_late = random_.chance(50);
    claim(controller_.leave(waiting.ticket, is_late ? Departure::timed_out : Departure::abandoned,
                            event_time_),
          "who waits can leave");
    model_.leave(waiting.ticket);
    old_tickets_.push_back(waiting.ticket);
    if (is_late)
      end_rejected(waiting.request, conf::Reason::queue_timeout);
    else
      end(waiting.request, Ending::abandoned);
  }

  void stale_ticket_is_tried() {
    if (old_tickets_.empty()) return;
    const Ticket ticket = old_tickets_[random_.below(old_tickets_.size())];
    claim(!controller_.leave(ticket, Departure::abandoned, event_time_), "a ticket is good once");
    if (old_tickets_.size() > 50) old_tickets_.clear();
  }

  void client_leaves_in_flight() {
    Flight& flight = flights_[random_.below(flights_.size())];
    if (flight.is_orphan) return;
    flight.is_orphan = true;
    ++orphans_;
    controller_.orphan();
  }

  void refuse_malformed() {
    controller_.refuse(conf::Reason::malformed, event_time_);
    endings_.push_back(Ending::none);
    ++total_;
    end_rejected(endings_.size() - 1, conf::Reason::malformed);
  }

  void finish() {
    const Flight flight = take_out(flights_);
    if (flight.is_orphan) {
      --orphans_;
      controller_.adopt();
    }
    const Outcome outcome = random_outcome();
    controller_.finish(outcome, flight.seat, event_time_);
    model_.finish(std::max(event_time_ - flight.seat.since, Duration::zero()));
    if (outcome.kind == Outcome::Kind::failed) ++failed_[conf::index_of(outcome.reason)];
    end(flight.request, outcome.kind == Outcome::Kind::processed ? Ending::processed
                        : outcome.kind == Outcome::Kind::failed  ? Ending::failed
                                                                 : Ending::abandoned);
  }

  Outcome random_outcome() {
    constexpr conf::Reason failures[] = {conf::Reason::upstream_timeout,
                                         conf::Reason::upstream_unreachable,
                                         conf::Reason::upstream_broken};
    if (random_.chance(70)) return Outcome::processed();
    return random_.chance(50) ? Outcome::abandoned() : Outcome::failed(failures[random_.below(3)]);
  }

  void reconfigure() {
    settings_ = random_settings(random_);
    controller_.reconfigure(settings_, event_time_);
    model_.reconfigure(settings_, event_time_);
    ++reconfigured_;
  }

  void drain() {
    controller_.drain();
    model_.is_draining = true;
  }

  // Everybody who is still there comes to an end.
  void wind_up() {
    while (!uploads_.empty() || !flights_.empty() || model_.size() > 0) {
      pass_time();
      flights_.empty() ? upload_ends() : finish();
      listen();
      check_invariants();
      ++events_;
    }
    listen();
    claim(std::ranges::count(endings_, Ending::none) == 0, "every arrival came to an end");
    const Snapshot books = controller_.snapshot(now_);
    claim(books.total == endings_.size() && books.active_workers == 0 && books.waiting == 0 &&
              books.waiting_bytes == 0 && books.workers_without_client == 0,
          "nothing is left over");
  }

  // --- news

  void listen() {
    while (const auto notice = controller_.next(event_time_)) hear(*notice);
    claim(displaced_.empty(), "everybody who gave way was told");
    claim(model_.size() == 0 || model_.in_flight >= settings_.workers,
          "no worker idles while someone waits");
  }

  void hear(const Notice& notice) {
    old_tickets_.push_back(notice.ticket);
    const auto displaced = std::ranges::find(displaced_, notice.ticket, &Model::Waiting::ticket);
    if (displaced != displaced_.end()) {
      claim(notice.owner == displaced->arrival.owner, "news goes to the owner");
      const auto* rejection = std::get_if<Rejection>(&notice.news);
      claim(rejection != nullptr && rejection->reason == conf::Reason::displaced,
            "who gave way is told so");
      displaced_.erase(displaced);
      return;
    }
    const auto first = model_.next();
    claim(first.has_value(), "a turn comes when a worker is free and someone waits");
    claim(notice.ticket == first->ticket, "priority first and FIFO inside one");
    claim(notice.owner == first->arrival.owner, "news goes to the owner");
    const bool is_late = first->deadline <= event_time_;
    if (const auto* rejection = std::get_if<Rejection>(&notice.news)) {
      claim(is_late, "nobody is late before the deadline");
      check_rejection(*rejection, {conf::Reason::queue_timeout, model_.drain_time()});
      return end_rejected(first->request, conf::Reason::queue_timeout);
    }
    claim(!is_late, "nobody goes in after the deadline");
    const auto& granted = std::get<Granted>(notice.news);
    claim(granted.seat.since == event_time_, "a worker is taken now");
    claim(granted.waited == std::max(event_time_ - first->joined, Duration::zero()),
          "the wait is from joining to now");
    claim(granted.seat.priority == first->arrival.priority, "and by the one whose turn it is");
    take_worker(first->request, granted.seat);
  }

  // --- our own books

  void take_worker(std::size_t request, const Seat& seat) {
    ++model_.in_flight;
    flights_.push_back({request, seat, false});
  }

  void end(std::size_t request, Ending ending) {
    claim(endings_[request] == Ending::none, "nobody ends twice");
    endings_[request] = ending;
    if (ending == Ending::processed) ++processed_;
    if (ending == Ending::abandoned) ++abandoned_;
  }
  void end_rejected(std::size_t request, conf::Reason reason) {
    end(request, Ending::rejected);
    ++rejected_[conf::index_of(reason)];
  }

  void check_rejection(const Rejection& rejection, const Rejection& expected) {
    claim(rejection.reason == expected.reason, "the reason is the model's");
    // The tokens of the Controller are not whole numbers: a nanosecond of rounding is allowed.
    const Duration later = rejection.retry_after - expected.retry_after;
    claim(later >= -1ns && later <= settings_.retry_after_spread + 1ns,
          "the time to come back is the model's, or within the spread after it");
  }

  void check_invariants() {
    const Snapshot books = controller_.snapshot(event_time_);
    bounds_.workers =
        std::max<std::size_t>(settings_.workers, std::min(bounds_.workers, flights_.size()));
    claim(flights_.size() <= bounds_.workers, "permits out <= workers");
    bounds_.places =
        std::max<std::size_t>(settings_.queue_size, std::min(bounds_.places, books.waiting));
    claim(books.waiting <= bounds_.places, "waiters <= queue_size");
    bounds_.bytes =
        std::max(settings_.queue_bytes.count, std::min(bounds_.bytes, books.waiting_bytes));
    claim(books.waiting_bytes <= bounds_.bytes, "their bytes <= queue_bytes");
    claim(books.total == in_the_books(books), "the books balance");

    claim(books.total == total_, "total is right");
    claim(books.processed == processed_, "processed is right");
    claim(books.abandoned == abandoned_, "abandoned is right");
    claim(books.failed == failed_, "failed is right for every reason");
    claim(books.rejected == rejected_, "rejected is right for every reason");
    claim(books.active_workers == flights_.size(), "active workers are right");
    claim(books.workers_without_client == orphans_, "workers without a client are right");
    claim(books.waiting == model_.size(), "waiting is right");
    claim(books.waiting_bytes == model_.bytes(), "waiting bytes are right");
    for (int priority = 1; priority <= 5; ++priority)
      claim(books.waiting_by_priority[static_cast<std::size_t>(priority - 1)] ==
                model_.size_of(priority),
            "waiting is right for every priority");
  }

  template <typename T>
  T take_out(std::vector<T>& from) {
    std::swap(from[random_.below(from.size())], from.back());
    const T taken = from.back();
    from.pop_back();
    return taken;
  }

  Random random_;
  conf::AdmissionSettings settings_;
  Controller controller_;
  Model model_;
  // What may be out: the limits, or what there was when they became lower.
  struct Bounds {
    std::size_t workers;
    std::size_t places;
    std::uint64_t bytes;
  } bounds_;
  std::uint64_t mean_gap_us_;
  std::uint64_t arrivals_percent_;
  bool listens_late_;

  Time now_ = start;
  Time event_time_ = start;
  std::uint64_t events_ = 0;
  std::vector<Ending> endings_;  // of each request, by its number
  std::vector<Upload> uploads_;  // passed their head, not yet ready
  std::vector<Flight> flights_;
  std::vector<Model::Waiting> displaced_;  // not yet told
  std::vector<Ticket> old_tickets_;
  std::uint64_t total_ = 0;
  std::uint64_t processed_ = 0;
  std::uint64_t abandoned_ = 0;
  std::uint64_t reconfigured_ = 0;
  std::uint32_t orphans_ = 0;
  ReasonCounts rejected_{};
  ReasonCounts failed_{};
};

TEST_CASE("random traffic never breaks an invariant") {
  constexpr std::uint64_t events_in_a_round = 2'500;
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t events = 0;
  std::uint64_t rounds = 0;
  std::uint64_t processed = 0;
  std::uint64_t reconfigured = 0;
  ReasonCounts rejected{};
  for (; events < run().events; ++rounds) {
    // Round n of seed s is round 0 of seed s + n: the failing round is replayed at once.
    const std::uint64_t seed = run().seed + rounds;
    INFO(replay(seed));
    Simulation simulation(seed);
    events += simulation.run(events_in_a_round);
    processed += simulation.processed();
    reconfigured += simulation.reconfigured();
    for (std::size_t i = 0; i < rejected.size(); ++i) rejected[i] += simulation.rejected()[i];
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  MESSAGE(events, " events in ", rounds, " rounds from seed ", run().seed, " in ", took.count(),
          " s");

  // A simulation in which nothing happens would prove nothing.
  std::string endings = "processed " + std::to_string(processed);
  for (const conf::Reason reason :
       {conf::Reason::draining, conf::Reason::rate_limited, conf::Reason::queue_full,
        conf::Reason::displaced, conf::Reason::queue_timeout}) {
    const std::uint64_t count = rejected[conf::index_of(reason)];
    endings += ", " + std::string(conf::word_of(reason)) + " " + std::to_string(count);
    if (rounds >= 50) CHECK(count >= events / 1'000);
  }
  if (rounds >= 50) CHECK(reconfigured >= events / 1'000);
  MESSAGE(endings, ", limits changed ", reconfigured);
}

}  // namespace
}  // namespace classgate::admission
