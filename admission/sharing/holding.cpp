#include "admission/sharing/holding.h"

namespace classgate::sharing {

std::uint32_t Holding::seats(Time now) const {
  if (!is_away(now)) return std::min(cap_, target_);
  const std::uint32_t most = away(now);
  return now < promised_ + 2 * settings_.lease ? std::min(promise_, most) : most;
}

// At first no more than it had: others may still use what its floor has beyond that. They hear
// within a lease that it is silent, and what they have begun by then is over a request_timeout
// later. And in the end nothing: the others keep its floor for away_max.
std::uint32_t Holding::away(Time now) const {
  switch (settings_.when_away) {
    case WhenAway::open: return settings_.workers;
    case WhenAway::closed: return 0;
    case WhenAway::share: break;
  }
  if (now >= gone_) return 0;
  return now >= others_are_done_ ? floor_ : std::min(cap_, floor_);
}

// The floor is what it goes on with when it is away, so that nothing changes then. A conf that
// allows more workers than the others' has a smaller part, as long as they differ.
double Holding::part(Time now) const {
  const bool is_open = settings_.when_away == WhenAway::open && is_away(now);
  if (is_open || members_ == 0 || settings_.workers == 0) return 1;
  return std::min(1.0, static_cast<double>(floor_) / settings_.workers);
}

Report Holding::report(std::uint32_t in_use, const Demand& demand, Time now) {
  cap_ = std::max(is_away(now) ? away(now) : std::min(cap_, target_), in_use);
  if (cap_ <= promise_ || now >= promised_ + 2 * settings_.lease) {
    promise_ = cap_;
    promised_ = now;
  }
  reported_ = now;
  awaits_answer_ = true;
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(now - heard_);
  return {
      .member = settings_.member,
      .number = ++number_,
      .heard = answered_,
      .ledger = ledger_,
      .sent = told_ == LedgerTime{} ? LedgerTime{} : told_ + since,
      .cap = cap_,
      .floor = floor_,
      .floors = floors_,
      .members = members_,
      .in_use = in_use,
      .workers = settings_.workers,
      .request_timeout = std::chrono::ceil<std::chrono::microseconds>(settings_.request_timeout),
      .demand = demand};
}

void Holding::hear(const Share& share, Time now) {
  if (!std::exchange(awaits_answer_, false)) return;
  told_ = share.told;
  heard_ = now;
  if (!share.is_heard) return;
  were_lost_ = share.before == answered_;
  answered_ = number_;
  ledger_ = share.ledger;
  cap_ = share.seats;
  target_ = share.target;
  floor_ = share.floor;
  floors_ = share.floors;
  members_ = share.members;
  promised_ = long_ago;
  lapses_ = reported_ + settings_.lease * 4 / 5;
  gone_ = std::max(lapses_, reported_ + (settings_.lease + settings_.away_max) * 4 / 5 -
                                settings_.request_timeout);
  others_are_done_ = now + 2 * settings_.lease + settings_.request_timeout;
}

}  // namespace classgate::sharing
