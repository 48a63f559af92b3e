#include "admission/client_table.h"

#include <algorithm>
#include <cmath>

#include "admission/token_bucket.h"

namespace classgate::admission {

void ClientTable::use(const conf::FairnessSettings& settings, const Ids& ids, Time now) {
  const std::vector<std::uint32_t>& generations = ids.plan_generations();
  CLASSGATE_INVARIANT(generations.size() <= plan_slots_max);
  // Brought up to date under the old settings, before the new ones hold.
  for (Client& client : clients_) fill(client, now);
  plans_.assign(generations.size(), settings.everybody);
  for (const conf::PlanSettings& plan : settings.plans)
    if (const PlanId id = ids.plan(plan.name); id != PlanId{}) plans_[id.slot] = plan;
  limits_workers_ = std::ranges::any_of(plans_, [](const auto& plan) { return plan.workers > 0; });
  limits_places_ =
      std::ranges::any_of(plans_, [](const auto& plan) { return plan.queue_size > 0; });
  retry_budget_ = settings.retry_budget;
  reserve_ = settings.reserve;
  patterns_.use(settings.pattern);
  for (Client& client : clients_) {
    client.plan = slot_in(generations, {client.plan, generations_[client.plan]}) & plan_bits;
    client.tokens = std::min(client.tokens, plans_[client.plan].burst);
  }
  generations_ = generations;
  // Nobody is forgotten for a lower limit: then no more are added until enough have gone.
  if (settings.clients_max == known_.most && settings.network_max == network_.most &&
      settings.unknown_max == unknown_.most)
    return;
  const bool had_network_part = network_.most > 0;
  known_.most = settings.clients_max;
  network_.most = settings.network_max;
  unknown_.most = settings.unknown_max;
  // Who is there already may be of the networks: the known ones begin with places that are free.
  if (network_.most > 0 && !had_network_part) network_.take_all_of(known_);
  if (network_.most == 0) known_.take_all_of(network_);
  if (unknown_.most == 0) known_.take_all_of(unknown_);
  for (Part* const part : {&known_, &network_, &unknown_}) part->numbers.reserve(part->most);
  clients_.reserve(places() + 1);
  if (clients_.empty()) clients_.push_back({.tokens = plans_[0].burst, .filled = now});
  rebuild_index();
}

bool ClientTable::is_content(ClientNumber number, double cost, Time now) {
  Client& client = clients_[number];
  fill(client, now);  // who asks for nothing that is shared was not looked at
  return parts_.others_ask() && !is_greedy(client, cost);
}

void ClientTable::Part::take_all_of(Part& other) {
  numbers.insert(numbers.end(), other.numbers.begin(), other.numbers.end());
  other.numbers = {};
}

void ClientTable::rebuild_index() {
  index_.clear(places());
  for (ClientNumber number = 1; number < clients_.size(); ++number)
    index_.insert(clients_[number].id, number);
}

ClientTable::Found ClientTable::add(std::uint64_t id, std::uint32_t plan, Time now,
                                    ClientKind kind) {
  Part& part = part_for(kind);
  ClientNumber number = static_cast<ClientNumber>(clients_.size());
  if (part.has_free_place()) {
    clients_.emplace_back();
    part.numbers.push_back(number);
  } else if (const auto freed = make_room_in(part, plans_[plan], now)) {
    number = *freed;
    index_.erase(number, [this](ClientNumber each) { return clients_[each].id; });
  } else {
    ++part.not_remembered;
    return {stranger, false};
  }
  clients_[number] = {.id = id,
                      .tokens = plans_[plan].burst,
                      .filled = now,
                      .credit = parts_.burst(),
                      .plan = plan & plan_bits};
  index_.insert(id, number);
  return {number, true};
}

// The client whose entry the newcomer takes; none when the newcomer gets no entry.
std::optional<ClientNumber> ClientTable::make_room_in(Part& part, const conf::PlanSettings& plan,
                                                      Time now) {
  const double newcomer_owes = plan.rate > 0 ? 1 / plan.rate : 0;
  std::optional<ClientNumber> least;
  double least_owed = 0;
  for (int i = 0; i < places_looked_at; ++i) {
    if (++part.hand >= part.numbers.size()) part.hand = 0;
    const ClientNumber number = part.numbers[part.hand];
    Client& client = clients_[number];
    if (client.active > 0 || client.waiting > 0) continue;
    const double owed = seconds_to_full(client, now, parts_);
    if (owed <= 0) {
      ++counts_.forgotten;
      return number;
    }
    if (owed > newcomer_owes || (least && owed >= least_owed)) continue;
    least = number;
    least_owed = owed;
  }
  if (least) ++counts_.forgotten_early;
  return least;
}

// Whether make_room_in() would find any.
bool ClientTable::has_room_in(const Part& part, std::uint32_t plan, Time now,
                              const EqualParts& parts) const {
  if (part.has_free_place()) return true;
  const double rate = plans_[plan].rate;
  const double newcomer_owes = rate > 0 ? 1 / rate : 0;
  std::size_t hand = part.hand;
  for (int i = 0; i < places_looked_at; ++i) {
    if (++hand >= part.numbers.size()) hand = 0;
    Client client = clients_[part.numbers[hand]];
    if (client.active > 0 || client.waiting > 0) continue;
    if (seconds_to_full(client, now, parts) <= newcomer_owes) return true;
  }
  return false;
}

// ---- Tokens ------------------------------------------------------------------------------------

double ClientTable::seconds_to_full(Client& client, Time now, const EqualParts& parts) const {
  fill(client, now, parts);
  const conf::PlanSettings& plan = plans_[client.plan];
  const double owed = (plan.rate > 0 ? plan.burst : 0) - client.tokens;
  const double pays = pays_at(plan, parts);
  const double tokens = owed > 0 && pays > 0 ? owed / pays : 0;
  const double retries =
      retry_budget_ < 1 ? (retries_given - client.retries) / retries_a_second : 0;
  return std::max({tokens, retries, 0.0});
}

Duration ClientTable::debt_wait(double tokens, double rate) {
  return rate > 0 ? TokenBucket::time_to(0, tokens, rate, 0) : Duration::zero();
}

Duration ClientTable::Look::wait_for(double cost) const {
  return rate <= 0 ? debt_wait(tokens, debt_rate) : TokenBucket::time_to(cost, tokens, rate, burst);
}

double ClientTable::tokens(ClientNumber client, Time now) {
  fill(clients_[client], now);
  return clients_[client].tokens;
}

// ---- Retries -----------------------------------------------------------------------------------

bool ClientTable::may_retry(ClientNumber client, Time now) {
  fill(clients_[client], now);
  return may_retry(clients_[client]);
}

void ClientTable::note_retry(ClientNumber client) {
  float& retries = clients_[client].retries;
  retries = std::max(retries - 1, 0.0F);
}

// ---- Looking without touching ------------------------------------------------------------------

ClientTable::Look ClientTable::look_for(std::uint64_t id, PlanId of, Time now, EqualParts parts,
                                        bool asks, ClientKind kind) const {
  const std::uint32_t plan = slot_of(of);
  if (const auto known = find(id)) {
    Client client = clients_[*known];
    client.plan = plan & plan_bits;
    return look_at(*known, client, now, parts, asks);
  }
  if (!has_room_in(part_for(kind), plan, now, parts)) return look(stranger, now, parts, asks);
  const Client fresh = {.tokens = plans_[plan].burst,
                        .filled = now,
                        .credit = parts.burst(),
                        .plan = plan & plan_bits};
  return look_at(newcomer, fresh, now, parts, asks);
}

ClientTable::Look ClientTable::look_at(ClientNumber number, Client client, Time now,
                                       EqualParts parts, bool asks) const {
  if (asks) count(client, now, parts);
  fill(client, now, parts);
  const conf::PlanSettings& plan = plans_[client.plan];
  return {.number = number,
          .plan = {client.plan, generations_[client.plan]},
          .tokens = client.tokens,
          .rate = plan.rate,
          .burst = plan.burst,
          .may_retry = may_retry(client),
          .debt_rate = parts.whole(),
          .credit = client.credit,
          .part_burst = parts.others_ask() ? parts.burst() : 0,
          .active = client.active,
          .active_max = plan.workers,
          .waiting = client.waiting,
          .waiting_max = plan.queue_size,
          .favoured = client.favoured,
          .plan_priority = static_cast<int>(plan.priority),
          .weight = plan.weight,
          .asking = parts.asking()};
}

ClientTable::Counts ClientTable::counts() const {
  Counts counts = counts_;
  counts.known = clients_.empty() ? 0 : clients_.size() - 1;
  counts.places = known_.most + network_.most + unknown_.most;
  counts.unknown = unknown_.numbers.size();
  counts.unknown_places = unknown_.most;
  counts.network = network_.numbers.size();
  counts.network_places = network_.most;
  counts.not_remembered = known_.not_remembered + network_.not_remembered + unknown_.not_remembered;
  counts.unknown_not_remembered = unknown_.not_remembered;
  counts.network_not_remembered = network_.not_remembered;
  return counts;
}

}  // namespace classgate::admission
