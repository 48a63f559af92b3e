#pragma once

#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "admission/client_table.h"
#include "admission/ids.h"
#include "admission/returns.h"
#include "admission/token_bucket.h"
#include "admission/verdict.h"

namespace classgate::admission {

// The token buckets: one for all requests, one for each route that has a rate of its own, one for
// each client (in the ClientTable). Several may apply to a request: its cost is taken from all of
// them, or, when it is refused, from none. The first two are shared: many clients take from them.
// Owned by the Intake.
class Limits {
 public:
  // How long a request would have to wait for its tokens, and because of which bucket.
  struct Wait {
    conf::Reason reason = conf::Reason::rate_limited;
    Duration time{};  // zero: all the tokens are there
  };
  // One bucket that applies to a request, as it is now.
  struct Bucket {
    double tokens = 0;  // that the client could have at once; below zero: more was spent than was
    double rate = 0;
    double burst = 0;
    Duration wait{};   // until it has the tokens for the request, and those that it must leave
    double there = 0;  // tokens, whoever may have them
    // What the request must leave of them, at most all: for those who ask for no more than their
    // part or, the larger number, for those who were told to come.
    double kept_for_content = 0;
    double kept_for_due = 0;
    Coming coming = Coming::anew;
  };
  struct Buckets {
    std::optional<Bucket> all, route, client;
    std::optional<Bucket>
        pattern;  // what is usual for the client: counts while the service is short
    Wait wait;    // what wait_for() would say
    // The bucket that is too empty when a request is refused with this reason.
    const std::optional<Bucket>& of(conf::Reason reason) const {
      return reason == conf::Reason::client_rate      ? client
             : reason == conf::Reason::client_pattern ? pattern
             : reason == conf::Reason::route_rate     ? route
                                                      : all;
    }
  };

  // How one comes to each of the shared ones (RetryAfter).
  struct Comings {
    Coming to_all = Coming::anew;
    Coming to_route = Coming::anew;
  };

  Limits(const conf::AdmissionSettings& settings, const Ids& ids, ClientTable& clients);
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);

  // Changes the bucket for all requests.
  void set_rate(double rate, double burst, Time now) {
    all_.reconfigure(rate, burst, now);
    share_out();
  }
  // Tells the ClientTable of which bucket each client has an equal part. Call it after
  // ClientTable::use(), which changes the clients' plans.
  void share_out() { clients_.share_out(shared_out(all_.bucket)); }
  // The bucket that is divided among the clients. That is `all`, the bucket for all requests; if
  // that has no limit, it is the one with the highest rate among those of the routes.
  TokenBucket shared_out(const TokenBucket& all) const;
  // Whether the request takes from a shared bucket.
  bool asks_shared(const Arrival& arrival) const {
    if (arrival.rate_limited) return true;
    const Shared* const route = routes_.find(arrival.route);
    return route != nullptr && route->bucket.rate() > 0;
  }

