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

}  // namespace
}  // namespace classgate::admission
