#include "gateway/ops/access.h"

#include <doctest/doctest.h>

#include <string>

namespace classgate::gateway::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* token = "a-token-of-the-tests";
constexpr const char* second_token = "of-another-operator";

Access::Request asked(std::string method, std::string path, std::string host = "127.0.0.1:9190") {
  Access::Request request;
  request.method = std::move(method);
  request.path = std::move(path);
  request.host = std::move(host);
  request.address = *conf::IpAddress::parse("127.0.0.1");
  return request;
}

Access::Request with_token(Access::Request request, const std::string& shown) {
  request.authorization = "Bearer " + shown;
  return request;
}

class Door {
 public:
  explicit Door(conf::TokenFor token_for = conf::TokenFor::changes) {
    settings_.token_file = "/tokens";
    settings_.token_for = token_for;
    settings_.hosts = {"gate.example"};
    settings_.session_time = 1h;
    access.follow(settings_, {conf::sha256(token), conf::sha256(second_token)});
  }
  // 200: it may.
  int says(const Access::Request& request, Desk::Who who) {
    const auto objection = access.objection(request, who, now);
    return objection ? objection->status : 200;
  }
  void forget_tokens() { access.follow(settings_, {}); }
  // The cookie that a browser sends back.
  std::string log_in(const std::string& shown = token) {
    return log_in(asked("POST", "/api/v1/login"), shown);
  }
  std::string log_in(const Access::Request& request, const std::string& shown = token) {
    const auto reply = access.log_in(request, shown, now);
    constexpr std::string_view set = "Set-Cookie: ";
    REQUIRE(reply.fields.starts_with(set));
    return reply.fields.substr(set.size(), reply.fields.find(';') - set.size());
  }

  Access access;
  Access::Clock::time_point now{1h};

 private:
  conf::OpsSettings settings_;
};

TEST_CASE("what changes something needs a token, and reading needs one where the conf says so") {
  Door door;
  CHECK(door.says(asked("GET", "/api/v1/health"), Desk::Who::reader) == 200);
  CHECK(door.says(asked("POST", "/api/v1/drain"), Desk::Who::changer) == 401);
  CHECK(door.says(with_token(asked("POST", "/api/v1/drain"), "another-token-than-it"),
                  Desk::Who::changer) == 401);
  CHECK(door.says(with_token(asked("POST", "/api/v1/drain"), token), Desk::Who::changer) == 200);
  Door closed(conf::TokenFor::pages);
  CHECK(closed.says(asked("GET", "/api/v1/health"), Desk::Who::reader) == 401);
  CHECK(closed.says(asked("GET", "/"), Desk::Who::visitor) == 200);
  CHECK(closed.says(asked("GET", "/metrics"), Desk::Who::anybody) == 200);
  Door shut(conf::TokenFor::everything);
  CHECK(shut.says(asked("GET", "/metrics"), Desk::Who::anybody) == 401);
  CHECK(shut.says(with_token(asked("GET", "/metrics"), token), Desk::Who::anybody) == 200);
}

// ops.listen is often opened to a network for Prometheus.
TEST_CASE("from another machine page and API are read with a token, and probes as ever") {
  Door door;
  for (const auto* const near : {"127.0.0.1", "127.3.2.1", "::1", "unix:"}) {
    auto request = asked("GET", "/api/v1/why");
    request.address = *conf::IpAddress::parse(near);
    CHECK(door.says(request, Desk::Who::reader) == 200);
  }
  for (const auto* const far : {"192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1"}) {
    auto request = asked("GET", "/api/v1/why");
    request.address = *conf::IpAddress::parse(far);
    CHECK(door.says(request, Desk::Who::reader) == 401);
    CHECK(door.says(request, Desk::Who::visitor) == 200);
    CHECK(door.says(request, Desk::Who::anybody) == 200);
    CHECK(door.access.wants_token_to_read(request));
    request = with_token(request, token);
    CHECK(door.says(request, Desk::Who::reader) == 200);
    Access without;
    without.follow({}, {});
    const auto objection = without.objection(request, Desk::Who::reader, door.now);
    REQUIRE(objection);
    CHECK(objection->status == 403);
    CHECK(objection->body.contains("ops.token_file"));
  }
}