  // How long until every bucket that applies has the tokens for the request, and which of them
  // takes longest; of several that take equally long the route's, else the client's own. A client
  // that asks for more than its part of the shared buckets, while others ask too, may not use the
  // last of them: it has to leave the share fairness.reserve of each. Notes that the client has
  // asked.
  // While clients are expected that were told to come for a bucket's tokens, some of its last ones
  // are kept for them: else they would be refused again as often as those who come as they like,
  // and one that storms would have all that they leave.
  Wait wait_for(const Arrival& arrival, ClientNumber client, const Comings& comings, Time now) {
    if (client == no_client && limits_nobody()) return {};
    return wait_in_all(arrival, client, comings, now);
  }
  // The same with the buckets themselves, but changes nothing. `all` stands for the bucket for all
  // requests.
  Buckets look(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
               const Comings& comings, TokenBucket all, Time now) const;
  // The buckets that were looked at, as they were then; for one that does not wait for tokens.
  void write_to(Rejection& rejection, const Arrival& arrival, ClientNumber client) const;
  const TokenBucket& all() const { return all_.bucket; }
  // Of the bucket for all, no more is left than what is kept for those who ask for their part.
  bool is_low(Time now) const {
    const TokenBucket& all = all_.bucket;
    return all.rate() > 0 && all.tokens_at(now) < reserve_ * all.burst();
  }
  // As many tokens as there were at this time, in the process before.
  void resume(double tokens, Time at) { all_.bucket.resume(tokens, at); }
  void resume(RouteId route, double tokens, Time at) {
    if (Shared* const own = routes_.find(route)) own->bucket.resume(tokens, at);
  }
  // Null: the route has none.
  const TokenBucket* bucket_of(RouteId route) const {
    const Shared* const own = routes_.find(route);
    return own == nullptr ? nullptr : &own->bucket;
  }
  // Somebody who was told to may still come back for tokens that this request wants too.
  bool expects_returns(const Arrival& arrival, Time now) const {
    if (arrival.rate_limited && all_.expects_returns(now)) return true;
    const Shared* const route = routes_.find(arrival.route);
    return route != nullptr && route->expects_returns(now);
  }
  // What a client is told that is refused because a bucket is too empty: to come back when the
  // bucket has the tokens for it or, if others have been refused because of the same bucket and
  // told to come back, after them.
  Duration return_time(const Rejection& rejection, const Arrival& arrival,
                       const Returns::Asker& asker, Time now);
  // The same, changing nothing.
  Duration foretell_return_time(const Rejection& rejection, const Arrival& arrival,
                                const Returns::Asker& asker, Time now) const;
  // --- Rates that several gateways have together. ---
  // One that the conf has, and what has become of it here.
  struct RateUse {
    std::string route;   // its path; empty: the rate for all
    double rate = 0;     // of all gateways
    double burst = 0;    // likewise
    double tokens = 0;   // there are here
    double asked = 0;    // since this was last asked: what was taken, and what was refused for want
    double spilled = 0;  // likewise: what the bucket had no room for
  };
  // The rate for all, if it does not follow the service, and then those of routes in their order.
  std::vector<RateUse> take_uses(Time now);
  // This gateway's part of each rate and of each burst, which holds from then on; and until a time
  // other rates, in the order of the uses. Ones that are not named go by the part.
  struct RateLoan {
    std::string route;
    double rate = 0;
    Time until{};
    double whole = 0;  // of all gateways, if that is less than what the conf says; 0: it is not
  };
  void lend(double part, std::span<const RateLoan> loans, Time now);
  // It was refused because of that bucket.
  void note_refused(conf::Reason reason, const Arrival& arrival) {
    if (Shared* const shared = shared_of(*this, reason, arrival.route))
      shared->asked += arrival.cost;
  }

  // Takes the cost of the request from all buckets that apply. Only after wait_for() said zero for
  // the same arrival and time.
  void take(const Arrival& arrival, ClientNumber client, const Comings& comings) {
    if (client != no_client || !limits_nobody()) settle(arrival, client, arrival.cost, comings);
  }
  // The cost has turned out to be higher than what was taken, by `more`, or lower if that is
  // negative. A shared bucket goes below zero by its burst at most. What is left of the cost then
  // is a debt of this client alone (ClientTable::owe), so that the others do not wait until it is
  // paid.
  void settle(const Arrival& arrival, ClientNumber client, double more) {
    settle(arrival, client, more, {});
  }

