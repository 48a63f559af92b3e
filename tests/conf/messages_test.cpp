#include <algorithm>

#include "conf/command_line.h"
#include "conf/loaded.h"
#include "tests/conf/kit.h"

// What people get wrong who see a conf for the first time: each message says what is wrong, where,
// and what to write. One row a mistake.

namespace classgate::conf {
namespace {

std::string not_toml(const char* place, const char* text) {
  return std::string("conf:") + place + ": this is not TOML: " + text;
}

TEST_CASE("a value that lacks its quotes is shown with them") {
  check({
      {"listen = 127.0.0.1:8080\n",
       {not_toml("1:12", "the value has no quotes: write listen = [\"127.0.0.1:8080\"]")}},
      {"listen = [127.0.0.1:8080, \"a:1\"]\n",
       {not_toml("1:13",
                 "each entry of a list stands in quotes: write listen = [\"...\", "
                 "\"...\"]")}},
      {"[upstream]\nservers = [\"a:1\", model:9000] # two\n",
       {not_toml("2:19",
                 "each entry of a list stands in quotes: write servers = [\"...\", "
                 "\"...\"]")}},
      {"[admission]\nrequest_timeout = 30s # long\n",
       {not_toml("2:21", "the value has no quotes: write request_timeout = \"30s\"")}},
      {"[admission]\ndiscipline = fifo\n",
       {not_toml("2:15", "the value has no quotes: write discipline = \"fifo\"")}},
      {"[client]\nbody_bytes = 1MiB\n",
       {not_toml("2:15", "the value has no quotes: write body_bytes = \"1MiB\"")}},
      {"[log]\naccess = /var/log/x\n",
       {not_toml("2:10", "the value has no quotes: write access = \"/var/log/x\"")}},
      // What nobody can guess, and what a plan says, which may be a key.
      {"[admission]\nrequest_timeout = soon\n",
       {not_toml("2:19", "the value has no quotes: write request_timeout = \"...\"")}},
      {"[fairness]\nidentity = [\"address\"]\n[[plan]]\nname = \"a\"\nquota_unit = tokens\n",
       {not_toml("5:15", "the value has no quotes: write quota_unit = \"...\"")}},
  });
}

TEST_CASE("a secret in a line that is no TOML is not shown") {
  for (const char* line :
       {"clients = [header:X-Api-Key:s3cret]", "clients = header:X-Api-Key:s3cret",
        "S3cret = s3cret", "clients: s3cret", "s3cret-S3cret", "S3cret s3cret"}) {
    CAPTURE(line);
    for (const std::string& mistake : mistakes_in(std::string("[[plan]]\n") + line + "\n")) {
      CHECK(!mistake.contains("s3cret"));
      CHECK(!mistake.contains("S3cret"));
    }
  }
}

TEST_CASE("true and false as other languages write them") {
  check({
      {"[upstream.tls]\nverify = True\n",
       {not_toml("2:10", "write verify = true, in small letters and without quotes")}},
      {"[upstream.tls]\nverify = yes\n",
       {not_toml("2:10", "write verify = true, in small letters and without quotes")}},
      {"[upstream.tls]\nverify = Off\n",
       {not_toml("2:10", "write verify = false, in small letters and without quotes")}},
      {"[[route]]\npath = \"/x\"\npriority = 2\nrate_limited = FALSE\n",
       {not_toml("4:16", "write rate_limited = false, in small letters and without quotes")}},
      // A word here, which wants quotes.
      {"[log]\naccess = off\n",
       {not_toml("2:10", "the value has no quotes: write access = \"off\"")}},
      {"[upstream.tls]\nverify = \"true\"\n",
       {"conf:2:1: upstream.tls.verify: expected true or false, without quotes"}},
  });
}

TEST_CASE("what YAML and word processors make of a line") {
  check({
      {"[admission]\nworkers: 5\n",
       {not_toml("2:8", "write workers = 5: what stands between them is \"=\", not \":\"")}},
      {"[admission]\nworkers 5\n", {not_toml("2:9", "\"=\" is missing: write workers = VALUE")}},
      {"[log]\naccess = \xe2\x80\x9c"
       "off\xe2\x80\x9d\n",
       {not_toml("2:10",
                 "these are no quotes for a conf: write access = \"...\", with \" as on the "
                 "keyboard")}},
      {"[log]\naccess = \"off\n", {not_toml("2:14", "the quotes behind access = are not closed")}},
  });
}

TEST_CASE("a list of tables that is written as a value is told what it says") {
  check({
      {"route = []\n",
       {"conf:1:1: route = [] says nothing: take the line out; routes are written as [[route]] "
        "tables, and none is as good as no line"}},
      {"plan = []\n",
       {"conf:1:1: plan = [] says nothing: take the line out; plans are written as [[plan]] "
        "tables, "
        "and none is as good as no line"}},
      {"plan = \"gold\"\n", {"conf:1:1: plans are written as [[plan]] tables"}},
  });
}

TEST_CASE("words of the environment that are neither true nor false") {
  const auto said = [](const std::string& value) {
    return mistakes_in("", {{"CLASSGATE_CORE_DUMPS", value}});
  };
  const auto wrong = [](const std::string& value, const std::string& write) {
    return Lines{"environment CLASSGATE_CORE_DUMPS: core_dumps: \"" + value +
                 "\" is neither true nor false: write " + write};
  };
  for (const char* value : {"True", "TRUE", "yes", "on", "1"})
    CHECK(said(value) == wrong(value, "true"));
  for (const char* value : {"False", "no", "Off", "0"}) CHECK(said(value) == wrong(value, "false"));
  CHECK(said("maybe") == wrong("maybe", "true or false"));
  CHECK(said("true").empty());
}

TEST_CASE("variables that are set to nothing") {
  struct Row {
    std::string variable, key, usual;
  };
  for (const Row& row :
       std::vector<Row>{{"CLASSGATE_ADMISSION_WORKERS", "admission.workers", "50"},
                        {"CLASSGATE_ADMISSION_REQUEST_TIMEOUT", "admission.request_timeout", "30s"},
                        {"CLASSGATE_ADMISSION_DISCIPLINE", "admission.discipline", "fifo"},
                        {"CLASSGATE_LISTEN", "listen", "127.0.0.1:8080"},
                        {"CLASSGATE_UPSTREAM_SERVERS", "upstream.servers", "127.0.0.1:9000"},
                        {"CLASSGATE_CLIENT_BODY_BYTES", "client.body_bytes", "10MiB"},
                        {"CLASSGATE_STATE_DIR", "state_dir", "auto"}}) {
    CHECK(mistakes_in("", {{row.variable, ""}}) ==
          Lines{"environment " + row.variable + ": " + row.key +
                ": the variable is empty: unset it, or write a value, such as " + row.usual});
  }
  CHECK(mistakes_in("", {{"PORT", ""}}) ==
        Lines{"environment PORT: is empty: unset it, or write a port, such as PORT=8080"});
  // Where nothing is a value it stays one.
  CHECK(mistakes_in("", {{"CLASSGATE_OPS_LISTEN", ""}, {"CLASSGATE_OPS_TOKEN_FILE", ""}}).empty());
}

TEST_CASE("operators and clients on one address") {
  const auto both = [](const std::string& clients, const std::string& operators,
                       const Variables& environment = {}) {
    return mistakes_in("listen = [\"" + clients + "\"]\n[ops]\nlisten = [\"" + operators + "\"]\n",
                       environment);
  };
  CHECK(both("127.0.0.1:8080", "127.0.0.1:8080") ==
        Lines{"conf:3:1: ops.listen: \"127.0.0.1:8080\" is where clients connect, listen = "
              "\"127.0.0.1:8080\": operators need an address or a port of their own, such as "
              "\"127.0.0.1:9190\""});
  CHECK(both("*:9190", "127.0.0.1:9190") ==
        Lines{"conf:3:1: ops.listen: \"127.0.0.1:9190\" is where clients connect, listen = "
              "\"*:9190\": operators need an address or a port of their own, such as "
              "\"127.0.0.1:9191\""});
  CHECK(both("127.0.0.1:8080", "0.0.0.0:8080").size() == 1);
  CHECK(both("127.0.0.1:8080", "127.0.0.2:8080").empty());
  CHECK(both("127.0.0.1:0", "127.0.0.1:0").empty());
  // The platform's port is the operators'.
  CHECK(mistakes_in("", {{"PORT", "9190"}}) ==
        Lines{"environment PORT: ops.listen: \"127.0.0.1:9190\" is where clients connect, listen = "
              "\"127.0.0.1:9190\": operators need an address or a port of their own, such as "
              "\"127.0.0.1:9191\""});
}

TEST_CASE("a file of conf.d that cannot be read is not to be named with --conf") {
  const ConfFile file("");
  std::filesystem::create_directory(file.folder() / "conf.d");
  std::filesystem::create_symlink("/nonexistent", file.folder() / "conf.d/a.conf");
  const Lines said = mistakes_of({file.path(), {}, {}});
  REQUIRE(said.size() == 1);
  CHECK(
      said[0].ends_with("conf.d/a.conf: cannot be read: No such file or directory (it is read "
                        "because it lies in conf.d and ends in .conf: mend it, or move it away)"));
  CHECK(mistakes_of({file.folder() / "not-there", {}, {}})
            .front()
            .ends_with("(name another with --conf)"));
}

TEST_CASE("an option that has one value is given once") {
  const auto said = [](std::vector<const char*> words) {
    words.insert(words.begin(), "classgate");
    const auto command = parse_command_line(static_cast<int>(words.size()), words.data());
    return command ? std::string() : command.error();
  };
  CHECK(said({"--workers", "5", "--workers", "6"}) ==
        "--workers is given 2 times, and has one value: give it once");
  CHECK(said({"-c", "a", "--conf", "b"}) ==
        "--conf is given 2 times, and has one value: give it once");
  CHECK(said({"status", "--socket", "/a", "--socket", "/b"}) ==
        "--socket is given 2 times, and has one value: give it once");
  CHECK(said({"--workers", "5", "--queue-size", "6"}).empty());
}

TEST_CASE("a client in two plans is told by number, at both places") {
  const std::string identity = "[fairness]\nidentity = [\"header:X-Api-Key\", \"address\"]\n";
  check({
      {identity + "[[plan]]\nname = \"a\"\nclients = [\"header:X-Api-Key:s3cret\"]\n"
                  "[[plan]]\nname = \"b\"\nclients = [\"header:X-Api-Key:s3cret\"]\n",
       {"conf:8:1: plan b: client number 1 is in a plan already, at conf:5:1: plan a, client "
        "number "
        "1; a client has one plan: take it out of one"}},
      {identity + "[[plan]]\nname = \"a\"\nclients = [\"address:192.0.2.7\"]\n"
                  "[[plan]]\nname = \"b\"\nclients = [\"address:192.0.2.7\"]\n",
       {"conf:8:1: plan b: client number 1 (\"192.0.2.7\") is in a plan already, at conf:5:1: plan "
        "a, client number 1; a client has one plan: take it out of one"}},
  });
}

TEST_CASE("a client of a plan that no identity asks for is told with the source it lacks") {
  const std::string plan = "[[plan]]\nname = \"a\"\nclients = [\"bearer:s3cret\"]\n";
  check({
      {"[fairness]\nidentity = [\"address\"]\n" + plan,
       {"conf:5:1: plan a: client number 1 is named by \"bearer\", which no identity asks for: add "
        "it, identity = [\"bearer\", ...] in [fairness]"}},
      {"[fairness]\nidentity = [\"header:X-Api-Key\"]\n" + plan,
       {"conf:5:1: plan a: client number 1 is named by \"bearer\", which no identity asks for: add "
        "it, identity = [\"bearer\", ...] in [fairness], or name the client by "
        "[\"header:X-Api-Key\"]"}},
      {"[fairness]\nidentity = [\"bearer\"]\n[[plan]]\nname = \"a\"\nclients = "
       "[\"header:X-Key:s3cret\"]\n",
       {"conf:5:1: plan a: client number 1 is named by \"header:X-Key\", which no identity asks "
        "for: add it, identity = [\"header:X-Key\", ...] in [fairness], or name the client by "
        "[\"bearer\"]"}},
  });
}

TEST_CASE("what a health check asks is shown without the values of its query") {
  const std::string conf = "[upstream.check]\npath = \"/health?key=s3cret&full&x=\"\n";
  const Loaded loaded = load_text(conf);
  CHECK(loaded.settings.upstream.check.path == "/health?key=s3cret&full&x=");
  CHECK(value_of(loaded, "upstream.check.path").value == "\"/health?key=***&***&x=\"");
  CHECK(!print(loaded).contains("s3cret"));
  const Loaded other = load_text("[upstream.check]\npath = \"/health?key=n3w&full&x=\"\n");
  CHECK(changes_between(loaded, other) ==
        Lines{"upstream.check.path has other values in its query, which are not shown"});
  CHECK(changes_between(load_text(""), other) ==
        Lines{"upstream.check.path = \"/health?key=***&***&x=\" (it was \"\")"});
  CHECK(shown_value("upstream.check.path", "/health?key=n3w") == "/health?key=***");
}

TEST_CASE("what was said is told without what is built in") {
  const std::string said = print_said(
      load_text("[admission]\nworkers = 7\n[[route]]\npath = \"/v2/*\"\npriority = 2\n"));
  CHECK(said.contains("workers = 7"));
  CHECK(said.contains("path = \"/v2/*\""));
  CHECK(!said.contains("queue_size"));
  CHECK(!said.contains("/v1/classify"));
}

}  // namespace
}  // namespace classgate::conf
