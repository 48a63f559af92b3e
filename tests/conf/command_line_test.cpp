#include "conf/command_line.h"

#include <doctest/doctest.h>

#include "conf/format.h"
#include "conf/keys.h"
#include "tests/conf/kit.h"

namespace classgate::conf {
namespace {

using Mode = CommandLine::Mode;

std::expected<CommandLine, std::string> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "classgate");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

CommandLine parse_good(const std::vector<const char*>& arguments) {
  const auto command = parse(arguments);
  if (!command) FAIL(command.error());
  return *command;
}

TEST_CASE("without arguments the gateway runs with the conf file of the package") {
  const CommandLine command = parse_good({});
  CHECK(command.mode == Mode::run);
  CHECK(command.conf_path == "/etc/classgate/classgate.conf");
  CHECK(command.overrides.empty());
}

TEST_CASE("the conf file can be named in every usual way") {
  for (const std::vector<const char*>& arguments :
       std::vector<std::vector<const char*>>{{"-c", "x"}, {"-cx"}, {"--conf", "x"}, {"--conf=x"}}) {
    CAPTURE(arguments[0]);
    CHECK(parse_good(arguments).conf_path == "x");
  }
}

TEST_CASE("every mode has a short and a long name") {
  struct Row {
    const char* argument;
    Mode mode;
  };
  for (const Row& row :
       {Row{"-t", Mode::check}, Row{"--check", Mode::check}, Row{"-T", Mode::print_config},
        Row{"--print-config", Mode::print_config}, Row{"-v", Mode::version},
        Row{"--version", Mode::version}, Row{"-V", Mode::build}, Row{"--build", Mode::build},
        Row{"-h", Mode::help}, Row{"--help", Mode::help}}) {
    CAPTURE(row.argument);
    CHECK(parse_good({row.argument}).mode == row.mode);
    CHECK(parse_good({"-c", "x", row.argument}).mode == row.mode);
  }
  CHECK(parse_good({"-tc", "x"}).conf_path == "x");
  // Help beats all others: who asks for it wants nothing else to happen.
  CHECK(parse_good({"-h", "-t"}).mode == Mode::help);
}

TEST_CASE("every flag sets the key that it names") {
  struct Row {
    const char* flag;
    std::string key;
    const char* value;
  };
  for (const Row& row :
       {Row{"listen", "listen", "*:1"}, Row{"threads", "threads", "2"},
        Row{"upstream", "upstream.servers", "a:1"}, Row{"workers", "admission.workers", "3"},
        Row{"queue-size", "admission.queue_size", "4"}, Row{"rate", "admission.rate", "5.5"},
        Row{"burst", "admission.burst", "6"},
        Row{"request-timeout", "admission.request_timeout", "7s"},
        Row{"log-level", "log.level", "error"}, Row{"log-format", "log.format", "json"}}) {
    CAPTURE(row.flag);
    const std::string apart = std::string("--") + row.flag;
    const std::string joined = apart + "=" + row.value;
    for (const CommandLine& command :
         {parse_good({apart.c_str(), row.value}), parse_good({joined.c_str()})}) {
      REQUIRE(command.overrides.size() == 1);
      CHECK(command.overrides[0].key == row.key);
      CHECK(command.overrides[0].value == row.value);
      CHECK(command.overrides[0].flag == row.flag);
      const Loaded loaded = load_good({"", {}, command.overrides});
      CHECK(value_of(loaded, row.key).origin == "command line " + apart);
    }
  }
}

TEST_CASE("a flag that is repeated makes a list, and where there can be none, a mistake") {
  const CommandLine lists = parse_good({"--listen", "a:1", "--upstream=c:3,d:4", "--listen=b:2"});
  const Loaded loaded = load_good({"", {}, lists.overrides});
  CHECK(value_of(loaded, "listen").value == "[\"a:1\", \"b:2\"]");
  CHECK(value_of(loaded, "upstream.servers").value == "[\"c:3\", \"d:4\"]");
  CHECK(parse({"--workers", "1", "--workers", "2"}).error() ==
        "--workers is given 2 times, and has one value: give it once");
}

TEST_CASE("a wrong value is told by the flag that holds it") {
  struct Row {
    const char* argument;
    std::string mistake;
  };
  for (const Row& row :
       {Row{"--workers=", "--workers: admission.workers: \"\" is not a whole number"},
        Row{"--workers=0", "--workers: admission.workers: 0 is out of range: 1 to 100000"},
        Row{"--rate=-1",
            "--rate: admission.rate: -1 is out of range: 0.001 to 1000000, or 0 for no "
            "limit"},
        Row{"--listen=", "--listen: listen: expected 1 to 64 addresses"},
        Row{"--log-format=xml",
            "--log-format: log.format: \"xml\" is none of \"text\", \"json\""}}) {
    CAPTURE(row.argument);
    CHECK(mistakes_of({"", {}, parse_good({row.argument}).overrides}) ==
          Lines{"command line " + row.mistake});
  }
}

TEST_CASE("what is no option is told in one line, with the option that was meant") {
  struct Row {
    std::vector<const char*> arguments;
    std::string named, hint;
  };
  const std::string help = "; see classgate --help";
  for (const Row& row : std::vector<Row>{
           {{"--wrokers", "3"}, "wrokers", "; did you mean --workers?"},
           {{"--worker=3"}, "worker", "; did you mean --workers?"},
           {{"-t", "--print-conf"}, "print-conf", "; did you mean --print-config?"},
           {{"--log-levle=x"}, "log-levle", "; did you mean --log-level?"},
           {{"--something-else"}, "something-else", help},
           {{"-x"}, "x", help},
           {{"-tx"}, "x", help},
           {{"file.conf"}, "\"file.conf\" is neither an option nor a command", help},
           {{"statsu"}, "statsu", "; did you mean status?"},
           {{"set", "admission.workers"}, "usage", "classgate set KEY VALUE"},
           {{"explain", "GET"}, "usage", "classgate explain METHOD PATH [-H FIELD ...]"},
           {{"explain", "GET", "/", "-H", "x"},
            "-H: \"x\" is no field",
            "such as \"X-Api-Key: alpha\""},
           {{"status", "-H", "a: b"}, "--header belongs to", "classgate explain or load"},
           {{"simulate", "--workload", "x", "--body", "y"},
            "--body belongs to",
            "classgate explain or load"},
           {{"simulate", "--workload", "x", "--request", "y"},
            "--request belongs to",
            "classgate load"},
           {{"load", "--to", "a:1", "--request", "r", "--method", "GET"},
            "the file of --request tells the method",
            ": not with --method"},
           {{"load", "--to", "a:1", "--request", "r", "--body", "b"},
            "the file of --request tells the body",
            ": not with --body"},
           {{"load", "--to", "a:1", "--request", "r", "--body-bytes", "4"},
            "the file of --request tells the body",
            ": not with --body-bytes"},
           {{"load", "--to", "a:1", "--body", "b", "--body-bytes", "4"},
            "--body and --body-bytes",
            "both say what the body is: give one of them"},
           {{"load", "--to", "a:1", "--body-bytes", "1GiB"},
            "--body-bytes: \"1GiB\" is no size",
            "64MiB at most"},
           {{"load", "--to", "http://a:1/x", "--request", "r"},
            "the file of --request tells the path",
            "--to names the address alone"},
           {{"load", "--to", "http://a:1/x", "--workload", "w"},
            "--workload tells the path",
            "--to names the address alone"},
           {{"load", "--to", "http://a:1/x", "--log", "l"},
            "--log tells the path",
            "--to names the address alone"},
           {{"load", "--to", "a:1", "--body", "b", "--body", "c"}, "body", "given twice"},
           {{"--client", "::1"}, "--client belongs to", "classgate explain or usage"},
           {{"simulate", "--clients"}, "--clients belongs to", "classgate status"},
           {{"usage", "--by", "weather"},
            "--by: \"weather\"",
            "is none of client, plan, route, reason, status and priority"},
           {{"usage", "today"},
            "\"today\"",
            "usage: classgate usage [--by client|plan|route|reason|status|priority]"},
           {{"usage", "--socket", "/x"},
            "--socket belongs to",
            "a running classgate, not to usage"},
           {{"status", "--since", "1h"}, "--since belongs to", "classgate usage"},
           {{"forget"}, "usage", "classgate forget CLIENT [--file FILE]"},
           {{"simulate", "--file", "x"}, "--file belongs to", "classgate usage or forget"},
           {{"status", "3"}, "usage", "classgate status [--watch] [--json] [--quiet] [--live]"},
           {{"status", "--clients=1001"}, "--clients: \"1001\"", "is not 0 to 1000"},
           {{"status", "--clients", "many"}, "--clients: \"many\"", "is not 0 to 1000"},
           {{"explain", "GET", "/", "--haeder=a: b"}, "haeder", "; did you mean --header?"},
           {{"--watch"}, "--watch belongs to a command", "\"classgate status\""},
           {{"why", "-x"},
            "x",
            "; usage: classgate why ID [--json]; behind -- a word may begin with a dash"},
           {{"--socket", "/x", "explain", "-x", "/"},
            "x",
            "; usage: classgate explain METHOD PATH [-H FIELD ...]; behind -- a word may begin "
            "with a dash"},
           {{"status", "-x"},
            "x",
            "; usage: classgate status [--watch] [--json] [--quiet] [--live]"},
           {{"reload", "-c"}, "c", "; usage: classgate reload"},
           {{"key", "new", "-x"}, "x", "; usage: classgate key new NAME; see classgate --help"},
           {{"simulate", "--log"},
            "log",
            "; usage: classgate simulate (--log FILE | --workload FILE); see classgate --help"},
           {{"simulate", "--log", "a", "--seed", "18446744073709551616"},
            "--seed: \"18446744073709551616\"",
            "is not a whole number from 0 to 18446744073709551615"},
           {{"-t", "--", "-x"}, "\"-x\" is neither an option nor a command", help},
           {{"-c"}, "c", help},
           {{"--conf"}, "conf", help},
           {{"--workers"}, "workers", help},
           {{"--rate", "1", "--burst"}, "burst", help},
           {{"--check=maybe"}, "maybe", help},
       }) {
    CAPTURE(row.named);
    const auto command = parse(row.arguments);
    REQUIRE_FALSE(command.has_value());
    CAPTURE(command.error());
    CHECK(command.error().find(row.named) != std::string::npos);
    CHECK(command.error().ends_with(row.hint));
    CHECK(command.error().find('\n') == std::string::npos);
  }
}

TEST_CASE("a request to explain may have any bytes, commas too") {
  const CommandLine command =
      parse_good({"explain", "POST", "/v1/a,b", "-H", "X-Forwarded-For: 192.0.2.1, 192.0.2.2",
                  "--header=Accept: a, b", "--client", "192.0.2.3", "--body=10", "--json"});
  CHECK(command.mode == Mode::control);
  CHECK(command.command == "explain");
  CHECK(command.as_json);
  CHECK(command.explain.method == "POST");
  CHECK(command.explain.target == "/v1/a,b");
  CHECK(command.explain.fields ==
        std::vector<std::string>{"X-Forwarded-For: 192.0.2.1, 192.0.2.2", "Accept: a, b"});
  CHECK(command.explain.client == "192.0.2.3");
  CHECK(command.explain.body_bytes == 10);
}

TEST_CASE("a load is told what it asks") {
  const CommandLine command =
      parse_good({"load", "--to", "http://127.0.0.1:9000/v1/x?a=/b", "-H", "X-Api-Key: a, b",
                  "--header=Accept: c", "--method", "PUT", "--body-bytes", "4KiB"});
  CHECK(command.planning.to == "http://127.0.0.1:9000");
  CHECK(command.planning.path == "/v1/x?a=/b");
  CHECK(command.planning.fields == std::vector<std::string>{"X-Api-Key: a, b", "Accept: c"});
  CHECK(command.planning.method == "PUT");
  CHECK(command.planning.body_bytes == 4096);
  CHECK(parse_good({"load", "--to", "a:1/embed"}).planning.path == "/embed");
  CHECK(parse_good({"load", "--to", "a:1/", "--body", "f"}).planning.path.empty());
  CHECK(parse_good({"load", "--to", "unix:/run/x"}).planning.to == "unix:/run/x");
}

TEST_CASE("behind -- an id may begin with a dash") {
  CHECK(parse_good({"why", "--", "-x"}).arguments == std::vector<std::string>{"-x"});
}

TEST_CASE("a value that is set may be a list") {
  CHECK(parse_good({"set", "client.trusted_proxies", "10.0.0.0/8,192.0.2.1"}).arguments ==
        std::vector<std::string>{"client.trusted_proxies", "10.0.0.0/8,192.0.2.1"});
}

TEST_CASE("a value that is set may begin with a dash, and an option is no value") {
  using Words = std::vector<std::string>;
  CHECK(parse_good({"set", "plan.free.rate", "-1"}).arguments == Words{"plan.free.rate", "-1"});
  CHECK(parse_good({"set", "log.access", "--5x=,y"}).arguments == Words{"log.access", "--5x=,y"});
  const CommandLine among = parse_good({"--socket", "/x", "set", "admission.rate", "-.5", "-q"});
  CHECK(among.arguments == Words{"admission.rate", "-.5"});
  CHECK(among.socket == "/x");
  CHECK(among.quiet);
  CHECK(parse_good({"set", "admission.rate", "-q", "5"}).arguments == Words{"admission.rate", "5"});
  for (const char* option : {"-q", "--json", "--socket=/x"}) {
    CAPTURE(option);
    const auto command = parse({"set", "admission.rate", option});
    REQUIRE_FALSE(command.has_value());
    CHECK(command.error() == "usage: classgate set KEY VALUE");
  }
}

TEST_CASE("status lists ten clients, or as many as are wanted") {
  CHECK_FALSE(parse_good({"status"}).clients);
  CHECK(parse_good({"status", "--clients"}).clients == 10);
  CHECK(parse_good({"status", "--clients=3"}).clients == 3);
  CHECK(parse_good({"status", "--clients", "3"}).clients == 3);
  CHECK(parse_good({"status", "--clients", "--json"}).as_json);
}

TEST_CASE("the help names every option and how the sources rank") {
  const std::string help = help_text();
  for (const std::string text : {"-c, --conf FILE",
                                 "-t, --check",
                                 "-T, --print-config",
                                 "-v, --version",
                                 "-V, --build",
                                 "-h, --help",
                                 "--listen VALUE",
                                 "--threads VALUE",
                                 "--upstream VALUE",
                                 "--workers VALUE",
                                 "--queue-size VALUE",
                                 "--rate VALUE",
                                 "--burst VALUE",
                                 "--request-timeout VALUE",
                                 "--log-level VALUE",
                                 "--log-format VALUE",
                                 "/etc/classgate/classgate.conf",
                                 "CLASSGATE_ADMISSION_WORKERS",
                                 "PORT",
                                 "The command line wins"}) {
    CAPTURE(text);
    CHECK(help.find(text) != std::string::npos);
  }
}

TEST_CASE("each command and tool has a help of its own, whatever else it would need") {
  for (const char* name : {"status", "queue", "explain", "why", "set", "reload", "upgrade", "drain",
                           "simulate", "key", "load", "forecast"})
    for (const char* flag : {"--help", "-h"}) {
      CAPTURE(name);
      const CommandLine command = parse_good({name, flag});
      CHECK(command.mode == Mode::help);
      CHECK(command.command == name);
      CHECK(help_text(command.command).contains(fmt::format("classgate {}", name)));
    }
  CHECK(help_text("forecast").contains("--horizon TIME"));
  CHECK_FALSE(help_text("forecast").contains("--find-knee"));
  CHECK(help_text("explain").contains("--header \"NAME: VALUE\""));
  CHECK(parse_good({"--help"}).command.empty());
  const auto wrong = parse({"forcast", "--help"});
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().contains("did you mean forecast?"));
}

TEST_CASE("the version is one line, and how it was built says more") {
  CHECK(version_text().starts_with("classgate "));
  CHECK(version_text().find('\n') == version_text().size() - 1);
  CHECK(build_text().starts_with(version_text()));
  CHECK(build_text().find("built with ") != std::string::npos);
}

}  // namespace
}  // namespace classgate::conf
