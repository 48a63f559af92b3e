#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "admission/measure/time.h"
#include "admission/sharing/report.h"

namespace classgate::sharing {

using measure::Duration;
using measure::Time;

// The rates that a gateway has together with others: what it gains of each, what it gives to them,
// and what it has got from them. Tokens are in its buckets, which are not here; here is an account
// of those that are its own and in no bucket yet:
//
//   + what its part gains          the rate of all * part
//   - what the bucket has gained   at the rate that was lent to it
//   + what the bucket had no room for
//   + what the ledger grants       poured into the bucket until the next answer
//   - what is given to the others  that the bucket will not gain
//
// Nothing is in two places, so that whatever is lost on its way is only lost; and when the next
// answer says which reports have come, it is not even that. Without an answer the bucket goes back
// to its part by itself.
//
// The rate of all is that of this gateway's conf, or the least that the ledger has last told of:
// another one goes round conf by conf. Whatever a ledger grants, what is gained here is no more
// than that, but for what `lapse` gains, once. Not thread-safe.
class RateHolding {
 public:
  struct Settings {
    Duration period{};  // between two reports
    Duration lapse{};   // so long after a report its answer counts
  };
  explicit RateHolding(const Settings& settings) : settings_(settings) {}

  // What has become of a rate here since the last time that it was told.
  struct Use {
    std::string id;
    double rate = 0;  // a second, of all together, as the conf has it: above 0
    double burst = 0;
    double tokens = 0;   // that are there
    double asked = 0;    // that were asked for, there or not
    double spilled = 0;  // that there was no room for
  };
  // So much a second until then, and after that its part.
  struct Loan {
    std::string id;
    double rate = 0;
    Time until{};
    double whole = 0;  // a second, of all together: what its part is of
  };
  // What is to be told, of the first `rates_max`; the others go by its part of them. Rates that are
  // not named any more are forgotten.
  std::vector<RateReport> report(std::span<const Use> uses, double part, std::uint32_t weight,
                                 Time now);
  // The answer to the last report, and what follows from it, for each rate that was told of in that
  // order; its part, if it is an answer to other rates.
  // `lost`: the reports before it, since the last one that was answered, have not come.
  std::vector<Loan> hear(std::span<const RateShare> shares, double part, bool is_lost, Time now);
  // Its part of each, without an answer.
  std::vector<Loan> go_by_part(double part, Time now);

 private:
  struct Rate {
    std::string id;
    double of_conf = 0;
    double least = std::numeric_limits<double>::infinity();  // of all confs, as told last
    double part = 1;
    double demand = 0;   // a second, lately
    double account = 0;  // tokens
    double others = 0;   // tokens that they may have gained, and it has not got
    double lent = 0;     // a second, until then
    Time until{};
    Time settled{};
    double given = 0;          // by the last report
    double given_unheard = 0;  // by those before it that were not answered
    // What is still to flow into the bucket.
    double promised(Time now) const;
    double whole() const { return std::min(of_conf, least); }
    void settle(double new_part, Time now);
  };
  double lapse_gains(const Rate& rate) const;
  Rate& find_or_add(const Use& use, double part, Time now);

  Settings settings_;
  std::vector<Rate> rates_;
  Time reported_{};
};

}  // namespace classgate::sharing
