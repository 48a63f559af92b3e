#include <algorithm>

#include "conf/command_line.h"
#include "conf/keys.h"
#include "conf/loaded.h"
#include "conf/other_tools.h"
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
       {not_toml("2:8", "write workers = VALUE: what stands between them is \"=\", not \":\"")}},
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

// What the one mistake in a conf says behind this.
std::string said_behind(const std::string& begin, const std::string& conf) {
  const Lines said = mistakes_in(conf);
  REQUIRE(said.size() == 1);
  CHECK(said[0].starts_with(begin));
  return said[0].substr(std::min(begin.size(), said[0].size()));
}

// Of one server, and of one address of listen, as others write them.
std::string of_server(const std::string& text) {
  return said_behind("conf:2:1: upstream.servers: \"" + text + "\" is no address here: ",
                     "[upstream]\nservers = [\"" + text + "\"]\n");
}
std::string of_listener(const std::string& text) {
  return said_behind("conf:1:1: listen: \"" + text + "\" is no address here: ",
                     "listen = [\"" + text + "\"]\n");
}

TEST_CASE("a server as another program names it is told as it is named here") {
  const std::string h2 = ", and in [upstream] protocols = [\"h2\", \"http/1.1\"]";
  CHECK(of_server("grpc://model:9000") == "write \"h2c://model:9000\"");
  CHECK(of_server("grpcs://model:9000") == "write \"https://model:9000\"" + h2);
  CHECK(of_server("h2://model:9000") ==
        "without TLS write \"h2c://model:9000\", with TLS \"https://model:9000\" and in [upstream] "
        "protocols = [\"h2\", \"http/1.1\"]");
  CHECK(of_server("tcp://127.0.0.1:9000") == "write \"127.0.0.1:9000\"");
  CHECK(of_server("http://127.0.0.1:9000/") == "write \"127.0.0.1:9000\"; no path follows");
  CHECK(of_server("127.0.0.1:9000/v1") ==
        "write \"127.0.0.1:9000\"; the path is that of the request");
  CHECK(of_server("127.0.0.1:9000 weight=5") ==
        "write \"127.0.0.1:9000\"; there are no weights: each request goes to the server that has "
        "the fewest");
  CHECK(
      of_server("server one 127.0.0.1:9000 maxconn 25 check") ==
      "write \"127.0.0.1:9000\"; how many requests one takes is upstream.requests_per_server, for "
      "each of them; what is checked is said by path in [upstream.check]");
  CHECK(of_server("server 127.0.0.1:9000;") == "write \"127.0.0.1:9000\"");
  // Nobody knows what is meant, or it must not be shown.
  CHECK(
      mistakes_in("[upstream]\nservers = [\"gopher://model:70\"]\n")
          .front()
          .ends_with("write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\""));
  for (const std::string& said :
       mistakes_in("[upstream]\nservers = [\"grpc://user:s3cret@model:9000 weight=5\"]\n"))
    CHECK(!said.contains("s3cret"));
}

TEST_CASE("an address to listen on as another program names it is told as it is named here") {
  const std::string with_tls = ", with certificate and key in [tls]";
  CHECK(of_listener("443 ssl http2") == "write \"https://*:443\"" + with_tls +
                                            ", and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("8080") == "write \"*:8080\"");
  CHECK(of_listener(":8080") == "write \"*:8080\"");
  CHECK(of_listener("*:8080 proxy_protocol") ==
        "write \"*:8080\"; for PROXY headers proxy_protocol = true in [client]");
  CHECK(of_listener(":443 ssl crt /etc/x.pem alpn h2,http/1.1") ==
        "write \"https://*:443\"" + with_tls +
            ", and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("h2c://127.0.0.1:8080") ==
        "write \"127.0.0.1:8080\" and protocols = [\"h2\", \"http/1.1\"] at the top");
  CHECK(of_listener("http://127.0.0.1:8080/v1") ==
        "write \"127.0.0.1:8080\"; a path is said by a [[route]]");
  CHECK(mistakes_in("listen = \"443 ssl http2\"\n") ==
        Lines{"conf:1:1: listen: expected a list, such as [\"127.0.0.1:8080\"]; in it, write "
              "\"https://*:443\", with certificate and key in [tls], and protocols = [\"h2\", "
              "\"http/1.1\"] at the top"});
}

