#pragma once

#include "tests/simulation/estimate_kit.h"

namespace classgate::simulation::test {

// Who is refused for its deadline, by rules that know more than any gateway can.

// One that knows how long each request will take, those that wait and the one that comes: it lets
// in who will make it, and nobody else, so that nobody is refused wrongly or waits in vain. What
// part of all requests it has answered in time. `fates`: what comes, in order.
double served_by_an_oracle(const std::vector<Fate>& fates, const Service& service);

// One that knows the law of the service, the line, and since when each request has been in the
// service, but not what chance will bring. For each of a sample of those that came it knows the
// chance p that it would make it in the place that it would have: of `paths` continuations drawn
// from the law the share in which it does. Of all rules that decide by what is known when a request
// comes, the one that refuses those of the least p has the fewest wrong refusals for as many let in
// in vain (Neyman and Pearson 1933). The line and those in the service are as the run had them.
class WithoutForesight {
 public:
  WithoutForesight(const std::vector<Fate>& fates, const Service& service, Time from,
                   std::size_t sample, std::size_t paths);
  // Of those that hear that it was in vain, wrongly or not, the least share that is refused wrongly
  // when at most `in_vain` of them hear it late.
  double least_wrong(double in_vain) const;

 private:
  std::vector<double> chances_;  // ascending
};

}  // namespace classgate::simulation::test
