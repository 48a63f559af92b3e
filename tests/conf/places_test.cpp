// Where a mistake is told to be, where its key is not the place to look.

#include "conf/format.h"
#include "kit.h"

namespace classgate::conf {
namespace {

const std::string hint =
    ": write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\"";

TEST_CASE("what is wrong with an entry of a list over several lines is told at the entry") {
  check(
      {{"listen = [\n  \"a:1\",\n  \"b\",\n  \"c\",\n]",
        {"conf:3:3: listen: \"b\" has no port" + hint}},
       {"listen = [\n  \"a:1\",\n  \"b:1\", \"a:1\"]",
        {"conf:3:10: listen: \"a:1\" stands here twice"}},
       {"[log]\nheaders = [ # of tenants\n\"X-Tenant\",\n \"X-Token\"\n]",
        {"conf:4:2: log.headers: \"X-Token\" may hold a secret, by its word \"token\": a log never "
         "tells such fields"}},
       {"[[route]]\npath = \"/a\"\npriority = 1\nidentity = [\n\"bearer\",\n\"bearre\"\n]",
        {"conf:6:1: route identity: \"bearre\" is none of \"header:NAME\", \"bearer\", \"basic\", "
         "\"cookie:NAME\", \"query:NAME\", \"jwt:CLAIM\", \"tls:san\", \"tls\", \"address\""}},
       {"[log]\nheaders = [\n  \"X-A\",\n  5,\n]",
        {"conf:4:3: log.headers: expected a list, such as [\"X-Tenant\"]"}}});
}

TEST_CASE("so is one that only the rest of the conf shows") {
  const std::string identity = "[fairness]\nidentity = [\"header:X-Api\", \"header:X-Id\"]\n";
  check({{identity + "[log]\nheaders = [\n  \"X-Tenant\",\n  \"X-Id\",\n]",
          {"conf:6:3: log.headers: \"X-Id\" tells clients apart (identity): a log never holds what "
           "may be a key"}},
         {"[upstream]\nnameservers = [\n  \"192.0.2.1:53\",\n  \"ns.example:53\"\n]",
          {"conf:4:3: upstream.nameservers: \"ns.example:53\" is not the address of a nameserver: "
           "write \"192.0.2.53:53\""}},
         {"listen = [\n  \"a:1\",\n  \"https://b:2\"\n]",
          {"conf:3:3: listen: \"https://b:2\" needs tls.certificate and tls.key"}},
         {"[fairness]\nidentity = [\"address\"]\n[[plan]]\nname = \"gold\"\nclients = [\n"
          "  \"address:192.0.2.1\",\n  \"address:192.0.2.2\",\n  \"address:192.0.2.1\",\n]",
          {"conf:8:3: plan gold: client number 3 (\"192.0.2.1\") is in a plan already, at "
           "conf:6:3: plan gold, client number 1; a client has one plan: take it out of one"}}});
}

TEST_CASE("what is wrong with the whole list, or with its key, is told at the key") {
  std::string many = "listen = [\n";
  for (int i = 1; i <= 65; ++i) many += fmt::format("\"a:{}\",\n", i);
  check({{many + "]", {"conf:1:1: listen: expected 1 to 64 addresses"}},
         {"[log]\nhaeders = [\n\"X-A\",\n\"X-B\"\n]",
          {"conf:2:1: unknown key log.haeders; did you mean log.headers?"}},
         {"[[plan]]\nname = \"a\"\nwat = [\n\"a\",\n\"b\"\n]",
          {"conf:3:1: unknown key wat in [[plan]]; did you mean rate?"}},
         {"listen = [\"a:1\", \"b\"]", {"conf:1:1: listen: \"b\" has no port" + hint}}});
}

TEST_CASE("what [jwt] lacks is told where a token is asked for") {
  const std::string algorithms =
      "jwt.algorithms: identity has \"jwt:CLAIM\": name what tokens are signed with, such as "
      "[\"RS256\"]";
  const std::string keys =
      "jwt.keys_file: identity has \"jwt:CLAIM\": name the file of the keys, PEM or JWKS";
  check({{"[fairness]\nidentity = [\"jwt:sub\"]", {"conf:2:1: " + algorithms, "conf:2:1: " + keys}},
         {"[fairness]\nidentity = [\n  \"bearer\",\n  \"jwt:sub\",\n]",
          {"conf:4:3: " + algorithms, "conf:4:3: " + keys}},
         {"[[route]]\npath = \"/a\"\npriority = 1\nidentity = [\"jwt:sub\"]",
          {"conf:1:1: " + algorithms, "conf:1:1: " + keys}},
         {"listen = [\"a:1\"]\n[[listener]]\naddress = \"a:1\"\nidentity = [\"jwt:sub\"]",
          {"conf:2:1: " + algorithms, "conf:2:1: " + keys}},
         {"[fairness]\nidentity = [\"jwt:sub\"]\n[jwt]\nalgorithms = []\nkeys_file = \"\"",
          {"conf:4:1: " + algorithms, "conf:5:1: " + keys}}});
}

TEST_CASE("a default that does not go with what the conf says is told where the conf says it") {
  const Lines mistakes = mistakes_in("[client]\nmax_connections = 1000000");
  REQUIRE(mistakes.size() == 1);
  CHECK_MESSAGE(mistakes[0].starts_with("conf:2:1: client.memory: "), mistakes[0]);
}

}  // namespace
}  // namespace classgate::conf
