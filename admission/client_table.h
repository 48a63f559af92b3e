#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "admission/client_index.h"
#include "admission/client_patterns.h"
#include "admission/equal_parts.h"
#include "admission/fair_rank.h"
#include "admission/huge_pages.h"
#include "admission/ids.h"
#include "admission/time.h"
#include "admission/token_bucket.h"
#include "admission/verdict.h"
#include "conf/invariant.h"
#include "conf/settings.h"

namespace classgate::admission {

// What is remembered of each client: its tokens, its requests at work and in the queue, how many of
// its requests were retries. There is an entry for each identity that was seen lately,
// `clients_max` of them at most.
//
// When the table is full, a newcomer takes the entry of another client. It is looked for among the
// next `places_looked_at` entries only, in turn, so this is O(1). Only clients without a request in
// the gateway come into question:
//   1. One whose buckets are full. It loses nothing: it would start with full buckets again.
//   2. Else the one whose buckets are full soonest, if that is no later than those of the newcomer
//      will be after its first request. So a flood of identities that were never seen before takes
//      its own entries again and again, and clients that have spent their tokens keep theirs:
//      nobody gets full buckets by being forgotten.
//   3. Else the newcomer gets no entry. All clients without one share the entry `stranger`, with
//   the
//      rights of one client.
//
// When the operator knows some clients (`unknown_max` is not 0), the unknown ones have a part of
// the table of their own, with `unknown_max` entries, and the known ones another, with
// `clients_max`. Likewise those that are known only by an address in a plan's network, with
// `network_max`: there are as many of them as the network has addresses, and whoever has many
// addresses is many of them. A newcomer takes entries of its own part only, so neither unknown
// clients nor networks ever displace who is known by a key.
//
// Equal parts (EqualParts): what a shared bucket gains is divided among the clients that ask. Each
// has an account of its own, its credit:
//   credit += rate * weight / clients that asked lately        up to part_burst
//   credit -= cost, for each that is served      down to -part_burst
// A client without credit for a request is greedy. While others ask too, a greedy client may not
// use the last of the shared bucket (Limits). So a client that asks without measure does not cause
// the refusal of others, each gets its part, and nothing is wasted: who asks alone may have
// everything.
//
// Retries: a client's first attempts earn it retries, `retry_budget` of one each, up to
// `retries_kept`. One that has less than `retries_given` gets one every ten seconds besides. Not
// thread-safe.
class ClientTable {
 public:
  struct Counts {
    std::size_t known = 0;  // that are remembered
    std::size_t places = 0;
    // The parts of `known` and of `places` for clients that the operator does not know, and for
    // those of plans' networks. No places: there is no such part.
    std::size_t unknown = 0;
    std::size_t unknown_places = 0;
    std::size_t network = 0;
    std::size_t network_places = 0;
    std::uint64_t forgotten = 0;               // with full buckets, so that nothing was lost
    std::uint64_t forgotten_early = 0;         // whose buckets were not full
    std::uint64_t not_remembered = 0;          // requests of those for whom there was no room:
    std::uint64_t unknown_not_remembered = 0;  // of these: of unknown ones,
    std::uint64_t network_not_remembered = 0;  // and of those of networks
  };
  struct Found {
    ClientNumber number;
    bool is_new;  // before, the number was another client's or nobody's
  };

  // A client and what it may do, at one instant.
  struct Look {
    ClientNumber number = no_client;  // `newcomer`: it has no entry yet, and would get one
    PlanId plan{};
    double tokens = 0;
    double rate = 0;  // 0: no limit
    double burst = 0;
    bool may_retry = true;
    double debt_rate = 0;  // tokens a second that its debt falls by, if it has no rate of its own
    float credit = 0;      // in its account of the shared bucket
    float part_burst = 0;  // the most credit that it may have; 0: nobody else asks
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

  // New settings. A client keeps its plan if there still is one of that name, else it is on
  // everybody's terms. O(clients).
  void use(const conf::FairnessSettings& settings, const Ids& ids, Time now);
  // The shared bucket that is divided among the clients.
  void share_out(const TokenBucket& bucket) { parts_ = parts_of(bucket); }
  const EqualParts& parts() const { return parts_; }
  // As they would be after share_out().
  EqualParts parts_of(const TokenBucket& bucket) const {
    EqualParts parts = parts_;
    parts.divide(bucket.rate(), bucket.burst(), reserve_);
    return parts;
  }

