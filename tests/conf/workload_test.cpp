#include "conf/workload.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>

namespace classgate::conf {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a workload file is read with all its keys") {
  const auto workload = parse_workload(R"(
duration = "2m"
seed = 9
[upstream]
service = "lognormal 40ms 200ms"
capacity = 50
slowdown_power = 2
[[class]]
name = "phones"
clients = 20
rates = ["0s 10", "30s 200"]
patience = "exponential 2.5s"
[[class]]
users = 5
think = "3s"
path = "/health"
)",
                                       "w.toml");
  REQUIRE(workload);
  CHECK(workload->duration == 2min);
  CHECK(workload->seed == 9);
  CHECK(workload->upstream.service.kind == Law::Kind::lognormal);
  CHECK(workload->upstream.capacity == 50);
  CHECK(workload->upstream.slowdown_power == 2);
  REQUIRE(workload->classes.size() == 2);
  CHECK(workload->classes[0].rates[1].from == 30s);
  CHECK(workload->classes[0].rates[1].rate == 200);
  CHECK(workload->classes[0].patience->first == 2500ms);
  CHECK(workload->classes[1].name == "class 2");
  CHECK(workload->classes[1].think.first == 3s);
}

TEST_CASE("every mistake of a workload is told with its place and what was meant") {
  const auto workload = parse_workload(R"(duraton = "2m"
[upstream]
service = "exponentail 5ms"
capacity = -1
[[class]]
rate = 5
users = 3
patience = "uniform 5s 2s"
[[clas]]
)",
                                       "w.toml");
  REQUIRE_FALSE(workload);
  std::string text;
  for (const Mistake& mistake : workload.error())
    text += mistake.place + ": " + mistake.text + "\n";
  for (const char* part :
       {"w.toml:1:1: unknown key duraton; did you mean duration?",
        "w.toml:3:1: upstream.service: \"exponentail 5ms\" is no law (did you mean exponential?)",
        "w.toml:4:1: upstream.capacity: -1 is out of range: 0 to 1000000",
        "w.toml:5:1: [[class]] has either users, who wait for answers, or a rate",
        "w.toml:8:1: patience: \"uniform 5s 2s\": the second is less than the first",
        "w.toml:9:"}) {
    CAPTURE(text);
    CHECK(text.contains(part));
  }
}

TEST_CASE("a class has a method and keys, which no message repeats") {
  const auto workload = parse_workload(R"(key_header = "X-Api-Key"
[[class]]
rate = 1
method = "PUT"
key = "alpha"
[[class]]
rate = 1
key = ["a", "Bearer b"]
)",
                                       "w.toml");
  REQUIRE(workload);
  CHECK(workload->key_header == "X-Api-Key");
  CHECK(workload->classes[0].method == "PUT");
  CHECK(workload->classes[0].keys == std::vector<std::string>{"alpha"});
  CHECK(workload->classes[1].keys == std::vector<std::string>{"a", "Bearer b"});
  struct Row {
    const char* line;
    std::string mistake;
  };
  for (const Row& row : {
           Row{"key = \"sec\\nret\"", "w.toml:3:1: key 1 of 1 is no value of a field"},
           Row{"key = \" secret\"", "w.toml:3:1: key 1 of 1 is no value of a field"},
           Row{"key = [\"a\", \"\"]", "w.toml:3:1: key 2 of 2 is no value of a field"},
           Row{"key = []", "w.toml:3:1: key: has no key in its list"},
           Row{"key = 5", "w.toml:3:1: key: expected text in quotes, or a list of these"},
           Row{"key = \"secret\"",
               "w.toml:1:1: [[class]] has a key, and the workload no key_header"},
           Row{"method = \"post\"", "w.toml:3:1: method: is a method in capitals"},
           Row{"method = \"P T\"", "w.toml:3:1: method: is a method in capitals"},
           Row{"method = \"CONNECT\"", "w.toml:3:1: method: is a method in capitals"},
       }) {
    const auto wrong = parse_workload(std::string("[[class]]\nrate = 1\n") + row.line, "w.toml");
    REQUIRE_FALSE(wrong);
    std::string told;
    for (const Mistake& mistake : wrong.error()) told += mistake.place + ": " + mistake.text + "\n";
    CHECK_MESSAGE(told.contains(row.mistake), told);
    CHECK_MESSAGE(!told.contains("secret"), told);
  }
  const auto header = parse_workload("key_header = \"X Key\"\n[[class]]\nrate = 1\n", "w.toml");
  REQUIRE_FALSE(header);
  CHECK(header.error()[0].text.contains("is the name of a field"));
}

TEST_CASE("times of a workload are a year at most, and bodies 1 GiB, so that nothing overflows") {
  const auto workload = parse_workload(R"(duration = "8785h"
[upstream]
service = "9000h"
[[class]]
rates = ["0s 10", "1152921504606846976ms 200"]
upload = "2562047h"
body = "2GiB"
)",
                                       "w.toml");
  REQUIRE_FALSE(workload);
  std::string text;
  for (const Mistake& mistake : workload.error())
    text += mistake.place + ": " + mistake.text + "\n";
  CAPTURE(text);
  for (const char* part :
       {"w.toml:1:1: duration: \"8785h\" is out of range: 8784h at most",
        "w.toml:3:1: upstream.service: \"9000h\" has no time that can be understood",
        "w.toml:5:1: rates: \"1152921504606846976ms 200\" is no time and rate",
        "w.toml:6:1: upload: \"2562047h\" is out of range: 8784h at most",
        "w.toml:7:1: body: \"2GiB\" is out of range: 1GiB at most"})
    CHECK(text.contains(part));
}

TEST_CASE("the four shipped workloads are good, and the manual has a line for every key") {
  const std::string packaging = CLASSGATE_PACKAGING;
  for (const char* name : {"beta-test", "launch-spike", "nightly-batch", "retry-storm"}) {
    const auto workload = read_workload(packaging + "/examples/workloads/" + name + ".toml");
    CAPTURE(name);
    CHECK(workload.has_value());
  }
  std::ostringstream manual;
  manual << std::ifstream(packaging + "/classgate-workload.5").rdbuf();
  for (const std::string& key : workload_keys()) {
    const std::string name = key.substr(key.rfind('.') + 1);
    CAPTURE(key);
    CHECK(manual.str().contains("\n" + name + "\t"));
  }
}

TEST_CASE("a law is printed as it is written") {
  for (const char* text : {"50ms", "exponential 0.5ms", "uniform 10ms 90ms", "lognormal 40ms 200ms",
                           "pareto 50ms 1.5"}) {
    const auto law = parse_law(text);
    REQUIRE(law);
    CHECK(print_law(*law) == text);
  }
  for (const char* text : {"", "50", "soon", "exponential", "exponential 5ms 6ms", "pareto 5ms 1",
                           "lognormal 0ms 5ms", "-5ms"})
    CHECK_FALSE(parse_law(text));
}

}  // namespace
}  // namespace classgate::conf
