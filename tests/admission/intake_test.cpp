// What decides before a request may wait.

#include "admission/intake.h"

#include "tests/admission/house.h"

namespace classgate::admission {
namespace {

TEST_CASE("a route without a rate limit passes an empty bucket and takes nothing from a full one") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 1;
  settings.burst = 1;
  Controller controller(settings);
  Arrival exempt = request(1);
  exempt.rate_limited = false;
  CHECK(said(enter(controller, exempt)) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  CHECK(said(enter(controller, exempt)) == "admitted");
}

TEST_CASE("a dear request needs as many tokens as it costs or takes none") {
  auto settings = small_settings();
  settings.workers = 10;
  settings.rate = 10;
  settings.burst = 5;
  Controller controller(settings);
  Arrival dear = request(3);
  dear.cost = 3;
  CHECK(said(enter(controller, dear)) == "admitted");
  const Verdict second = enter(controller, dear);
  CHECK(said(second) == "rate_limited");
  CHECK(retry_after(second) == 100ms);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
}

TEST_CASE("tokens survive a new rate, as far as the new burst holds them") {
  auto settings = small_settings();
  settings.workers = 100;
  settings.rate = 1;
  settings.burst = 3;
  Controller controller(settings);
  CHECK(said(enter(controller, request(3))) == "admitted");
  settings.rate = 2;
  settings.burst = 10;
  controller.reconfigure(settings, start);
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "admitted");
  CHECK(said(enter(controller, request(3))) == "rate_limited");
  CHECK(said(enter(controller, request(3), start + 500ms)) == "admitted");
}
// --- on its own

conf::AdmissionSettings one_token() {
  auto settings = small_settings();
  settings.rate = 1;
  settings.burst = 1;
  return settings;
}

TEST_CASE("a head takes its tokens when it is let pass and not when it is examined") {
  Intake intake(one_token(), Ids());
  const Arrival arrival = request(3);
  for (int i = 0; i < 3; ++i)
    CHECK_FALSE(intake.refusal(intake.examine(arrival, no_client, {}, start), true));
  intake.let_pass(arrival, no_client, intake.examine(arrival, no_client, {}, start), {});
  const Intake::Findings findings = intake.examine(arrival, no_client, {}, start);
  CHECK(intake.refusal(findings, true) == conf::Reason::rate_limited);
  CHECK(findings.wait.time == 1s);
}

TEST_CASE("what is observed only passes without tokens and takes none") {
  auto settings = one_token();
  settings.observe.rate = true;
  Intake intake(settings, Ids());
  const Arrival arrival = request(3);
  for (int i = 0; i < 3; ++i) {
    const Intake::Findings findings = intake.examine(arrival, no_client, {}, start);
    CHECK_FALSE(intake.refusal(findings, false));
    intake.let_pass(arrival, no_client, findings, {});
  }
  CHECK(intake.examine(arrival, no_client, {}, start).wait.time == 1s);  // no debt
}

TEST_CASE("a retry too many is refused where it would wait and passes where it would not") {
  auto settings = small_settings();
  settings.fairness.is_on = true;
  settings.fairness.clients_max = 10;
  settings.fairness.retry_budget = 0;
  Intake intake(settings, Ids(settings));
  Arrival retry = request(3);
  retry.client = 7;
  retry.is_retry = true;
  const ClientNumber client = intake.recognise(retry, start).number;
  CHECK(intake.is_recognised(retry));
  for (int i = 0; i < 3; ++i) {  // what is given to each
    const Intake::Findings findings = intake.examine(retry, client, {}, start);
    REQUIRE_FALSE(intake.refusal(findings, false));
    intake.let_pass(retry, client, findings, {});
  }
  const Intake::Findings findings = intake.examine(retry, client, {}, start);
  CHECK(intake.refusal(findings, false) == conf::Reason::retry_budget);
  CHECK_FALSE(intake.refusal(findings, true));
  retry.is_retry = false;
  CHECK_FALSE(intake.refusal(intake.examine(retry, client, {}, start), false));
}

// Rates that this gateway has together with others.
conf::AdmissionSettings settings_with_rates() {
  auto settings = small_settings();
  settings.workers = 100;
  settings.rate = 100;
  settings.burst = 40;
  settings.route_rates = {{.path = "/a", .rate = 20, .burst = 8}};
  return settings;
}
int let_in(Controller& controller, const Arrival& arrival, Time now) {
  for (int count = 0;; ++count)
    if (said(enter(controller, arrival, now)) == "rate_limited" || count > 1000) return count;
}

TEST_CASE("of a rate that is shared a gateway has its part, and what it is lent until a time") {
  Controller controller(settings_with_rates());
  CHECK(let_in(controller, request(3), start) == 40);
  controller.lend_rates(0.25, {}, start);
  CHECK(let_in(controller, request(3), start + 100ms) == 2);  // of 25 a second
  const Limits::RateLoan loan{.route = "", .rate = 90, .until = start + 300ms};
  controller.lend_rates(0.25, {{loan}}, start + 200ms);
  CHECK(let_in(controller, request(3), start + 300ms) == 10);  // its burst
  CHECK(let_in(controller, request(3), start + 500ms) == 5);
  controller.lend_rates(1, {}, start + 500ms);
  CHECK(let_in(controller, request(3), start + 600ms) == 10);
  // And then its part of what all have, which is less than its conf says.
  const Limits::RateLoan of_less{.route = "", .rate = 5, .until = start + 700ms, .whole = 20};
  controller.lend_rates(0.25, {{of_less}}, start + 600ms);
  CHECK(let_in(controller, request(3), start + 1'700ms) == 5);
}

TEST_CASE("new limits keep a gateway's part of what is shared") {
  auto settings = settings_with_rates();
  Controller controller(settings);
  controller.lend_rates(0.5, {}, start);
  CHECK(let_in(controller, request(3), start) == 20);
  settings.rate = 200;
  controller.reconfigure(settings, start);
  CHECK(let_in(controller, request(3), start + 100ms) == 10);
}

TEST_CASE("what is asked of a shared rate counts whether it was there or not, since it was told") {
  Controller controller(settings_with_rates());
  controller.take_rate_uses(start);
  CHECK(let_in(controller, request(3), start) == 40);  // and one more, which was refused
  const auto uses = controller.take_rate_uses(start);
  REQUIRE(uses.size() == 2);
  CHECK(uses[0].route == "");
  CHECK(uses[0].rate == 100);
  CHECK(uses[0].asked == 41);
  CHECK(uses[0].tokens == 0);
  CHECK(uses[1].route == "/a");
  CHECK(uses[1].burst == 8);
  CHECK(uses[1].asked == 0);
  CHECK(controller.take_rate_uses(start + 1s)[0].asked == 0);
  CHECK(controller.take_rate_uses(start + 2s)[0].spilled == doctest::Approx(100));
}

TEST_CASE("a rate that follows the service is each gateway's own") {
  auto settings = settings_with_rates();
  settings.rate_is_auto = true;
  Controller controller(settings);
  CHECK(controller.take_rate_uses(start).size() == 1);
}

}  // namespace
}  // namespace classgate::admission
