#include <doctest/doctest.h>

#include "tests/gateway/kit.h"

// Deadlines and Server-Timing on the wire. The law itself: tests/admission/deadline_test.cpp.

namespace classgate::gateway::test {
namespace {

using conf::Reason;

conf::Settings believing(std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.admission.deadlines.from_client = true;
  return settings;
}

TEST_CASE("what is left of the client's time goes to the service in the same field") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(believing(upstream.port()));
  Client client(gateway);
  for (const std::string_view field :
       {"X-Request-Timeout: 9s\r\n", "grpc-timeout: 9S\r\n", "Prefer: wait=9, respond-async\r\n"}) {
    CAPTURE(field);
    CHECK(client.ask(get("/a", field)).status() == 200);
    const Message request = upstream.requests().back();
    const std::string left = request.field("X-Request-Timeout") + request.field("grpc-timeout");
    if (field.starts_with("Prefer"))
      CHECK(request.field("Prefer").starts_with("respond-async"));
    else
      CHECK((left.starts_with("9000m") || left.starts_with("8")));  // a little of it has passed
  }
}

TEST_CASE("a client that is not believed gets no deadline, and its field goes on as it is") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(settings_for(upstream.port()));
  Client client(gateway);
  CHECK(client.ask(get("/a", "X-Request-Timeout: 0\r\n")).status() == 200);
  CHECK(upstream.requests().back().field("X-Request-Timeout") == "0");
}

TEST_CASE("a client without any time left hears 504 before anybody works for it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  Gateway gateway(believing(upstream.port()));
  Client client(gateway);
  const Message answer = client.ask(get("/a", "X-Request-Timeout: 0\r\n"));
  CHECK(answer.status() == 504);
  CHECK(answer.reason() == "deadline");
  CHECK(upstream.request_count() == 0);
  CHECK(gateway.settles_at({.rejected = 1}));
}

TEST_CASE("a route's deadline that passes in the queue is answered with 504 then") {
  FakeUpstream upstream(FakeUpstream::held());
  conf::Settings settings = settings_for(upstream.port());
  settings.admission.workers = 1;
  settings.routes.push_back({.path = "/brief", .priority = 3, .deadline = milliseconds(50)});
  Gateway gateway(settings);
  Client busy(gateway);
  busy.send(get("/long"));
  REQUIRE(gateway.comes_to_run(1));
  Client client(gateway);
  const Message answer = client.ask(get("/brief"));
  CHECK(answer.status() == 504);
  CHECK(answer.reason() == "deadline");
  CHECK(gateway.rejected(Reason::deadline) == 1);
}

TEST_CASE("answers say how long they waited and worked when the operator wants it") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  conf::Settings settings = settings_for(upstream.port());
  for (const bool is_wanted : {false, true}) {
    settings.client.server_timing = is_wanted;
    Gateway gateway(settings);
    Client client(gateway);
    const std::string timing = client.ask(get("/a")).field("Server-Timing");
    CHECK(timing.starts_with("queue;dur=0.000, upstream;dur=") == is_wanted);
    CHECK(timing.empty() == !is_wanted);
  }
}

}  // namespace
}  // namespace classgate::gateway::test
