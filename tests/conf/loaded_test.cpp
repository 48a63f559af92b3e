#include "conf/loaded.h"

#include "conf/format.h"
#include "tests/conf/kit.h"

// What one conf says differently from another.

namespace classgate::conf {
namespace {

TEST_CASE("what a conf changes is told in a line each, without secrets") {
  const std::string plan =
      "[[plan]]\nname = \"gold\"\nweight = 2\nclients = [\"header:X-Api-Key:s3cret\"]\n";
  const std::string identity = "[fairness]\nidentity = [\"header:X-Api-Key\"]\n";
  const auto route = [](const char* path, int priority) {
    return fmt::format("[[route]]\npath = \"{}\"\npriority = {}\n", path, priority);
  };
  const Loaded before = load_text(identity + route("/a", 1) + route("/b*", 2) + route("/c", 3));
  const Loaded after = load_text("[admission]\nworkers = 9\n" + identity + plan + route("/a", 1) +
                                 route("/b*", 3) + route("/d", 3));
  const Lines lines = changes_between(before, after);
  // A key that is known makes the others' address their name.
  CHECK(lines == Lines{"admission.workers = 9 (it was 50)",
                       "clients.unknown = \"address\" (it was \"own\")",
                       "route \"/b*\" has changed", "route \"/d\" is new", "route \"/c\" is gone",
                       "the plans have changed"});
  CHECK(changes_between(after, after).empty());
}

TEST_CASE("a place to listen or forward to that nothing names any more is lost, not changed") {
  const Loaded whole =
      load_text("listen = [\"127.0.0.1:1\"]\n[upstream]\nservers = [\"127.0.0.1:2\"]\n");
  CHECK(lost_between(whole, load_text("")).size() == 2);
  const Lines cut = lost_between(whole, load_text("listen = [\"127.0.0.1:1\"]\n"));
  CHECK(cut == Lines{"upstream.servers: nothing says it any more; conf:3:1 said "
                     "[\"127.0.0.1:2\"]. Is the conf whole? To go over to what is built in, write "
                     "upstream.servers = [\"127.0.0.1:9000\"]"});
  // Moved on purpose, said elsewhere, meant as it is built in, or never said.
  CHECK(lost_between(whole, load_text("listen = [\"127.0.0.1:8080\"]\n",
                                      {{"CLASSGATE_UPSTREAM_SERVERS", "a:1"}}))
            .empty());
  CHECK(lost_between(load_text("listen = [\"127.0.0.1:8080\"]"), load_text("")).empty());
  CHECK(lost_between(load_text(""), load_text("threads = 2")).empty());
}

}  // namespace
}  // namespace classgate::conf
