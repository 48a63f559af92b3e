
#include "conf/format.h"
#include "tests/conf/kit.h"

// What hangs together in [admission], [auto], [reserve] and a route's deadline.

namespace classgate::conf {
namespace {

TEST_CASE("automatic limits stand at the most they may become") {
  const AdmissionSettings admission =
      load_text(
          "admission.workers = \"auto\"\nadmission.rate = \"auto\"\n"
          "[auto]\nworkers_max = 70\nrate_max = 700")
          .settings.admission;
  CHECK(admission.workers_are_auto);
  CHECK(admission.workers == 70);
  CHECK(admission.rate_is_auto);
  CHECK(admission.rate == 700);
  const AdmissionSettings fixed = load_text("[auto]\nworkers_max = 70").settings.admission;
  CHECK_FALSE(fixed.workers_are_auto);
  CHECK(fixed.workers == 50);
}

TEST_CASE("a number in a higher source takes automatic limits back") {
  const Loaded loaded =
      load_text("admission.workers = \"auto\"", {{"CLASSGATE_ADMISSION_WORKERS", "9"}});
  CHECK_FALSE(loaded.settings.admission.workers_are_auto);
  CHECK(loaded.settings.admission.workers == 9);
}

TEST_CASE("a rate that follows patterns is no limit, nor for plans that name none") {
  const FairnessSettings fairness =
      load_text("fairness.rate = 7\n[[plan]]\nname = \"a\"\n[[plan]]\nname = \"b\"\nrate = 3",
                {{"CLASSGATE_FAIRNESS_RATE", "pattern"}})
          .settings.admission.fairness;
  CHECK(fairness.pattern.is_on);
  CHECK(fairness.everybody.rate == 0);
  CHECK(fairness.plans[0].rate == 0);
  CHECK(fairness.plans[1].rate == 3);
  const Loaded fixed = load_text("fairness.rate = \"pattern\"", {{"CLASSGATE_FAIRNESS_RATE", "7"}});
  CHECK_FALSE(fixed.settings.admission.fairness.pattern.is_on);
  CHECK(fixed.settings.admission.fairness.everybody.rate == 7);
}

TEST_CASE("bounds and reserves that contradict each other are mistakes") {
  struct Row {
    std::string conf;
    Lines mistakes;
  };
  for (const Row& row : {
           Row{"[auto]\nworkers_min = 9\nworkers_max = 8",
               {"conf:2:1: auto.workers_min: is more than auto.workers_max"}},
           Row{"[forecast]\nservers_min = 9\nservers_max = 8",
               {"conf:2:1: forecast.servers_min: is more than forecast.servers_max"}},
           Row{"[auto]\nrate_min = 9\nrate_max = 8.5",
               {"conf:2:1: auto.rate_min: is more than auto.rate_max"}},
           Row{"[reserve]\npriority_1 = 0.5\npriority_4 = 0.6",
               {"conf:3:1: reserve.priority_4: the shares are together more than 1"}},
           Row{"admission.workers = 1\n[reserve]\npriority_1 = 0.1\npriority_4 = 0.1",
               {"conf:1:11: admission.workers: 1 cannot be shared out among 2 reserves"}},
           Row{"admission.workers = \"car\"",
               {"conf:1:11: admission.workers: expected a whole number without quotes"}},
           Row{"[[route]]\npath = \"/a\"\npriority = 1\ndeadline = 3",
               {"conf:4:1: route deadline: expected a duration in quotes, such as \"2s\""}},
           Row{"[[route]]\npath = \"/a\"\npriority = 1\ndeadline = \"0s\"",
               {"conf:4:1: route deadline: must be longer than 0, and at most 24h"}},
           Row{"[fairness]\npattern_floor = 9\npattern_ceiling = 8\npattern_newcomer = 0.5",
               {"conf:2:1: fairness.pattern_floor: is more than fairness.pattern_ceiling"}},
           Row{"[fairness]\nrate = \"pattern\"\nidentity = []",
               {"conf:2:1: fairness.rate: needs fairness.identity, to tell clients"}},
           Row{"[reserve]\npriority_1 = 0.4\npriority_4 = 0.6", {}},
       }) {
    CAPTURE(row.conf);
    CHECK(mistakes_in(row.conf) == row.mistakes);
  }
}

TEST_CASE("a route's deadline is printed as it was said") {
  const Loaded loaded = load_text("[[route]]\npath = \"/a\"\npriority = 1\ndeadline = \"2s\"");
  CHECK(loaded.settings.routes.back().deadline == milliseconds(2000));
  CHECK(print(loaded).find("deadline = \"2s\"\n") != std::string::npos);
}

TEST_CASE("a route says how it is refused, or what is wrong with that") {
  const std::string start = "[[route]]\npath = \"/a\"\npriority = 1\n";
  const Loaded loaded = load_text(
      start + "refusal_body = \"openai\"\nstatuses = [\"queue_full=429\", \"shed = 529\"]");
  const RouteSettings& route = loaded.settings.routes.back();
  CHECK(route.refusal_body == RefusalBody::openai);
  CHECK(route.statuses == RouteStatuses{{Reason::queue_full, 429}, {Reason::shed, 529}});
  CHECK(print(loaded).find("refusal_body = \"openai\"\n"
                           "statuses = [\"queue_full=429\", \"shed=529\"]\n") != std::string::npos);
  struct Row {
    std::string line, mistake;
  };
  for (const Row& row : {
           Row{"refusal_body = \"json\"",
               "route refusal_body: \"json\" is none of \"problem\", \"openai\", \"text\""},
           Row{"statuses = [\"queue_ful=429\"]",
               "route statuses: \"queue_ful\" is no reason; did you mean queue_full?"},
           Row{"statuses = [\"queue_full=200\"]",
               "route statuses: \"queue_full=200\": expected REASON=STATUS, the status 400 to 599"},
           Row{"statuses = [\"queue_full\"]",
               "route statuses: \"queue_full\": expected REASON=STATUS, the status 400 to 599"},
           Row{"statuses = [\"shed=500\", \"shed=501\"]",
               "route statuses: \"shed\" stands here twice"},
           Row{"statuses = [\"shed=500\", \"header_too_large=400\"]",
               "route statuses: \"header_too_large\" is told before the route is known: write "
               "status.header_too_large"},
           Row{"statuses = 429", "route statuses: expected a list, such as [\"queue_full=429\"]"},
       }) {
    CAPTURE(row.line);
    CHECK(mistakes_in(start + row.line) == Lines{"conf:4:1: " + row.mistake});
  }
}

// Each passed the check, and had never any effect.
TEST_CASE("a route says nothing of refusals before it is known") {
  for (const char* word :
       {"too_many_connections", "client_connections", "header_too_large", "target_too_long",
        "unknown_coding", "unknown_method", "method_refused", "version_refused"})
    CHECK(mistakes_in(
              fmt::format("[[route]]\npath = \"/a\"\npriority = 1\nstatuses = [\"{}=499\"]", word))
              .size() == 1);
  for (const char* word : {"expectation_failed", "loop_detected", "malformed", "body_too_large",
                           "client_timeout", "unknown_client", "memory_pressure"})
    CHECK(mistakes_in(fmt::format("[[route]]\npath = \"/a\"\npriority = 1\nstatuses = [\"{}=499\"]",
                                  word)) == Lines{});
}

TEST_CASE("a route says what its streams are, and what becomes of those whose client leaves") {
  const std::string start = "[[route]]\npath = \"/a\"\npriority = 1\n";
  const Loaded loaded = load_text(start + "streams = \"chunked\"\non_client_abort = \"finish\"");
  const RouteSettings& route = loaded.settings.routes.back();
  CHECK(route.streams == Streams::chunked);
  CHECK(route.on_client_abort == OnClientAbort::finish);
  CHECK(print(loaded).find("streams = \"chunked\"\non_client_abort = \"finish\"\n") !=
        std::string::npos);
  CHECK(mistakes_in(start + "streams = \"all\"") ==
        Lines{"conf:4:1: route streams: \"all\" is none of \"by_type\", \"chunked\", \"none\""});
  CHECK(mistakes_in(start + "on_client_abort = true") ==
        Lines{"conf:4:1: route on_client_abort: expected one of \"finish\", \"cancel\""});
}

TEST_CASE("a shadow conf brings its admission, and its mistakes with their places") {
  const ConfFile good("admission.rate = 3");
  const Loaded loaded = load_text(fmt::format("admission.shadow_conf = \"{}\"", good.path()));
  REQUIRE(loaded.settings.admission.shadow != nullptr);
  CHECK(loaded.settings.admission.shadow->rate == 3);
  CHECK(loaded.settings.admission.rate == 100);
  CHECK(load_text("").settings.admission.shadow == nullptr);

  const ConfFile bad("admission.rates = 3");
  CHECK(mistakes_in(fmt::format("admission.shadow_conf = \"{}\"", bad.path())) ==
        Lines{bad.path() + ":1:11: unknown key admission.rates; did you mean admission.rate?"});
  const ConfFile nested(fmt::format("admission.shadow_conf = \"{}\"", good.path()));
  CHECK(mistakes_in(fmt::format("admission.shadow_conf = \"{}\"", nested.path())).size() == 1);
}

}  // namespace
}  // namespace classgate::conf
