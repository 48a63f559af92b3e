// Where a value comes from, and which source wins. Long, because each key is in its table.

#include <map>

#include "conf/format.h"
#include "conf/keys.h"
#include "tests/conf/kit.h"

// Which of the sources wins, and what --print-config tells of it, for every key: half of it is a
// table of these.

namespace classgate::conf {
namespace {

// For every key a value that is not its default: as TOML (in a file) and as text (elsewhere).
struct Sample {
  std::string toml;
  std::string text;
};

std::map<std::string, Sample> samples() {
  const auto quoted = [](const std::string& text) { return Sample{'"' + text + '"', text}; };
  const auto plain = [](const std::string& text) { return Sample{text, text}; };
  std::map<std::string, Sample> all{
      {"listen", {"[\"127.0.0.1:1\", \"[::1]:2\"]", "127.0.0.1:1, [::1]:2"}},
      {"grpc_routes", {"[\"inference.GRPCInferenceService\"]", "inference.GRPCInferenceService"}},
      {"socket_mode", quoted("0640")},
      {"socket_owner", quoted("root:adm")},
      {"protocols", {"[\"http/1.1\", \"h2\"]", "http/1.1, h2"}},
      {"threads", plain("63")},
      {"drain_timeout", quoted("31s")},
      {"client.max_connections", plain("9")},
      {"client.memory", quoted("129MiB")},
      {"client.header_bytes", quoted("33KiB")},
      {"client.header_count", plain("101")},
      {"client.target_bytes", quoted("65B")},
      {"client.body_bytes", quoted("2GiB")},
      {"client.body_buffer", quoted("3B")},
      {"client.response_buffer", quoted("1025B")},
      {"client.header_timeout", quoted("11ms")},
      {"client.body_timeout", quoted("12s")},
      {"client.body_rate_min", quoted("0B")},
      {"client.stream_rate_min", quoted("17KiB")},
      {"client.send_timeout", quoted("14m")},
      {"client.idle_timeout", quoted("15h")},
      {"client.linger_timeout", quoted("1m")},
      {"client.linger_max", quoted("5s")},
      {"client.linger_bytes", quoted("1MiB")},
      {"client.connections_per_address", plain("7")},
      {"client.requests_per_connection", plain("8")},
      {"client.streams_per_connection", plain("9")},
      {"client.misuse_burst", plain("501")},
      {"client.misuse_rate", plain("21")},
      {"client.trusted_proxies",
       {"[\"10.0.0.0/8\", \"!10.9.0.0/16\"]", "10.0.0.0/8, !10.9.0.0/16"}},
      {"client.proxy_protocol", plain("true")},
      {"client.strip", {"[\"X-Tenant\", \"x_user\"]", "X-Tenant, x_user"}},
      {"client.strict_paths", plain("true")},
      {"client.server_timing", plain("true")},
      {"client.rate_limit_fields", quoted("all")},
      {"client.refusal_body", quoted("openai")},
      {"fairness.identity",
       {"[\"header:X-Api-Key\", \"jwt:sub\", \"address\"]", "header:X-Api-Key, jwt:sub, address"}},
      {"jwt.keys_file", quoted("/dev/null")},
      {"jwt.algorithms", {"[\"RS256\", \"EdDSA\"]", "RS256, EdDSA"}},
      {"jwt.from", quoted("header:X-Token")},
      {"jwt.iss", quoted("https://issuer.example")},
      {"jwt.aud", {"[\"api\", \"web\"]", "api, web"}},
      {"jwt.leeway", quoted("3s")},
      {"jwt.token_bytes", quoted("5KiB")},
      {"jwt.tokens_max", plain("65")},
      {"jwt.checks_max", plain("66")},
      {"fairness.clients_max", plain("1000")},
      {"fairness.rate", plain("5")},
      {"fairness.burst", plain("6")},
      {"fairness.workers", plain("7")},
      {"fairness.queue_size", plain("8")},
      {"fairness.retry_budget", plain("0.3")},
      {"fairness.retry_window", quoted("9m")},
      {"fairness.reserve", plain("0.5")},
      {"fairness.pattern_newcomer", plain("2.5")},
      {"fairness.pattern_floor", plain("0.25")},
      {"fairness.pattern_ceiling", plain("333")},
      {"fairness.pattern_headroom", plain("2")},
      {"fairness.pattern_growth", plain("1.5")},
      {"fairness.pattern_learning", quoted("2h")},
      {"fairness.pattern_clients_max", plain("12345")},
      {"clients.secret", quoted("/secrets/ids")},
      {"cors.origins",
       {"[\"https://app.example\", \"http://127.0.0.1:8000\"]",
        "https://app.example, http://127.0.0.1:8000"}},
      {"cors.methods", {"[\"GET\", \"PUT\"]", "GET, PUT"}},
      {"cors.headers", {"[\"x-a\"]", "x-a"}},
      {"cors.credentials", plain("true")},
      {"cors.max_age", quoted("7s")},
      {"ops.client_metrics", plain("5")},
      {"ops.why_max", plain("70")},
      {"ops.conf_history", plain("9")},
      {"log.refusals_max", plain("7")},
      {"log.query", plain("true")},
      {"log.headers", {"[\"X-Tenant\", \"x-user\"]", "X-Tenant, x-user"}},
      {"log.header_bytes", quoted("64B")},
      {"clients.clients_file", quoted("/dev/null")},
      {"clients.unknown", quoted("shared")},
      {"clients.unknown_max", plain("101")},
      {"tls.certificate", quoted("/tls/a.pem")},
      {"tls.key", quoted("/tls/a.key")},
      {"tls.min_version", quoted("1.3")},
      {"tls.client_certificate", quoted("optional")},
      {"tls.client_ca", quoted("/tls/ca.pem")},
      {"tls.ticket_rotation", quoted("2h")},
      {"upstream.tls.verify", plain("false")},
      {"upstream.tls.ca_file", quoted("/tls/b.pem")},
      {"upstream.tls.server_name", quoted("model.example")},
      {"upstream.tls.certificate", quoted("/tls/c.pem")},
      {"upstream.tls.key", quoted("/tls/c.key")},
      {"upstream.requests_per_server", plain("6")},
      {"upstream.eject_after", plain("0")},
      {"upstream.eject_time", quoted("6s")},
      {"upstream.eject_errors", plain("0.25")},
      {"upstream.hold", quoted("7s")},
      {"upstream.retry_budget", plain("0.5")},
      {"upstream.nameservers", {"[\"192.0.2.53:53\"]", "192.0.2.53:53"}},
      {"upstream.resolve_interval", quoted("7s")},
      {"upstream.resolve_timeout", quoted("8s")},
      {"upstream.websocket", plain("true")},
      {"upstream.unasked_pause", quoted("8s")},
      {"upstream.protocols", {"[\"http/1.1\", \"h2\"]", "http/1.1, h2"}},
      {"upstream.streams_per_connection", plain("7")},
      {"upstream.connections", plain("8")},
      {"upstream.ping_interval", quoted("301s")},
      {"upstream.ping_timeout", quoted("3s")},
      {"upstream.check.grpc", plain("true")},
      {"upstream.check.path", quoted("/health/deep")},
      {"upstream.check.interval", quoted("9s")},
      {"upstream.check.timeout", quoted("10s")},
      {"upstream.check.rise", plain("11")},
      {"upstream.check.fall", plain("12")},
      {"upstream.servers", {"[\"h2c://host.example:7\"]", "h2c://host.example:7"}},
      {"upstream.connect_timeout", quoted("17ms")},
      {"upstream.idle_timeout", quoted("18ms")},
      {"upstream.idle_connections", plain("0")},
      {"upstream.header_bytes", quoted("20KiB")},
      {"upstream.probe_interval", quoted("100ms")},
      {"upstream.on_client_abort", quoted("cancel")},
      {"upstream.streams", quoted("chunked")},
      {"upstream.stream_idle_timeout", quoted("13ms")},
      {"upstream.stream_time_max", quoted("14m")},
      {"upstream.repeat_window", quoted("3m")},
      {"upstream.on_stream_abort", quoted("finish")},
      {"admission.workers", plain("22")},
      {"admission.workers_per_server", plain("11")},
      {"admission.queue_size", plain("0")},
      {"admission.queue_bytes", quoted("0B")},
      {"admission.rate", plain("0.125")},
      {"admission.burst", plain("26.5")},
      {"admission.request_timeout", quoted("27m")},
      {"admission.queue_timeout", quoted("28s")},
      {"admission.discipline", quoted("adaptive")},
      {"admission.target_wait", quoted("29ms")},
      {"admission.retry_after_spread", quoted("5s")},
      {"admission.shadow_conf", quoted(CLASSGATE_SHIPPED_CONF)},
      {"auto.workers_min", plain("21")},
      {"auto.workers_max", plain("23")},
      {"auto.rate_min", plain("11")},
      {"auto.rate_max", plain("12.5")},
      {"reserve.priority_1", plain("0.125")},
      {"reserve.priority_2", plain("0.25")},
      {"reserve.priority_3", plain("0.0625")},
      {"reserve.priority_4", plain("0.5")},
      {"reserve.priority_5", plain("0.03125")},
      {"reserve.lend_time", quoted("30ms")},
      {"deadlines.from_client", plain("true")},
      {"deadlines.refuse_early", plain("false")},
      {"observe.rate", plain("true")},
      {"observe.deadlines", plain("true")},
      {"observe.shedding", plain("true")},
      {"observe.pattern", plain("true")},
      {"log.level", quoted("debug")},
      {"log.format", quoted("json")},
      {"log.error", quoted("/var/log/e")},
      {"log.access", quoted("off")},
      {"log.lines_max", plain("36")},
      {"log.sample", plain("0.25")},
      {"log.access_lines_max", plain("37")},
      {"log.buffer", quoted("64KiB")},
      {"handover_grace", quoted("32s")},
      {"drain_grace", quoted("33s")},
      {"sandbox", quoted("off")},
      {"core_dumps", plain("true")},
      {"state_dir", quoted("/srv/state")},
      {"history.keep", plain("false")},
      {"history.retention", quoted("48h")},
      {"history.bytes_max", quoted("5MiB")},
      {"history.session_gap", quoted("20s")},
      {"history.clients_max", plain("101")},
      {"history.top_clients", plain("7")},
      {"ops.listen", {"[\"127.0.0.1:3\"]", "127.0.0.1:3"}},
      {"ops.control", quoted("/run/other.sock")},
      {"ops.health_on_main", plain("false")},
      {"ops.connections_per_address", plain("3")},
      {"ops.health_cache", quoted("1s")},
      {"ops.why_found_max", plain("4")},
      {"clients.quota_file", quoted("/srv/quotas")},
      {"clients.quota_clients_max", plain("1001")},
      {"clients.time_zone", quoted("Europe/Berlin")},
      {"ops.max_connections", plain("5")},
      {"ops.token_file", quoted("/srv/operators")},
      {"ops.token_for", quoted("pages")},
      {"ops.hosts", {"[\"gate.example\"]", "gate.example"}},
      {"ops.session_time", quoted("1h")},
      {"ops.viewers_max", plain("6")},
      {"ops.timeout", quoted("33s")},
      {"ops.reload_timeout", quoted("20s")},
      {"ops.upgrade_timeout", quoted("34s")},
      {"forecast.keep", plain("false")},
      {"forecast.file", quoted("/srv/demand")},
      {"forecast.target", quoted("answer p99 <= 2s")},
      {"forecast.lead_time", quoted("3m")},
      {"forecast.workers_per_server", plain("8")},
      {"forecast.servers_min", plain("2")},
      {"forecast.servers_max", plain("9")},
      {"forecast.fall", plain("0.25")},
      {"forecast.hook", quoted("/usr/local/bin/scale")},
      {"forecast.hook_timeout", quoted("5s")},
      {"sharing.redis",
       {"[\"redis://one:7000/2\", \"rediss://two\"]", "redis://one:7000/2, rediss://two"}},
      {"sharing.password_file", quoted("/srv/redis-password")},
      {"sharing.ca_file", quoted("/srv/redis-ca.pem")},
      {"sharing.prefix", quoted("{other}")},
      {"sharing.name", quoted("north")},
      {"sharing.period", quoted("20ms")},
      {"sharing.lease", quoted("3s")},
      {"sharing.away_max", quoted("20s")},
      {"sharing.when_away", quoted("closed")},
      {"sharing.members_max", plain("9")},
  };
  int status = 550;
  for (const ReasonText& text : reason_texts)
    all["status." + std::string(text.word)] = plain(std::to_string(status++));
  return all;
}

std::string origins_that_differ(const Loaded& loaded, auto expected_origin) {
  std::string differ;
  for (const ValueInForce& value : loaded.values)
    if (value.origin != expected_origin(value.key))
      differ += fmt::format("{} is from {}\n", value.key, value.origin);
  return differ;
}

TEST_CASE("the table has a sample for every key, none of which is the default") {
  const Loaded defaults = load_good({});
  const auto all = samples();
  CHECK(all.size() == all_keys().size());
  for (const Key& key : all_keys()) {
    CAPTURE(key.name);
    REQUIRE(all.contains(key.name));
    CHECK(value_of(defaults, key.name).value != all.at(key.name).toml);
  }
}

TEST_CASE("every key can be set by file, environment and command line, and tells from where") {
  std::string conf;
  Variables environment;
  std::vector<Override> command_line;
  std::map<std::string, std::string> places;
  int line = 0;
  for (const auto& [key, sample] : samples()) {
    conf += fmt::format("{} = {}\n", key, sample.toml);
    const std::size_t dot = key.rfind('.');
    places[key] = fmt::format("conf:{}:{}", ++line, dot == std::string::npos ? 1 : dot + 2);
    environment.emplace_back(environment_name(key), sample.text);
    command_line.push_back({key, sample.text, "flag-of-" + key});
  }
  const Loaded by_file = load_text(conf);
  const Loaded by_environment = load_text("", environment);
  const Loaded by_command_line = load_text("", {}, command_line);
  for (const auto& [key, sample] : samples())
    for (const Loaded* loaded : {&by_file, &by_environment, &by_command_line}) {
      CAPTURE(key);
      CHECK(value_of(*loaded, key).value == sample.toml);
    }
  CHECK(origins_that_differ(by_file, [&](const auto& key) { return places[key]; }) == "");
  CHECK(origins_that_differ(by_environment, [](const auto& key) {
          return "environment " + environment_name(key);
        }) == "");
  CHECK(origins_that_differ(by_command_line,
                            [](const auto& key) { return "command line --flag-of-" + key; }) == "");
}

TEST_CASE("the command line wins over the environment, that over the file, that over the default") {
  const std::string conf = "[admission]\nworkers = 1\nqueue_size = 1\nrate = 1\n";
  const Variables environment{{"CLASSGATE_ADMISSION_QUEUE_SIZE", "2"},
                              {"CLASSGATE_ADMISSION_RATE", "2"}};
  const Loaded loaded = load_text(conf, environment, {{"admission.rate", "3", "rate"}});
  struct Row {
    std::string key, value, origin;
  };
  for (const Row& row :
       {Row{"admission.rate", "3", "command line --rate"},
        Row{"admission.queue_size", "2", "environment CLASSGATE_ADMISSION_QUEUE_SIZE"},
        Row{"admission.workers", "1", "conf:2:1"}, Row{"admission.burst", "200", "default"}}) {
    CAPTURE(row.key);
    CHECK(value_of(loaded, row.key).value == row.value);
    CHECK(value_of(loaded, row.key).origin == row.origin);
  }
}

TEST_CASE("a mistake in a weaker source is told even when a stronger one sets the key") {
  CHECK(mistakes_in("threads = 0", {{"CLASSGATE_THREADS", "2"}}) ==
        Lines{"conf:1:1: threads: 0 is out of range: 1 to 64"});
}

TEST_CASE("-0, and a number that cannot be kept, are out of range") {
  CHECK(mistakes_in("[admission]\nrate = -0.0", {{"CLASSGATE_FAIRNESS_RATE", "-0"},
                                                 {"CLASSGATE_ADMISSION_BURST", "1e999"},
                                                 {"CLASSGATE_ADMISSION_QUEUE_SIZE", "-0"}}) ==
        Lines{"conf:2:1: admission.rate: -0 is out of range: 0.001 to 1000000, or 0 for no limit",
              "environment CLASSGATE_FAIRNESS_RATE: fairness.rate: -0 is out of range: 0.001 to "
              "1000000, or 0 for no limit",
              "environment CLASSGATE_ADMISSION_BURST: admission.burst: 1e999 is out of range: 1 to "
              "1000000",
              "environment CLASSGATE_ADMISSION_QUEUE_SIZE: admission.queue_size: -0 is out of "
              "range: 0 to 1000000"});
}

// What is shown later, on a page or in a log, is UTF-8 to begin with.
TEST_CASE("a value that is no UTF-8 is a mistake wherever it comes from") {
  for (const Sources& sources : {Sources{{}, {{"CLASSGATE_LOG_ACCESS", "/caf\xe9"}}, {}, {}},
                                 Sources{{}, {}, {{"log.access", "/caf\xe9", "x"}}, {}},
                                 Sources{{}, {}, {}, {{"log.access", "/caf\xe9", {}}}}}) {
    const auto loaded = load(sources);
    REQUIRE_FALSE(loaded);
    REQUIRE(loaded.error().size() == 1);
    CHECK(loaded.error()[0].text == "log.access: \"/caf\\xe9\" is no UTF-8 text");
  }
}

TEST_CASE("a conf that was read is read again as it was, whatever its files say by now") {
  const ConfFile file("[admission]\nworkers = 5\n");
  std::filesystem::create_directory(file.folder() / "conf.d");
  const auto write = [&](const char* name, const char* text) {
    std::ofstream(file.folder() / name, std::ios::binary) << text;
  };
  write("conf.d/b.conf", "[admission]\nqueue_size = 7\n");
  write("shadow", "[admission]\nrate = 3\n");
  const std::string shadow = file.folder() / "shadow";
  write("conf.d/a.conf", ("admission.shadow_conf = '" + shadow + "'\n").c_str());
  const Loaded first = load_good({file.path(), {}, {}});
  CHECK(first.texts->size() == 4);
  write("conf", "[admission]\nworkers = 6\n[broken");
  write("conf.d/b.conf", "[admission]\nqueue_size = 8\n");
  write("conf.d/c.conf", "[admission]\nburst = 9\n");
  write("shadow", "[admission]\nrate = 4\n");
  Sources sources{file.path(), {}, {}, {{"log.level", "debug", {}}}, first.texts};
  const Loaded again = load_good(sources);
  CHECK(again.settings.log.level == LogLevel::debug);
  CHECK(again.settings.admission.workers == 5);
  CHECK(again.settings.admission.queue_size == 7);
  CHECK(again.settings.admission.burst == 200);
  CHECK(again.settings.admission.shadow->rate == 3);
  CHECK(*again.texts == *first.texts);
  CHECK(changes_between(first, again) == Lines{"log.level = \"debug\" (it was \"info\")"});
}

TEST_CASE("where the control socket is can be told of a bad conf, as long as it says so") {
  const auto control = [](const std::string& text, const Variables& environment = {}) {
    const ConfFile file(text);
    const auto told = control_socket({file.path(), environment, {}});
    return told ? *told : "unknown";
  };
  const std::string bad = "clients.clients_file = \"/no/such\"\n[[plan]]\nname = 1\n";
  CHECK(control("ops.control = \"/a\"\n" + bad) == "/a");
  CHECK(control(bad) == OpsSettings().control);
  CHECK(control("threads = 0\nops.control = \"/a\"\n") == "/a");
  CHECK(control("threads =\n[ops]\ncontrol = \"/a\"\n") == "/a");
  CHECK(control("[ops\ncontrol = \"/a\"\n") == "unknown");
  CHECK(control("threads =\n") == "unknown");
  CHECK(control("threads =\n", {{"CLASSGATE_OPS_CONTROL", "/b"}}) == "/b");
  CHECK(control("ops.control = 7\n") == "unknown");
  CHECK(control("ops.contrl = \"/a\"\n") == "unknown");
  CHECK(control("[op]\ncontrol = \"/a\"\n") == "unknown");
  CHECK(!control_socket({"/no/such", {}, {}}));
}

TEST_CASE("a contradiction between sources is told at the value that broke the peace") {
  const std::string longer =
      "admission.queue_timeout: is longer than admission.request_timeout, which ends every wait";
  CHECK(mistakes_in("", {{"CLASSGATE_ADMISSION_QUEUE_TIMEOUT", "31s"}}) ==
        Lines{"environment CLASSGATE_ADMISSION_QUEUE_TIMEOUT: " + longer});
  CHECK(mistakes_of({"", {}, {{"admission.queue_timeout", "31s", "x"}}}) ==
        Lines{"command line --x: " + longer});
  CHECK(
      mistakes_of({"", {}, {{"upstream.servers", "*:1", "upstream"}}}) ==
      Lines{"command line --upstream: upstream.servers: \"*:1\" is not an address to connect to"});
}

TEST_CASE("a default follows the setting that it hangs on") {
  const Settings shorter = load_text("[admission]\nrequest_timeout = \"5s\"").settings;
  CHECK(shorter.admission.queue_timeout == std::chrono::seconds(5));
  const Settings longer = load_text("[admission]\nrequest_timeout = \"5m\"").settings;
  CHECK(longer.admission.queue_timeout == std::chrono::minutes(5));
  CHECK(load_text("[client]\nbody_bytes = \"4KiB\"").settings.client.body_buffer == KiB(4));
  CHECK(load_text("[client]\nbody_bytes = \"0\"").settings.client.body_buffer == Bytes{1});
  CHECK(load_text("[client]\nbody_bytes = \"1GiB\"").settings.client.body_buffer == KiB(64));
  const auto threads = load_good({}).settings.threads;
  CHECK(threads >= 1);
  CHECK(threads <= 64);
}

// ---- --print-config ----

TEST_CASE("print-config says of every value where it came from") {
  const ConfFile file("threads = 3\n[[route]]\npath = \"/a*\"\npriority = 1\n");
  const std::string printed =
      file.shorten(print(load_good({file.path(),
                                    {{"CLASSGATE_ADMISSION_WORKERS", "7"}, {"PORT", "81"}},
                                    {{"admission.rate", "0", "rate"}}})));
  for (const std::string line : {
           "listen = [\"127.0.0.1:81\"]                # environment PORT\n",
           "threads = 3                              # conf:1:1\n",
           "drain_timeout = \"30s\"                    # default\n",
           "\n[admission]\nworkers = 7                              # environment "
           "CLASSGATE_ADMISSION_WORKERS\n",
           "\nrate = 0                                 # command line --rate\n",
           "\n[[route]] # default\npath = \"/health\"\npriority = 1\nrate_limited = false\n",
           "\n[[route]] # conf:2:1\npath = \"/a*\"\npriority = 1\nrate_limited = true\n",
       }) {
    CAPTURE(printed);
    CAPTURE(line);
    CHECK(printed.find(line) != std::string::npos);
  }
}

// Everything but where it came from.
std::string contents(const Loaded& loaded) {
  std::string text;
  for (const ValueInForce& value : loaded.values) text += value.key + " = " + value.value + "\n";
  for (const RouteSettings& route : loaded.settings.routes)
    text += fmt::format("{} {} {} {}\n", route.path, route.is_prefix, route.priority,
                        route.rate_limited);
  return text;
}

TEST_CASE("what print-config prints, read again, gives the same settings") {
  std::string everything;
  for (const auto& [key, sample] : samples())
    everything += fmt::format("{} = {}\n", key, sample.toml);
  for (const std::string& conf : {
           std::string(),
           everything,
           everything + "[[route]]\npath = \"/a%2F*\"\npriority = 2\nrate_limited = false\n"
                        "[[route]]\npath = \"/health\"\npriority = 5\n",
           std::string("admission = { rate = 123456.789, burst = 1e6, request_timeout = \"24h\" }"),
           std::string("admission.rate = 0.1\nadmission.burst = 1.0000000000000002"),
           std::string("[client]\nbody_bytes = \"0\""),
           std::string(
               "[client]\nbody_bytes = \"1024GiB\"\n[admission]\nrequest_timeout = \"1ms\""),
           // What must be escaped in TOML.
           std::string("[log]\nerror = '/a\"b\\c'\naccess = \"/x\\u0001\\ty\\u007F\u00e4\"\n"
                       "[[route]]\npath = '/\"\\'\npriority = 1\n"),
       }) {
    const Loaded loaded = load_text(conf);
    const std::string printed = print(loaded);
    CAPTURE(printed);
    const Loaded again = load_text(printed);
    CHECK(contents(again) == contents(loaded));
    for (const ValueInForce& value : again.values) CHECK(value.origin.starts_with("conf:"));
    for (const auto& [route, origin] : again.routes) CHECK(origin.starts_with("conf:"));
  }
}

}  // namespace
}  // namespace classgate::conf