 private:
  // A shared bucket, and when those who were refused because of it were told to come back.
  struct Shared {
    TokenBucket bucket{0, 0};
    // As the conf has them, of all gateways together.
    std::string route{};
    double whole_rate = 0;
    double whole_burst = 0;
    double asked = 0;
    Returns returns{};
    // Tokens, since its rate changed or somebody was last told to come back. Not by those who come
    // before their time: what these have others could have, when they come as they are told.
    double taken = 0;
    // The latest time that somebody was told to come for its tokens, and the latest of another.
    static constexpr Time never = Time::min() + std::chrono::hours(1);
    Time last_turn = never, last_turn_of_others = never;
    std::uint64_t last = 0;
    void note_told(std::uint64_t client, Time turn) {
      if (client != last && turn < last_turn) {
        last_turn_of_others = std::max(last_turn_of_others, turn);
        return;
      }
      if (client != last) last_turn_of_others = last_turn;
      last = client;
      last_turn = std::max(last_turn, turn);
    }
    void expect_nobody() { last_turn = last_turn_of_others = never; }
    // Somebody may still come as it was told.
    bool expects_returns(Time now) const { return now <= last_turn + ToldTimes::late_most; }
    // But for this client.
    bool expects_others(std::uint64_t client, Time now) const {
      return now <= (client == last ? last_turn_of_others : last_turn) + ToldTimes::late_most;
    }
    // What was taken before its rate changed, as the seconds in which it had gained that.
    double used = 0;
    Returns::Capacity capacity(double rate) const {
      return {rate, used + (bucket.rate() > 0 ? taken / bucket.rate() : 0)};
    }
    void reconfigure(double rate, double burst, Time now) {
      used = capacity(rate).used;
      taken = 0;
      bucket.reconfigure(rate, burst, now);
    }
    // Of `whole` for all gateways; never nothing at all: a rate of 0 is no limit.
    void lend(double rate, Time until, double whole, double part, Time now) {
      used = capacity(rate).used;
      taken = 0;
      bucket.lend(std::max(rate, whole * 1e-4), whole_burst * part, until, whole * part, now);
    }
  };
  template <typename Visit>
  void for_each_rate(Visit visit) {
    if (all_.whole_rate > 0) visit(all_);
    for (const RouteId id : route_ids_)
      if (Shared* const route = routes_.find(id); route->whole_rate > 0) visit(*route);
  }
  // The tokens that one must leave in a bucket: the larger number.
  struct Kept {
    double for_content = 0;  // for those who ask for no more than their part
    double for_due = 0;      // for those who come when they were told to
  };
  // No shared bucket has a limit.
  bool limits_nobody() const { return all_.bucket.rate() <= 0 && routes_.is_empty(); }
  Wait wait_in_all(const Arrival& arrival, ClientNumber client, const Comings& comings, Time now);
  Kept kept(const Shared& shared, const Arrival& arrival, bool is_greedy, Coming coming,
            Time now) const;
  // Of so many tokens those that a client could have at once. As long as it asks for no more than
  // its part, and for one request when it is due, it may have what is kept from others; of what is
  // left then it has to leave that.
  double could_have(const Shared& shared, double tokens, const Kept& of_this,
                    const Arrival& arrival, const std::optional<ClientTable::Look>& client,
                    Coming coming, Time now) const;
  static Duration wait_for(TokenBucket& bucket, double cost, const Kept& kept, Time now);
  void settle(const Arrival& arrival, ClientNumber client, double more, const Comings& comings);
  static Wait longest(Duration route, Duration client, Duration all);
  // The shared bucket that this reason is about; null when it is about a client's own.
  template <typename Self>
  static auto shared_of(Self& limits, conf::Reason reason, RouteId route)
      -> decltype(&limits.all_) {
    if (reason == conf::Reason::rate_limited) return &limits.all_;
    return reason == conf::Reason::route_rate ? limits.routes_.find(route) : nullptr;
  }

  Shared all_;
  ById<RouteId, Shared> routes_;    // empty when none has a rate
  std::vector<RouteId> route_ids_;  // of these
  double part_ = 1;                 // of each rate: this gateway's
  // The share of each that is kept for clients that ask for no more than their part.
  double reserve_ = 0;
  ClientTable& clients_;
};

}  // namespace classgate::admission
