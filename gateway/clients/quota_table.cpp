#include "gateway/clients/quota_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "conf/sha256.h"

namespace classgate::gateway {
namespace {

using conf::QuotaSettings;

QuotaState quota_state_of(QuotaPeriod kind, const QuotaSettings& quota, const Usage& used,
                          const conf::CalendarPeriod& period) {
  const bool is_day = kind == QuotaPeriod::day;
  return {.kind = kind,
          .limit = is_day ? quota.day : quota.month,
          .soft = is_day ? quota.day_soft : quota.month_soft,
          .used = used.in(quota.unit),
          .begin = period.begin,
          .end = period.end};
}

std::int64_t size_of(conf::QuotaUnit unit, std::int64_t cost) {
  return unit == conf::QuotaUnit::requests ? 1 : cost;
}

bool is_beyond(const QuotaState& state, conf::QuotaUnit unit, std::int64_t cost) {
  return state.limit > 0 && state.used + size_of(unit, cost) > state.limit;
}

// Of two that warn, the one at which the client stops first.
bool stops_before(const QuotaState& one, const QuotaState& other) {
  if ((one.limit > 0) != (other.limit > 0)) return one.limit > 0;
  return one.left() < other.left();
}

}  // namespace

std::int64_t QuotaState::left() const {
  return std::max<std::int64_t>((limit > 0 ? limit : soft) - used, 0);
}

QuotaTable::QuotaTable(const std::shared_ptr<const conf::TimeZone>& zone, std::size_t clients_max,
                       const std::shared_ptr<const QuotaNames>& names)
    : clients_max_(clients_max), others_max_(others_max_of(clients_max, *names)) {
  for (Part& part : parts_) {
    part.zone = zone;
    part.names = names;
  }
}

void QuotaTable::use(const std::shared_ptr<const conf::TimeZone>& zone, std::size_t clients_max,
                     const std::shared_ptr<const QuotaNames>& names) {
  const auto former = [&] {
    const std::lock_guard lock(parts_.front().mutex);
    return parts_.front().names;
  }();
  const bool are_the_same = former->ids == names->ids;
  clients_max_ = clients_max;
  others_max_ = others_max_of(clients_max, *names);
  for (Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    part.zone = zone;
    part.calendar.has_new_zone = true;
    part.names = names;
    if (are_the_same) continue;
    for (auto& [client, entry] : part.entries) {
      const bool is_named = client == entry.plan || names->has(client);
      if (std::exchange(entry.is_named, is_named) == is_named) continue;
      if (is_named)
        others_.fetch_sub(1, std::memory_order_relaxed);
      else
        others_.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

// The first eight bytes: of 100 plans none is another's, nor a client's, but by a chance of 2^-50.
std::uint64_t PlanQuota::key_of(std::string_view plan_name) {
  const conf::Sha256 hash = conf::sha256(plan_name);
  std::uint64_t key = 0;
  for (std::size_t i = 0; i < 8; ++i) key = key << 8 | hash[i];
  return key;
}

const QuotaTable::Calendar& QuotaTable::calendar_at(const Part& part,
                                                    std::chrono::sys_seconds now) {
  Calendar& calendar = part.calendar;
  const auto holds = [now](const conf::CalendarPeriod& period) { return period.contains(now); };
  if (!calendar.has_new_zone && std::ranges::all_of(calendar.periods, holds)) return calendar;
  const auto wanted = periods_of(part, now);
  for (const QuotaPeriod kind : quota_periods) {
    const conf::CalendarPeriod& next = wanted[index_of(kind)];
    const conf::CalendarPeriod& current = calendar.periods[index_of(kind)];
    const bool waits_for_sums = calendar.has_new_zone && current.contains(now);
    if (next.number == current.number ||
        (next.number > calendar.newest[index_of(kind)] && !waits_for_sums))
      begin(calendar, kind, next);
  }
  return calendar;
}

std::array<conf::CalendarPeriod, 2> QuotaTable::periods_of(const Part& part,
                                                           std::chrono::sys_seconds now) {
  return {part.zone->day_of(now), part.zone->month_of(now)};
}

void QuotaTable::begin(Calendar& calendar, QuotaPeriod kind, const conf::CalendarPeriod& period) {
  calendar.periods[index_of(kind)] = period;
  std::int64_t& newest = calendar.newest[index_of(kind)];
  newest = std::max(newest, period.number);
}

// To the counters of the periods of now. What was counted in those before is still to be told.
void QuotaTable::turn(Part& part, std::uint64_t client, Entry& entry, const Calendar& calendar) {
  for (const QuotaPeriod kind : quota_periods)
    turn(part, client, entry, kind, calendar.periods[index_of(kind)].number);
}

void QuotaTable::turn(Part& part, std::uint64_t client, Entry& entry, QuotaPeriod kind,
                      std::int64_t period) {
  Tally& tally = entry.tallies[index_of(kind)];
  if (tally.period == period) return;
  if (const Usage rest = tally.own - tally.collected; rest != Usage())
    part.left_over.push_back({client, entry.plan, kind, tally.period, rest});
  tally = {.period = period, .others = {}, .own = {}, .collected = {}, .carried = {}};
}

Usage QuotaTable::used_in(const Entry& entry, QuotaPeriod kind, const Calendar& calendar) {
  const Tally& tally = entry.tallies[index_of(kind)];
  return tally.period == calendar.periods[index_of(kind)].number ? tally.used() : Usage();
}

// Null: there is no room, which who is named always has.
QuotaTable::Entry* QuotaTable::find_or_add(Part& part, std::uint64_t client, bool is_named,
                                           std::size_t others_max) {
  const auto found = part.entries.find(client);
  if (found != part.entries.end()) {
    if (is_named && !std::exchange(found->second.is_named, true))
      others_.fetch_sub(1, std::memory_order_relaxed);
    return &found->second;
  }
  if (!is_named && others_.load(std::memory_order_relaxed) >= others_max) return nullptr;
  Entry& entry = part.entries[client];
  entry.is_named = is_named;
  clients_.fetch_add(1, std::memory_order_relaxed);
  if (!is_named) others_.fetch_add(1, std::memory_order_relaxed);
  return &entry;
}

std::optional<QuotaState> QuotaTable::beyond(std::span<const QuotaState> states,
                                             conf::QuotaUnit unit, std::int64_t cost) {
  std::optional<QuotaState> found;
  for (QuotaState state : states) {
    if (!is_beyond(state, unit, cost)) continue;
    state.is_too_small = size_of(unit, cost) > state.limit;
    if (!found || state.is_too_small || !found->is_too_small) found = state;
  }
  return found;
}

QuotaTable::Answer QuotaTable::take_from(Part& part, std::uint64_t client, Entry& entry,
                                         const PlanQuota& plan, std::int64_t cost,
                                         std::chrono::sys_seconds now) {
  const Calendar& calendar = calendar_at(part, now);
  turn(part, client, entry, calendar);
  const QuotaSettings& quota = plan.quota;
  entry.plan = plan.key;
  Answer answer{.charge = {.client = client, .plan = plan.key, .periods = {}, .usage = {1, cost}}};
  std::array<QuotaState, quota_periods.size()> states;
  for (const QuotaPeriod kind : quota_periods) {
    const conf::CalendarPeriod& period = calendar.periods[index_of(kind)];
    states[index_of(kind)] = quota_state_of(kind, quota, used_in(entry, kind, calendar), period);
    answer.charge.periods[index_of(kind)] = period.number;
  }
  answer.refused = beyond(states, quota.unit, cost);
  if (answer.refused) return answer;
  for (const QuotaPeriod kind : quota_periods) {
    Tally& tally = entry.tallies[index_of(kind)];
    tally.own += answer.charge.usage;
    const QuotaState state =
        quota_state_of(kind, quota, tally.used(), calendar.periods[index_of(kind)]);
    if (state.soft > 0 && state.used >= state.soft &&
        (!answer.warning || stops_before(state, *answer.warning)))
      answer.warning = state;
  }
  return answer;
}

QuotaTable::Answer QuotaTable::take(std::uint64_t client, const PlanQuota& plan, std::int64_t cost,
                                    std::chrono::sys_seconds now, bool is_named) {
  {
    Part& part = part_of(client);
    const std::lock_guard lock(part.mutex);
    if (Entry* const entry = find_or_add(part, client, is_named, others_max()))
      return take_from(part, client, *entry, plan, cost, now);
  }
  not_remembered_.fetch_add(1, std::memory_order_relaxed);
  Part& part = part_of(plan.key);
  const std::lock_guard lock(part.mutex);
  return take_from(part, plan.key, *find_or_add(part, plan.key, true, 0), plan, cost, now);
}

void QuotaTable::add(const Charge& charge, const Usage& usage) {
  Part& part = part_of(charge.client);
  const std::lock_guard lock(part.mutex);
  const auto found = part.entries.find(charge.client);
  for (const QuotaPeriod kind : quota_periods) {
    const std::int64_t period = charge.periods[index_of(kind)];
    Tally* const tally =
        found != part.entries.end() ? &found->second.tallies[index_of(kind)] : nullptr;
    if (tally != nullptr && tally->period == period)
      tally->own += usage;
    else
      part.left_over.push_back({charge.client, charge.plan, kind, period, usage});
  }
}

void QuotaTable::settle(Charge& charge, std::int64_t more) {
  add(charge, {0, more});
  charge.usage.cost += more;
}

void QuotaTable::give_back(const Charge& charge) { add(charge, -charge.usage); }

std::vector<QuotaState> QuotaTable::look(std::uint64_t client, const PlanQuota& plan,
                                         std::chrono::sys_seconds now, bool is_named) const {
  const auto look_at = [&](std::uint64_t key) -> std::optional<std::vector<QuotaState>> {
    const Part& part = part_of(key);
    const std::lock_guard lock(part.mutex);
    const auto found = part.entries.find(key);
    const bool is_full = !is_named && others_.load(std::memory_order_relaxed) >= others_max();
    if (found == part.entries.end() && is_full && key != plan.key) return std::nullopt;
    const Calendar& calendar = calendar_at(part, now);
    std::vector<QuotaState> states;
    for (const QuotaPeriod kind : quota_periods) {
      const Usage used =
          found == part.entries.end() ? Usage() : used_in(found->second, kind, calendar);
      const QuotaState state =
          quota_state_of(kind, plan.quota, used, calendar.periods[index_of(kind)]);
      if (state.limit > 0 || state.soft > 0) states.push_back(state);
    }
    return states;
  };
  if (auto own = look_at(client)) return std::move(*own);
  return look_at(plan.key).value_or(std::vector<QuotaState>());
}

std::vector<QuotaRow> QuotaTable::collect() {
  std::vector<QuotaRow> rows;
  for (Part& part : parts_) {
    std::vector<QuotaRow> left_over;
    {
      const std::lock_guard lock(part.mutex);
      left_over.swap(part.left_over);
      for (auto& [client, entry] : part.entries)
        for (const QuotaPeriod kind : quota_periods) {
          Tally& tally = entry.tallies[index_of(kind)];
          const Usage rest = tally.own - tally.collected;
          if (rest == Usage()) continue;
          rows.push_back({client, entry.plan, kind, tally.period, rest});
          tally.collected = tally.own;
        }
    }
    rows.insert(rows.end(), left_over.begin(), left_over.end());
  }
  return rows;
}

std::array<std::int64_t, 2> QuotaTable::periods_at(std::chrono::sys_seconds now) const {
  const Part& part = parts_.front();
  const std::lock_guard lock(part.mutex);
  const auto periods = periods_of(part, now);
  return {periods[0].number, periods[1].number};
}

void QuotaTable::apply(const QuotaSums& sums, std::chrono::sys_seconds now) {
  std::array<std::vector<const QuotaRow*>, part_count> by_part;
  for (const QuotaRow& sum : sums.rows) by_part[place_of(sum.client)].push_back(&sum);
  for (std::size_t i = 0; i < part_count; ++i) {
    Part& part = parts_[i];
    const std::lock_guard lock(part.mutex);
    const Kinds are_carried = sums.are_all ? begin_with_sums(part, sums, now) : Kinds{};
    for (const QuotaRow* const sum : by_part[i]) apply_to(part, *sum);
    carry_along(part, are_carried);
  }
}

// Nobody may count between this and their sums. Those where `carried` is now all that was had of
// the period before.
QuotaTable::Kinds QuotaTable::begin_with_sums(Part& part, const QuotaSums& sums,
                                              std::chrono::sys_seconds now) {
  Calendar& calendar = part.calendar;
  const bool carries = std::exchange(calendar.has_new_zone, false);
  const auto wanted = periods_of(part, now);
  Kinds are_carried{};
  for (const QuotaPeriod kind : quota_periods) {
    const std::size_t i = index_of(kind);
    if (wanted[i].number != sums.periods[i]) continue;
    if (wanted[i].number != calendar.periods[i].number) {
      are_carried[i] = carries;
      for (auto& [client, entry] : part.entries) {
        const Usage had = used_in(entry, kind, calendar);
        turn(part, client, entry, kind, wanted[i].number);
        if (carries) entry.tallies[i].carried = had;
      }
    }
    begin(calendar, kind, wanted[i]);
  }
  return are_carried;
}

// As far as it is more than what was had of this one.
void QuotaTable::carry_along(Part& part, const Kinds& kinds) {
  for (const QuotaPeriod kind : quota_periods) {
    if (!kinds[index_of(kind)]) continue;
    for (auto& [client, entry] : part.entries) {
      Tally& tally = entry.tallies[index_of(kind)];
      const Usage had = std::exchange(tally.carried, {});
      const Usage more = had - tally.used();
      tally.carried = {std::max<std::int64_t>(more.requests, 0),
                       std::max<std::int64_t>(more.cost, 0)};
    }
  }
}

void QuotaTable::apply_to(Part& part, const QuotaRow& sum) {
  // Who is named comes in however full it is. For those of a plan's keys, who cannot be told from
  // others here, there is the room that is kept for them.
  const bool is_named = sum.client == sum.plan || part.names->has(sum.client);
  Entry* const entry = find_or_add(part, sum.client, is_named, others_max() + part.names->keys);
  if (entry == nullptr) return;  // he shares those of his plan from now on
  if (entry->plan == 0) entry->plan = sum.plan;
  Tally& tally = entry->tallies[index_of(sum.kind)];
  if (tally.period == 0) tally.period = sum.period;  // nobody has come yet
  if (tally.period == sum.period) tally.others = sum.usage - tally.collected;
}

void QuotaTable::forget_former(std::chrono::sys_seconds now) {
  for (Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    const Calendar& calendar = calendar_at(part, now);
    std::size_t gone = 0, others_gone = 0;
    for (auto at = part.entries.begin(); at != part.entries.end();) {
      turn(part, at->first, at->second, calendar);
      const bool is_idle = std::ranges::all_of(
          at->second.tallies, [](const Tally& tally) { return tally.used() == Usage(); });
      gone += is_idle ? 1 : 0;
      others_gone += is_idle && !at->second.is_named ? 1 : 0;
      at = is_idle ? part.entries.erase(at) : std::next(at);
    }
    clients_.fetch_sub(gone, std::memory_order_relaxed);
    others_.fetch_sub(others_gone, std::memory_order_relaxed);
  }
}

std::vector<std::array<QuotaTable::PlanUsage, 2>> QuotaTable::by_plan(
    std::span<const PlanQuota> plans, std::chrono::sys_seconds now) const {
  std::vector<std::array<PlanUsage, 2>> sums(plans.size());
  std::unordered_map<std::uint64_t, std::size_t> places;
  for (std::size_t i = 0; i < plans.size(); ++i) places.emplace(plans[i].key, i);
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    const Calendar& calendar = calendar_at(part, now);
    for (const auto& [client, entry] : part.entries) {
      const auto place = places.find(entry.plan);
      if (place == places.end()) continue;
      const QuotaSettings& quota = plans[place->second].quota;
      for (const QuotaPeriod kind : quota_periods) {
        const Usage used = used_in(entry, kind, calendar);
        if (used == Usage()) continue;
        PlanUsage& sum = sums[place->second][index_of(kind)];
        ++sum.clients;
        sum.usage += used;
        const QuotaState state =
            quota_state_of(kind, quota, used, calendar.periods[index_of(kind)]);
        if (is_beyond(state, quota.unit, 1)) ++sum.used_up;
      }
    }
  }
  return sums;
}

}  // namespace classgate::gateway