TEST_CASE("the page answers to no name but its own, and probes to every name") {
  Door door;
  for (const auto* const host :
       {"127.0.0.1", "[::1]:9190", "localhost:1", "GATE.example", "gate.example:80"})
    CHECK(door.says(asked("GET", "/", host), Desk::Who::visitor) == 200);
  for (const auto* const host : {"evil.example", "", "gate.example.evil", "127.0.0.1.evil.example"})
    CHECK(door.says(asked("GET", "/", host), Desk::Who::visitor) == 421);
  CHECK(door.says(asked("GET", "/livez", "evil.example"), Desk::Who::anybody) == 200);
}

TEST_CASE("a page of another site asks and changes nothing, whatever its browser sends along") {
  Door door;
  auto request = asked("POST", "/api/v1/reload");
  request.cookie = "a=b; " + door.log_in();
  CHECK(door.says(request, Desk::Who::changer) == 403);  // nothing says that a page of ours sent it
  request.origin = "http://127.0.0.1:9190";
  CHECK(door.says(request, Desk::Who::changer) == 200);
  for (const auto* const origin : {"http://127.0.0.1:9191", "https://evil.example", "null"}) {
    request.origin = origin;
    CHECK(door.says(request, Desk::Who::changer) == 403);
  }
  request.origin.clear();
  for (const auto* const site : {"cross-site", "same-site"}) {
    request.fetch_site = site;
    CHECK(door.says(request, Desk::Who::changer) == 403);
    CHECK(door.says(with_token(request, token), Desk::Who::changer) == 403);
    auto read = asked("GET", "/api/v1/conf");
    read.fetch_site = site;
    CHECK(door.says(read, Desk::Who::reader) == 403);
    read.path = "/";  // who follows a link
    CHECK(door.says(read, Desk::Who::visitor) == 200);
  }
  request.fetch_site = "same-origin";
  CHECK(door.says(request, Desk::Who::changer) == 200);
}

TEST_CASE("a session ends by its time, by logging out, and when its token has gone") {
  Door door;
  auto request = asked("POST", "/api/v1/reload");
  request.fetch_site = "same-origin";
  request.cookie = door.log_in();
  door.now += 59min;
  CHECK(door.says(request, Desk::Who::changer) == 200);
  door.now += 1min;
  CHECK(door.says(request, Desk::Who::changer) == 401);
  request.cookie = door.log_in();
  CHECK(door.access.standing_of(request, door.now).has_session);
  door.access.log_out(request);
  CHECK(door.says(request, Desk::Who::changer) == 401);
  request.cookie = door.log_in();
  door.forget_tokens();
  CHECK(door.says(request, Desk::Who::changer) == 401);
}

// Whoever logged in again and again pushed out all others.
TEST_CASE(
    "sessions are bounded by token: the oldest of the same one gives way, and nobody else's") {
  Door door;
  auto first = asked("GET", "/"), other = asked("GET", "/");
  other.cookie = door.log_in(second_token);
  first.cookie = door.log_in();
  for (std::size_t i = 1; i < Access::sessions_per_token_max; ++i) door.log_in();
  CHECK(door.access.standing_of(first, door.now).has_session);
  for (std::size_t i = 0; i < 3 * Access::sessions_per_token_max; ++i) door.log_in();
  CHECK_FALSE(door.access.standing_of(first, door.now).has_session);
  CHECK(door.access.standing_of(other, door.now).has_session);
}

TEST_CASE("a browser that logs in again has one session, and its new one") {
  Door door;
  auto request = asked("GET", "/");
  request.cookie = door.log_in();
  auto again = asked("POST", "/api/v1/login");
  again.cookie = request.cookie;
  const std::string cookie = door.log_in(again);
  CHECK_FALSE(door.access.standing_of(request, door.now).has_session);
  request.cookie = cookie;
  CHECK(door.access.standing_of(request, door.now).has_session);
}

