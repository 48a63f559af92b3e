#include "admission/simulation/tally.h"

#include <algorithm>
#include <numeric>

namespace classgate::simulation {
namespace {

std::uint64_t sum(const ReasonCounts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::size_t index_of(const Wish& wish) { return static_cast<std::size_t>(wish.priority - 1); }

}  // namespace

void Counts::count(const Ending& ending) {
  switch (ending.kind) {
    case Ending::Kind::served: ++served; return;
    case Ending::Kind::abandoned: ++abandoned; return;
    case Ending::Kind::rejected: ++rejected[conf::index_of(ending.reason)]; return;
    case Ending::Kind::failed: ++failed[conf::index_of(ending.reason)]; return;
  }
}

std::uint64_t Counts::all_rejected() const { return sum(rejected); }
std::uint64_t Counts::all_failed() const { return sum(failed); }

Group& Tally::group(const Wish& wish) {
  if (wish.group >= by_group_.size()) by_group_.resize(wish.group + 1);
  return by_group_[wish.group];
}

ClientCounts& Tally::client(const Wish& wish) {
  const std::size_t index = std::min<std::size_t>(wish.client, clients_max);
  if (index >= by_client_.size()) by_client_.resize(index + 1);
  return by_client_[index];
}

void Tally::arrived(const Wish& wish, Time now) {
  const auto note = [&](Counts& counts) {
    ++counts.arrived;
    counts.retries += wish.attempt > 0 ? 1 : 0;
  };
  note(all_);
  note(by_priority_[index_of(wish)]);
  note(group(wish));
  note(client(wish));
  ++timeline_.at(now).arrived[index_of(wish)];
  last_arrival_ = now;
}

void Tally::admitted(const Wish& wish, Duration waited, Time now) {
  all_.wait.record(waited);
  by_priority_[index_of(wish)].wait.record(waited);
  group(wish).wait.record(waited);
  ClientCounts& counts = client(wish);
  counts.wait_sum += waited;
  counts.wait_most = std::max(counts.wait_most, waited);
  ++counts.waits;
  timeline_.record_wait(waited, now);
}

void Tally::ended(const Wish& wish, const Ending& ending, Time now) {
  Group* const groups[] = {&all_, &by_priority_[index_of(wish)], &group(wish)};
  for (Group* counts : groups) {
    counts->count(ending);
    if (ending.kind == Ending::Kind::served) counts->latency.record(now - wish.at);
  }
  client(wish).count(ending);
  measure::Timeline::Step& step = timeline_.at(now);
  switch (ending.kind) {
    case Ending::Kind::served: ++step.served[index_of(wish)]; return;
    case Ending::Kind::failed: ++step.failed; return;
    case Ending::Kind::abandoned: ++step.abandoned; return;
    case Ending::Kind::rejected: ++step.rejected[conf::index_of(ending.reason)]; return;
  }
}

void Tally::waiting_changed(int priority, int by, Time now) {
  waiting_ += static_cast<std::uint64_t>(by);
  waiting_most_ = std::max(waiting_most_, waiting_);
  timeline_.waiting_changed(priority, by, now);
}

void Tally::active_changed(int by, Time now) {
  active_ += static_cast<std::uint64_t>(by);
  active_most_ = std::max(active_most_, active_);
  timeline_.active_changed(by, now);
}

void Tally::finish(Time now) { timeline_.settle(now); }

}  // namespace classgate::simulation
