// What Redis says, however its bytes come, and what nobody should believe.

#include <doctest/doctest.h>

#include <array>

#include "gateway/sharing/redis_connection.h"
#include "gateway/sharing/redis_reply.h"

namespace classgate::gateway {
namespace {

using ReplyKind = RedisReply::Kind;

std::string answers_with_nul() {
  return std::string("*4\r\n:1\r\n$5\r\na\r\nb") + '\0' +
         "\r\n*2\r\n+OK\r\n$-1\r\n:-7\r\n-NOSCRIPT No matching script\r\n";
}

void check_both(std::vector<RedisReply> replies) {
  REQUIRE(replies.size() == 2);
  const RedisReply& list = replies[0];
  REQUIRE(list.kind == ReplyKind::list);
  REQUIRE(list.list.size() == 4);
  CHECK(list.list[0].number == 1);
  CHECK(list.list[1].text == std::string("a\r\nb\0", 5));
  REQUIRE(list.list[2].list.size() == 2);
  CHECK(list.list[2].list[0].kind == ReplyKind::status);
  CHECK(list.list[2].list[0].text == "OK");
  CHECK(list.list[2].list[1].kind == ReplyKind::nothing);
  CHECK(list.list[3].number == -7);
  CHECK(replies[1].is_error());
  CHECK(replies[1].text == "NOSCRIPT No matching script");
}

std::vector<RedisReply> all_of(RedisReplies& replies) {
  std::vector<RedisReply> all;
  while (true) {
    auto reply = replies.next();
    REQUIRE(reply);
    if (!*reply) return all;
    all.push_back(std::move(**reply));
  }
}

TEST_CASE("answers of Redis are the same wherever their bytes are cut") {
  const std::string bytes = answers_with_nul();
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    CAPTURE(cut);
    RedisReplies replies;
    REQUIRE(replies.feed(std::string_view(bytes).substr(0, cut)));
    std::vector<RedisReply> got = all_of(replies);
    REQUIRE(replies.feed(std::string_view(bytes).substr(cut)));
    for (RedisReply& reply : all_of(replies)) got.push_back(std::move(reply));
    check_both(std::move(got));
  }
}

TEST_CASE("what is no answer of Redis, or a larger one than it can have for us, is malformed") {
  for (const std::string& bytes :
       {std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), std::string("*100000\r\n"),
        std::string("*2147483647\r\n"), std::string("*-5\r\n"), std::string(":x\r\n"),
        std::string("$-3\r\n"),
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n" +
            std::string("*1\r\n*1\r\n:1\r\n")}) {
    CAPTURE(bytes);
    RedisReplies replies;
    REQUIRE(replies.feed(bytes));
    CHECK_FALSE(replies.next());
  }
  RedisReplies endless;
  const std::string part = "$900000\r\n" + std::string(60'000, 'x');
  std::size_t fed = 0;
  while (endless.feed(part)) {
    fed += part.size();
    REQUIRE(fed <= RedisReplies::bytes_max);
    CHECK(endless.next());
  }
}

TEST_CASE("many answers, each small, are no large one") {
  RedisReplies replies;
  for (int i = 0; i < 100'000; ++i) {
    REQUIRE(replies.feed("+PONG\r\n"));
    const auto reply = replies.next();
    REQUIRE((reply && *reply));
  }
}

TEST_CASE("a command is a list of texts, whatever bytes they have") {
  const std::array<std::string, 3> words{"SET", "a b", "\r\n"};
  CHECK(redis_command(words) == "*3\r\n$3\r\nSET\r\n$3\r\na b\r\n$2\r\n\r\n\r\n");
}

TEST_CASE("what an error of Redis means goes by its first word") {
  CHECK(failure_of_error("NOAUTH Authentication required.") == SharingFailure::refused);
  CHECK(failure_of_error("READONLY You can't write against a read only replica.") ==
        SharingFailure::read_only);
  CHECK(failure_of_error("MOVED 3999 127.0.0.1:6381") == SharingFailure::read_only);
  CHECK(failure_of_error("LOADING Redis is loading the dataset in memory") == SharingFailure::busy);
  CHECK(failure_of_error("OOM command not allowed") == SharingFailure::full);
  CHECK(failure_of_error("FULL the ledger has 64 gateways") == SharingFailure::full);
  CHECK(failure_of_error("ERR unknown command") == SharingFailure::malformed);
}

}  // namespace
}  // namespace classgate::gateway
