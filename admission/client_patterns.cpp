#include "admission/client_patterns.h"

#include <algorithm>

#include "admission/measure/units.h"
#include "admission/token_bucket.h"

namespace classgate::admission {
namespace {

constexpr double seconds_an_hour = 3600;

}  // namespace

Duration ClientPatterns::Look::wait_for(double cost) const {
  if (ground == Ground::learning || rate <= 0) return Duration::zero();
  return TokenBucket::time_to(cost, tokens, rate, burst);
}

void ClientPatterns::use(const conf::PatternSettings& settings) {
  const bool is_larger = settings.clients_max > settings_.clients_max;
  settings_ = settings;
  if (!settings.is_on) {
    records_ = {};
    has_begun_ = false;
    last_found_ = shared;
    return;
  }
  for (Record& record : records_) record.is_stale = true;
  if (!records_.empty() && !is_larger) return;
  if (records_.empty()) records_.push_back({.tokens = 1e9, .is_shared = true});
  records_.reserve(std::size_t{settings.clients_max} + 1);
  index_.clear(std::max<std::size_t>(settings.clients_max, records_.size()));
  for (ClientNumber number = 1; number < records_.size(); ++number)
    index_.insert(records_[number].id, number);
}

// ---- What a client is allowed -------------------------------------------------------------------

Duration ClientPatterns::wait_for(std::uint64_t id, const conf::PlanSettings& plan, double cost,
                                  Time now) {
  follow_clock(now);
  const Record& record = find_or_add(id, plan, now);
  if (is_learning(latest_)) return Duration::zero();
  return TokenBucket::time_to(cost, record.tokens, static_cast<double>(record.rate),
                              static_cast<double>(record.burst));
}

// Not below zero: whoever asked for more while there was enough owes nothing for it.
void ClientPatterns::take(std::uint64_t id, double cost) {
  if (records_.empty()) return;
  Record& record = records_[find(id)];
  record.tokens = std::clamp(record.tokens - cost, 0.0, static_cast<double>(record.burst));
}

void ClientPatterns::note_served(std::uint64_t id, const conf::PlanSettings& plan, double cost,
                                 Time now) {
  follow_clock(now);
  Record& record = find_or_add(id, plan, now);
  if (!record.is_shared) record.week.note(static_cast<float>(cost));
}

ClientPatterns::Look ClientPatterns::look(std::uint64_t id, const conf::PlanSettings& plan,
                                          Time now) const {
  if (records_.empty()) return {};
  const ClientNumber number = find(id);
  Record record = records_[number];
  std::size_t hand = hand_;
  if (number == shared && id != 0 && place_to_take(UsageWeek::hour_of(now), hand))
    record = fresh(id, plan, now);
  bring_up_to(record, plan, now);
  Look look{.rate = static_cast<double>(record.rate),
            .burst = static_cast<double>(record.burst),
            .tokens = record.tokens};
  const bool is_new = begins_at(now) && settings_.learning > Duration::zero();
  if (is_new || is_learning(std::max(now, latest_))) return look;
  const auto usual = record.is_shared ? std::nullopt : record.week.usual();
  look.ground = record.is_shared ? Look::Ground::shared
                : usual          ? Look::Ground::usual
                                 : Look::Ground::newcomer;
  if (usual) look.usual = static_cast<double>(*usual) / seconds_an_hour;
  return look;
}

ClientPatterns::Counts ClientPatterns::counts(Time now) const {
  if (!is_on()) return {};
  return {.clients = records_.empty() ? 0 : records_.size() - 1,
          .places = settings_.clients_max,
          .is_learning = !has_begun_ || is_learning(now),
          .not_remembered = not_remembered_};
}

double ClientPatterns::newcomers_rate(const conf::PlanSettings& plan) const {
  return std::min(plan.rate > 0 ? plan.rate : settings_.newcomer, settings_.ceiling);
}

void ClientPatterns::judge(Record& record, const conf::PlanSettings& plan) const {
  const double newcomer = newcomers_rate(plan);
  const auto known = record.is_shared ? std::nullopt : record.week.usual();
  const double usual = known ? static_cast<double>(*known) / seconds_an_hour : 0;
  const double rate =
      known ? std::clamp(settings_.headroom * usual, std::min(settings_.floor, settings_.ceiling),
                         settings_.ceiling)
            : newcomer;
  record.rate = static_cast<float>(rate);
  record.burst = static_cast<float>(plan.burst);
  if (known) record.burst = std::max(record.burst, record.rate * burst_seconds);
  const double taught =
      is_learning(latest_)
          ? settings_.ceiling
          : std::min(settings_.growth * std::max(usual, newcomer), settings_.ceiling);
  record.most = static_cast<float>(taught * seconds_an_hour);
  record.is_stale = false;
}

void ClientPatterns::bring_up_to(Record& record, const conf::PlanSettings& plan, Time now) const {
  if (now > record.filled) {
    record.tokens += measure::in_seconds(now - record.filled) * static_cast<double>(record.rate);
    record.filled = now;
  }
  const Hour hour = UsageWeek::hour_of(now);
  if (hour > record.week.hour()) {
    const bool was_over = record.week.is_over(hour);
    record.week.begin(hour, record.most);
    record.is_stale = true;
    if (was_over) record.tokens = plan.burst;
  }
  if (record.is_stale) judge(record, plan);
  record.tokens = std::min(record.tokens, static_cast<double>(record.burst));
}

// ---- Whose weeks are kept -----------------------------------------------------------------------

// Time may run backwards, from loop to loop: the latest counts.
void ClientPatterns::follow_clock(Time now) {
  if (begins_at(now)) began_ = now;
  latest_ = has_begun_ ? std::max(latest_, now) : now;
  has_begun_ = true;
}

ClientNumber ClientPatterns::find(std::uint64_t id) const {
  if (id == 0) return shared;
  if (last_found_ != shared && records_[last_found_].id == id) return last_found_;
  const ClientNumber number =
      index_.find(id, [&](ClientNumber candidate) { return records_[candidate].id == id; });
  return number == no_client ? shared : number;
}

ClientPatterns::Record ClientPatterns::fresh(std::uint64_t id, const conf::PlanSettings& plan,
                                             Time now) const {
  return {.id = id,
          .week = UsageWeek(UsageWeek::hour_of(now)),
          .filled = now,
          .tokens = plan.burst,
          .burst = static_cast<float>(plan.burst)};
}

ClientPatterns::Record& ClientPatterns::find_or_add(std::uint64_t id,
                                                    const conf::PlanSettings& plan, Time now) {
  ClientNumber number = find(id);
  if (number == shared && id != 0) {
    number = place_for_newcomer(UsageWeek::hour_of(now));
    if (number == shared) {
      ++not_remembered_;
    } else {
      records_[number] = fresh(id, plan, now);
      index_.insert(id, number);
    }
  }
  last_found_ = number;
  bring_up_to(records_[number], plan, now);
  return records_[number];
}

std::optional<ClientNumber> ClientPatterns::place_to_take(Hour hour, std::size_t& hand) const {
  if (records_.size() <= settings_.clients_max) return static_cast<ClientNumber>(records_.size());
  for (int i = 0; i < places_looked_at; ++i) {
    if (++hand >= records_.size()) hand = 1;
    const UsageWeek& week = records_[hand].week;
    if (week.is_over(hour) || week.hours_used() <= 1) return static_cast<ClientNumber>(hand);
  }
  return std::nullopt;
}

ClientNumber ClientPatterns::place_for_newcomer(Hour hour) {
  const auto place = place_to_take(hour, hand_);
  if (!place) return shared;
  if (*place == records_.size()) {
    records_.emplace_back();
    return *place;
  }
  index_.erase(*place, [this](ClientNumber each) { return records_[each].id; });
  if (last_found_ == *place) last_found_ = shared;
  return *place;
}

// ---- For another process ------------------------------------------------------------------------

std::size_t ClientPatterns::show(std::size_t first, std::size_t count, Time now,
                                 std::vector<Kept>& to) const {
  const std::size_t taken = records_.empty() ? 0 : records_.size() - 1;
  for (std::size_t place = first; place < std::min(first + count, taken); ++place) {
    const Record& record = records_[place + 1];
    if (record.week.hours_used() == 0 && record.week.used() <= 0) continue;
    const double gained =
        measure::in_seconds(std::max(now - record.filled, Duration::zero())) * record.rate;
    Kept kept{.id = record.id,
              .week = record.week,
              .tokens = static_cast<float>(
                  std::min(record.tokens + gained, static_cast<double>(record.burst)))};
    kept.week.begin(UsageWeek::hour_of(now), record.most);
    to.push_back(kept);
  }
  return taken;
}

void ClientPatterns::resume(Time at, Duration learning, Duration silent) {
  if (has_begun_ || !is_on()) return;
  has_begun_ = true;
  began_ = at - learning;
  latest_ = at - silent;
}

void ClientPatterns::resume(const Kept& client, Time at, Time now) {
  if (records_.empty() || client.id == 0 || find(client.id) != shared) return;
  if (records_.size() > settings_.clients_max) return;
  // As much as the bucket holds, which is not known before its plan is: it is full by now.
  const bool is_full = measure::in_seconds(now - at) >= static_cast<double>(burst_seconds);
  const auto number = static_cast<ClientNumber>(records_.size());
  records_.push_back({.id = client.id,
                      .week = client.week,
                      .filled = at,
                      .tokens = is_full ? 1e9 : static_cast<double>(client.tokens)});
  index_.insert(client.id, number);
}

// Its place is one that a newcomer takes.
std::size_t ClientPatterns::forget(std::uint32_t upper_half) {
  std::size_t forgotten = 0;
  for (Record& record : records_) {
    if (record.is_shared || record.id >> 32 != upper_half) continue;
    record = {.id = record.id, .week = UsageWeek(record.week.hour()), .filled = record.filled};
    ++forgotten;
  }
  return forgotten;
}

}  // namespace classgate::admission
