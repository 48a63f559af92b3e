#include "conf/format.h"
#include "conf/identity.h"
#include "tests/conf/kit.h"

// Mistakes in what a conf says of who asks: its sources, the clients of plans, and who is let in. A
// key that stands in the wrong place is never repeated.

namespace classgate::conf {
namespace {

TEST_CASE("what may be the key of a client is not repeated as the name of a key") {
  const std::string why =
      " (its name is not shown, as it may be a secret: those of keys are 40 small letters, digits "
      "and _ at most)";
  check({{"[[plan]]\nname = \"a\"\n\"bearer:SECRETKEY123\" = \"b\"\nrat = 1",
          {"conf:3:1: unknown key *** in [[plan]]" + why,
           "conf:4:1: unknown key rat in [[plan]]; did you mean rate?"}},
         {"[[route]]\npath = \"/a\"\npriority = 1\n\"sk-live+SECRETKEY\" = 3",
          {"conf:4:1: unknown key *** in [[route]]" + why}},
         {"[[certificate]]\n0123456789abcdef0123456789abcdef0123456789 = 1\n"
          "certificate = \"/a\"\nkey = \"/b\"",
          {"conf:2:1: unknown key *** in [[certificate]]" + why}},
         {"[fairness]\n\"bearer:SECRETKEY123\" = \"gold\"",
          {"conf:2:1: unknown key fairness.***" + why}},
         {"SECRETKEY123 = \"gold\"", {"conf:1:1: unknown key ***" + why}},
         {"[clients.\"bearer:SECRETKEY123\"]\nplan = \"gold\"",
          {"conf:1:10: unknown table [clients.***]" + why}},
         {"Threads = 2", {"conf:1:1: unknown key Threads; did you mean threads?"}}});
  for (const char* word :
       {"bearer:SECRETKEY", "header:X-Api-Key:SECRETKEY", "cookie:a:SECRETKEY"}) {
    const Lines lines = mistakes_in(fmt::format("[fairness]\nidentity = [\"{}\"]", word));
    REQUIRE(lines.size() == 1);
    CHECK_FALSE(lines[0].contains("SECRETKEY"));
    CHECK(lines[0].contains(":***\" is none of"));
  }
}

TEST_CASE("what is no source is not repeated where it may be a key") {
  const auto told = [](std::string_view word) {
    const Lines lines = mistakes_in(fmt::format("[fairness]\nidentity = [\"{}\"]", word));
    REQUIRE(lines.size() == 1);
    return lines[0];
  };
  for (const char* word :
       {"key:SECRETKEY", "SECRETKEY77", "sk-SECRETKEY", "heder:X-Api-Key:SECRETKEY",
        "barer:SECRETKEY", "tls:SECRETKEY", "address:SECRETKEY"})
    CHECK_FALSE(told(word).contains("SECRETKEY"));
  for (const char* word : {"adress", "adress/24", "heder:X-Api-Key", "jtw:sub", "Bearer"})
    CHECK(told(word).contains(fmt::format("\"{}\" is none of \"header:NAME\"", word)));
}

// Both passed the check: then all traffic got 401, or nobody did.
TEST_CASE("who refuses unknown clients has said who is known") {
  const std::string refuse = "[clients]\nunknown = \"refuse\"\n";
  const auto told = [](const std::string& conf) {
    const Lines lines = mistakes_in(conf);
    REQUIRE(lines.size() == 1);
    return lines.front();
  };
  const std::string nobody = "conf:2:1: clients.unknown: \"refuse\" lets nobody in";
  CHECK(told(refuse + "[fairness]\nidentity = [\"bearer\", \"address\"]").starts_with(nobody));
  CHECK(told(refuse + "[fairness]\nidentity = [\"tls\"]").starts_with(nobody));
  CHECK(told(refuse + "[[plan]]\nname = \"empty\"").starts_with(nobody));
  CHECK(told(refuse + "[fairness]\nidentity = []")
            .starts_with("conf:2:1: clients.unknown: \"refuse\" needs fairness.identity"));
  CHECK(mistakes_in(refuse + "[[plan]]\nname = \"us\"\nclients = [\"address:192.0.2.0/24\"]") ==
        Lines{});
  // One mistake is told once.
  CHECK(told(refuse + "[fairness]\nidentity = [\"baerer\"]").contains("\"baerer\""));
  CHECK(told(refuse + "clients_file = 1").contains("clients_file"));
  CHECK(told(refuse + "[[plan]]\nname = \"us\"\nclients = 1").contains("clients"));
}

TEST_CASE("a plan's client that does not say what it is, is told how to") {
  const std::string two = "[fairness]\nidentity = [\"header:X-Api-Key\", \"tls\"]\n";
  const std::string one = "[fairness]\nidentity = [\"header:X-Api-Key\"]\n";
  const auto plan = [](std::string_view client) {
    return fmt::format("[[plan]]\nname = \"gold\"\nclients = [\"{}\"]\n", client);
  };
  const auto told = [](const Lines& lines) {
    return lines.size() == 1 &&
           lines[0].contains(
               "says not what it is: write \"header:NAME:KEY\", \"bearer:TOKEN\", \"basic:USER\", "
               "\"cookie:NAME:KEY\", \"query:NAME:KEY\", \"jwt:CLAIM:VALUE\", \"tls:SUBJECT\", "
               "\"tls:san:NAME\" (one that an identity has) or "
               "\"address:192.0.2.7\"");
  };
  CHECK(told(mistakes_in(two + plan("s3cret"))));
  CHECK(told(mistakes_in(one + plan("10.1.2.3"))));
  // Which no request can be, not even as the whole of what it names itself by.
  for (const auto& [client, source] :
       {std::pair("bearer:s3cret:", "bearer"), std::pair("header:X-Key:s3cret", "header:X-Key"),
        std::pair("jwt:sub:s3cret", "jwt:sub")}) {
    const Lines lines = mistakes_in(one + plan(client));
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].contains(fmt::format("named by \"{}\", which no identity asks for", source)));
    CHECK_FALSE(lines[0].contains("s3cret"));
  }
  // It may be a secret.
  for (const std::string& line : mistakes_in(two + plan("s3cret")))
    CHECK_FALSE(line.contains("s3cret"));
  CHECK(mistakes_in(two + plan("header:X-Api-Key:s3cret")) == Lines{});
  CHECK(mistakes_in(one + plan("s3cret")) == Lines{});
  CHECK(mistakes_in(one + plan("s3:cret")) == Lines{});
}

