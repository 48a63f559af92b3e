#include "conf/format.h"
#include "conf/keys.h"
#include "tests/conf/kit.h"

// Mistakes of a conf file: each with the line and column of its key, and all of them at once. Long,
// because every message that a user may read stands here once.

namespace classgate::conf {
namespace {

TEST_CASE("an empty file, one of comments and one of empty tables change nothing") {
  check({{"", {}}, {"\n\n", {}}, {"# only this", {}}, {"[log]\n[client]\r\n[status]", {}}});
}

TEST_CASE("what is not TOML is shown at the character that cannot be") {
  check({
      {"threads = \n", {"conf:1:11: this is not TOML: expected value, saw '\\n'"}},
      {"\n\nthreads = 2 3\n",
       {"conf:3:13: this is not TOML: expected a comment or whitespace, saw '3'"}},
      {"[log\nlevel = \"info\"\n", {"conf:1:5: this is not TOML: expected ']', saw '\\n'"}},
      {"= 3\n",
       {"conf:1:1: this is not TOML: expected keys, tables, whitespace or comments, saw '='"}},
      {"threads = 1\nthreads = 2\n",
       {"conf:2:11: this is not TOML: cannot redefine existing integer 'threads'"}},
      {"threads = \"\xff\"\n", {"conf:1:11: this is not TOML: Encountered invalid utf-8 sequence"}},
      {std::string("threads = 1\n\0", 13), {"conf:2:1: holds a NUL byte: this is not a text file"}},
  });
}

// toml++ makes a table of each part, and takes them away again one inside the other.
TEST_CASE("a key of so many parts that it would end the process is a mistake") {
  const auto joined = [](const std::string& part, std::size_t count) {
    std::string key = part;
    for (std::size_t i = 1; i < count; ++i) key += "." + part;
    return key;
  };
  const std::string mistake =
      ":1: has a key of more than 32 parts with dots between them; no key has more than three";
  for (const std::size_t count : {33UL, 60'000UL})
    for (const char* part : {"a", " a\t", "\"a.b#'\\\"\"", "'a.b#\"'"})
      for (const auto& [before, after] :
           {std::pair("[", "]"), {"[[", "]]"}, {"", " = 1"}, {"x = {", " = 1}"}}) {
        CAPTURE(part);
        check({{"# a.b\nthreads = 2 # don't\n" + (before + joined(part, count)) + after + "\n",
                {"conf:3" + mistake}}});
      }
  // What stands in strings and comments has as many dots as it likes.
  check({{"[upstream]\nname = \"" + joined("a", 60) + "\" # " + joined("b", 900) + "\n",
          {"conf:2:1: unknown key upstream.name; did you mean upstream.hold?"}}});
  // Behind what never ends it is looked for again.
  check({{"x = 'y\n" + joined("a", 60'000) + " = 1\n", {"conf:2" + mistake}},
         {"x = '''\n" + joined("a", 60'000) + " = 1\n",
          {"conf:2:2: this is not TOML: encountered end-of-file",
           "conf:2:120005: this is not TOML: encountered end-of-file"}}});
}

TEST_CASE("a syntax error hides no other mistake and makes none up") {
  check({
      // A header that cannot be read: its keys are those of no other table.
      {"[log\nlevel = \"loud\"\nbuffer = \n[client]\nwat = 1\n",
       {"conf:1:5: this is not TOML: expected ']', saw '\\n'",
        "conf:3:10: this is not TOML: expected value, saw '\\n'",
        "conf:5:1: unknown key client.wat"}},
      {"[log]\nlevel = \"info\"\n[client]\nwat = 1\n[log]\nformat = \"text\"\n",
       {"conf:4:1: unknown key client.wat",
        "conf:5:1: this is not TOML: cannot redefine existing table 'log'"}},
      // A list that is never closed, at the top, in the middle and at the end.
      {"listen = [\"a:1\"\nthreads = 0\n[log]\nwat = 1\n",
       {"conf:2:1: this is not TOML: expected comma or closing ']', saw 't'",
        "conf:2:1: threads: 0 is out of range: 1 to 64", "conf:4:1: unknown key log.wat"}},
      {"threads = 0\nlisten = [\n  \"a:1\", # one\n  \"b:1\" \"c:1\"\n]\n[log]\nwat = 1\n",
       {"conf:1:1: threads: 0 is out of range: 1 to 64",
        "conf:4:9: this is not TOML: expected comma or closing ']', saw '\"'",
        "conf:7:1: unknown key log.wat"}},
      {"threads = 0\n[upstream]\nservers = [\"a:1\"\n",
       {"conf:1:1: threads: 0 is out of range: 1 to 64",
        "conf:3:18: this is not TOML: encountered end-of-file"}},
      // Brackets in text and in comments open no list.
      {"[log]\nerror = \"/a[\" # see [1\nlevel = \nformat = \"xml\"\n",
       {"conf:3:9: this is not TOML: expected value, saw '\\n'",
        "conf:4:1: log.format: \"xml\" is none of \"text\", \"json\""}},
      {"[log]\nerror = '/a]' # see [1\nlevel = \n",
       {"conf:3:9: this is not TOML: expected value, saw '\\n'"}},
      {"listen = [\"[a\", # ]\n  \"b:1\" \"c:1\"]\nthreads = 0\n",
       {"conf:2:9: this is not TOML: expected comma or closing ']', saw '\"'",
        "conf:3:1: threads: 0 is out of range: 1 to 64"}},
  });
}

TEST_CASE("after twenty syntax errors reading ends") {
  std::string conf;
  for (int i = 0; i < 30; ++i) conf += "=\n";
  const Lines mistakes = mistakes_in(conf);
  CHECK(mistakes.size() == 20);
  CHECK(mistakes.back().starts_with("conf:20:1: this is not TOML: "));
}

TEST_CASE("a value of the wrong type is told which is expected") {
  constexpr std::string_view whole = "expected a whole number without quotes";
  constexpr std::string_view number = "expected a number without quotes";
  constexpr std::string_view duration =
      "expected a duration in quotes with its unit, such as \"30s\"";
  constexpr std::string_view size = "expected a size in quotes with its unit, such as \"64KiB\"";
  constexpr std::string_view list = "expected a list, such as [\"127.0.0.1:8080\"]";
  constexpr std::string_view level = "expected one of \"debug\", \"info\", \"warning\", \"error\"";
  constexpr std::string_view place =
      "expected \"stderr\", \"stdout\", \"syslog\" or an absolute path";
  struct Wrong {
    std::string_view key;
    std::vector<std::string_view> values;
    std::string_view text;
  };
  for (const Wrong& row : {
           Wrong{"threads", {"\"two\"", "2.0", "true", "[2]", "[\"2\"]", "1979-05-27"}, whole},
           Wrong{"status.draining", {"\"\"", "503.0", "[]"}, whole},
           Wrong{"admission.rate", {"\"2 a day\"", "true", "[2]", "12:00:00"}, number},
           Wrong{"drain_timeout", {"30", "1.5", "true", "[\"30s\"]", "1979-05-27"}, duration},
           Wrong{"client.header_bytes", {"1024", "0", "false", "[]"}, size},
           Wrong{"listen", {"\"a\"", "8080", "true", "[1]", "[\"a:1\", 2]", "[[\"a:1\"]]"}, list},
           Wrong{"log.level", {"1", "true", "[\"info\"]"}, level},
           Wrong{"log.error", {"1", "true", "[]", "\"off\"", "\"\"", "\"log/error\""}, place},
       })
    for (const std::string_view value : row.values) {
      const std::string conf = fmt::format("# one\n  {} = {}\n", row.key, value);
      CAPTURE(conf);
      const std::size_t dot = row.key.find('.');  // the place is that of the last part of the key
      const std::size_t column = 3 + (dot == std::string_view::npos ? 0 : dot + 1);
      CHECK(mistakes_in(conf) ==
            Lines{fmt::format("conf:2:{}: {}: {}", column, row.key, row.text)});
    }
}

TEST_CASE("what is out of range is told the range, and the ends of the range are fine") {
  check({
      {"threads = 1", {}},
      {"threads = 64", {}},
      {"threads = 0", {"conf:1:1: threads: 0 is out of range: 1 to 64"}},
      {"threads = 65", {"conf:1:1: threads: 65 is out of range: 1 to 64"}},
      {"threads = -1", {"conf:1:1: threads: -1 is out of range: 1 to 64"}},
      {"threads = 4294967297", {"conf:1:1: threads: 4294967297 is out of range: 1 to 64"}},
      {"[status]\ndraining = 400\nmalformed = 599", {}},
      {"[status]\ndraining = 399\nmalformed = 600",
       {"conf:2:1: status.draining: 399 is out of range: 400 to 599",
        "conf:3:1: status.malformed: 600 is out of range: 400 to 599"}},
      {"[admission]\nrate = 0\nburst = 1", {}},
      {"[admission]\nrate = 0.001\nburst = 1e6", {}},
      {"[admission]\nrate = 0.0009",
       {"conf:2:1: admission.rate: 0.0009 is out of range: 0.001 to 1000000, or 0 for no limit"}},
      {"[admission]\nrate = -1",
       {"conf:2:1: admission.rate: -1 is out of range: 0.001 to 1000000, or 0 for no limit"}},
      {"[admission]\nrate = inf",
       {"conf:2:1: admission.rate: inf is out of range: 0.001 to 1000000, or 0 for no limit"}},
      {"[admission]\nrate = nan",
       {"conf:2:1: admission.rate: nan is out of range: 0.001 to 1000000, or 0 for no limit"}},
      {"[admission]\nburst = 0.5\n",
       {"conf:2:1: admission.burst: 0.5 is out of range: 1 to 1000000"}},
      {"drain_timeout = \"1ms\"", {}},
      {"drain_timeout = \"24h\"", {}},
      {"drain_timeout = \"0s\"", {"conf:1:1: drain_timeout: \"0s\" is out of range: 1ms to 24h"}},
      {"drain_timeout = \"86401s\"",
       {"conf:1:1: drain_timeout: \"86401s\" is out of range: 1ms to 24h"}},
      {"[client]\nresponse_buffer = \"1KiB\"", {}},
      {"[client]\nresponse_buffer = \"64MiB\"", {}},
      {"[client]\nresponse_buffer = \"1023B\"",
       {"conf:2:1: client.response_buffer: \"1023B\" is out of range: 1KiB to 64MiB"}},
      {"[client]\nresponse_buffer = \"1GiB\"",
       {"conf:2:1: client.response_buffer: \"1GiB\" is out of range: 1KiB to 64MiB"}},
  });
}

TEST_CASE("a unit that is missing or unknown is told at its key") {
  check(
      {{"drain_timeout = \"30\"",
        {"conf:1:1: drain_timeout: \"30\" has no unit: write a whole number with ms, s, m or h, "
         "such as \"30s\""}},
       {"drain_timeout = \"-30s\"",
        {"conf:1:1: drain_timeout: \"-30s\" is not a duration: write a whole number with ms, s, m "
         "or h, such as \"30s\""}},
       {"[log]\nbuffer = \"2MB\"",
        {"conf:2:1: log.buffer: \"2MB\" is not a size: write a whole number with B, KiB, MiB or "
         "GiB, such as \"2MiB\""}}});
}

TEST_CASE("a word that is none of those known is told which are") {
  check({{"[log]\nlevel = \"loud\"\nformat = \"xml\"",
          {"conf:2:1: log.level: \"loud\" is none of \"debug\", \"info\", \"warning\", \"error\"",
           "conf:3:1: log.format: \"xml\" is none of \"text\", \"json\""}},
         {"upstream.on_client_abort = \"Finish\"",
          {"conf:1:10: upstream.on_client_abort: \"Finish\" is none of \"finish\", \"cancel\""}},
         {"log.access = \"of\"",
          {"conf:1:5: log.access: expected \"off\", \"stdout\", \"stderr\", \"syslog\" or an "
           "absolute path"}}});
}

TEST_CASE("an unknown key or table is told the nearest known one") {
  check({{"thread = 2", {"conf:1:1: unknown key thread; did you mean threads?"}},
         {"wat = 2", {"conf:1:1: unknown key wat"}},
         {"wat = 1979-05-27", {"conf:1:1: unknown key wat"}},
         {"wat = [1, 2]", {"conf:1:1: unknown key wat"}},
         {"[admission]\n\tworker = 2",
          {"conf:2:2: unknown key admission.worker; did you mean admission.workers?"}},
         {"[status]\nqueue_ful = 2",
          {"conf:2:1: unknown key status.queue_ful; did you mean status.queue_full?"}},
         {"[admision]\nworkers = 0\nwat = 1",
          {"conf:1:2: unknown table [admision]; did you mean [admission]?"}},
         {"[routes]", {"conf:1:2: unknown table [routes]; did you mean [route]?"}},
         {"[something]\na = 1", {"conf:1:2: unknown table [something]"}},
         {"[client.header]\nbytes = 1", {"conf:1:9: unknown table [client.header]"}},
         {"[threads]\na = 1", {"conf:1:2: threads is a value, not a table"}},
         {"client = { header_count = {} }",
          {"conf:1:12: client.header_count is a value, not a table"}},
         {"client = 1", {"conf:1:1: unknown key client"}}});
}

// "http://user:password@host:1" was repeated whole, and "user@host:1" was a host.
TEST_CASE("the user of an address is not taken, and never repeated") {
  for (const char* key : {"upstream.servers", "cors.origins", "upstream.nameservers"}) {
    const auto told = [&](std::string_view text) {
      const Lines lines = mistakes_in(fmt::format("{} = [\"{}\"]", key, text));
      REQUIRE(lines.size() == 1);
      CHECK_FALSE(lines[0].contains("SECRET"));
      CHECK(lines[0].contains("***@a.example"));
      return lines[0];
    };
    for (const char* text :
         {"http://u:SECRET@a.example:1", "https://SECRET@a.example:1", "u:SECRET@a.example:1",
          "http://u:SEC/RET@SECRET@a.example:1", "https+srv://u:SECRET@a.example"})
      (void)told(text);
    if (std::string_view(key) == "upstream.servers")
      CHECK(
          told("http://u:SECRET@a.example:1") ==
          "conf:1:10: upstream.servers: \"http://***@a.example:1\" has a user, which is not taken: "
          "write it without what stands up to the '@'");
  }
}

TEST_CASE("what could not be read is told once, and nothing that hangs on it") {
  const ConfFile keys("not read here"), clients("acme plan=gold\n");
  const auto only = [](const std::string& conf, const std::string& begin) {
    CAPTURE(conf);
    const Lines lines = mistakes_in(conf);
    CHECK(lines.size() == 1);
    for (const std::string& line : lines) CHECK(line.substr(0, begin.size()) == begin);
  };
  const std::string rest = fmt::format(
      "rate = 5\n[clients]\nclients_file = \"{}\"\n[jwt]\nkeys_file = \"{}\"\n"
      "algorithms = [\"RS256\"]\n[[plan]]\nname = \"gold\"\nclients = [\"jwt:sub:a\"]\n",
      clients.path(), keys.path());
  CHECK(mistakes_in("[fairness]\nidentity = [\"jwt:sub\"]\n" + rest) == Lines{});
  only("[fairness]\nidentity = [\"jtw:sub\"]\n" + rest, "conf:2:1: fairness.identity: \"jtw:sub\"");
  only("[fairness]\nidentiy = [\"jwt:sub\"]\n" + rest, "conf:2:1: unknown key fairness.identiy");
  only("[fairness]\nidentity = \n" + rest, "conf:2:12: this is not TOML");
  only("[fairness]\n" + rest + "[[route]]\npath = \"/a\"\npriority = 3\nidentity = [\"jtw:sub\"]",
       "conf:14:1: route identity: \"jtw:sub\"");
  only("[fairnes]\nidentity = [\"jwt:sub\"]\n" + rest, "conf:1:2: unknown table [fairnes]");
  const std::string tokens =
      fmt::format("[fairness]\nidentity = [\"jwt:sub\"]\n[jwt]\nkeys_file = \"{}\"\n", keys.path());
  only(tokens + "algorithms = [\"RS265\"]", "conf:5:1: jwt.algorithms: ");
  only(tokens + "algoritms = [\"RS256\"]", "conf:5:1: unknown key jwt.algoritms");
  only("[fairness]\nidentity = [\"jwt:sub\"]\n[jwt]\nkeys_file = 1\nalgorithms = [\"RS256\"]",
       "conf:4:1: jwt.keys_file: ");
  // The plan that a line of the file names is there, though not a good one.
  const ConfFile with_key("acme plan=gold key=sha256:" + std::string(64, 'a') + "\n");
  only(fmt::format("[fairness]\nidentity = [\"bearer\"]\n[clients]\nclients_file = \"{}\"\n"
                   "[[plan]]\nname = \"gold\"\nrate = \"5\"",
                   with_key.path()),
       "conf:7:1: plan rate: ");
  only("[client]\nheader_bytes = \"2XB\"\ntarget_bytes = \"512KiB\"",
       "conf:2:1: client.header_bytes");
  only("[client]\nmax_connections = \"9\"\nmemory = \"1MiB\"", "conf:2:1: client.max_connections");
  only("[client]\ntrusted_proxies = [\"10.0.0.0/99\"]\nproxy_protocol = true",
       "conf:2:1: client.trusted_proxies");
  only("[admission]\nrequest_timeout = \"1x\"\nqueue_timeout = \"60s\"",
       "conf:2:1: admission.request_timeout");
  only("listen = [\"https://a:1\"]\n[tls]\ncertificate = 1\nkey = \"/k\"",
       "conf:3:1: tls.certificate");
  only("listen = [\"a\"]\n[[listener]]\naddress = \"a:1\"\nidentity = [\"bearer\"]",
       "conf:1:1: listen");
  only("[auto]\nworkers_max = \"9\"\nworkers_min = 99999", "conf:2:1: auto.workers_max");
  // What has nothing to do with it is told.
  CHECK(
      mistakes_in("[fairness]\nidentity = [\"jtw:sub\"]\n[client]\nproxy_protocol = true").size() ==
      2);
}

TEST_CASE("of a plan the unit of its quota is set at run time as well, by its word") {
  const ConfFile file(
      "[fairness]\nidentity = [\"bearer\"]\n[[plan]]\nname = \"gold\"\nquota_day = 9");
  const auto with = [&](const char* value) {
    return load({file.path(), {}, {}, {{"plan.gold.quota_unit", value, {}}}, {}});
  };
  const auto changed = with("cost");
  REQUIRE(changed.has_value());
  CHECK(changed->settings.admission.fairness.plans.at(0).quota.unit == QuotaUnit::cost);
  const auto wrong = with("tokens");
  REQUIRE_FALSE(wrong.has_value());
  CHECK(lines_of(wrong.error()) ==
        Lines{"set at run time: plan.gold.quota_unit: \"tokens\" is none of \"requests\", "
              "\"cost\""});
}

TEST_CASE("a bad address is told what is wrong with it") {
  const std::string hint =
      ": write HOST:PORT, such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"*:8080\"";
  check({{"listen = [\"a:1\", \"b\"]", {"conf:1:1: listen: \"b\" has no port" + hint}},
         {"listen = [\"a:65536\"]",
          {"conf:1:1: listen: \"a:65536\" has no port from 0 to 65535" + hint}},
         {"[upstream]\nservers = [\"::1:80\"]",
          {"conf:2:1: upstream.servers: \"::1:80\" has an IPv6 address without brackets" + hint}},
         {"listen = []", {"conf:1:1: listen: expected 1 to 64 addresses"}},
         {"[upstream]\nservers = []", {"conf:2:1: upstream.servers: expected 1 to 64 addresses"}},
         {"listen = [\"a:1\", \"b:1\", \"a:1\"]", {"conf:1:1: listen: \"a:1\" stands here twice"}},
         {"listen = [\"a:0\", \"a:0\"]", {}}});
  std::string many;
  for (int i = 1; i <= 64; ++i) many += fmt::format("\"a:{}\", ", i);
  CHECK(mistakes_in("listen = [" + many + "]") == Lines{});
  CHECK(mistakes_in("listen = [" + many + "\"a:65\"]") ==
        Lines{"conf:1:1: listen: expected 1 to 64 addresses"});
}

TEST_CASE("a wrong route is told at its key, or at its table when a key is missing") {
  const std::string range = "1 (served first) to 5 (served last)";
  check({
      {"[[route]]\npath = \"/a\"\npriority = 0",
       {"conf:3:1: route priority: expected a whole number, " + range}},
      {"[[route]]\npath = \"/a\"\npriority = 6",
       {"conf:3:1: route priority: expected a whole number, " + range}},
      {"[[route]]\npath = \"/a\"\npriority = \"1\"",
       {"conf:3:1: route priority: expected a whole number, " + range}},
      {"[[route]]\npath = \"/a\"\npriority = 4294967297",
       {"conf:3:1: route priority: expected a whole number, " + range}},
      {"[[route]]\npath = \"/a\"", {"conf:1:1: [[route]] has no priority: " + range}},
      {"\n  [[route]]\n  priority = 1", {"conf:2:3: [[route]] has no path"}},
      {"[[route]]",
       {"conf:1:1: [[route]] has no path", "conf:1:1: [[route]] has no priority: " + range}},
      {"[[route]]\npath = 1\npriority = 1", {"conf:2:1: route path: expected text in quotes"}},
      {"[[route]]\npath = \"a\"\npriority = 1",
       {"conf:2:1: route path \"a\" must begin with '/', such as \"/v1/classify\""}},
      {"[[route]]\npath = \"/a\"\npriority = 1\nrate_limited = \"no\"",
       {"conf:4:1: route rate_limited: expected true or false"}},
      {"[[route]]\npath = \"/a\"\npriorty = 1\npriority = 1",
       {"conf:3:1: unknown key priorty in [[route]]; did you mean priority?"}},
      {"[route]\npath = \"/a\"", {"conf:1:2: routes are written as [[route]] tables"}},
      {"route = [1]", {"conf:1:1: routes are written as [[route]] tables"}},
  });
}

TEST_CASE("every key of a route and of a plan says what it wants, at its place") {
  const std::string number = "expected a number without quotes";
  const std::string whole = "expected a whole number without quotes";
  struct Bad {
    const char* key;
    const char* bad;
    std::string wanted;
  };
  const auto check_all = [](const std::string& table, const std::string& kind,
                            const std::vector<Bad>& rows) {
    for (const Bad& row : rows)
      check({{fmt::format("{}\n{} = {}\n", table, row.key, row.bad),
              {fmt::format("conf:4:1: {} {}: {}", kind, row.key, row.wanted)}}});
  };
  check_all("[[route]]\npath = \"/a\"\npriority = 1", "route",
            {{"rate_limited", "1", "expected true or false"},
             {"body_bytes", "1", "expected a size in quotes, such as \"64KiB\""},
             {"deadline", "1", "expected a duration in quotes, such as \"2s\""},
             {"deadline", "\"0s\"", "must be longer than 0, and at most 24h"},
             {"deadline", "\"25h\"", "must be longer than 0, and at most 24h"},
             {"rate", "\"1\"", number},
             {"rate", "1e7", "10000000 is out of range: 0.001 to 1000000"},
             {"burst", "0.5", "0.5 is out of range: 1 to 1000000"},
             {"identity", "\"bearer\"", "expected a list, such as [\"bearer\"]"},
             {"cost", "0", "0 is out of range: 1 to 1000000"},
             {"cost_max", "1.5", whole},
             {"cost_per_worker", "-1", "-1 is out of range: 0 to 1000000"},
             {"cost_per_worker", "1e9", "1000000000 is out of range: 0 to 1000000"},
             {"cost_per_worker", "1e3", whole},
             {"client_share", "0", "0 is out of range: 0.001 to 1"},
             {"refusal_body", "1", "expected one of \"problem\", \"openai\", \"text\""},
             {"statuses", "1", "expected a list, such as [\"queue_full=429\"]"},
             {"streams", "true", "expected one of \"by_type\", \"chunked\", \"none\""},
             {"on_client_abort", "1", "expected one of \"finish\", \"cancel\""}});
  check_all(
      "\n[[plan]]\nname = \"gold\"", "plan",
      {{"rate", "true", number},
       {"burst", "0.5", "0.5 is out of range: 1 to 1000000"},
       {"workers", "\"1\"", whole},
       {"queue_size", "1000001", "1000001 is out of range: 0 to 1000000"},
       {"weight", "0", "0 is out of range: 1 to 1000"},
       {"priority", "6", "6 is out of range: 1 to 5"},
       {"quota_day", "-1", "-1 is out of range: 0 to 1000000000000"},
       {"quota_month", "1.5", whole},
       {"quota_day_soft", "\"1\"", whole},
       {"quota_month_soft", "1000000000001", "1000000000001 is out of range: 0 to 1000000000000"},
       {"quota_unit", "\"tokens\"", "\"tokens\" is none of \"requests\", \"cost\""},
       {"clients", "\"a\"", "expected a list of texts, 10000 at most"}});
  check({{"[[plan]]\nname = \"-\"",
          {"conf:2:1: plan name: \"-\" stands for who is in no plan: name it otherwise"}},
         {"[[plan]]\nname = \"(others)\"",
          {"conf:2:1: plan name: \"(others)\" stands for plans beyond the 1024th: name it "
           "otherwise"}},
         {"[[plan]]\nname = \"a\"\nquota_day = 1\nquota_day_soft = 2",
          {"conf:1:1: plan quota_day_soft: 2 is more than quota_day, 1: nobody would be warned"}},
         {"[clients]\nsecret = \"off\"\n[[plan]]\nname = \"a\"\nquota_day = 1",
          {"conf:2:1: clients.secret: \"off\" gives clients other ids with each start, and plan "
           "\"a\" has a quota, which is kept by ids: name a file"}},
         {"[clients]\ntime_zone = \"Berlin\"",
          {"conf:2:1: clients.time_zone: \"Berlin\" is no time zone of this system "
           "(/usr/share/zoneinfo/Berlin: cannot be read: No such file or directory): write one as "
           "in \"Europe/Berlin\" (timedatectl list-timezones), or install tzdata"}},
         {"[[plan]]\nname = 1", {"conf:2:1: plan name: expected text in quotes, 64 bytes at most"}},
         {"[[plan]]\nname = \"a\"\nworkrs = 1",
          {"conf:3:1: unknown key workrs in [[plan]]; did you mean workers?"}}});
}

TEST_CASE("a cost by the items of one array names it") {
  const auto route = [](std::string_view cost) {
    return fmt::format("[[route]]\npath = \"/a\"\npriority = 1\ncost = {}\n", cost);
  };
  const std::string wrong =
      "conf:4:1: route cost: expected a whole number, \"items\", \"items:NAME\", \"header:NAME\" "
      "or "
      "\"body:1KiB\"";
  check({{route("\"items:texts\""), {}},
         {route("\"items:\""), {wrong}},
         {route("\"items:a b\""), {wrong}},
         {route("'items:a\"b'"), {wrong}},
         {route(R"('items:a\b')"), {wrong}}});
  const auto loaded = load_text(route("\"items:texts\""));
  CHECK(loaded.settings.routes.back().cost.array == "texts");
  CHECK(print(loaded).contains("cost = \"items:texts\""));
}

TEST_CASE("one path has one route, and a prefix is another path than its exact twin") {
  const auto route = [](std::string_view path, int priority = 1) {
    return fmt::format("[[route]]\npath = \"{}\"\npriority = {}\n", path, priority);
  };
  check({{route("/a") + route("/b") + route("/a", 2),
          {"conf:7:1: route \"/a\" stands already at conf:1:1"}},
         {route("/a*") + route("/a*"), {"conf:4:1: route \"/a*\" stands already at conf:1:1"}},
         {route("/health") + route("/health"),
          {"conf:4:1: route \"/health\" stands already at conf:1:1"}},
         {route("/a") + route("/a*") + route("/a/") + route("/a/*") + route("/health"), {}}});
}

TEST_CASE("two settings that contradict each other are told where one of them stands") {
  check({
      {"[admission]\nqueue_timeout = \"31s\"",
       {"conf:2:1: admission.queue_timeout: is longer than admission.request_timeout, which ends "
        "every wait"}},
      {"[admission]\nqueue_timeout = \"2s\"\nrequest_timeout = \"1s\"",
       {"conf:2:1: admission.queue_timeout: is longer than admission.request_timeout, which ends "
        "every wait"}},
      {"[admission]\nqueue_timeout = \"2s\"\nrequest_timeout = \"2s\"", {}},
      {"[client]\ntarget_bytes = \"33KiB\"",
       {"conf:2:1: client.target_bytes: the header, of 32KiB at most, has no room for "
        "client.target_bytes, 33KiB"}},
      {"[client]\nheader_bytes = \"4KiB\"",
       {"conf:2:1: client.header_bytes: the header, of 4KiB at most, has no room for "
        "client.target_bytes, 8KiB"}},
      {"[client]\nheader_bytes = \"4KiB\"\ntarget_bytes = \"4KiB\"", {}},
      {"[client]\nbody_bytes = \"4KiB\"\nbody_buffer = \"5KiB\"",
       {"conf:3:1: client.body_buffer: is larger than client.body_bytes, the largest body"}},
      {"[client]\nbody_bytes = \"4KiB\"\nbody_buffer = \"4KiB\"", {}},
      {"[client]\nbody_bytes = \"0\"\nbody_buffer = \"1B\"", {}},
      {"[client]\nmemory = \"2MiB\"\nmax_connections = 3000",
       {"conf:2:1: client.memory: 2MiB has no room for client.max_connections, 3000 with 1KiB "
        "each, "
        "and a request with full buffers (header_bytes, body_buffer, response_buffer): at least "
        "3497984 bytes are needed"}},
      {"[client]\nmemory = \"2MiB\"\nmax_connections = 1000", {}},
      {"[upstream]\nservers = [\"*:80\", \"a:0\", \"b:80\"]",
       {"conf:2:1: upstream.servers: \"*:80\" is not an address to connect to",
        "conf:2:1: upstream.servers: \"a:0\" is not an address to connect to"}},
  });
}

TEST_CASE("all mistakes of a file are told at once, in the order of their places") {
  check(
      {{"threads = \"2\"\n"
        "wat = 1\n"
        "[client]\n"
        "header_bytes = 5\n"
        "header_count = 3 # too few\n"
        "[log]\n"
        "level = \n"
        "format = \"xml\"\n"
        "[[route]]\n"
        "path = \"x\"\n"
        "priority = 9\n"
        "[upstreem]\n",
        {"conf:1:1: threads: expected a whole number without quotes: write 2",
         "conf:2:1: unknown key wat",
         "conf:4:1: client.header_bytes: expected a size in quotes with its unit, such as "
         "\"64KiB\"",
         "conf:5:1: client.header_count: 3 is out of range: 4 to 10000",
         "conf:7:9: this is not TOML: expected value, saw '\\n'",
         "conf:8:1: log.format: \"xml\" is none of \"text\", \"json\"",
         "conf:10:1: route path \"x\" must begin with '/', such as \"/v1/classify\"",
         "conf:11:1: route priority: expected a whole number, 1 (served first) to 5 (served "
         "last)",
         "conf:12:2: unknown table [upstreem]; did you mean [upstream]?"}}});
}

TEST_CASE("a target of the forecast is of times, and of a priority or all") {
  const auto only_one = [](const std::string& target, const std::string& why) {
    const Lines lines = mistakes_in("[forecast]\ntarget = \"" + target + "\"");
    CAPTURE(target);
    REQUIRE(lines.size() == 1);
    CHECK(lines.front().starts_with("conf:2:1: forecast.target: \"" + target + "\"" + why));
  };
  only_one("wait p90 <= 1s",
           ", column 6: \"p90\" is not mean, p50, p95, p99 or max; write such as");
  only_one("served >= 99%", ": of the times only");
  only_one("wait max <= 1s", ": no forecast tells of the greatest");
  only_one("wait p95 <= 1s for route /a", ": demand is known by priority");
  CHECK(mistakes_in("[forecast]\ntarget = \"\"").empty());
  CHECK(mistakes_in("[forecast]\ntarget = \"answer mean <= 2s for priority 5\"").empty());
}

}  // namespace
}  // namespace classgate::conf
