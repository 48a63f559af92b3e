// Only in builds where an invariant can be broken (conf/invariant.h).
#include <doctest/doctest.h>

#include <map>
#include <mutex>
#include <string>

#include "conf/format.h"
#include "conf/invariant.h"
#include "tests/gateway/kit.h"

namespace classgate::gateway::test {
namespace {

struct Place {
  std::string file;
  int line;
  auto operator<=>(const Place&) const = default;
};

// What conf::break_invariant asks.
struct Breaker {
  std::mutex mutex;
  std::map<Place, int> seen;
  const Place* target = nullptr;  // null: none
  int after = 0;                  // so many that hold before the one that breaks
  int broken = 0;
};

Breaker& breaker() {
  static Breaker the_breaker;
  return the_breaker;
}

bool breaks(const char*, const char* file, int line) {
  Breaker& now = breaker();
  const std::lock_guard lock(now.mutex);
  const Place place{file, line};
  ++now.seen[place];
  if (now.target == nullptr || *now.target != place || now.broken > 0) return false;
  if (now.after-- > 0) return false;
  ++now.broken;
  return true;
}

class Breaking {
 public:
  Breaking(const Place* target, int after) {
    {
      const std::lock_guard lock(breaker().mutex);
      breaker().seen.clear();
      breaker().target = target;
      breaker().after = after;
      breaker().broken = 0;
    }
    conf::break_invariant = breaks;
  }
  ~Breaking() { conf::break_invariant = nullptr; }
  Breaking(const Breaking&) = delete;
  Breaking& operator=(const Breaking&) = delete;
};

conf::Settings with_introductions(std::uint16_t port) {
  conf::Settings settings = settings_for(port);
  settings.client.trusted_proxies = {*conf::parse_network("127.0.0.1")};
  settings.client.proxy_protocol = true;
  return settings;
}

constexpr int client_count = 4;

bool is_right(const Message& answer, std::string_view what) {
  return answer.status() == 200 && answer.body == what;
}

// Everybody asks in every way that there is; says how many did not get all of their answers.
int play_a_round(const Gateway& gateway) {
  int lost = 0;
  const std::string upload = pattern(100'000);
  for (int i = 0; i < client_count; ++i) {
    Client client(gateway);
    client.send(fmt::format("PROXY TCP4 192.0.2.{} 192.0.2.99 1 2\r\n", i + 1));
    const bool served = is_right(client.ask(get("/first")), "GET /first") &&
                        is_right(client.ask(post("/second", "body")), "POST /second") &&
                        is_right(client.ask(post_chunked("/third", {"a", "bc"})), "POST /third") &&
                        is_right(client.ask(post("/large", upload)), "POST /large") &&
                        is_right(client.ask(get("/fourth") + get("/fifth")), "GET /fourth") &&
                        is_right(client.read_answer(), "GET /fifth") &&
                        client.ask("NONSENSE\r\n\r\n").status() == 400;
    if (!served) ++lost;
  }
  return lost;
}

TEST_CASE("each broken invariant costs one connection, and the others lose nothing") {
  FakeUpstream upstream(FakeUpstream::echo_target());
  std::map<Place, int> places;
  {
    Gateway gateway(with_introductions(upstream.port()));
    const Breaking counting(nullptr, 0);
    REQUIRE(play_a_round(gateway) == 0);
    REQUIRE(await([&] { return gateway.server().connections() == 0; }));
    const std::lock_guard lock(breaker().mutex);
    places = breaker().seen;
  }
  CHECK(places.size() >= 8);
  int broken = 0;
  for (const auto& [place, count] : places) {
    for (const int after : {0, count / 2}) {
      CAPTURE(place.file);
      CAPTURE(place.line);
      CAPTURE(after);
      Gateway gateway(with_introductions(upstream.port()));
      int lost;
      {
        const Breaking breaking(&place, after);
        lost = play_a_round(gateway);
        REQUIRE(await([&] { return gateway.server().connections() == 0; }));
        const std::lock_guard lock(breaker().mutex);
        broken += breaker().broken;
        CHECK(gateway.server().shared().invariants_broken ==
              static_cast<std::uint64_t>(breaker().broken));
      }
      CHECK(lost <= 1);
      CHECK(play_a_round(gateway) == 0);
      CHECK(await([&] {
        const auto now = gateway.snapshot();
        return now.active_workers == 0 && now.in_flight == 0 && now.waiting == 0;
      }));
      CHECK(await([&] { return gateway.server().connections() == 0; }));
    }
  }
  CHECK(broken >= static_cast<int>(places.size()));
}

bool breaks_refusal(const char* claim, const char* file, int) {
  return std::string_view(claim) == "client_ != nullptr" &&
         std::string_view(file).ends_with("exchange_answers.cpp");
}

TEST_CASE("what is refused, and cut before it has heard so, is in the books once") {
  // It was refused while its body was still to come, and counted as abandoned, too.
  FakeUpstream upstream(FakeUpstream::echo_target());
  auto settings = settings_for(upstream.port());
  settings.client.body_bytes = conf::Bytes{100};
  settings.client.body_buffer = conf::Bytes{100};
  Gateway gateway(settings);
  conf::break_invariant = breaks_refusal;
  Client client(gateway);
  client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n");
  CHECK(client.is_closed());
  REQUIRE(await([&] { return gateway.server().connections() == 0; }));
  conf::break_invariant = nullptr;
  CHECK(gateway.server().shared().invariants_broken == 1);
  CHECK(gateway.settles_at({.rejected = 1}));
}

}  // namespace
}  // namespace classgate::gateway::test
