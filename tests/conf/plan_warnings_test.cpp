// What a plan says that is good, and cannot be meant so.

#include "kit.h"

namespace classgate::conf {
namespace {

Lines warnings_in(const std::string& text) {
  const ConfFile file("[fairness]\nidentity = [\"bearer\"]\n" + text);
  Lines lines;
  for (const Mistake& warning : load_good({file.path(), {}, {}}).warnings)
    lines.push_back(file.shorten(warning.place + ": " + warning.text));
  return lines;
}

Lines warnings_of_plan(const std::string& keys, const std::string& before = "") {
  return warnings_in(before + "[[plan]]\nname = \"free\"\n" + keys);
}

TEST_CASE("quotas of which one makes the other meaningless are warned of") {
  CHECK(warnings_of_plan("quota_day = 20\nquota_month = 10") ==
        Lines{"conf:3:1: plan \"free\": quota_day: 20 is more than quota_month, 10, which ends "
              "first: no day has so much"});
  CHECK(warnings_of_plan("quota_day_soft = 20\nquota_month = 10") ==
        Lines{"conf:3:1: plan \"free\": quota_day_soft: 20 is more than quota_month, 10: nobody "
              "would be warned"});
  CHECK(warnings_of_plan("quota_day = 10\nquota_month = 10\nquota_day_soft = 10") == Lines{});
  CHECK(warnings_of_plan("quota_day = 20") == Lines{});
}

TEST_CASE("a route that costs more than a plan's whole quota is warned of") {
  const std::string routes =
      "[[route]]\npath = \"/dear\"\npriority = 1\ncost = 6\n"
      "[[route]]\npath = \"/dearer\"\npriority = 1\ncost = 7\n";
  CHECK(warnings_of_plan("quota_unit = \"cost\"\nquota_day = 5\nquota_month = 50", routes) ==
        Lines{"conf:11:1: plan \"free\": quota_day: 5 is less than a request costs of the route "
              "\"/dear\" (6, at conf:3:1), and of 1 more: it is never served"});
  CHECK(warnings_of_plan("quota_unit = \"cost\"\nquota_month = 6", routes) ==
        Lines{"conf:11:1: plan \"free\": quota_month: 6 is less than a request costs of the route "
              "\"/dearer\" (7, at conf:7:1): it is never served"});
  CHECK(warnings_of_plan("quota_unit = \"cost\"\nquota_day = 7", routes) == Lines{});
  CHECK(warnings_of_plan("quota_unit = \"cost\"", routes) == Lines{});
  CHECK(warnings_of_plan("quota_unit = \"requests\"\nquota_day = 1", routes) == Lines{});
  CHECK(warnings_of_plan("quota_unit = \"cost\"\nquota_day = 1",
                         "[[route]]\npath = \"/free\"\npriority = 1\ncost = 6\n"
                         "rate_limited = false\n") == Lines{});
}

TEST_CASE("workers for each server that admission.workers does not leave room for are warned of") {
  const std::string servers = "[upstream]\nservers = [\"a:1\", \"b:1\", \"c:1\"]\n[admission]\n";
  CHECK(warnings_in(servers + "workers = 20\nworkers_per_server = 8\n") ==
        Lines{"conf:7:1: admission.workers_per_server: 8 for each of 3 servers are more than "
              "admission.workers, 20, which bounds them all together: write 24 at least there"});
  CHECK(warnings_in(servers + "workers = 24\nworkers_per_server = 8\n") == Lines{});
  CHECK(warnings_in(servers + "workers = 1\n") == Lines{});
}

// Pages got CORS errors, and --check had called the conf good.
TEST_CASE("a field that names clients and that pages may not send is warned of") {
  const auto warnings = [](const std::string& identity, const std::string& cors) {
    const ConfFile file("[fairness]\nidentity = " + identity + "\n[cors]\n" + cors);
    Lines lines;
    for (const Mistake& warning : load_good({file.path(), {}, {}}).warnings)
      lines.push_back(file.shorten(warning.place + ": " + warning.text));
    return lines;
  };
  const std::string page = "origins = [\"https://app.example\"]\n";
  const std::string of_key =
      "cors.headers: x-api-key is none of them, and an identity looks there: no page of "
      "cors.origins may send it";
  CHECK(warnings("[\"header:X-Api-Key\"]", page) == Lines{"default: " + of_key});
  CHECK(warnings("[\"header:X-Api-Key\"]", page + "headers = [\"content-type\"]\n") ==
        Lines{"conf:5:1: " + of_key});
  CHECK(warnings("[\"header:X-Api-Key\"]", page + "headers = [\"X-API-Key\"]\n") == Lines{});
  CHECK(warnings("[\"header:X-Api-Key\"]", page + "headers = [\"*\"]\n") == Lines{});
  CHECK(warnings("[\"header:X-Api-Key\"]", "") == Lines{});
  CHECK(warnings("[\"bearer\", \"address\"]", page) == Lines{});
  CHECK(warnings("[\"bearer\"]", page + "headers = [\"*\"]\n").size() == 1);
  CHECK(warnings("[\"cookie:sid\"]", page) == Lines{});
}

TEST_CASE("a share that is more than the whole is warned of, everybody's once") {
  const std::string whole = "[admission]\nworkers = 5\nqueue_size = 7\n";
  CHECK(warnings_of_plan("workers = 6\nqueue_size = 8", whole) ==
        Lines{"conf:6:1: plan \"free\": workers: 6 are more than admission.workers, 5: it limits "
              "nobody",
              "conf:6:1: plan \"free\": queue_size: 8 are more than admission.queue_size, 7: it "
              "limits nobody"});
  CHECK(warnings_of_plan("workers = 5\nqueue_size = 7", whole) == Lines{});
  CHECK(
      warnings_of_plan("", "workers = 6\nqueue_size = 7\n" + whole) ==
      Lines{"conf:3:1: fairness.workers: 6 are more than admission.workers, 5: it limits nobody"});
}

}  // namespace
}  // namespace classgate::conf
