#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "admission/client_table.h"
#include "admission/limits.h"
#include "admission/measure/units.h"
#include "admission/promises.h"
#include "admission/returns.h"
#include "admission/verdict.h"
#include "conf/settings.h"

namespace classgate::admission {

// What the refused are told: when to come back. Each gets a time of its own (Returns) and keeps it
// when it asks again sooner (Promises), in one of several lines: for the tokens of all, for those
// of a route, for a worker. Owned by the Controller. Not thread-safe.
class RetryAfter {
 public:
  RetryAfter(const conf::AdmissionSettings& settings, ClientTable& clients) : clients_(clients) {
    reconfigure(settings);
  }
  void reconfigure(const conf::AdmissionSettings& settings) {
    workers_returns_.set_spread(settings.retry_after_spread);
    tells_clients_apart_ = settings.fairness.is_on;
  }

  // The queue for a worker, as it stands.
  struct Queue {
    std::size_t waiting = 0;
    std::uint32_t workers = 0;
    Duration usual_turn{};  // Books::usual_turn()
  };
  static constexpr Duration soonest = std::chrono::seconds(1);
  // Until a place in the queue could be had and served, at the rate workers come back lately. At
  // least `soonest`.
  static Duration drain_time(const Queue& queue);

  // As long as somebody waits, all workers are in use.
  void note_first_waiter(Time now) { wait_began_ = now; }
  void note_last_waiter_left(Time now) { waited_ += std::max(now - wait_began_, Duration::zero()); }

  // Completes a rejection whose retry_after is the time from which on it could go in.
  // Of one for which there are too few tokens, with what is known of that bucket.
  void tell(Rejection& rejection, const Arrival& arrival, Limits& limits,
            const Limits::Buckets& buckets, Time now);
  // Of one that would need a worker.
  void tell(Rejection& rejection, const Arrival& arrival, const Queue& queue, Time now) {
    rejection.retry_after = time_for_worker(
        rejection.retry_after, {arrival.client, static_cast<double>(arrival.cost)}, queue, now);
  }
  // Who asks, or 0: nobody knows.
  struct Asker {
    std::uint64_t client = 0;
    double cost = 1;
  };
  // One that comes to where workers, or tokens, are had.
  struct Comer {
    std::uint64_t client = 0;
    double weight = 1;
    double wants = 1;  // so many
    Time at{};         // its head was there then; now the whole request is
  };
  // Whose time it is: told to come back for a worker, and here not much later than that. A client
  // that was told several times in vain, and chooses among them, has no more than its part so.
  bool is_due(const Comer& comer, const Queue& queue, Time now) const;
  // It does not wait for a time that it was told for a worker, and has had its part, some in
  // advance: as many times `weight` as clients ask lately, of all that the workers can do. Only
  // while those who do wait, and newcomers, use almost all of that.
  bool is_ahead_of_its_turn(const Comer& comer, const Queue& queue, Time now) const;
  // How one comes to the shared buckets that apply to it; `all`: its bucket for all as it is now.
  Limits::Comings comings_of(const Arrival& arrival, double weight, const Limits& limits,
                             const TokenBucket& all, Time now) const {
    if (!tells_clients_apart_ || !limits.expects_returns(arrival, now)) return {};
    return comings_to_tokens(arrival, weight, limits, all, now);
  }
  // It has got its tokens, as comings_of() had it.
  void note_came(const Arrival& arrival, double weight, const Limits& limits,
                 const Limits::Comings& comings, Time now) {
    if (tells_clients_apart_ && limits.expects_returns(arrival, now))
      note_came_to_tokens(arrival, weight, limits, comings, now);
  }
  // It has found workers, or a place to wait for them. Whether it is early. What does not come at
  // its client's turn counts against the client's part.
  bool note_came(const Comer& comer, const Queue& queue, Time now);
  // One that is not early has taken so many workers.
  void note_in_turn(std::uint32_t workers, const Queue& queue, Time now) {
    in_turn_.count(workers, window_of(queue), now);
  }
  // Somebody who was told to may still come back for a worker, as itself.
  bool expects_returns(Time now) const {
    return tells_clients_apart_ && now <= last_turn_ + ToldTimes::late_most;
  }
  // From `earliest` on.
  Duration time_for_worker(Duration earliest, const Asker& asker, const Queue& queue, Time now);

