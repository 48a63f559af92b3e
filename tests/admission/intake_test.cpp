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

}  // namespace
}  // namespace classgate::admission
