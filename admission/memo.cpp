#include "admission/memo.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "admission/gate.h"

namespace classgate::admission {
namespace {

bool owes_more(const ClientTable::Account& a, const ClientTable::Account& b) {
  return a.owes > b.owes;
}

}  // namespace

void Debtors::offer(const ClientTable::Account& account) {
  if (account.owes <= 0 || most_ == 0) return;
  if (accounts_.size() < most_) {
    accounts_.push_back(account);
    if (accounts_.size() == most_) std::ranges::make_heap(accounts_, owes_more);
    return;
  }
  if (!owes_more(account, accounts_.front())) return;
  std::ranges::pop_heap(accounts_, owes_more);
  accounts_.back() = account;
  std::ranges::push_heap(accounts_, owes_more);
}

// ---- Clients ------------------------------------------------------------------------------------

ClientTable::Account ClientTable::account_at(std::size_t place, Time now) const {
  ClientKind kind = ClientKind::known;
  const Part* part = &known_;
  for (const auto& [next, its] :
       {std::pair(&network_, ClientKind::of_network), std::pair(&unknown_, ClientKind::unknown)}) {
    if (place < part->numbers.size()) break;
    place -= part->numbers.size();
    part = next;
    kind = its;
  }
  if (unknown_.most == 0 && network_.most == 0) kind = ClientKind::unknown;  // there are no parts
  Client client = clients_[part->numbers[place]];
  double owes = seconds_to_full(client, now, parts_);
  const double credit_a_second = static_cast<double>(parts_.rate()) * plans_[client.plan].weight;
  if (parts_.others_ask() && credit_a_second > 0)
    owes = std::max(owes, (parts_.burst() - client.credit) / credit_a_second);
  return {.id = client.id,
          .plan = client.plan,
          .tokens = client.tokens,
          .retries = client.retries,
          .credit = client.credit,
          .kind = kind,
          .owes = owes};
}

// Nobody gives way: where the table is full it has nothing to forget for one that may never come.
void ClientTable::resume(const Account& account, PlanId plan, Time at) {
  if (account.id == 0 || find(account.id) || !part_for(account.kind).has_free_place()) return;
  Client& client = clients_[find_or_add(account.id, plan, at, account.kind).number];
  const conf::PlanSettings& terms = plans_[client.plan];
  client.tokens =
      std::clamp(account.tokens, -debt_seconds_max * pays_at(terms, parts_), terms.burst);
  client.retries = std::clamp(account.retries, 0.0F, retries_kept);
  client.credit = std::clamp(account.credit, -parts_.burst(), parts_.burst());
}

// ---- The Controller
// ------------------------------------------------------------------------------

void Intake::resume_rate(double rate, Time at) {
  if (!settings_.rate_is_auto) return;
  rate_follower_.resume(rate, at);
  limits_.set_rate(rate_follower_.rate(), settings_.burst, at);
}

void Line::write_to(PolicyMemo& memo) const {
  if (settings_.workers_are_auto) memo.workers = worker_search_.base();
  memo.usual_turn = books_.usual_turn();
}

void Line::take_up(const PolicyMemo& memo) {
  if (memo.workers) worker_search_.resume(*memo.workers);
  count_workers();
  books_.resume(memo.usual_turn);
}

PolicyMemo Controller::learnt(Time now) const {
  PolicyMemo memo;
  const auto level = [now](const TokenBucket* bucket) {
    return bucket != nullptr && bucket->rate() > 0 ? std::optional(bucket->tokens_at(now))
                                                   : std::nullopt;
  };
  memo.tokens = level(&intake_.limits().all());
  if (intake_.is_rate_auto()) memo.rate = intake_.rate();
  line_.write_to(memo);
  const auto add = [&](const std::string& path, RouteId id) {
    RouteMemo route{path, line_.learnt_work(id), level(intake_.limits().bucket_of(id))};
    if (route.work.seen > 0 || route.tokens) memo.routes.push_back(std::move(route));
  };
  add(PolicyMemo::everything_else, RouteId{});
  for (const auto& [path, id] : intake_.ids().routes()) add(path, id);
  memo.plans.resize(intake_.ids().plan_generations().size());
  for (const auto& [name, id] : intake_.ids().plans()) memo.plans[id.slot] = name;
  return memo;
}

std::size_t Controller::show_debtors(std::size_t first, std::size_t count, Time now,
                                     Debtors& to) const {
  const ClientTable& clients = intake_.clients();
  const std::size_t end = clients.occupied();
  for (std::size_t place = first; place < std::min(first + count, end); ++place)
    to.offer(clients.account_at(place, now));
  return end;
}

void Controller::take_up(const PolicyMemo& memo, Time at) {
  if (memo.rate) intake_.resume_rate(*memo.rate, at);
  Limits& limits = intake_.limits();
  if (memo.tokens) limits.resume(*memo.tokens, at);
  line_.take_up(memo);
  // By the names that there are now: one that has gone has the id of everything else.
  std::map<std::string_view, const RouteMemo*> known;
  for (const RouteMemo& route : memo.routes) known.emplace(route.path, &route);
  const auto resume = [&](std::string_view path, RouteId id) {
    const auto found = known.find(path);
    if (found == known.end()) return;
    const RouteMemo& route = *found->second;
    if (route.work.seen > 0) line_.resume_work(id, route.work, at);
    if (route.tokens) limits.resume(id, *route.tokens, at);
  };
  resume(PolicyMemo::everything_else, RouteId{});
  for (const auto& [path, id] : intake_.ids().routes()) resume(path, id);
  if (!intake_.knows_clients()) return;
  for (const ClientTable::Account& account : memo.clients)
    if (account.plan < memo.plans.size())
      intake_.clients().resume(account, intake_.ids().plan(memo.plans[account.plan]), at);
}

// ---- The shadow, and the Gate -------------------------------------------------------------------

ShadowMemo Shadow::learnt(Time now) const {
  return {.alike = counts_.alike,
          .would_refuse = counts_.would_refuse,
          .would_accept = counts_.would_accept,
          .policy = controller_.learnt(now)};
}

// What waits or is at work in the other one's shadow is not decided, and never counted.
void Shadow::take_up(const ShadowMemo& memo, Time at) {
  counts_.alike = memo.alike;
  counts_.would_refuse = memo.would_refuse;
  counts_.would_accept = memo.would_accept;
  controller_.take_up(memo.policy, at);
}

Memo Gate::learnt(Time now) const {
  Memo memo;
  {
    const Lock lock(mutex_);
    memo.at = std::max(now, latest_);
    memo.policy = controller_.learnt(memo.at);
    if (shadow_) memo.shadow = shadow_->learnt(memo.at);
  }
  constexpr std::size_t shown_at_once = 1024;  // some microseconds
  const auto debtors_of = [this](const auto& show) {
    Debtors debtors(PolicyMemo::clients_max);
    for (std::size_t first = 0, end = 1; first < end; first += shown_at_once) {
      const Lock lock(mutex_);
      end = show(first, debtors);
    }
    return debtors.take();
  };
  memo.policy.clients = debtors_of([&](std::size_t first, Debtors& to) {
    return controller_.show_debtors(first, shown_at_once, memo.at, to);
  });
  if (memo.shadow)
    memo.shadow->policy.clients = debtors_of([&](std::size_t first, Debtors& to) {
      return shadow_ ? shadow_->show_debtors(first, shown_at_once, memo.at, to) : 0;
    });
  return memo;
}

void Gate::take_up(const Memo& memo) {
  const Lock lock(mutex_);
  controller_.take_up(memo.policy, memo.at);
  if (shadow_ && memo.shadow) shadow_->take_up(*memo.shadow, memo.at);
}

// ---- What is usual for each client --------------------------------------------------------------

PatternMemo Gate::patterns(Time now) const {
  PatternMemo memo;
  {
    const Lock lock(mutex_);
    const ClientPatterns& patterns = controller_.patterns();
    memo.at = std::max(now, latest_);
    memo.learning = patterns.learning_since(memo.at);
    memo.silent = patterns.silent_since(memo.at);
    memo.places = patterns.counts(memo.at).places;
  }
  if (memo.places == 0) return memo;
  constexpr std::size_t shown_at_once = 256;  // some tens of microseconds
  for (std::size_t first = 0, end = 1; first < end; first += shown_at_once) {
    if (memo.clients.size() >= PatternMemo::clients_max) {
      memo.left_out = end - first;
      break;
    }
    if (memo.clients.capacity() - memo.clients.size() < shown_at_once)
      memo.clients.reserve(2 * memo.clients.size() + shown_at_once);  // not with the lock held
    const Lock lock(mutex_);
    end = controller_.patterns().show(first, shown_at_once, memo.at, memo.clients);
  }
  return memo;
}

void Gate::take_up(const PatternMemo& memo, Time now) {
  const Lock lock(mutex_);
  ClientPatterns& patterns = controller_.patterns();
  patterns.resume(memo.at, memo.learning, memo.silent);
  for (const ClientPatterns::Kept& client : memo.clients) patterns.resume(client, memo.at, now);
}

Time Gate::patterns_seen(Time now) const {
  const Lock lock(mutex_);
  return now - controller_.patterns().silent_since(now);
}

std::size_t Gate::forget_patterns(std::uint32_t upper_half) {
  const Lock lock(mutex_);
  return controller_.patterns().forget(upper_half);
}

}  // namespace classgate::admission
