// What one process of an upgrade tells the next of what it has learnt, and how that one reads it.

#include "gateway/ops/memo_text.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <random>

#include "gateway/ops/handover.h"

namespace classgate::gateway {
namespace {

using admission::Memo;
using admission::PolicyMemo;
using admission::ShadowMemo;
using admission::Time;
using namespace std::chrono_literals;

constexpr Time noon = Time{} + 12h;

PolicyMemo policy_memo() {
  PolicyMemo memo{
      .tokens = -2.5, .rate = 0.1, .workers = 7, .usual_turn = 3ms, .plans = {"", "go\"ld"}};
  memo.routes.push_back({"/v1/*", {.mean = 20ms, .deviation = 5ns, .seen = 32}, 1.0 / 3});
  memo.routes.push_back({PolicyMemo::everything_else, {.mean = 1s, .deviation = {}, .seen = 1}});
  memo.clients.push_back({.id = 0xffff'ffff'ffff'fffe,
                          .plan = 1,
                          .tokens = 1e-9,
                          .retries = 0.1F,
                          .credit = -3,
                          .kind = admission::ClientKind::known});
  memo.clients.push_back({.id = 1, .tokens = 20});
  return memo;
}

SignedMemo a_memo() {
  SignedMemo all{.memo = {.at = noon - 5ms, .policy = policy_memo()}, .ids_of = 77};
  all.memo.shadow = ShadowMemo{.alike = 1'000'000'000'000, .policy = policy_memo(), .conf = "abc"};
  all.memo.shadow->would_refuse[conf::index_of(conf::Reason::queue_full)] = 3;
  all.memo.shadow->would_accept[conf::index_of(conf::Reason::shed)] = 4;
  return all;
}

std::string why_not(std::string_view text, Time now = noon) {
  const auto read = read_memo(text, now);
  return read ? "" : read.error();
}

std::string with(std::string text, std::string_view old, std::string_view now) {
  const auto at = text.find(old);
  REQUIRE(at != std::string::npos);
  return text.replace(at, old.size(), now);
}

TEST_CASE("what is written is read again, to the last digit") {
  const SignedMemo all = a_memo();
  const std::string text = memo_text(all);
  const auto read = read_memo(text, noon);
  REQUIRE_MESSAGE(read, read.error());
  CHECK(memo_text(*read) == text);
  CHECK(read->ids_of == 77);
  CHECK(read->memo.at == noon - 5ms);
  CHECK(read->memo.policy.tokens == -2.5);
  CHECK(read->memo.policy.routes.at(0).work.mean == 20ms);
  CHECK(read->memo.policy.routes.at(0).tokens == 1.0 / 3);
  CHECK_FALSE(read->memo.policy.routes.at(1).tokens);
  CHECK(read->memo.policy.clients.at(0).id == 0xffff'ffff'ffff'fffe);
  CHECK(read->memo.policy.clients.at(0).tokens == 1e-9);
  CHECK(read->memo.shadow->would_refuse == all.memo.shadow->would_refuse);
  CHECK(read->memo.shadow->conf == "abc");
  Memo empty;
  CHECK_FALSE(read_memo(memo_text({.memo = empty}), noon)->memo.shadow);
}

TEST_CASE("what is cut off anywhere is refused as a whole") {
  const std::string text = memo_text(a_memo());
  REQUIRE(text.ends_with("}\n"));
  for (std::size_t size = 0; size + 1 < text.size(); ++size)
    CHECK(why_not(text.substr(0, size)) == "it is no JSON");
}

TEST_CASE("what is no memo, another version's, of another time or too large says so in a line") {
  const std::string text = memo_text(a_memo());
  CHECK(why_not("{}") == "no version");
  CHECK(why_not("[]") == "no version");
  CHECK(why_not("7") == "no version");
  CHECK(why_not(R"({"version": 2, "whatever": []})") == "it is of version 2, and 1 is known here");
  CHECK(why_not(R"({"version": -1})").starts_with("version is no number"));
  CHECK(why_not(text, noon - 1s) == "it is of a time that has not come");
  CHECK(why_not(text + std::string(memo_bytes_max, ' ')) == "it is larger than 4194304 bytes");
  CHECK(why_not(std::string(memo_bytes_max, '[')) == "it is no JSON");
  CHECK(why_not(with(text, "-2.5", "null")) == "tokens is no number");
  CHECK(why_not(with(text, "-2.5", "true")) == "tokens is no number");
  CHECK(why_not(with(text, "-2.5", "1e16")) == "tokens is no number");
  CHECK(why_not(with(text, "-2.5", "1e999")) == "it is no JSON");
  CHECK(why_not(with(text, "-2.5", "nan")) == "it is no JSON");
  CHECK(why_not(with(text, "\"seen\":32", "\"seen\":-1")).starts_with("seen is no number"));
  CHECK(why_not(with(text, "\"path\":", "\"way\":")) == "no path");
  CHECK(why_not(with(text, "\"/v1/*\"", "[]")) == "path is no text");
  CHECK(why_not(with(text, ",1,1e-09,", ",2,1e-09,")) == "a client has a plan that is not there");
  CHECK(why_not(with(text, ",2]", "]")) == "a client has not the six values of one");
  CHECK(why_not(with(text, ",2]", ",3]")).starts_with("a client's kind is no number"));
  CHECK(why_not(with(text, "\"queue_full\":3", "\"queue_full\":\"3\""))
            .starts_with("would_refuse is no number"));
}

TEST_CASE("what a later program of this version may add does no harm") {
  const std::string text = with(memo_text(a_memo()), "{", R"({"more":[{"of":"it"}],)");
  CHECK(why_not(with(text, "\"queue_full\":3", "\"a_new_reason\":3")) == "");
}

TEST_CASE("more clients than are ever passed on are refused") {
  SignedMemo all{.memo = {.at = noon, .policy = {.plans = {""}}}};
  all.memo.policy.clients.resize(PolicyMemo::clients_max);
  CHECK(why_not(memo_text(all)) == "");
  all.memo.policy.clients.resize(PolicyMemo::clients_max + 1);
  CHECK(why_not(memo_text(all)) == "too many clients");
}

TEST_CASE("the most that is passed on is not too large") {
  SignedMemo all{.memo = {.at = noon, .policy = policy_memo()}};
  all.memo.policy.clients.assign(PolicyMemo::clients_max, {.id = 0xffff'ffff'ffff'ffff,
                                                           .plan = 1,
                                                           .tokens = -123.12345678901234,
                                                           .retries = 1.0F / 3,
                                                           .credit = -1234.5678F,
                                                           .kind = admission::ClientKind::unknown});
  for (int route = 0; route < 5000; ++route)
    all.memo.policy.routes.push_back({"/a/path/of/some/length/" + std::to_string(route),
                                      {.mean = 20ms, .deviation = 5ms, .seen = 32},
                                      1.0 / 3});
  all.memo.shadow = ShadowMemo{.policy = all.memo.policy};
  CHECK(memo_text(all).size() < memo_bytes_max);
}

// What is taken of any bytes at all is in bounds, whatever they say; a Gate takes it.
TEST_CASE("of bytes that were changed at random nothing is taken, or what may be") {
  const std::string text = memo_text(a_memo());
  conf::AdmissionSettings settings;
  settings.fairness.is_on = true;
  settings.route_rates = {{"/v1/*", 1, 5}};
  settings.shadow = std::make_shared<const conf::AdmissionSettings>(settings);
  std::mt19937 random(20261128);
  int refused = 0;
  constexpr int rounds = 20'000;
  for (int i = 0; i < rounds; ++i) {
    std::string changed = text;
    for (std::size_t changes = random() % 3 + 1; changes > 0; --changes) {
      const std::size_t at = random() % changed.size();
      constexpr std::string_view likely = "0123456789-.eE+[]{},:\"nulltrue\\";
      switch (random() % 4) {
        case 0: changed[at] = static_cast<char>(random()); break;
        case 1: changed[at] = likely[random() % likely.size()]; break;
        case 2: changed.erase(at, random() % 9); break;
        default: changed.insert(at, 1, likely[random() % likely.size()]);
      }
    }
    const auto read = read_memo(changed, noon);
    if (!read) {
      ++refused;
      CHECK_FALSE(read.error().empty());
      CHECK(read.error().find('\n') == std::string::npos);
      continue;
    }
    const auto check = [](const PolicyMemo& policy) {
      for (const auto& client : policy.clients) {
        REQUIRE(std::isfinite(client.tokens));
        REQUIRE(std::isfinite(client.credit));
        REQUIRE(client.plan < policy.plans.size());
      }
    };
    check(read->memo.policy);
    if (read->memo.shadow) check(read->memo.shadow->policy);
    if (i % 20 != 0) continue;
    admission::Gate gate(settings);
    gate.take_up(read->memo);
    const auto found = gate.allowances({.at = noon, .client = 1}, noon);
    REQUIRE(found.all->tokens <= settings.burst);
    REQUIRE(found.all->tokens >= -settings.burst);
  }
  CHECK(refused > rounds / 4);
  CHECK(refused < rounds);
}

// ---- The channel --------------------------------------------------------------------------------

struct Channel {
  Channel() {
    std::array<int, 2> pair{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) == 0);
    old_one.emplace(proxy::net::Fd(pair[0]));
    new_one.emplace(proxy::net::Fd(pair[1]));
  }
  std::optional<HandoverChannel> old_one, new_one;
};

TEST_CASE("what has been learnt comes with the number of workers, and only when it was sent") {
  Channel channel;
  const auto memory = sealed_text("what I know");
  REQUIRE_MESSAGE(memory, memory.error());
  channel.old_one->say_keeps(5, *memory);
  channel.old_one->say_keeps(4);
  CHECK(channel.new_one->wait_keeps(1000) == 4);
  const proxy::net::Fd passed = channel.new_one->take_learnt();
  REQUIRE(passed);
  CHECK((::fcntl(passed.get(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(read_sealed_text(passed, 100) == "what I know");
  CHECK(read_sealed_text(passed, 5).error() == "it is larger than 5 bytes");
  CHECK_FALSE(channel.new_one->take_learnt());
  channel.old_one->say_keeps(3);
  CHECK(channel.new_one->read_keeps() == 3);
  CHECK_FALSE(channel.new_one->take_learnt());
}

TEST_CASE("a program that knows nothing of it reads the number of workers as ever") {
  Channel channel;
  channel.old_one->say_keeps(5, *sealed_text("what I know"));
  std::array<char, 16> bytes{};
  CHECK(::recv(channel.new_one->fd().get(), bytes.data(), bytes.size(), 0) == 2);
  CHECK(std::string_view(bytes.data(), 2) == "5\n");
}

TEST_CASE("only sealed memory is read: what may change, or keep the reader waiting, is refused") {
  const auto memory = sealed_text("what I know");
  CHECK(::write(memory->get(), "x", 1) < 0);
  CHECK(::ftruncate(memory->get(), 0) != 0);
  std::array<int, 2> pipe{};
  REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
  const proxy::net::Fd reading(pipe[0]), writing(pipe[1]);
  CHECK(read_sealed_text(reading, 100).error() == "it is no sealed memory");
  CHECK(read_sealed_text(proxy::net::Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), 100).error() ==
        "it is no sealed memory");
}

}  // namespace
}  // namespace classgate::gateway
