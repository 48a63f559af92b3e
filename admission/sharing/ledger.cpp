#include "admission/sharing/ledger.h"

#include <algorithm>
#include <vector>

namespace classgate::sharing {
namespace {

struct Claim {
  std::uint32_t wanted = 0;
  std::uint32_t weight = 0;
  std::uint32_t given = 0;
};

// Each round gives to each in proportion to its weight, at least one, and to nobody more than it
// wants. Returns what is left.
std::uint32_t divide(std::uint32_t left, std::vector<Claim>& claims) {
  const auto is_open = [](const Claim& claim) { return claim.given < claim.wanted; };
  while (left > 0) {
    std::uint64_t weight = 0;
    for (const Claim& claim : claims)
      if (is_open(claim)) weight += std::max(claim.weight, 1U);
    if (weight == 0) break;
    const std::uint64_t to_give = left;
    for (Claim& claim : claims) {
      if (!is_open(claim)) continue;
      const std::uint64_t part = to_give * std::max(claim.weight, 1U) / weight;
      const std::uint64_t given =
          std::min({std::max<std::uint64_t>(part, 1), std::uint64_t{claim.wanted - claim.given},
                    std::uint64_t{left}});
      claim.given += static_cast<std::uint32_t>(given);
      left -= static_cast<std::uint32_t>(given);
    }
  }
  return left;
}

}  // namespace

// Its own time goes on with what is told, but for what may be a clock that was set: back, or
// further than reports are apart. So nobody's seats are free before their time, only later. How
// long it really was nobody knows then: each may have gone over to its floor. A little it goes on
// all the same, so that it does where reports are that far apart: a gateway begins nothing in the
// last fifth of its lease, and three such steps are less.
void Ledger::turn_clock(LedgerTime told) {
  const LedgerTime passed = told - last_told_;
  const bool is_first = last_told_ == LedgerTime{};
  last_told_ = told;
  if (!is_first && passed >= LedgerTime::zero() && passed <= terms_.lease / 8) {
    now_ += passed;
  } else if (!is_first) {
    if (passed > LedgerTime::zero()) now_ += terms_.lease / 16;
    for (auto& [name, member] : members_) member.held = std::max(member.held, member.floor);
  }
  for (auto& [name, member] : members_)
    if (member.is_buried) member.until = std::min(member.until, now_);
}

std::uint32_t Ledger::kept_for(const Member& member) const {
  if (is_live(member)) return member.held;
  const bool may_be_in_flight = now_ <= member.until + member.request_timeout;
  const bool may_go_on = now_ <= member.until + terms_.away_max;
  return std::max(may_be_in_flight ? member.held : 0U, may_go_on ? member.floor : 0U);
}

// Of the buried it remembers for a lease that they are: a report of theirs may still be on its way.
void Ledger::forget_the_gone() {
  std::erase_if(members_, [this](const auto& entry) {
    const Member& member = entry.second;
    const bool may_still_be_heard = member.is_buried && now_ <= member.until + terms_.lease;
    return !is_live(member) && kept_for(member) == 0 && !may_still_be_heard;
  });
}

// What it began last may have been after the last report of any: its time goes on by a report, and
// from then on it is over in a request_timeout for certain.
void Ledger::bury(const std::string& name) {
  const auto found = members_.find(name);
  if (found == members_.end()) return;
  Member& member = found->second;
  member.is_buried = member.is_confirmed = true;
  member.floor = 0;
}

// What it has forgotten the gateways know: each says what it holds, and how many they were.
void Ledger::recover(const Report& report, const std::string& server) {
  const bool is_unknown_to_me = !report.ledger.empty() && !members_.contains(report.member);
  const bool is_elsewhere = server != server_;
  if (is_elsewhere || is_unknown_to_me) {
    if (is_elsewhere || !is_recovering_)
      for (auto& [name, member] : members_) member.is_confirmed = member.is_buried;
    if (is_elsewhere)
      for (auto& [name, member] : members_) member.is_newcomer = false;
    // Of the last that was written it may lack who got a floor.
    const auto count = static_cast<std::uint32_t>(std::max<std::size_t>(members_.size(), 1));
    for (auto& [name, member] : members_)
      if (!member.is_confirmed) member.floor = std::max(member.floor, report.workers / count);
    is_recovering_ = true;
    server_ = server;
    pools_.clear();
    recovers_since_ = now_;
    std::chrono::microseconds longest = report.request_timeout;
    for (const auto& [name, member] : members_) longest = std::max(longest, member.request_timeout);
    recovers_until_ = now_ + 2 * terms_.lease + longest;
  }
  if (is_unknown_to_me) floors_missing_ -= std::min(floors_missing_, report.floor);
  // What it has heard from this one since is nothing that this one has forgotten.
  if (!is_recovering_ || (report.ledger == server_ && !is_unknown_to_me)) return;
  members_expected_ = std::max(members_expected_, report.members);
  // Who came after its last report has its floor besides; all floors are no more than the workers.
  const std::uint32_t all = std::max(report.floors, report.members * report.floor);
  floors_expected_ = std::max(floors_expected_, std::min(all, report.workers));
}

// Not at once: one that had just come may be known to nobody here. While only newcomers have spoken
// it waits for as long as one needs that has to find the new server first: it tries all of them
// within a lease. A newcomer stands for nobody that there was. Whoever is missing when all that was
// begun must be over may still go on with its floor.
void Ledger::end_recovery() {
  const auto of_before = static_cast<std::uint32_t>(
      std::ranges::count_if(members_, [](const auto& entry) { return !entry.second.is_newcomer; }));
  const bool are_all_here =
      now_ >= recovers_since_ + (of_before > 0 ? terms_.lease / 2 : 2 * terms_.lease) &&
      of_before >= members_expected_ &&
      std::ranges::all_of(members_, [](const auto& entry) { return entry.second.is_confirmed; });
  if (!are_all_here && now_ <= recovers_until_) return;
  if (missing() > floors_missing_) {
    floors_missing_ = missing();
    missing_until_ = now_ + terms_.away_max;
  }
  is_recovering_ = false;
  members_expected_ = floors_expected_ = 0;
}

// The floors of those that it has forgotten, as far as anybody remembers them.
std::uint32_t Ledger::missing() const {
  std::uint32_t floors = 0;
  for (const auto& [name, member] : members_) floors += member.floor;
  return std::max(floors_missing_, floors_expected_ - std::min(floors_expected_, floors));
}

// The least that any gateway's conf says: a conf goes round one by one.
std::uint32_t Ledger::workers() const {
  std::uint32_t least = 0;
  for (const auto& [name, member] : members_)
    if (is_live(member) && (least == 0 || member.workers < least)) least = member.workers;
  return least;
}

// As one gateway before the service would have it: by priority, inside a priority by weight; the
// rest in equal parts, for whoever asks next. What is in use beyond that is no seat's end: it is
// given back when its request is over.
std::uint32_t Ledger::target_of(const std::string& name, std::uint32_t workers) const {
  std::uint32_t left = workers;
  const auto keep = [&left](std::uint32_t seats) { left -= std::min(seats, left); };
  keep(missing());
  std::vector<const Member*> parts;
  std::size_t asked_for = 0;
  for (const auto& [other, member] : members_) {
    if (!is_live(member)) {
      keep(kept_for(member));
      continue;
    }
    if (other == name) asked_for = parts.size();
    parts.push_back(&member);
  }
  std::uint32_t target = 0;
  for (std::size_t priority = 0; priority < priorities; ++priority) {
    std::vector<Claim> claims;
    for (const Member* part : parts)
      claims.push_back({part->demand.wanted[priority], part->demand.weight[priority]});
    left = divide(left, claims);
    target += claims[asked_for].given;
  }
  const auto count = static_cast<std::uint32_t>(parts.size());
  return target + left / count + (asked_for < left % count ? 1 : 0);
}

// ---- Rates --------------------------------------------------------------------------------------

// As the seats are that everybody may go on with.
std::uint32_t Ledger::nobodys_part(std::uint32_t workers) const {
  if (is_recovering_ || workers == 0) return 0;
  std::uint64_t floors = missing();
  for (const auto& [name, member] : members_) floors += member.floor;
  const std::uint64_t parts = (floors * whole_rate + workers - 1) / workers;
  return whole_rate - static_cast<std::uint32_t>(std::min<std::uint64_t>(parts, whole_rate));
}

// An answer that has not come counts no more.
void Ledger::take_back_unheard(const Member& member) {
  for (std::size_t i = 0; i < member.granted.size(); ++i)
    if (const auto pool = pools_.find(member.rates[i].id); pool != pools_.end())
      pool->second.tokens += member.granted[i];
}

void Ledger::forget_pools() {
  std::erase_if(pools_, [this](const auto& pool) {
    return std::ranges::none_of(members_, [&](const auto& entry) {
      return is_live(entry.second) &&
             std::ranges::find(entry.second.rates, pool.first, &RateReport::id) !=
                 entry.second.rates.end();
    });
  });
}

RateShare Ledger::share_of(const RateReport& rate, const std::string& name, std::uint32_t nobodys) {
  std::vector<Claim> claims;
  std::vector<std::uint32_t> parts;
  std::size_t asked_for = 0;
  Millitokens limit = rate.limit;
  for (const auto& [other, member] : members_) {
    if (!is_live(member)) continue;
    const auto its = std::ranges::find(member.rates, rate.id, &RateReport::id);
    if (its == member.rates.end()) continue;
    if (other == name) asked_for = claims.size();
    claims.push_back({its->wanted, its->weight});
    parts.push_back(its->part);
    limit = std::min(limit, its->limit);
  }
  const auto count = static_cast<std::uint32_t>(claims.size());
  const std::uint32_t left = divide(whole_rate, claims);
  std::uint64_t lacking_of_all = 0;
  std::uint64_t lacking = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    claims[i].given += left / count + (i < left % count ? 1 : 0);
    const std::uint64_t lacks = claims[i].given - std::min(claims[i].given, parts[i]);
    lacking_of_all += lacks;
    if (i == asked_for) lacking = lacks;
  }

