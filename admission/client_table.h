#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "admission/client_index.h"
#include "admission/equal_parts.h"
#include "admission/fair_rank.h"
#include "admission/huge_pages.h"
#include "admission/ids.h"
#include "admission/time.h"
#include "admission/token_bucket.h"
#include "conf/invariant.h"
#include "conf/settings.h"

namespace classgate::admission {

// What is remembered of each client: its tokens, what it has in the gateway now, how many of its
// requests were retries. One for each identity that was seen lately, `clients_max` of them at most.
//
// A full table forgets to make room, and looks for it at a few places only (O(1)): first a client
// that has nothing going on and whose buckets are full, which loses nothing. Where there is none,
// one that owes no more than the newcomer will, so that a flood of identities that were never seen
// before pushes out itself and nobody who has spent his tokens. Where there is none of these
// either, the newcomer is not remembered: all that are not share one entry, with one client's
// rights.
//
// Where some are known to the operator (`unknown_max` is not 0) those that are not have a part of
// the table of their own, of so many, beside the clients_max of the others: they make room among
// themselves, and push out nobody whom he knows.
//
// Equal parts (EqualParts): of what a bucket of many gains, each client that asks has one, by its
// weight, in an account of its own,
//   credit += rate * weight / clients that asked lately        up to part_burst
//   credit -= cost, for each that is served      down to -part_burst
// and who has no credit left is greedy: while others ask too, the last of such a bucket is not for
// him (Limits). So nobody is refused for the rate of another who asks without measure, each gets
// his part, and nothing is lost where nobody else asks: who is alone has everything.
//
// Retries: each first attempt earns `retry_budget` of one, up to `retries_kept`; a client that has
// none left gets one in ten seconds, up to `retries_given`. Not thread-safe.
class ClientTable {
 public:
  struct Counts {
    std::size_t known = 0;  // that are remembered
    std::size_t places = 0;
    // Of both, the part for those whom the operator does not know; no places: all stand together.
    std::size_t unknown = 0;
    std::size_t unknown_places = 0;
    std::uint64_t forgotten = 0;        // lost nothing
    std::uint64_t forgotten_early = 0;  // had spent something
    std::uint64_t not_remembered = 0;   // requests of those for whom there was no room
  };
  struct Found {
    ClientNumber number;
    bool is_new;  // the number stood for somebody else, or for nobody, before
  };

  // A client and what it may do, at one instant.
  struct Look {
    ClientNumber number = no_client;  // `newcomer`: it would get one
    PlanId plan{};
    double tokens = 0;
    double rate = 0;  // 0: no limit
    double burst = 0;
    bool may_retry = true;
    double debt_rate = 0;  // at which it pays what it owes, where it has no rate of its own
    float credit = 0;      // of its part of what is shared
    float part_burst = 0;  // the most that it may have of that; 0: nobody else asks
    std::uint32_t active = 0;
    std::uint32_t active_max = 0;  // 0: no limit
    std::uint32_t waiting = 0;
    std::uint32_t waiting_max = 0;  // 0: no limit
    std::uint32_t favoured = 0;
    int plan_priority = 3;
    std::uint32_t weight = 1;
    std::uint32_t asking = 1;  // clients that ask for what is shared, lately

    Duration wait_for(double cost) const;
    bool is_greedy(double cost) const {
      return part_burst > 0 && credit < std::min(static_cast<float>(cost), part_burst);
    }
    bool is_content(double cost) const { return part_burst > 0 && !is_greedy(cost); }
    bool has_all_its_workers() const { return has_all(active, active_max); }
    bool has_all_its_places() const { return has_all(waiting, waiting_max); }
    bool is_shared() const { return number == stranger; }  // by all that are not remembered
  };
  static constexpr ClientNumber newcomer = no_client - 1;

  // Who has a plan keeps it as long as that keeps its name; who has one that has gone has
  // everybody's. A plan that `ids` does not know is nobody's. O(clients).
  void use(const conf::FairnessSettings& settings, const Ids& ids, Time now);
  // What the clients have parts of: a bucket of many.
  void share_out(const TokenBucket& bucket) { parts_ = parts_of(bucket); }
  const EqualParts& parts() const { return parts_; }
  // As they would be after share_out().
  EqualParts parts_of(const TokenBucket& bucket) const {
    EqualParts parts = parts_;
    parts.divide(bucket.rate(), bucket.burst(), reserve_);
    return parts;
  }