  // The client with this identity, which is not 0. It has this plan from now on, or everybody's
  // terms if the plan is not there any more. A new one begins with full buckets; `kind` says into
  // which part of the table it comes.
  Found find_or_add(std::uint64_t id, PlanId of, Time now, ClientKind kind = ClientKind::unknown) {
    const std::uint32_t plan = slot_of(of);
    const auto known = find(id);
    if (!known) [[unlikely]]
      return add(id, plan, now, kind);
    if (clients_[*known].plan != plan) clients_[*known].plan = plan & plan_bits;
    return {*known, false};
  }
  std::optional<ClientNumber> find(std::uint64_t id) const {
    const ClientNumber number = index_.find(id, [&](ClientNumber candidate) {
      // It may lie in two cache lines: both are fetched at once.
      __builtin_prefetch(reinterpret_cast<const char*>(&clients_[candidate] + 1) - 1, 1);
      return clients_[candidate].id == id;
    });
    if (number == no_client) return std::nullopt;
    return number;
  }
  // The client that find_or_add() would find, and what it may do; changes nothing. `parts` say what
  // its part of the shared bucket is; with `asks` it is counted among the clients that ask.
  Look look_for(std::uint64_t id, PlanId plan, Time now, EqualParts parts, bool asks,
                ClientKind kind = ClientKind::unknown) const;
  Look look(ClientNumber client, Time now, EqualParts parts, bool asks) const {
    return look_at(client, clients_[client], now, parts, asks);
  }
  Look look(ClientNumber client, Time now) const { return look(client, now, parts_, false); }
  // Its own bucket, as of the last time that it asked.
  Rejection::LookedAt look_of(ClientNumber client) const {
    const conf::PlanSettings& plan = plan_of(client);
    const double tokens = clients_[client].tokens;
    if (plan.rate <= 0 && tokens >= 0) return {};
    return {static_cast<float>(tokens), static_cast<float>(pays_at(plan, parts_)),
            static_cast<float>(plan.burst)};
  }
  // Numbers of clients are below this.
  ClientNumber end() const { return static_cast<ClientNumber>(clients_.size()); }

  // Until the client's own bucket has these tokens, as TokenBucket::wait_for(); zero if its rate
  // has no limit.
  Duration wait_for(ClientNumber number, double cost, Time now) {
    Client& client = clients_[number];
    const conf::PlanSettings& plan = plans_[client.plan];
    fill(client, now);
    if (plan.rate <= 0) return debt_wait(client.tokens, parts_.whole());
    return TokenBucket::time_to(cost, client.tokens, plan.rate, plan.burst);
  }
  // Takes tokens from the client's own bucket, if it has one; a cost below zero gives some back.
  // The bucket may go below zero, by as much as it gains in an hour at most.
  void take(ClientNumber client, double cost) {
    const conf::PlanSettings& plan = plan_of(client);
    if (plan.rate > 0)
      clients_[client].tokens =
          std::clamp(clients_[client].tokens - cost, -debt_seconds_max * plan.rate, plan.burst);
  }
  // A cost that was not taken from the shared bucket (Limits::settle) becomes a debt of this
  // client. If it has a rate of its own, its own bucket has paid already. Else it is not served
  // until the debt is paid at the rate of the shared bucket, which takes an hour at most. Clients
  // without an entry owe nothing.
  void owe(ClientNumber client, double cost) {
    if (client == stranger || plan_of(client).rate > 0) return;
    double& tokens = clients_[client].tokens;
    tokens = std::max(std::min(tokens, 0.0) - cost, -debt_seconds_max * parts_.whole());
  }
  double tokens(ClientNumber client, Time now);

  // The client asks for so much of a shared bucket: is that more than its credit, while others ask
  // too? Counts it among the clients that ask.
  bool asks_greedily(ClientNumber number, double cost, Time now) {
    Client& client = clients_[number];
    count(client, now, parts_);
    fill(client, now);
    return is_greedy(client, cost);
  }
  // Whether others ask too, and it asks for no more than its credit.
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
  // Counts a request of the client, at work or in the queue, against its route's client_share.
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

  // --- What is usual for it (fairness.rate = "pattern"). ---
  bool follows_patterns() const { return patterns_.is_on(); }
  const ClientPatterns& patterns() const { return patterns_; }
  ClientPatterns& patterns() { return patterns_; }
  // Until so much is usual for the client.
  Duration pattern_wait(ClientNumber client, double cost, Time now) {
    return patterns_.wait_for(clients_[client].id, plan_of(client), cost, now);
  }
  void take_of_pattern(ClientNumber client, double cost) {
    patterns_.take(clients_[client].id, cost);
  }
  void note_served(ClientNumber client, double cost, Time now) {
    patterns_.note_served(clients_[client].id, plan_of(client), cost, now);
  }
  // Of a client that may have no entry.
  ClientPatterns::Look look_at_pattern(std::uint64_t id, PlanId plan, Time now) const {
    return patterns_.look(id, plans_[slot_of(plan)], now);
  }