TEST_CASE("a conf of nginx is told line by line as it is written here") {
  check(
      {{"server {\n"
        "  listen 443 ssl;\n"
        "  client_max_body_size 1m;  # small\n"
        "  location / {\n"
        "    limit_req zone=key burst=20 nodelay;\n"
        "    proxy_pass http://model;\n"
        "  }\n"
        "}\n"
        "upstream model {\n"
        "  server 127.0.0.1:9000 weight=5;\n"
        "}\n",
        {not_toml("1:8",
                  "nginx's server has no table here: write listen = [\"*:8080\"] at the top, and "
                  "the service in [upstream]"),
         not_toml("2:10", "write \"https://*:443\", with certificate and key in [tls]"),
         not_toml("3:24", "nginx's client_max_body_size is client.body_bytes here"),
         not_toml("4:12",
                  "nginx's location is a [[route]] here, with path = \"/v1/*\" and priority = 3"),
         not_toml("5:15",
                  "nginx's limit_req is admission.rate and admission.burst here, for each client "
                  "fairness.rate and fairness.burst"),
         not_toml("6:16",
                  "nginx's proxy_pass is upstream.servers here, such as servers = "
                  "[\"127.0.0.1:9000\"] in [upstream]"),
         not_toml("7:3",
                  "a table has no braces: it ends where the next one begins; take the } out"),
         not_toml("8:1",
                  "a table has no braces: it ends where the next one begins; take the } out"),
         not_toml("9:10",
                  "nginx's upstream is [upstream] here: write servers = [\"HOST:PORT\"] there"),
         not_toml("10:10",
                  "nginx's server is an entry of upstream.servers here: only its HOST:PORT"),
         not_toml("11:1",
                  "a table has no braces: it ends where the next one begins; take the } out")}}});
}

TEST_CASE("a conf of HAProxy is told line by line as it is written here") {
  check(
      {{"defaults\n"
        "  timeout queue 10s\n"
        "frontend in\n"
        "  bind :8080\n"
        "backend model\n"
        "  option httpchk GET /health\n"
        "  server one 127.0.0.1:9000 maxconn 25 check\n",
        {not_toml(
             "1:9",
             "HAProxy's defaults have no table here: each key has a default of its own (classgate "
             "--keys)"),
         not_toml("2:11", "HAProxy's timeout queue is admission.queue_timeout here"),
         not_toml("3:10",
                  "HAProxy's frontend is listen here: write listen = [\"*:8080\"] at the top"),
         not_toml("4:8", "HAProxy's bind is listen here, such as listen = [\"*:8080\"]"),
         not_toml("5:9",
                  "HAProxy's backend is [upstream] here: write servers = [\"HOST:PORT\"] there"),
         not_toml("6:10", "HAProxy's httpchk is upstream.check.path here"),
         not_toml("7:10",
                  "HAProxy's server is an entry of upstream.servers here: only its HOST:PORT")}}});
}

TEST_CASE("keys and tables by the words of others are told by ours") {
  check({
      {"client_max_body_size = \"1m\"\n",
       {"conf:1:1: unknown key client_max_body_size; nginx's client_max_body_size is "
        "client.body_bytes here"}},
      {"[client]\nclient_max_body_size = \"1m\"\n",
       {"conf:2:1: unknown key client.client_max_body_size; nginx's client_max_body_size is "
        "client.body_bytes here"}},
      {"[admission]\nmax_pending_requests = 100\n",
       {"conf:2:1: unknown key admission.max_pending_requests; Envoy's max_pending_requests is "
        "admission.queue_size here"}},
      {"[upstream]\nkeepalive = 32\n",
       {"conf:2:1: unknown key upstream.keepalive; nginx's keepalive is upstream.idle_connections "
        "here"}},
      {"[server]\nname = \"a\"\n",
       {"conf:1:2: unknown table [server]; nginx's server has no table here: write listen = "
        "[\"*:8080\"] at the top, and the service in [upstream]"}},
      {"max_pending_requests: 100\n",
       {not_toml("1:21", "Envoy's max_pending_requests is admission.queue_size here")}},
      {"- max_requests: 8\n", {not_toml("1:3", "Envoy's max_requests is admission.workers here")}},
      {"listen x\n",
       {not_toml("1:8",
                 "HAProxy's listen is listen and [upstream] here: write listen = [\"*:8080\"] at "
                 "the top, and the service in [upstream]")}},
      {"[ops]\nlisten = [\"9190\"]\n",
       {"conf:2:1: ops.listen: \"9190\" is no address here: write \"127.0.0.1:9190\""}},
  });
}

TEST_CASE("every key that a hint names is there") {
  for (const std::string& hint : all_hints()) {
    CAPTURE(hint);
    for (std::size_t at = 0; at < hint.size();) {
      const std::size_t end = std::min(hint.find_first_of(" ,:;()\"", at), hint.size());
      std::string word = hint.substr(at, end - at);
      at = end + 1;
      if (!word.contains('.') ||
          word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_.") != std::string::npos)
        continue;
      CHECK(find_key(word) != nullptr);
    }
    CHECK(hint.find("  ") == std::string::npos);
  }
  CHECK(all_hints().size() > 100);
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