  // The client of an identity that is not 0, from now on with this plan, or everybody's where that
  // has gone; who is new comes with full buckets, into the part for those who are known or not.
  Found find_or_add(std::uint64_t id, PlanId plan, Time now, bool is_known = false);
  std::optional<ClientNumber> find(std::uint64_t id) const;
  // Whom find_or_add() would find, and how; changes nothing. With such parts, which count it where
  // it asks for what is shared.
  Look look_for(std::uint64_t id, PlanId plan, Time now, EqualParts parts, bool asks,
                bool is_known = false) const;
  Look look(ClientNumber client, Time now, EqualParts parts, bool asks) const {
    return look_at(client, clients_[client], now, parts, asks);
  }
  Look look(ClientNumber client, Time now) const { return look(client, now, parts_, false); }
  // Their numbers end here.
  ClientNumber end() const { return static_cast<ClientNumber>(clients_.size()); }

  // As TokenBucket has it. A rate of 0: always zero.
  Duration wait_for(ClientNumber client, double cost, Time now);
  // Below zero it gives back; more than there is leaves a debt, of an hour at most.
  void take(ClientNumber client, double cost) {
    const conf::PlanSettings& plan = plan_of(client);
    if (plan.rate > 0)
      clients_[client].tokens =
          std::clamp(clients_[client].tokens - cost, -debt_seconds_max * plan.rate, plan.burst);
  }
  // What it has had and a bucket of many has not been charged. Where it has a rate of its own that
  // has been charged for it; else it is served again when it has paid, at the rate of that bucket,
  // after an hour at most. Whom nobody remembers owes nothing.
  void owe(ClientNumber client, double cost) {
    if (client == stranger || plan_of(client).rate > 0) return;
    double& tokens = clients_[client].tokens;
    tokens = std::max(std::min(tokens, 0.0) - cost, -debt_seconds_max * parts_.whole());
  }
  double tokens(ClientNumber client, Time now);

  // It asks for so much of what is shared: whether that is more than it has of its part.
  bool asks_greedily(ClientNumber client, double cost, Time now);
  // While others ask too, it asks for no more than it has of its part.
  bool is_content(ClientNumber client, double cost, Time now);
  void charge_part(ClientNumber client, double cost) {
    float& credit = clients_[client].credit;
    credit = std::clamp(credit - static_cast<float>(cost), -parts_.burst(), parts_.burst());
  }

  bool may_retry(ClientNumber client, Time now);
  void note_first_attempt(ClientNumber client) {
    float& retries = clients_[client].retries;
    retries =
        std::min(std::max(retries, retries_kept), retries + static_cast<float>(retry_budget_));
  }
  void note_retry(ClientNumber client);

  void take_workers(ClientNumber client, std::uint32_t count) {
    Client& taker = clients_[client];
    taker.active = (taker.active + count) & active_bits;
  }
  void return_workers(ClientNumber client, std::uint32_t count) {
    CLASSGATE_SHARED_INVARIANT(clients_[client].active >= count);
    clients_[client].active = (clients_[client].active - count) & active_bits;
  }
  void join(ClientNumber client) { ++clients_[client].waiting; }
  void leave(ClientNumber client) {
    CLASSGATE_SHARED_INVARIANT(clients_[client].waiting > 0);
    --clients_[client].waiting;
  }
  // Requests of it that count against a route's client_share, at work or waiting.
  void favour(ClientNumber client) { ++clients_[client].favoured; }
  void unfavour(ClientNumber client) {
    CLASSGATE_SHARED_INVARIANT(clients_[client].favoured > 0);
    --clients_[client].favoured;
  }
  std::uint32_t favoured(ClientNumber client) const { return clients_[client].favoured; }
  static constexpr std::uint32_t favoured_max = 2000;  // of one client
  std::uint32_t active(ClientNumber client) const { return clients_[client].active; }
  std::uint32_t waiting(ClientNumber client) const { return clients_[client].waiting; }
  bool has_all_its_workers(ClientNumber client) const {
    return limits_workers_ && has_all(active(client), plan_of(client).workers);
  }
  bool has_all_its_places(ClientNumber client) const {
    return limits_places_ && has_all(waiting(client), plan_of(client).queue_size);
  }
  const conf::PlanSettings& plan_of(ClientNumber client) const {
    return plans_[clients_[client].plan];
  }

