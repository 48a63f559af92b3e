#pragma once

#include <optional>

#include "admission/client_table.h"
#include "admission/ids.h"
#include "admission/returns.h"
#include "admission/token_bucket.h"
#include "admission/verdict.h"

namespace classgate::admission {

// The token buckets: one for all, one for each route that has a rate of its own, one for each
// client (in the ClientTable). A request is charged by every one that applies to it, or by none.
// Owned by the Intake.
class Limits {
 public:
  struct Wait {
    conf::Reason reason = conf::Reason::rate_limited;
    Duration time{};  // zero: all the tokens are there
  };
  // One that applies, as it stands.
  struct Bucket {
    double tokens = 0;  // below zero: a debt
    double rate = 0;
    double burst = 0;
    Duration wait{};  // until it can pay
  };
  struct Buckets {
    std::optional<Bucket> all, route, client;
    Wait wait;  // what wait_for() says
    // The one that is too empty when this is said.
    const std::optional<Bucket>& of(conf::Reason reason) const {
      return reason == conf::Reason::client_rate  ? client
             : reason == conf::Reason::route_rate ? route
                                                  : all;
    }
  };

  Limits(const conf::AdmissionSettings& settings, const Ids& ids, ClientTable& clients);
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now);

  // Of the bucket for all.
  void set_rate(double rate, double burst, Time now) {
    all_.reconfigure(rate, burst, now);
    share_out();
  }
  // Tells the clients what they have parts of; after they have been told their own terms.
  void share_out() { clients_.share_out(shared_out(all_.bucket)); }
  // The bucket whose gain they have parts of, with this one for all: that for all or, where nothing
  // limits all of them, the widest of the routes' own says what there is.
  TokenBucket shared_out(const TokenBucket& all) const;
  // It asks for what is shared.
  bool asks_shared(const Arrival& arrival) const {
    if (arrival.rate_limited) return true;
    const Shared* const route = routes_.find(arrival.route);
    return route != nullptr && route->bucket.rate() > 0;
  }

  // Until every bucket can pay, and the one that takes longest (of equals the narrowest). A client
  // that asks for more than its part of the shared ones, while others ask too, must leave
  // fairness.reserve of each to them. Notes that it has asked.
  Wait wait_for(const Arrival& arrival, ClientNumber client, Time now);
  // The same and the buckets themselves, changing nothing; with this one for all.
  Buckets look(const Arrival& arrival, const std::optional<ClientTable::Look>& client,
               TokenBucket all, Time now) const;
  const TokenBucket& all() const { return all_.bucket; }
  // What one is told who is refused because this bucket is too empty: the time until it can pay, or
  // later where others are refused for the same one.
  Duration return_time(const Rejection& rejection, const Arrival& arrival,
                       const Returns::Asker& asker, Time now);
  // The same, changing nothing.
  Duration foretell_return_time(const Rejection& rejection, const Arrival& arrival,
                                const Returns::Asker& asker, Time now) const;
  // After wait_for() said zero for the same arrival and time.
  void take(const Arrival& arrival, ClientNumber client);
  // The cost has turned out to be another: so much more, or less, than was taken. A bucket of many
  // goes no further below zero than it may be above: what one client has had beyond that it owes
  // alone (ClientTable::owe), and the others are served again when the bucket has filled from
  // there.
  void settle(const Arrival& arrival, ClientNumber client, double more);

 private:
  // A bucket of many clients.
  struct Shared {
    TokenBucket bucket{0, 0};
    Returns returns{};
    double taken = 0;  // since its rate changed, or since somebody was last told when to come back
    double used = 0;   // before its rate changed: the time in which it gained what was taken
    Returns::Capacity capacity(double rate) const {
      return {rate, used + (bucket.rate() > 0 ? taken / bucket.rate() : 0)};
    }
    void reconfigure(double rate, double burst, Time now) {
      used = capacity(rate).used;
      taken = 0;
      bucket.reconfigure(rate, burst, now);
    }
  };
  // What this client must leave in a bucket that holds so much.
  static double kept(double share, const TokenBucket& bucket) { return share * bucket.burst(); }
  static Wait longest(Duration route, Duration client, Duration all);
  // Whose tokens others may be waiting for as well; null for a client's own.
  template <typename Self>
  static auto shared_of(Self& limits, conf::Reason reason, RouteId route)
      -> decltype(&limits.all_) {
    if (reason == conf::Reason::rate_limited) return &limits.all_;
    return reason == conf::Reason::route_rate ? limits.routes_.find(route) : nullptr;
  }

  Shared all_;
  ById<RouteId, Shared> routes_;  // empty when none has a rate
  double reserve_ = 0;            // of each, for those who are content with their part
  ClientTable& clients_;
};

}  // namespace classgate::admission
