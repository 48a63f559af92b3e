#include "gateway/ops/desk.h"

#include <doctest/doctest.h>

#include <optional>

namespace classgate::gateway::test {
namespace {

class Asking {
 public:
  Asking() {
    const auto says = [](std::string_view what) {
      return [what](const Desk::Request& request, const Desk::Responder& answer) {
        answer({.body = std::string(what) + request.body});
      };
    };
    desk_.add_page("/status", Desk::Who::local, says("status"));
    desk_.add_page("/metrics", Desk::Who::anybody, says("metrics"));
    desk_.add_order("/set", says("set "));
    desk_.add_page("/limits", Desk::Who::anybody, says("limits"));
    desk_.add_order("/limits", Desk::Who::anybody, says("limits set "));
    desk_.set_guard([](const Desk::Request& request, Desk::Who) -> std::optional<Desk::Reply> {
      if (request.body != "nobody may") return std::nullopt;
      return Desk::Reply{.status = 403, .body = {}};
    });
  }

  std::string ask(std::string method, std::string path, bool is_local, std::string body = {}) {
    std::optional<Desk::Reply> reply;
    Desk::Request request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.body = std::move(body);
    request.is_local = is_local;
    desk_.answer(request, [&](const Desk::Reply& each) {
      CHECK_FALSE(reply.has_value());
      reply = each;
    });
    REQUIRE(reply.has_value());
    return std::to_string(reply->status) + ' ' + reply->body + std::string(reply->allow);
  }

 private:
  Desk desk_;
};

TEST_CASE("the desk answers whoever may ask, and says what there is to the others") {
  Asking desk;
  for (const bool is_local : {false, true}) {
    CHECK(desk.ask("GET", "/metrics", is_local) == "200 metrics");
    CHECK(desk.ask("HEAD", "/metrics", is_local) == "200 metrics");
    CHECK(desk.ask("POST", "/metrics", is_local) == "405 GET or HEAD\nGET, HEAD");
  }
  CHECK(desk.ask("GET", "/status", true) == "200 status");
  CHECK(desk.ask("POST", "/set", true, "a=1") == "200 set a=1");
  CHECK(desk.ask("GET", "/set", true) == "405 POST\nPOST");
  const std::string of_strangers = "404 GET /metrics, /limits; POST /limits\n";
  for (const std::string_view path : {"/status", "/set", "/", "", "/metrics/", "/metrics?"})
    for (const std::string_view method : {"GET", "POST"})
      CHECK(desk.ask(std::string(method), std::string(path), false) == of_strangers);
  CHECK(desk.ask("GET", "/nothing", true) ==
        "404 GET /status, /metrics; POST /set; GET /limits; POST /limits\n");
}

TEST_CASE("a path may be read with GET and changed with POST, each by whom the guard lets") {
  Asking desk;
  CHECK(desk.ask("GET", "/limits", false) == "200 limits");
  CHECK(desk.ask("HEAD", "/limits", false) == "200 limits");
  CHECK(desk.ask("POST", "/limits", false, "it") == "200 limits set it");
  CHECK(desk.ask("PUT", "/limits", false) == "405 GET, HEAD or POST\nGET, HEAD, POST");
  CHECK(desk.ask("POST", "/limits", false, "nobody may") == "403 ");
}

}  // namespace
}  // namespace classgate::gateway::test
