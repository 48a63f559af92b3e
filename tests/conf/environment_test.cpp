#include <map>

#include "conf/format.h"
#include "conf/keys.h"
#include "tests/conf/kit.h"

// What variables say: those of the keys, PORT, CLASSGATE_ROUTE, and what is not meant for us.

namespace classgate::conf {
namespace {

TEST_CASE("a key's variable is its name in capitals with underscores, the same for no two keys") {
  CHECK(environment_name("threads") == "CLASSGATE_THREADS");
  CHECK(environment_name("client.body_rate_min") == "CLASSGATE_CLIENT_BODY_RATE_MIN");
  std::map<std::string, int> seen;
  for (const Key& key : all_keys()) ++seen[environment_name(key.name)];
  CHECK(seen.size() == all_keys().size());
}

TEST_CASE("a wrong variable is told by its name, and all of them at once after those of the file") {
  CHECK(
      mistakes_in("threads = 0", {{"CLASSGATE_THREADS", "x"},
                                  {"CLASSGATE_ADMISSION_WORKERS", "99999999999999999999"},
                                  {"CLASSGATE_STATUS_DRAINING", "503 "},
                                  {"CLASSGATE_ADMISSION_RATE", "1e"},
                                  {"CLASSGATE_ADMISSION_BURST", "nan"},
                                  {"CLASSGATE_DRAIN_TIMEOUT", "30"},
                                  {"CLASSGATE_LOG_LEVEL", ""},
                                  {"CLASSGATE_LISTEN", " , "},
                                  {"CLASSGATE_LOG_ACCESS", "\"off\""}}) ==
      Lines{
          "conf:1:1: threads: 0 is out of range: 1 to 64",
          "environment CLASSGATE_THREADS: threads: \"x\" is not a whole number",
          "environment CLASSGATE_ADMISSION_WORKERS: admission.workers: "
          "99999999999999999999 is out of range: 1 to 100000",
          "environment CLASSGATE_STATUS_DRAINING: status.draining: \"503 \" is not a whole number",
          "environment CLASSGATE_ADMISSION_RATE: admission.rate: \"1e\" is not a number",
          "environment CLASSGATE_ADMISSION_BURST: admission.burst: nan is out of range: 1 to "
          "1000000",
          "environment CLASSGATE_DRAIN_TIMEOUT: drain_timeout: \"30\" has no unit: write a whole "
          "number with ms, s, m or h, such as \"30s\"",
          "environment CLASSGATE_LOG_LEVEL: log.level: the variable is empty: unset it, or write a "
          "value, such as info",
          "environment CLASSGATE_LISTEN: listen: expected 1 to 64 addresses",
          "environment CLASSGATE_LOG_ACCESS: log.access: expected \"off\", \"stdout\", "
          "\"stderr\", \"syslog\" or an absolute path"});
}

TEST_CASE("an unknown CLASSGATE_ variable is a mistake, any other is none of our business") {
  CHECK(mistakes_in("", {{"CLASSGATE_THREAD", "1"},
                         {"CLASSGATE_", ""},
                         {"CLASSGATE_WAT", ""},
                         {"CLASSGATE_ROUTES", "/a=1"},
                         {"CLASSGATE_SOMETHING_ELSE", "1"},
                         {"CLASSGATE", "1"},
                         {"classgate_threads", "x"},
                         {"XCLASSGATE_THREADS", "x"},
                         {"THREADS", "x"}}) ==
        Lines{"environment CLASSGATE_THREAD: unknown variable; did you mean CLASSGATE_THREADS?",
              "environment CLASSGATE_: unknown variable",
              "environment CLASSGATE_WAT: unknown variable",
              "environment CLASSGATE_ROUTES: unknown variable; did you mean CLASSGATE_ROUTE?",
              "environment CLASSGATE_SOMETHING_ELSE: unknown variable"});
}

TEST_CASE("PORT changes the port that is listened on, and nothing else") {
  const std::string conf = "listen = [\"a:1\"]";
  struct Row {
    Variables environment;
    std::string value, origin;
  };
  for (const Row& row : {Row{{{"PORT", "80"}}, "[\"a:80\"]", "environment PORT"},
                         Row{{{"PORT", "0"}}, "[\"a:0\"]", "environment PORT"},
                         Row{{{"PORT", "80"}, {"CLASSGATE_LISTEN", "b:2"}},
                             "[\"b:2\"]",
                             "environment CLASSGATE_LISTEN"},
                         Row{{{"CLASSGATE_LISTEN", "b:2"}, {"PORT", "nonsense"}},
                             "[\"b:2\"]",
                             "environment CLASSGATE_LISTEN"},
                         Row{{}, "[\"a:1\"]", "conf:1:1"}}) {
    const Loaded loaded = load_text(conf, row.environment);
    CHECK(value_of(loaded, "listen").value == row.value);
    CHECK(value_of(loaded, "listen").origin == row.origin);
  }
  CHECK(
      value_of(load_text(conf, {{"PORT", "80"}}, {{"listen", "c:3", "listen"}}), "listen").value ==
      "[\"c:3\"]");
}

TEST_CASE("PORT leaves hosts, TLS, Unix sockets and other ports as they are") {
  // It opened every address, and lost https://.
  struct Row {
    std::string listen, value;
  };
  const std::string tls = "\n[tls]\ncertificate = \"/a\"\nkey = \"/b\"\n";
  for (const Row& row :
       {Row{R"(["https://127.0.0.1:8443"])", R"(["https://127.0.0.1:80"])"},
        Row{R"(["[::1]:1"])", R"(["[::1]:80"])"}, Row{R"(["*:1"])", R"(["*:80"])"},
        Row{R"(["0.0.0.0:1", "[::]:1", "b:2"])", R"(["0.0.0.0:80", "[::]:80", "b:2"])"},
        Row{R"(["unix:/run/a:9", "b:2"])", R"(["unix:/run/a:9", "b:80"])"},
        Row{R"(["unix:/run/a"])", R"(["unix:/run/a"])"}})
    CHECK(value_of(load_text("listen = " + row.listen + tls, {{"PORT", "80"}}), "listen").value ==
          row.value);
  CHECK(value_of(load_text("", {{"PORT", "80"}}), "listen").value == "[\"127.0.0.1:80\"]");
}

TEST_CASE("a PORT that takes a listener its address says so, and how to mend it") {
  const std::string conf =
      "listen = [\"a:1\", \"b:2\"]\n[[listener]]\naddress = \"a:1\"\nrefusal_body = \"text\"\n"
      "[[listener]]\naddress = \"b:2\"\nrefusal_body = \"text\"\n";
  CHECK(
      mistakes_in(conf, {{"PORT", "80"}}) ==
      Lines{"conf:2:1: listener \"a:1\" is none of listen any more: the environment's PORT, which "
            "goes before the conf, has made it \"a:80\". Unset PORT, or set CLASSGATE_LISTEN, "
            "before which PORT gives way, or write \"a:80\" here"});
  CHECK(mistakes_in(conf, {{"PORT", "1"}}) == Lines{});
  CHECK(mistakes_in(conf, {{"PORT", "80"}, {"CLASSGATE_LISTEN", "a:1, b:2"}}) == Lines{});
  CHECK(mistakes_in(conf, {}) == Lines{});
}

TEST_CASE("a PORT that is no port is a mistake") {
  for (const std::string port : {"http", "-1", "+80", "80 ", " 80", "127.0.0.1:80", "80,a:1"})
    CHECK(mistakes_in("", {{"PORT", port}}) ==
          Lines{"environment PORT: \"" + port + "\" is not a port"});
  CHECK(mistakes_in("", {{"PORT", "65536"}}) ==
        Lines{"environment PORT: listen: \"127.0.0.1:65536\" has no port from 0 to 65535: write "
              "HOST:PORT, "
              "such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\""});
}

TEST_CASE("what Kubernetes says of a Service named classgate is not meant for the conf") {
  // Eight mistakes, and the pod never started.
  const Variables links{{"CLASSGATE_SERVICE_HOST", "10.96.0.7"},
                        {"CLASSGATE_SERVICE_PORT", "80"},
                        {"CLASSGATE_SERVICE_PORT_HTTP", "80"},
                        {"CLASSGATE_PORT", "tcp://10.96.0.7:80"},
                        {"CLASSGATE_PORT_80_TCP", "tcp://10.96.0.7:80"},
                        {"CLASSGATE_PORT_80_TCP_PROTO", "tcp"},
                        {"CLASSGATE_PORT_80_TCP_PORT", "80"},
                        {"CLASSGATE_PORT_80_TCP_ADDR", "10.96.0.7"},
                        {"CLASSGATE_OPS_SERVICE_HOST", "fd00::7"},
                        {"CLASSGATE_OPS_SERVICE_PORT", "9190"},
                        {"CLASSGATE_OPS_SERVICE_PORT_METRICS", "9190"},
                        {"CLASSGATE_OPS_PORT", "udp://[fd00::7]:9190"},
                        {"CLASSGATE_OPS_PORT_9190_UDP", "udp://[fd00::7]:9190"},
                        {"CLASSGATE_OPS_PORT_9190_UDP_PORT", "9190"},
                        {"CLASSGATE_LOG_PORT_1_SCTP_ADDR", "10.96.0.8"}};
  CHECK(mistakes_in("", links) == Lines{});
  CHECK(value_of(load_text("", links), "listen").origin == "default");
  for (const auto& [name, value] : Variables{{"CLASSGATE_PORT", "8080"},
                                             {"CLASSGATE_SERVICE_PORT", "http"},
                                             {"CLASSGATE_PORT_80_TCP_HOST", "x"},
                                             {"CLASSGATE_OPS_PORTS", "tcp://1:1"},
                                             {"CLASSGATE_PORT_X_TCP", "tcp://a:1"},
                                             {"CLASSGATE_SERVICE_HOSTS", "a"}}) {
    const Lines wrong = mistakes_in("", {{name, value}});
    CHECK_MESSAGE(wrong.size() == 1, name);
  }
}

TEST_CASE(
    "a route of the file or of CLASSGATE_ROUTE takes the place of one before it, or is added") {
  const Loaded loaded = load_text(
      "[[route]]\npath = \"/status\"\npriority = 2\n[[route]]\npath = \"/a*\"\npriority = 4\n"
      "rate_limited = false\n",
      {{"CLASSGATE_ROUTE", "/a*=5,/health=3:unlimited,/b=1,/a=2"}});
  using Route = std::pair<RouteSettings, std::string>;
  const std::string from = "environment CLASSGATE_ROUTE";
  const std::vector<Route> expected{
      {{"/health", false, 3, false}, from},
      {{"/status", false, 2, true}, "conf:1:1"},
      {{"/v1/classify", false, 3, true}, "default"},
      {{"/v1/classify/batch", false, 4, true}, "default"},
      {{"/a", true, 5, true}, from},
      {{"/b", false, 1, true}, from},
      {{"/a", false, 2, true}, from},
  };
  CHECK((loaded.routes == expected));
  std::vector<RouteSettings> settings;
  for (const auto& [route, origin] : expected) settings.push_back(route);
  CHECK((loaded.settings.routes == settings));
}

TEST_CASE("an empty CLASSGATE_ROUTE adds nothing") {
  CHECK(load_text("", {{"CLASSGATE_ROUTE", ""}}).routes == load_text("").routes);
}

TEST_CASE("a wrong CLASSGATE_ROUTE is told part by part") {
  const auto hint = [](const std::string& part) {
    return "environment CLASSGATE_ROUTE: \"" + part +
           "\": write PATH=PRIORITY or PATH=PRIORITY:unlimited, such as \"/v1/classify=3\"";
  };
  for (const std::string part : {"/a", "/a=", "/a=0", "/a=6", "/a=12", "/a=x", "/a=-1", "=",
                                 "/a=1:", "/a=1:limited", "/a=:unlimited", "/a=1 ", "/a:1"})
    CHECK(mistakes_in("", {{"CLASSGATE_ROUTE", part}}) == Lines{hint(part)});
  const std::string place = "environment CLASSGATE_ROUTE: ";
  CHECK(mistakes_in("", {{"CLASSGATE_ROUTE", "a=1,/ok=1,,/x y=2,/b=9,/ok=2:unlimited,/ok*=2"}}) ==
        Lines{place + "route path \"a\" must begin with '/', such as \"/v1/classify\"", hint(""),
              place + "route path \"/x y\" must be a path alone, without query, fragment or spaces",
              hint("/b=9"), place + "\"/ok=2:unlimited\": this path stands here twice"});
}

}  // namespace
}  // namespace classgate::conf
