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
                       "route \"/b*\": priority = 3 (it was 2)", "route \"/d\" is new",
                       "route \"/c\" is gone", "plan \"gold\" is new"});
  CHECK(changes_between(after, after).empty());
}

TEST_CASE("what a table says differently is told by key, whatever stands around it") {
  const std::string identity = "[fairness]\nidentity = [\"header:X-Api-Key\"]\n";
  const auto plans = [](const char* gold, const char* free) {
    return fmt::format("[[plan]]\nname = \"gold\"\n{}\n[[plan]]\nname = \"free\"\n{}\n", gold,
                       free);
  };
  const std::string keys = "clients = [\"header:X-Api-Key:s3cret\"]";
  const Loaded before = load_text(identity + plans(("rate = 5\n" + keys).c_str(), "burst = 3") +
                                  "[[route]]\npath = \"/a\"\npriority = 1\ndeadline = \"2s\"\n");
  CHECK(changes_between(before, load_text("# a line more\n" + identity +
                                          plans(("rate = 5\n" + keys).c_str(), "burst = 3") +
                                          "[[route]]\npath = \"/a\"\npriority = 1\ndeadline = "
                                          "\"2s\"\n"))
            .empty());
  CHECK(changes_between(before, load_text(identity + plans("rate = 6", "burst = 3\nquota_day = 9") +
                                          "[[route]]\npath = \"/a\"\npriority = 1\nrate = 4\n")) ==
        Lines{"clients.unknown = \"own\" (it was \"address\")",
              "route \"/a\": deadline = not said (it was \"2s\")",
              "route \"/a\": rate = 4 (it was not said)", "plan \"free\": quota_day = 9 (it was 0)",
              "plan \"gold\": rate = 6 (it was 5)",
              "plan \"gold\": clients are others: 0 (it was 1)"});
  const Loaded other_order = load_text(identity + "[[plan]]\nname = \"free\"\nburst = 3\n" +
                                       "[[plan]]\nname = \"gold\"\nrate = 5\n" + keys +
                                       "\n[[route]]\npath = \"/a\"\npriority = 1\ndeadline = "
                                       "\"2s\"\n");
  CHECK(changes_between(before, other_order) == Lines{"the plans stand in another order"});
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
