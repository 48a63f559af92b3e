#include "admission/sharing/rate_holding.h"

#include <algorithm>
#include <cmath>

namespace classgate::sharing {
namespace {

// In seconds. More at once: others have what is missing here. Less only when some reports say so.
constexpr double follows_more_in = 0.05;
constexpr double follows_less_in = 0.2;
// Beyond what is asked for, because that is never the same twice. What is not asked for then comes
// back, so that it costs nothing.
constexpr double ample = 1.25;
constexpr double fills_up_in = 0.5;  // seconds: an empty bucket

double seconds_of(Duration time) { return std::chrono::duration<double>(time).count(); }

std::uint32_t parts_of(double share) {
  return static_cast<std::uint32_t>(std::clamp(share, 0.0, 1.0) * whole_rate);
}

}  // namespace

double RateHolding::Rate::promised(Time now) const {
  const double beyond = lent - whole() * part;
  return now < until && beyond > 0 ? beyond * seconds_of(until - now) : 0;
}

// The part that it had since counts for all of that time.
void RateHolding::Rate::settle(double new_part, Time now) {
  if (now > settled) {
    const Duration by_loan = std::clamp(until - settled, Duration::zero(), now - settled);
    account += (whole() * part - lent) * seconds_of(by_loan);
    others += whole() * (1 - part) * seconds_of(now - settled);
    settled = now;
  }
  part = new_part;
}

// What may be had at once: more is what was forgotten or made up.
double RateHolding::lapse_gains(const Rate& rate) const {
  return rate.whole() * seconds_of(settings_.lapse);
}

RateHolding::Rate& RateHolding::find_or_add(const Use& use, double part, Time now) {
  const auto known = std::ranges::find(rates_, use.id, &Rate::id);
  if (known != rates_.end()) return *known;
  return rates_.emplace_back(Rate{.id = use.id, .part = part, .settled = now});
}

std::vector<RateReport> RateHolding::report(std::span<const Use> uses, double part,
                                            std::uint32_t weight, Time now) {
  uses = uses.first(std::min(uses.size(), rates_max));
  std::vector<RateReport> told;
  std::vector<Rate> kept;
  const double passed = std::max(seconds_of(now - reported_), 1e-3);
  for (const Use& use : uses) {
    Rate& rate = find_or_add(use, part, now);
    const bool is_new = rate.of_conf == 0;
    rate.settle(part, now);
    rate.of_conf = use.rate;
    const double whole_now = rate.whole();
    if (is_new) {
      rate.demand = 0;
      rate.others = lapse_gains(rate);
    } else {
      // What it gained while it was stopped is nobody's any more: the others have gone on.
      const double most = whole_now * part * std::min(passed, seconds_of(settings_.lapse));
      rate.account += std::min(use.spilled, most);
      const double more = use.asked / passed - rate.demand;
      rate.demand += more * passed / (passed + (more > 0 ? follows_more_in : follows_less_in));
    }
    const double given = std::max(rate.account - rate.promised(now), 0.0);
    const auto millitokens = static_cast<Millitokens>(given * 1e3);
    rate.given_unheard += rate.given;
    rate.given = static_cast<double>(millitokens) / 1e3;
    rate.account -= rate.given;
    rate.others += rate.given;
    const double missing = std::max(use.burst * part - use.tokens, 0.0);
    told.push_back({.id = use.id,
                    .limit = static_cast<Millitokens>(std::ceil(use.rate * 1e3)),
                    .given = millitokens,
                    .part = parts_of(part),
                    .wanted = parts_of((ample * rate.demand + missing / fills_up_in) / whole_now),
                    .weight = weight});
    kept.push_back(std::move(rate));
  }
  rates_ = std::move(kept);
  reported_ = now;
  return told;
}

std::vector<RateHolding::Loan> RateHolding::hear(std::span<const RateShare> shares, double part,
                                                 bool is_lost, Time now) {
  if (shares.size() != rates_.size()) return go_by_part(part, now);
  std::vector<Loan> loans;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    Rate& rate = rates_[i];
    rate.settle(part, now);
    rate.least = static_cast<double>(std::max<Millitokens>(shares[i].limit, 1)) / 1e3;
    rate.others = std::min(rate.others, lapse_gains(rate));
    const double granted = std::min(static_cast<double>(shares[i].granted) / 1e3, rate.others);
    rate.others -= granted;
    rate.account += granted;
    if (is_lost) rate.account += rate.given_unheard;
    rate.account = std::min(rate.account, lapse_gains(rate));
    rate.given = rate.given_unheard = 0;
    const double own = rate.whole() * part;
    const double should = rate.whole() * shares[i].part / whole_rate;
    rate.lent = std::min(should, own);
    rate.until = reported_ + settings_.lapse;
    if (should >= own) {
      rate.lent = own + std::max(rate.account, 0.0) / seconds_of(settings_.period);
      rate.until = now + settings_.period;
    }
    loans.push_back({rate.id, rate.lent, rate.until, rate.whole()});
  }
  return loans;
}

std::vector<RateHolding::Loan> RateHolding::go_by_part(double part, Time now) {
  std::vector<Loan> loans;
  for (Rate& rate : rates_) {
    rate.settle(part, now);
    rate.lent = rate.whole() * part;
    rate.until = now;
    loans.push_back({rate.id, rate.lent, now, rate.whole()});
  }
  return loans;
}

}  // namespace classgate::sharing