  // What a client has used of what a newcomer gets, for a process that takes over (memo.cpp).
  struct Account {
    std::uint64_t id = 0;
    std::uint32_t plan = 0;  // its slot
    double tokens = 0;
    float retries = 0;
    float credit = 0;
    ClientKind kind = ClientKind::unknown;  // where the table has parts: of which
    double owes = 0;  // seconds until it has all that a newcomer gets; 0: it has
  };
  // Of the client at this place, of those that are occupied.
  Account account_at(std::size_t place, Time now) const;
  std::size_t occupied() const {
    return known_.numbers.size() + network_.numbers.size() + unknown_.numbers.size();
  }
  // It goes on from this account, as far as its plan here allows.
  void resume(const Account& account, PlanId plan, Time at);

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
    Time filled{};  // when tokens, retries and credit were last brought up to date
    float retries = retries_given;
    float credit = 0;               // in its account of the shared bucket
    std::uint32_t active : 17 = 0;  // workers: 100,000 at most (conf/keys.cpp)
    std::uint32_t favoured : 11 = 0;
    std::uint32_t asked : 4 = 0;     // the turn in which it last asked (EqualParts)
    std::uint32_t waiting : 24 = 0;  // a million at most
    std::uint32_t plan : 8 = 0;      // the slot of its plan
  };
  static_assert(sizeof(Client) == 40);

  // A limit of 0 is none.
  static bool has_all(std::uint32_t has, std::uint32_t most) { return most > 0 && has >= most; }
  Look look_at(ClientNumber number, Client client, Time now, EqualParts parts, bool asks) const;
  // The slot of a plan; that of everybody's terms when the plan is not there any more.
  static std::uint32_t slot_in(const std::vector<std::uint32_t>& generations, PlanId plan) {
    const bool is_known =
        plan.slot < generations.size() && generations[plan.slot] == plan.generation;
    return is_known ? plan.slot : 0;
  }
  std::uint32_t slot_of(PlanId plan) const { return slot_in(generations_, plan); }
  // A part of the table: newcomers take the entries of clients of the same part. A number belongs
  // to its part for good.
  struct Part {
    std::vector<ClientNumber> numbers;
    std::size_t most = 0;
    std::size_t hand = 0;              // where room is looked for next
    std::uint64_t not_remembered = 0;  // requests of those for whom there was none
    bool has_free_place() const { return numbers.size() < most; }
    std::size_t most_ever() const { return std::max(most, numbers.size()); }
    void take_all_of(Part& other);
  };
  const Part& part_for(ClientKind kind) const {
    if (kind == ClientKind::unknown && unknown_.most > 0) return unknown_;
    if (kind == ClientKind::of_network && network_.most > 0) return network_;
    return known_;
  }
  Part& part_for(ClientKind kind) { return const_cast<Part&>(std::as_const(*this).part_for(kind)); }
  std::size_t places() const {
    return known_.most_ever() + network_.most_ever() + unknown_.most_ever();
  }
  bool has_room_in(const Part& part, std::uint32_t plan, Time now, const EqualParts& parts) const;
  static double pays_at(const conf::PlanSettings& plan, const EqualParts& parts) {
    return plan.rate > 0 ? plan.rate : parts.whole();
  }
  static Duration debt_wait(double tokens, double rate);
  static void count(Client& client, Time now, EqualParts& parts) {
    client.asked = parts.count(client.asked, client.filled, now) & 0xf;
  }
  void fill(Client& client, Time now, const EqualParts& parts) const {
    if (now <= client.filled) return;  // time never runs backwards here
    const double seconds = std::chrono::duration<double>(now - client.filled).count();
    const conf::PlanSettings& plan = plans_[client.plan];
    client.tokens = std::min(plan.burst, client.tokens + seconds * pays_at(plan, parts));
    if (client.retries < retries_given)
      client.retries =
          std::min(retries_given, client.retries + static_cast<float>(seconds) * retries_a_second);
    client.credit =
        std::min(parts.burst(), client.credit + static_cast<float>(seconds) * parts.rate() *
                                                    static_cast<float>(plan.weight));
    client.filled = now;
  }
  void fill(Client& client, Time now) const { fill(client, now, parts_); }
  bool may_retry(const Client& client) const { return retry_budget_ >= 1 || client.retries >= 1; }
  Found add(std::uint64_t id, std::uint32_t plan, Time now, ClientKind kind);
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
  ClientPatterns patterns_;
  Part known_;  // all clients, if there are no parts
  // Empty, if there is no such part:
  Part network_;
  Part unknown_;
  Counts counts_;
};

}  // namespace classgate::admission
