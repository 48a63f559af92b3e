#include "admission/history/usage_record.h"

#include <algorithm>
#include <iterator>

namespace classgate::history {

UsageRecord::UsageRecord(const Bounds& bounds, UsageTally::Names names, std::int64_t now,
                         Sessions::WasKnown was_known)
    : names_(std::move(names)),
      started_(now),
      now_(now),
      part_(std::max<std::size_t>(1024, 4 * bounds.top_clients)),
      steps_{Step{UsageLevel::minute, std::max<std::size_t>(256, bounds.top_clients),
                  std::max<std::size_t>(bounds.top_clients / 4, 1)},
             Step{UsageLevel::hour, std::max<std::size_t>(512, 2 * bounds.top_clients),
                  bounds.top_clients},
             Step{UsageLevel::day, std::max<std::size_t>(1024, 4 * bounds.top_clients),
                  bounds.top_clients}},
      users_{Users{UsageLevel::hour}, Users{UsageLevel::day}},
      sessions_(
          bounds.clients_max, bounds.session_gap,
          [this](const Sessions::Session& session) { on_session_end(session); },
          std::move(was_known)) {
  second_.level = UsageLevel::second;
  second_.start = now;
  for (Step& step : steps_) step.start = start_of(step.level, now);
  for (Users& users : users_) users.start = start_of(users.level, now);
}

void UsageRecord::advance(std::int64_t now) {
  if (now <= now_) return;
  add_up();
  note_active(now_, now);
  sessions_.advance(now);
  if (second_.requests > 0) ready_.rows.push_back(second_);
  second_ = {.level = UsageLevel::second, .start = now};
  for (Step& step : steps_) {
    const std::int64_t start = start_of(step.level, now);
    if (start == step.start) continue;
    tell(step);
    step.tally = UsageTally(step.room);
    step.start = start;
    step.told.clear();
  }
  for (Users& users : users_) {
    const std::int64_t start = start_of(users.level, now);
    if (start == users.start) continue;
    tell(users);
    users = {.level = users.level, .start = start, .before = session_counts()};
  }
  now_ = now;
}

void UsageRecord::add(const Use& use) {
  has_changed_ = true;
  part_.add(use, now_);
  if (use.client == 0) return;
  // Once in a second will do: an hour is one of whole seconds.
  if (sessions_.add(use.client, now_) && hour_of_clients().clients->add(use.client))
    distinct_day_of_ = -1;
}

void UsageRecord::add_to_others(const UsageRow& row) {
  has_changed_ = true;
  part_.add_to_others(row);
}

// The part goes into all that it is a part of.
void UsageRecord::add_up() {
  if (part_.is_empty()) return;
  second_.add(part_.all());
  total_.add(part_.all());
  for (Step& step : steps_) step.tally.add(part_);
  part_.clear();
}

UsageRecord::Collected UsageRecord::collect() {
  add_up();
  note_active(now_, now_ + 1);
  if (second_.requests > 0) ready_.rows.push_back(second_);
  for (Step& step : steps_) tell(step);
  for (const Users& users : users_) tell(users);
  for (const Sessions::Session& session : sessions_.open(open_max))
    ready_.sessions.push_back(row_of(session, false));
  has_changed_ = false;
  return std::exchange(ready_, {});
}

void UsageRecord::tell(Step& step) {
  if (step.tally.is_empty()) return;
  std::set<std::string> told;
  for (UsageRow& row : step.tally.rows(step.top, names_)) {
    row.level = step.level;
    row.start = step.start;
    if (row.kind == UsageKind::client) told.insert(row.key);
    ready_.rows.push_back(std::move(row));
  }
  for (const std::string& before : step.told)
    if (!told.contains(before))
      ready_.rows.push_back(
          {.level = step.level, .kind = UsageKind::client, .start = step.start, .key = before});
  step.told = std::move(told);
}

// ---- Who is there ------------------------------------------------------------------------------

void UsageRecord::tell(const Users& users) {
  const auto now = session_counts();
  const auto& before = users.before;
  if (users.peak == 0 && now == before) return;
  ready_.users.push_back({.level = users.level,
                          .start = users.start,
                          .distinct = distinct_since(users.start),
                          .active_peak = users.peak,
                          .begun = now[0] - before[0],
                          .ended = now[1] - before[1],
                          .newcomers = now[2] - before[2],
                          .returning = now[3] - before[3]});
}

std::array<std::uint64_t, 4> UsageRecord::session_counts() const {
  return {sessions_.begun(), sessions_.ended(), sessions_.newcomers(), sessions_.returning()};
}

void UsageRecord::note_active(std::int64_t from, std::int64_t until) {
  const std::uint64_t users = sessions_.active(Sessions::Window::now);
  active_.note(from, until, users);
  for (Users& one : users_) one.peak = std::max(one.peak, users);
  const std::int64_t hour = start_of(UsageLevel::hour, from);
  if (peaks_.empty() || peaks_.back().first != hour) peaks_.emplace_back(hour, 0);
  peaks_.back().second = std::max(peaks_.back().second, users);
  if (peaks_.size() > peaks_max) peaks_.pop_front();
}

UsageRecord::HourOfClients& UsageRecord::hour_of_clients() {
  const std::int64_t start = start_of(UsageLevel::hour, now_);
  HourOfClients& hour = hours_[static_cast<std::size_t>(start / 3600) % hours_.size()];
  if (hour.start != start) hour = {start, std::make_unique<DistinctCount>()};
  return hour;
}

DistinctCount UsageRecord::distinct_since(std::int64_t start) const {
  DistinctCount sum;
  for (const HourOfClients& hour : hours_)
    if (hour.clients && hour.start >= start) sum.add(*hour.clients);
  return sum;
}

// Asked for several times a second, and mostly the same.
double UsageRecord::distinct_day() {
  const std::int64_t hour = start_of(UsageLevel::hour, now_);
  if (std::exchange(distinct_day_of_, hour) != hour)
    distinct_day_ = distinct_since(hour - 23 * 3600).estimate();
  return distinct_day_;
}

void UsageRecord::on_session_end(const Sessions::Session& session) {
  has_changed_ = true;
  if (ready_.sessions.size() < ended_max)
    ready_.sessions.push_back(row_of(session, true));
  else
    ++sessions_untold_;
}

SessionRow UsageRecord::row_of(const Sessions::Session& session, bool has_ended) const {
  return {.client = names_.of_client(session.client),
          .begun = session.begun,
          .last = session.last,
          .requests = session.requests,
          .has_ended = has_ended};
}

void UsageRecord::for_each_client(const std::function<void(std::uint64_t)>& visit) const {
  for (const UsageTally* const tally : {&part_, &steps_.back().tally})
    for (const auto& [client, row] : tally->clients().rows()) visit(client);
  sessions_.for_each(visit);
}

// Ids that are told alike are one.
bool UsageRecord::forget(const std::string& name) {
  std::set<std::uint64_t> ids;
  const auto note = [&](std::uint64_t client) {
    if (names_.of_client(client) == name) ids.insert(client);
  };
  for_each_client(note);
  for (const Step& step : steps_)
    for (const auto& [client, row] : step.tally.clients().rows()) note(client);
  if (ids.empty()) return false;
  has_changed_ = true;
  for (const std::uint64_t client : ids) {
    part_.forget(client);
    for (Step& step : steps_) step.tally.forget(client);
    sessions_.forget(client);
  }
  std::erase_if(ready_.sessions, [&](const SessionRow& row) { return row.client == name; });
  std::erase_if(ready_.rows, [&](const UsageRow& row) {
    return row.kind == UsageKind::client && row.key == name;
  });
  return true;
}

}  // namespace classgate::history