// Each of these became a key that nobody has, and the clients that were meant had no plan.
TEST_CASE("a plan's client whose source or address is mistyped is no key") {
  const auto plan = [](std::string_view client) {
    return mistakes_in(
        fmt::format("[fairness]\nidentity = [\"header:X-Api-Key\", \"address\"]\n[[plan]]\n"
                    "name = \"gold\"\nclients = [\"{}\"]\n",
                    client));
  };
  const auto is_told = [&](std::string_view client, std::string_view what) {
    CAPTURE(client);
    const Lines lines = plan(client);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].starts_with("conf:5:1: plan gold: client number 1 "));
    CHECK(lines[0].contains(what));
    CHECK(lines[0].contains(
        "; if it is a key, write its source before it, \"header:X-Api-Key:KEY\""));
    CHECK_FALSE(lines[0].contains("s3cret"));
  };
  for (const char* client : {"adress:10.0.0.0/8", "addres:s3cret", "ADRESS:s3cret"})
    is_told(client, "begins nearly as \"address:\" does");
  for (const char* client : {"heder:X-Api-Key:s3cret", "hedaer:X-Api-Key:s3cret"})
    is_told(client, "begins nearly as \"header:\" does");
  is_told("jtw:sub:s3cret", "nearly as \"jwt:\"");
  is_told("bearar:s3cret", "nearly as \"bearer:\"");
  for (const char* client :
       {"10.0.0.0/33", "300.0.0.1", "10.0.0.1.7", "10.0/8", "2001:db8::/129", "2001:db8:::1"})
    is_told(client, "looks like an address or a network, and is none");
  // Keys as they are: with colons, dots, slashes, and with whatever behind their source.
  for (const char* client :
       {"live:s3cret", "key:s3cret", "test:s3cret", "al:b", "a:b:c-d", "1.2.3", "deadbeef",
        "dead:beef", "7/8", "1.2.3.4/x5", "header:X-Api-Key:adress:10.0.0.0/8",
        "header:X-Api-Key:300.0.0.1", "header:X-Api-Key:10.0.0.1"})
    CHECK_MESSAGE(plan(client) == Lines{}, client);
}

