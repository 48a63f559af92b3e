#pragma once

// The words that cross the seam between admission and whoever asks it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <variant>

#include "admission/ids.h"
#include "admission/time.h"
#include "admission/wait_queue.h"
#include "conf/reason.h"
#include "conf/settings.h"

namespace classgate::admission {

// How long a request may take.
struct Terms {
  Duration request_timeout{};  // from the end of its head
  Duration queue_timeout{};    // of these, waiting for a worker

  static Terms of(const conf::AdmissionSettings& settings) {
    return {settings.request_timeout, settings.queue_timeout};
  }
  // When one that came `at`, waits since `joined`, and is of no use after `deadline` has waited for
  // too long.
  Time waits_until(Time at, Time joined, Time deadline) const {
    return std::min({at + request_timeout, joined + queue_timeout, deadline});
  }
};

// One request that asks to go in.
struct Arrival {
  int priority = conf::priority_worst;
  bool rate_limited = true;
  // Of the workers, for its client's requests of this kind at once: what goes beyond has the worst
  // priority. 1: no limit.
  float client_share = 1;
  std::uint32_t cost = 1;  // tokens, and what it takes of its client's turns
  std::int32_t cost_found =
      0;            // of that since its head was screened: charged when it is ready, or by settle()
  RouteId route{};  // requests of one route take about as long as each other
  std::uint64_t bytes = 0;      // body that is held while it waits
  Time at{};                    // end of the request header: the request timeout counts from here
  Time deadline = Time::max();  // when the answer is of no use any more
  std::uint32_t owner = 0;      // the loop that will be told when its turn comes
  std::uint32_t tag = 0;        // what the owner knows it by; comes back with the news
  std::uint64_t client = 0;  // who asks, as a number that nobody can guess; 0: nobody wants to know
  PlanId plan{};             // the client's
  ClientKind client_kind = ClientKind::unknown;
  bool is_retry = false;      // the client says so
  std::uint64_t attempt = 0;  // stands for the attempt's name; the same again is a retry; 0: none
  std::uint16_t workers = 1;  // that it will occupy
  std::optional<Terms> terms{};  // those of its Visit; none: those of the conf in force
  // Admission's own notes: what would have refused it, but for [observe]; its name has been here.
  std::optional<conf::Reason> observed{};
  bool came_before = false;
};

// Refused: why, and when coming back makes sense (zero: never, the request itself is at fault).
// And what can be told of the limit that it ran against; zero where there is nothing to tell.
struct Rejection {
  conf::Reason reason = conf::Reason::draining;
  Duration retry_after{};
  Duration estimate{};         // the wait it would have had
  std::uint32_t position = 0;  // the place in the line that it would have had: 1 is the first
  std::uint32_t places = 0;    // that there are in the line
  double rate = 0;             // of the bucket that has too few tokens: gained a second,
  double burst = 0;            // held at most,
  double tokens = 0;           // and there; below zero: a debt
  std::int64_t renews_at =
      0;  // of a quota: seconds since 1970; it is of `burst`, and `tokens` left

  // The buckets that were looked at: for all, the route's, the client's. A rate of 0: none.
  struct LookedAt {
    float tokens = 0;
    float rate = 0;
    float burst = 0;
  };
  std::array<LookedAt, 3> looked_at{};

  template <typename Bucket>
  static LookedAt look_of(const std::optional<Bucket>& bucket) {
    if (!bucket) return {};
    return {static_cast<float>(bucket->tokens), static_cast<float>(bucket->rate),
            static_cast<float>(bucket->burst)};
  }
  template <typename Bucket>
  void set_bucket(const std::optional<Bucket>& bucket) {
    if (!bucket) return;
    rate = bucket->rate;
    burst = bucket->burst;
    tokens = bucket->tokens;
  }
};

inline bool waits_for_tokens(conf::Reason reason) {
  return conf::kind_of(reason) == conf::ReasonKind::tokens;
}
// Coming back makes sense, and then there must be a worker for it.
inline bool waits_for_workers(const Rejection& rejection) {
  return rejection.retry_after > Duration::zero() && !waits_for_tokens(rejection.reason);
}

// A taken worker: since when and for whom. It comes back with finish() as it was given.
struct Seat {
  Time since{};
  int priority = conf::priority_worst;
  RouteId route{};
  ClientNumber client = no_client;
  std::uint16_t workers = 1;
  std::optional<conf::Reason> observed{};  // as Arrival has it
  bool is_favoured = false;                // counts against its client's share
};

struct Admitted {
  Seat seat;
};

using Verdict = std::variant<Admitted, Ticket, Rejection>;

// What there is to do, for whoever divides workers among several gateways: by priority, the best
// first.
struct Wanted {
  std::uint32_t in_use = 0;                                   // workers
  std::array<std::uint32_t, conf::priority_count> workers{};  // in use, and waited for
  std::array<std::uint32_t, conf::priority_count> clients{};  // that wait
};

// What became of an admitted request.
struct Outcome {
  enum class Kind : std::uint8_t { processed, failed, abandoned, rejected };
  Kind kind = Kind::abandoned;
  conf::Reason reason = conf::Reason::upstream_broken;  // of a failure or rejection
  bool is_too_late = false;  // its deadline was over before the answer was there
  // How long the service worked on it: as long as it had its worker, or less (an answer that
  // streams), or nothing that tells how long work takes (a tunnel, an error, a worker not used).
  static constexpr Duration all_the_time = Duration::max();
  static constexpr Duration no_work = Duration::min();
  Duration work = all_the_time;
  Duration idle{};  // the worker had no server to work with, and counts as if it was free

  static Outcome processed() { return {Kind::processed}; }
  static Outcome failed(conf::Reason reason) { return {Kind::failed, reason}; }
  static Outcome abandoned() { return {Kind::abandoned}; }
  // The worker was had, and not used.
  static Outcome unused() { return {.work = no_work, .idle = all_the_time}; }
  // Likewise: its turn came too late.
  static Outcome rejected(conf::Reason reason) {
    return {.kind = Kind::rejected, .reason = reason, .work = no_work, .idle = all_the_time};
  }
};

// Why a waiter leaves before its turn.
enum class Departure : std::uint8_t { abandoned, timed_out, missed_deadline };

// News for a waiter: its turn has come, or it has been turned away.
struct Granted {
  Seat seat;
  Duration waited{};
};
struct Notice {
  Ticket ticket;
  std::uint32_t owner = 0;
  std::uint32_t tag = 0;
  std::variant<Granted, Rejection> news;
};

}  // namespace classgate::admission