// Ten wrong tokens shut out the right one from the same address, for a minute: whoever shared the
// address (a proxy, a bastion, this machine) could keep the operators out.
TEST_CASE("a right token passes whatever wrong ones came from its address, and those are slowed") {
  Door door;
  auto request = asked("POST", "/api/v1/drain");
  for (unsigned i = 0; i < Access::wrong_max; ++i)
    CHECK(door.says(with_token(request, "wrong-and-wrong-again"), Desk::Who::changer) == 401);
  CHECK(door.says(with_token(request, "wrong-and-wrong-again"), Desk::Who::changer) == 429);
  CHECK(door.access.log_in(request, "wrong-and-wrong-again", door.now).status == 429);
  CHECK(door.says(with_token(request, token), Desk::Who::changer) == 200);
  CHECK(door.access.log_in(request, token, door.now).status == 200);
  auto other = request;
  other.address = *conf::IpAddress::parse("127.0.0.2");
  CHECK(door.says(with_token(other, "wrong-and-wrong-again"), Desk::Who::changer) == 401);
  door.now += 1min;
  CHECK(door.says(with_token(request, "wrong-and-wrong-again"), Desk::Who::changer) == 401);
}

// One machine has 2^64 addresses.
TEST_CASE(
    "wrong tokens of an IPv6 network of 64 bits are counted together, and the machine alone") {
  Door door;
  const auto says = [&](const std::string& address) {
    auto request = with_token(asked("POST", "/api/v1/drain"), "wrong-and-wrong-again");
    request.address = *conf::IpAddress::parse(address);
    return door.says(request, Desk::Who::changer);
  };
  for (unsigned i = 0; i < Access::wrong_max; ++i)
    CHECK(says("2001:db8::" + std::to_string(i)) == 401);
  CHECK(says("2001:db8::ffff") == 429);
  CHECK(says("2001:db8:0:1::1") == 401);
  CHECK(says("::1") == 401);
}

// Cookies know no ports: a second gateway on a machine took the session of the first one away.
TEST_CASE("each port has a cookie of its own, and over https one that no other name can set") {
  Door door;
  auto request = asked("POST", "/api/v1/login", "localhost:9190");
  CHECK(door.log_in(request).starts_with("classgate_session_9190="));
  request.host = "[::1]:9191";
  CHECK(door.log_in(request).starts_with("classgate_session_9191="));
  for (const char* const host :
       {"localhost", "[::1]", "localhost:", "localhost:x", "localhost:1234567"}) {
    request.host = host;
    CHECK(door.log_in(request).starts_with("classgate_session_80="));
  }
  request.is_tls = true;
  CHECK(door.log_in(request).starts_with("__Host-classgate_session_443="));
  CHECK(door.access.log_out(request).fields.contains("; Secure"));
  auto asks = asked("GET", "/", "localhost:9190");
  const std::string of_9190 = door.log_in(asked("POST", "/api/v1/login", "localhost:9190"));
  const std::string of_9191 = door.log_in(asked("POST", "/api/v1/login", "localhost:9191"));
  asks.cookie = of_9191 + "; " + of_9190;
  CHECK(door.access.standing_of(asks, door.now).has_session);
  asks.cookie = of_9191;
  CHECK_FALSE(door.access.standing_of(asks, door.now).has_session);
  // Another path has set one of the same name too.
  asks.cookie = "classgate_session_9190=of-another; " + of_9190;
  CHECK(door.access.standing_of(asks, door.now).has_session);
}

TEST_CASE("a viewer's place counts for his token, by header or session, else for his address") {
  Door door;
  auto request = asked("GET", "/api/v1/events");
  auto by_token = with_token(request, token);
  auto by_session = request;
  by_session.cookie = door.log_in();
  const auto party = [&](const Access::Request& of) { return door.access.party_of(of, door.now); };
  CHECK(party(by_token) == party(by_session));
  CHECK(party(by_token) != party(request));
  CHECK(party(with_token(request, "wrong-and-wrong-again")) == party(request));
  CHECK(party(with_token(request, second_token)) != party(by_token));
  request.address = *conf::IpAddress::parse("2001:db8::1");
  auto near = request;
  near.address = *conf::IpAddress::parse("2001:db8::2");
  CHECK(party(request) == party(near));
}

}  // namespace
}  // namespace classgate::gateway::test