TEST_CASE("a DNS name of a certificate is one client, however it is written") {
  const auto plan = [](std::string_view clients) {
    return mistakes_in(
        fmt::format("listen = [\"https://127.0.0.1:8443\"]\n[tls]\ncertificate = \"/a.pem\"\n"
                    "key = \"/a.key\"\nclient_ca = \"/ca.pem\"\n"
                    "client_certificate = \"optional\"\n[fairness]\n"
                    "identity = [\"tls:san\"]\n[[plan]]\n"
                    "name = \"gold\"\nclients = [{}]\n",
                    clients));
  };
  REQUIRE(plan(R"("tls:san:b.example", "tls:san:B.Example")").size() == 1);
  CHECK(plan(R"("tls:san:b.example", "tls:san:B.Example")")[0].contains("is in a plan already"));
  CHECK(plan(R"("tls:san:spiffe://x/a", "tls:san:spiffe://x/A")") == Lines{});
}

TEST_CASE("a plan's client of whom nothing is said, or half a hash, is a mistake") {
  const auto plan = [](const std::string& client) {
    return mistakes_in(
        "[fairness]\nidentity = [\"bearer\", \"basic\"]\n[[plan]]\nname = \"gold\"\n"
        "clients = [\"" +
        client + "\"]\n");
  };
  const auto is_told = [&](const std::string& client, std::string_view what) {
    const Lines lines = plan(client);
    return lines.size() == 1 && lines[0].contains(what);
  };
  const std::string hash(64, 'a');
  CHECK(plan("bearer:sha256:" + hash) == Lines{});
  CHECK(is_told("bearer:sha256:" + hash.substr(1), "expected sha256: and 64 hexadecimal digits"));
  CHECK(is_told("bearer:sha256:" + hash + "a", "expected sha256: and 64 hexadecimal digits"));
  CHECK(is_told("bearer:SHA256:" + hash, "expected sha256: and 64 hexadecimal digits"));
  CHECK(is_told("bearer:", "names nobody"));
  CHECK(is_told("basic:", "names nobody"));
}

TEST_CASE("a plan's client is of the source that says most, and claims have a case") {
  const auto read = [](const std::string& text, std::vector<std::string> claims) {
    std::vector<IdentitySource> sources;
    for (std::string& claim : claims)
      sources.push_back({.kind = IdentitySource::Kind::jwt, .name = std::move(claim)});
    const auto client = read_plan_client(text, sources);
    return client ? client->source.name + " is " + client->name : "a mistake";
  };
  CHECK(read("jwt:a:b:alice", {"a", "a:b"}) == "a:b is alice");
  CHECK(read("jwt:a:b:alice", {"a:b", "a"}) == "a:b is alice");
  CHECK(read("jwt:a:alice", {"a", "a:b"}) == "a is alice");
  CHECK(read("JWT:sub:boss", {"sub"}) == "sub is boss");
  CHECK(read("jwt:Sub:boss", {"sub", "Sub"}) == "Sub is boss");
  CHECK(read("jwt:Sub:boss", {"sub"}) == "a mistake");
}

}  // namespace
}  // namespace classgate::conf