  const auto [found, is_new] = pools_.try_emplace(rate.id);
  Pool& pool = found->second;
  if (is_new) pool.filled = now_;
  const auto passed = std::chrono::floor<std::chrono::milliseconds>(now_ - pool.filled);
  pool.filled += passed;
  const auto in_ms = [](std::chrono::milliseconds time) {
    return static_cast<std::uint64_t>(time.count());
  };
  const Millitokens most =
      lacking_of_all == 0
          ? 0
          : limit * in_ms(std::chrono::floor<std::chrono::milliseconds>(terms_.lease)) / 4'000;
  pool.tokens = std::min(
      pool.tokens + limit * nobodys / whole_rate * in_ms(passed) / 1'000 + rate.given, most);
  const Millitokens granted = lacking == 0 ? 0 : pool.tokens * lacking / lacking_of_all;
  pool.tokens -= granted;
  return {.part = claims[asked_for].given, .granted = granted, .limit = limit};
}

Share Ledger::settle(const Report& report, const std::string& server, LedgerTime told) {
  if (const auto known = members_.find(report.member);
      known != members_.end() && (known->second.is_buried || report.number <= known->second.number))
    return {.told = told};
  // From the future: the clock has been set back since, and nobody knows how old it is.
  const LedgerTime age = told - report.sent;
  if (report.sent != LedgerTime{} && (age > terms_.lease || age < -terms_.lease / 4))
    return {.told = told};
  turn_clock(told);
  recover(report, server);
  const bool is_new = !members_.contains(report.member);
  Member& member = members_[report.member];
  const std::uint64_t before = is_new ? report.number - 1 : member.number;
  if (!is_new && report.heard < member.number) take_back_unheard(member);
  if (is_new) member.is_newcomer = report.ledger.empty();
  member.number = report.number;
  member.held = report.cap;
  member.floor = report.floor;
  member.in_use = std::min(report.in_use, report.cap);
  member.workers = report.workers;
  member.demand = report.demand;
  member.rates = report.rates;
  member.request_timeout = report.request_timeout;
  member.until = now_ + terms_.lease;
  member.is_confirmed = true;
  forget_the_gone();
  if (is_recovering_) end_recovery();
  if (now_ > missing_until_) floors_missing_ = 0;

  std::uint32_t kept = missing();
  std::uint32_t floors = kept;
  for (const auto& [name, other] : members_) {
    if (&other == &member) continue;
    kept += kept_for(other);
    floors += other.floor;
  }
  const std::uint32_t all = workers();
  // What it says to have in use may be over long ago, if it was stopped meanwhile and others have
  // got that: it begins nothing on it.
  const std::uint32_t target = std::min(target_of(report.member, all), all - std::min(all, kept));
  const std::uint32_t free = all - std::min(all, kept + member.held);
  if (!is_recovering_ && target > member.held) member.held += std::min(target - member.held, free);
  const auto count = static_cast<std::uint32_t>(members_.size());
  const std::uint32_t floor =
      is_recovering_ ? report.floor : std::min(all / count, all - std::min(all, floors));
  member.floor = std::max(report.floor, floor);
  Share share{.is_heard = true,
              .told = told,
              .ledger = server_,
              .seats = member.held,
              .target = std::min(target, member.held),
              .floor = floor,
              .floors = std::max(floors + member.floor, floors_expected_),
              .members = std::max(count, members_expected_),
              .before = before};
  const std::uint32_t nobodys = nobodys_part(all);
  member.granted.clear();
  for (const RateReport& rate : member.rates) {
    share.rates.push_back(share_of(rate, report.member, nobodys));
    member.granted.push_back(share.rates.back().granted);
  }
  forget_pools();
  return share;
}

}  // namespace classgate::sharing