  // What tell() would say to this client, with the buckets as they are; changes nothing.
  void foretell(Rejection& rejection, const Arrival& arrival,
                const std::optional<ClientTable::Look>& client, const Limits& limits,
                const Limits::Buckets& buckets, const Queue& queue, Time now) const;

 private:
  // How many a second, in a window that ends smoothly.
  class RecentRate {
   public:
    void count(std::uint32_t more, double window, Time now) {
      count_ = count_at(window, now) + more;
      last_ = std::max(last_, now);
    }
    double at(double window, Time now) const { return count_at(window, now) / window; }

   private:
    double count_at(double window, Time now) const {
      return count_ * std::exp(-std::max(measure::in_seconds(now - last_), 0.0) / window);
    }
    double count_ = 0;
    Time last_{};
  };
  // In seconds: several turns of a worker.
  static double window_of(const Queue& queue) {
    return std::max(5.0, 3 * measure::in_seconds(queue.usual_turn));
  }
  // Null of a client that nobody knows, or that was told nothing.
  const Promise* promise_of(std::uint64_t client, std::uint64_t line) const;
  // `pace`: of the line, in what it is about a second; 0: nobody knows.
  Coming coming_of(const Promise& promise, const Comer& comer, double pace, Time now) const;
  void note_came(Promise& promise, const Comer& comer, Coming coming, double pace, Time now);
  Coming coming_in(std::uint64_t line, const Comer& comer, double pace, Time now) const {
    const Promise* const promise = promise_of(comer.client, line);
    return promise == nullptr ? Coming::anew : coming_of(*promise, comer, pace, now);
  }
  Limits::Comings comings_to_tokens(const Arrival& arrival, double weight, const Limits& limits,
                                    const TokenBucket& all, Time now) const;
  void note_came_to_tokens(const Arrival& arrival, double weight, const Limits& limits,
                           const Limits::Comings& comings, Time now);
  // What is a client's part of it.
  double own_pace(double weight, double pace) const {
    return pace * weight / clients_.parts().asking();
  }
  // Of `ahead`, what is left now.
  double ahead_of(const Promise& promise, double weight, double pace, Time now) const {
    const double since = std::max(measure::in_seconds(now - promise.ahead_noted), 0.0);
    return std::max(promise.ahead - since * own_pace(weight, pace), 0.0);
  }
  static constexpr double almost_all = 0.9;
  // For so many requests a client may be ahead of its part, as a leaky bucket has it, when one more
  // comes early, or as it was told.
  static constexpr double ahead_when_early = 3;
  static constexpr double ahead_as_told = ToldTimes::most;

  static constexpr std::uint64_t line_for_all = 0;
  static constexpr std::uint64_t line_for_workers = 1;
  static constexpr std::uint64_t first_line_of_routes = 2;
  static std::uint64_t line_of(conf::Reason reason, RouteId route) {
    if (reason == conf::Reason::rate_limited) return line_for_all;
    if (reason != conf::Reason::route_rate) return line_for_workers;
    return first_line_of_routes + (std::uint64_t{route.generation} << 32U | route.slot);
  }
  Returns::Asker asker_in(std::uint64_t line, const Asker& asker, Time now);
  Returns::Capacity capacity_of(const Queue& queue, Time now) const;

  ClientTable& clients_;
  Promises promises_;
  Returns workers_returns_;
  RecentRate in_turn_;  // workers for those who were not early, while somebody is expected
  Time wait_began_{};   // since when somebody waits, if anybody does
  Time last_turn_ = Time::min() + std::chrono::hours(1);  // of all who were told of workers
  Duration waited_{};  // for so long somebody waited since the last refusal
  bool tells_clients_apart_ = false;
};

}  // namespace classgate::admission
