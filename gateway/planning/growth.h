#pragma once

#include <expected>
#include <string>
#include <vector>

#include "gateway/planning/variation.h"

namespace classgate::planning {

// --growth: the traffic as it will be, so much more in every period than in the one before.
struct Growth {
  double percent = 0;  // a period; below 0: it becomes less
  std::string period;  // "day", "week", "month" or "year"
  unsigned periods = 12;

  double times_after(unsigned so_many) const;
  // Of traffic.times: 1 now, and after each period.
  Variation variation() const;
};

// "10%/week", or with the number of periods: "10%/week,26".
std::expected<Growth, std::string> parse_growth(const std::string& text);

// When it becomes too much for a conf: the first period after which less than 99 % of all was
// served, given the share that was served after each, from now on.
struct GrowthFound {
  std::string text;         // a sentence
  int first_too_much = -1;  // periods from now; -1: none of them
};
GrowthFound when_too_much(const Growth& growth, const std::vector<double>& served);

}  // namespace classgate::planning
