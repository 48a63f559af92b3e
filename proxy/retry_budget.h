#pragma once

#include <algorithm>
#include <cstdint>

namespace classgate::proxy {

// How many requests may be sent a second time: a fraction of those that are sent, and a few at any
// time, so that a service in trouble is not given twice the work. In thousandths: exact.
class RetryBudget {
 public:
  explicit RetryBudget(double fraction) : gain_(static_cast<std::int64_t>(fraction * 1000)) {
    if (gain_ == 0) credit_ = 0;
  }
  void on_request() { credit_ = std::min(credit_ + gain_, credit_max); }
  bool take() {
    if (credit_ < 1000) return false;
    credit_ -= 1000;
    return true;
  }

 private:
  static constexpr std::int64_t credit_max = 10'000;  // ten at once
  std::int64_t gain_;
  std::int64_t credit_ = credit_max;
};

}  // namespace classgate::proxy