  Counts counts() const;
  std::uint64_t id_of(ClientNumber client) const { return clients_[client].id; }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (ClientNumber number = 0; number < clients_.size(); ++number) visit(number);
  }

 private:
  static constexpr ClientNumber stranger = 0;  // everybody who is not remembered
  static constexpr int places_looked_at = 16;
  static constexpr double debt_seconds_max = 3600;
  static constexpr float retries_kept = 10;
  static constexpr float retries_given = 3;
  static constexpr float retries_a_second = 0.1F;

  static constexpr std::uint32_t active_bits = 0x1ffff;
  static constexpr std::uint32_t plan_bits = 0xff;
  struct Client {
    std::uint64_t id = 0;
    double tokens = 0;
    Time filled{};  // tokens and retries, as of then
    float retries = retries_given;
    float credit = 0;               // of its part, as of then
    std::uint32_t active : 17 = 0;  // workers: 100,000 at most (conf/keys.cpp)
    std::uint32_t favoured : 11 = 0;
    std::uint32_t asked : 4 = 0;     // in which turn it last did, for what is shared (EqualParts)
    std::uint32_t waiting : 24 = 0;  // a million at most
    std::uint32_t plan : 8 = 0;      // its slot: of the generation that it is in
  };
  static_assert(sizeof(Client) == 40);

  // A limit of 0 is none.
  static bool has_all(std::uint32_t has, std::uint32_t most) { return most > 0 && has >= most; }
  Look look_at(ClientNumber number, Client client, Time now, EqualParts parts, bool asks) const;
  // The slot of a plan; everybody's when it is one that has gone.
  static std::uint32_t slot_in(const std::vector<std::uint32_t>& generations, PlanId plan) {
    const bool is_known =
        plan.slot < generations.size() && generations[plan.slot] == plan.generation;
    return is_known ? plan.slot : 0;
  }
  std::uint32_t slot_of(PlanId plan) const { return slot_in(generations_, plan); }
  // The clients that make room for one another: their numbers, which are theirs for good.
  struct Part {
    std::vector<ClientNumber> numbers;
    std::size_t most = 0;
    std::size_t hand = 0;  // where room is looked for next
    bool has_free_place() const { return numbers.size() < most; }
  };
  const Part& part_for(bool is_known) const {
    return unknown_.most > 0 && !is_known ? unknown_ : known_;
  }
  Part& part_for(bool is_known) { return unknown_.most > 0 && !is_known ? unknown_ : known_; }
  bool has_room_in(const Part& part, std::uint32_t plan, Time now, const EqualParts& parts) const;
  static double pays_at(const conf::PlanSettings& plan, const EqualParts& parts) {
    return plan.rate > 0 ? plan.rate : parts.whole();
  }
  static Duration debt_wait(double tokens, double rate);
  static void count(Client& client, Time now, EqualParts& parts) {
    client.asked = parts.count(client.asked, client.filled, now) & 0xf;
  }
  void fill(Client& client, Time now, const EqualParts& parts) const;
  void fill(Client& client, Time now) const { fill(client, now, parts_); }
  bool may_retry(const Client& client) const { return retry_budget_ >= 1 || client.retries >= 1; }
  double seconds_to_full(Client& client, Time now, const EqualParts& parts) const;
  std::optional<ClientNumber> make_room_in(Part& part, const conf::PlanSettings& plan, Time now);
  void rebuild_index();
  bool is_greedy(const Client& client, double cost) const {
    return parts_.others_ask() &&
           client.credit < std::min(static_cast<float>(cost), parts_.burst());
  }

  static constexpr std::size_t plan_slots_max = 256;  // Client::plan; conf allows 100 plans
  std::vector<conf::PlanSettings> plans_{1};          // by slot: 0 is everybody's
  std::vector<std::uint32_t> generations_{0};         // of these
  bool limits_workers_ = false;                       // some plan does
  bool limits_places_ = false;
  double retry_budget_ = 1;
  double reserve_ = 0;
  std::vector<Client, HugePages<Client>> clients_;
  ClientIndex index_;
  EqualParts parts_;
  Part known_;    // or all
  Part unknown_;  // none where nobody is known
  Counts counts_;
};

}  // namespace classgate::admission
