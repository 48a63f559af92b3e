#include "gateway/misuse_budget.h"

#include <doctest/doctest.h>

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;
using State = MisuseBudget::State;

const proxy::net::Time budget_start{1h};

void spend(MisuseBudget& budget, int count, proxy::net::Time now = budget_start) {
  for (int i = 0; i < count; ++i) budget.spend(now);
}

TEST_CASE("misuse: first a warning, half as much later the end") {
  MisuseBudget budget(100, 10, budget_start);
  spend(budget, 100);
  CHECK(budget.state() == State::fine);
  spend(budget, 1);
  CHECK(budget.state() == State::warned);
  spend(budget, 49);
  CHECK(budget.state() == State::warned);
  spend(budget, 1);
  CHECK(budget.state() == State::over);
}

TEST_CASE("misuse: time makes up for it, and not for more than there was") {
  MisuseBudget budget(100, 10, budget_start);
  spend(budget, 100);
  spend(budget, 50, budget_start + 5s);
  CHECK(budget.state() == State::fine);
  spend(budget, 100, budget_start + 1h);
  CHECK(budget.state() == State::fine);
  spend(budget, 1, budget_start + 1h);
  CHECK(budget.state() == State::warned);
  spend(budget, 1, budget_start + 2h);
  CHECK(budget.state() == State::warned);  // it has been told to go
}

TEST_CASE("misuse: who is answered may also leave as often") {
  MisuseBudget budget(100, 10, budget_start);
  for (int i = 0; i < 10'000; ++i) {
    budget.spend(budget_start);
    budget.make_up();
  }
  CHECK(budget.state() == State::fine);
}

}  // namespace
}  // namespace classgate::gateway
