#include "gateway/planning/foreign_readers.h"

#include <doctest/doctest.h>

#include "gateway/planning/log_format.h"
#include "gateway/planning/log_prefix.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;
using Took = AccessEntry::Took;

// 2026-11-24T09:30:07Z
constexpr std::int64_t then_ns = 1795512607'000'000'000;

std::string named(std::string_view text) {
  const testing::WrittenFile file(text);
  const auto format = format_of("", file.log());
  return format ? std::string((*format)->name) : format.error();
}

// ---- nginx -------------------------------------------------------------------------------------

const std::string combined =
    R"x(192.0.2.7 - a user [24/Nov/2026:09:30:07 +0000] "POST /v1/classify?x=1 HTTP/1.1" 200 87 "-" "curl/7 (\x22)")x";

TEST_CASE("combined tells when to the second, and not what the service took") {
  const auto reader = nginx_reader();
  const auto entry = reader->read(combined);
  REQUIRE(entry);
  CHECK(entry->time_ns == then_ns);
  CHECK(entry->is_to_the_second);
  CHECK(entry->client == "192.0.2.7");
  CHECK(entry->method == "POST");
  CHECK(entry->path == "/v1/classify");
  CHECK(entry->verdict == "admitted");
  CHECK(entry->status == 200);
  CHECK(entry->took == Took::untold);
  CHECK_FALSE(entry->tells_bytes);
}

TEST_CASE("what stands behind combined by its name is read") {
  const auto reader = nginx_reader();
  const std::string line =
      combined +
      " msec=1795512607.123 request_time=0.033 "
      "upstream_response_time=\"0.010, 0.011\" content_length=52 other=\"x y\"";
  const auto entry = reader->read(line);
  REQUIRE(entry);
  CHECK(entry->time_ns == then_ns + 123'000'000);
  CHECK_FALSE(entry->is_to_the_second);
  CHECK(entry->total == 33ms);
  CHECK(entry->upstream == 21ms);
  CHECK(entry->took == Took::upstream);
  CHECK(entry->bytes_in == 52);
  const std::string alias = combined + " rt=0.033 uct=\"0.000\" uht=\"0.021\" urt=\"0.021\"";
  const auto short_names = reader->read(alias);
  REQUIRE(short_names);
  CHECK(short_names->upstream == 21ms);
}

TEST_CASE("nginx: who answered, and why, is told by the status and the time upstream") {
  const auto reader = nginx_reader();
  struct Row {
    std::string status, upstream, verdict, reason;
  };
  for (const Row& row :
       {Row{"200", "0.010", "admitted", "-"}, Row{"200", "-", "operator", "-"},  // a file, a cache
        Row{"404", "0.010", "admitted", "-"}, Row{"404", "-", "operator", "-"},
        Row{"429", "0.010", "admitted", "-"}, Row{"429", "-", "rejected", "shed"},
        Row{"503", "-", "rejected", "shed"}, Row{"499", "0.010", "abandoned", "-"},
        Row{"502", "0.010", "admitted", "upstream_broken"},
        Row{"504", "60.000", "admitted", "upstream_timeout"}, Row{"400", "-", "operator", "-"}}) {
    const std::string line = "::1 - - [24/Nov/2026:09:30:07 +0000] \"GET / HTTP/1.1\" " +
                             row.status + " 1 \"-\" \"-\" rt=60.000 urt=\"" + row.upstream + "\"";
    const auto entry = reader->read(line);
    REQUIRE(entry);
    CAPTURE(line);
    CHECK(entry->verdict == row.verdict);
    CHECK(entry->reason == row.reason);
  }
}

// The name of the server was taken for the client: all were one.
TEST_CASE("vhost_combined has its server before the client") {
  const auto reader = nginx_reader();
  for (const std::string server : {"example.com:443 ", "example.com "}) {
    const std::string line = server + combined;
    const auto entry = reader->read(line);
    REQUIRE(entry);
    CHECK(entry->client == "192.0.2.7");
    CHECK(entry->path == "/v1/classify");
  }
  const std::string by_name = "host.example - - " + combined.substr(combined.find('['));
  CHECK(reader->read(by_name)->client == "host.example");
  const std::string with_ident = "192.0.2.7 192.0.2.8 - " + combined.substr(combined.find('['));
  CHECK(reader->read(with_ident)->client == "192.0.2.7");
}

TEST_CASE("a line of nginx that cannot be says why") {
  const auto reader = nginx_reader();
  const auto why = [&](std::string line, std::string_view part, std::string_view by) {
    line.replace(line.find(part), part.size(), by);
    const auto entry = reader->read(line);
    return entry ? "" : entry.error();
  };
  CHECK(why(combined, "24/Nov", "32/Nov") == "time is \"32/Nov/2026:09:30:07 +0000\"");
  CHECK(why(combined, "200 ", "2000 ") == "status is \"2000\"");
  CHECK(why(combined, "curl/7", "curl\"7") != "");
  CHECK(why(combined + " 0.010 0.010", "x", "x").contains("log_format has NAME=$NAME"));
  CHECK(why(combined + " rt=9999999999", "x", "x") == "rt is \"9999999999\"");
  CHECK(why(combined + " rt=0.1 urt=\"soon\"", "x", "x") == "urt is \"soon\"");
  CHECK(why("hello", "h", "h") == "is no line of nginx's combined format");
}

// ---- HAProxy -----------------------------------------------------------------------------------

std::string httplog(const std::string& timers, const std::string& status, const std::string& ending,
                    const std::string& server = "srv1") {
  return "192.0.2.7:33317 [24/Nov/2026:09:30:07.000] http-in back/" + server + " " + timers + " " +
         status + " 2750 - - " + ending +
         " 1/1/1/1/0 0/0 {1wt.eu|} {} \"POST /v1/classify?q HTTP/1.1\"";
}

TEST_CASE("httplog tells the wait in HAProxy apart from what the service took") {
  const auto reader = haproxy_reader();
  const std::string line = httplog("10/200/30/69/320", "200", "----");
  const auto entry = reader->read(line);
  REQUIRE(entry);
  CHECK(entry->client == "192.0.2.7");
  CHECK(entry->path == "/v1/classify");
  CHECK(entry->time_ns == then_ns + 320'000'000);
  CHECK(entry->total == 310ms);
  CHECK(entry->upstream == 110ms);
  CHECK(entry->verdict == "admitted");
  CHECK_FALSE(entry->tells_bytes);
}

TEST_CASE("HAProxy: how a request ended is told by its termination state") {
  const auto reader = haproxy_reader();
  struct Row {
    std::string timers, status, ending, server, verdict, reason;
  };
  for (const Row& row : {Row{"0/0/0/5/5", "503", "----", "s", "admitted", "-"},
                         Row{"0/0/0/-1/50", "504", "sH--", "s", "admitted", "upstream_timeout"},
                         Row{"0/0/0/-1/50", "502", "SH--", "s", "admitted", "upstream_broken"},
                         Row{"0/0/-1/-1/5", "503", "SC--", "s", "admitted", "upstream_unreachable"},
                         Row{"0/9/-1/-1/9", "503", "sQ--", "<NOSRV>", "rejected", "queue_timeout"},
                         Row{"0/0/0/-1/50", "-1", "CH--", "s", "abandoned", "-"},
                         Row{"0/90/-1/-1/90", "-1", "CQ--", "<NOSRV>", "abandoned", "-"},
                         Row{"0/-1/-1/-1/0", "429", "PR--", "<NOSRV>", "rejected", "shed"},
                         Row{"0/-1/-1/-1/0", "403", "PR--", "<NOSRV>", "operator", "-"},
                         Row{"-1/-1/-1/-1/9", "408", "cR--", "<NOSRV>", "operator", "-"},
                         Row{"0/-1/-1/-1/0", "302", "LR--", "<NOSRV>", "operator", "-"}}) {
    const std::string line = httplog(row.timers, row.status, row.ending, row.server);
    CAPTURE(line);
    const auto entry = reader->read(line);
    REQUIRE(entry);
    CHECK(entry->verdict == row.verdict);
    CHECK(entry->reason == row.reason);
  }
}

TEST_CASE("a line of HAProxy that cannot be says why") {
  const auto reader = haproxy_reader();
  CHECK(reader->read(httplog("1/2/3/4", "200", "----")).error() == "TR/Tw/Tc/Tr/Ta is \"1/2/3/4\"");
  CHECK(reader->read(httplog("1/2/3/4/+9", "200", "----")).error().contains("option logasap"));
  CHECK(reader->read(httplog("1/2/3/4/9", "OK", "----")).error() == "the status is \"OK\"");
  CHECK(reader->read("hello").error() == "is no line of HAProxy's httplog");
}

// ---- Envoy -------------------------------------------------------------------------------------

std::string envoy(const std::string& status, const std::string& flags,
                  const std::string& upstream) {
  return "[2026-11-24T09:30:07.000Z] \"POST /v1/classify?q HTTP/1.1\" " + status + " " + flags +
         " 154 0 226 " + upstream +
         " \"192.0.2.7,10.0.35.28\" \"nsq2http\" \"cc21d9b0\" \"locations\" \"tcp://10.0.2.1:80\"";
}

TEST_CASE("Envoy's default format is read, and its flags say how it ended") {
  const auto reader = envoy_reader();
  const std::string line = envoy("200", "-", "100");
  const auto entry = reader->read(line);
  REQUIRE(entry);
  CHECK(entry->client == "192.0.2.7");
  CHECK(entry->path == "/v1/classify");
  CHECK(entry->time_ns == then_ns + 226'000'000);
  CHECK(entry->total == 226ms);
  CHECK(entry->upstream == 100ms);
  CHECK(entry->bytes_in == 154);
  struct Row {
    std::string status, flags, upstream, verdict, reason;
  };
  for (const Row& row :
       {Row{"504", "UT", "-", "admitted", "upstream_timeout"},
        Row{"503", "UC", "-", "admitted", "upstream_broken"},
        Row{"503", "UF,URX", "-", "admitted", "upstream_unreachable"},
        Row{"503", "UO", "-", "rejected", "shed"}, Row{"429", "RL", "-", "rejected", "shed"},
        Row{"429", "-", "3", "admitted", "-"}, Row{"0", "DC", "-", "abandoned", "-"},
        Row{"404", "NR", "-", "operator", "-"}}) {
    const std::string other = envoy(row.status, row.flags, row.upstream);
    CAPTURE(other);
    const auto read = reader->read(other);
    REQUIRE(read);
    CHECK(read->verdict == row.verdict);
    CHECK(read->reason == row.reason);
  }
  CHECK_FALSE(reader->read("[2026-11-24T09:30:07.000Z] \"GET / HTTP/1.1\" 200 -"));
}

// ---- JSON --------------------------------------------------------------------------------------

const std::string caddy =
    R"({"level":"info","ts":1795512607.25,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.7","remote_port":"41342","proto":"HTTP/2.0","method":"GET","host":"localhost","uri":"/v1/classify?q","headers":{"uri":["/no"],"Accept":["*/*"]},"tls":{"uri":"/no"}},"bytes_read":52,"user_id":"","duration":0.25,"size":10900,"status":200,"resp_headers":{"status":["x"]}})";

TEST_CASE("Caddy's log is read; it tells only how long all of a request took") {
  const auto reader = caddy_reader();
  const auto entry = reader->read(caddy);
  REQUIRE(entry);
  CHECK(entry->client == "192.0.2.7");
  CHECK(entry->path == "/v1/classify");
  CHECK(entry->time_ns == then_ns + 250'000'000);
  CHECK(entry->total == 250ms);
  CHECK(entry->took == Took::total);
  CHECK(entry->status == 200);
  CHECK(entry->bytes_in == 52);
}

TEST_CASE("JSON lines are read by the names of their fields, in the units of these") {
  const auto reader = json_reader();
  for (
      const std::string line :
      {R"({"time_iso8601":"2026-11-24T10:30:07+01:00","remote_addr":"192.0.2.7","request_uri":"/a?q","status":"200","request_time":"0.033","upstream_response_time":"0.021","content_length":"52"})",
       R"({"@timestamp":1795512607000,"client_ip":"192.0.2.7","path":"/a","status":200,"duration_ms":33,"upstream_ms":21.0,"bytes_in":52,"nested":{"path":"/no"},"list":[{"status":1}]})",
       R"({"start_time":"2026-11-24T09:30:06.967Z","x_forwarded_for":"192.0.2.7,1.2.3.4","path":"/a","response_code":200,"total_ms":33,"upstream_service_time":"21","bytes_received":52})"}) {
    CAPTURE(line);
    const auto entry = reader->read(line);
    REQUIRE(entry);
    CHECK(entry->time_ns == then_ns);
    CHECK(entry->client == "192.0.2.7");
    CHECK(entry->path == "/a");
    CHECK(entry->status == 200);
    CHECK(entry->total == 33ms);
    CHECK(entry->upstream == 21ms);
    CHECK(entry->took == Took::upstream);
    CHECK(entry->bytes_in == 52);
  }
}

TEST_CASE("numbers of JSON are read as any program writes them") {
  const auto reader = json_reader();
  const auto read = [&](const std::string& time, const std::string& took) {
    const std::string line = "{\"ts\":" + time + ",\"path\":\"/a\",\"status\":200," + took + "}";
    CAPTURE(line);
    const auto entry = reader->read(line);
    REQUIRE(entry);
    CHECK(entry->time_ns == then_ns + 123'000'000);
    CHECK_FALSE(entry->is_to_the_second);
    return entry->upstream;
  };
  CHECK(read("1795512607123", "\"upstream_ms\":21") == 21ms);
  CHECK(read("1795512607123.0", "\"upstream_ms\":\"21,5\"") == 21'500us);
  CHECK(read("1795512607123000", "\"upstream_ms\":2.15E+1") == 21'500us);
  CHECK(read("1795512607123000000", "\"upstream_response_time\":2.15e-2") == 21'500us);
  CHECK(read("1.795512607123e9", "\"upstream_response_time\":\"0,0215\"") == 21'500us);
  CHECK(read("1.795512607123E12", "\"upstream_response_time\":\"0.010, 0.0115\"") == 21'500us);
  CHECK(read("\"1795512607,123\"", "\"upstream_response_time\":5e-7") == 500ns);
  CHECK(read("\"2026-11-24T09:30:07,123Z\"", "\"upstream_ms\":0.5") == 500us);
  const auto whole = reader->read(R"({"ts":1795512607,"path":"/","status":200,"upstream_ms":1})");
  REQUIRE(whole);
  CHECK(whole->is_to_the_second);
  for (const std::string bad :
       {"1e99", "\"1e\"", "\"--1\"", "\"1.2.3\"", "\"e5\"", "-3", "\",\""}) {
    const std::string line =
        R"({"ts":1795512607,"path":"/","status":200,"upstream_ms":)" + bad + "}";
    CAPTURE(line);
    CHECK_FALSE(reader->read(line));
  }
}

TEST_CASE("a JSON line without what is needed says what that is") {
  const auto reader = json_reader();
  CHECK(reader->read("{\"status\":200,\"path\":\"/\"}").error() ==
        "has no time by a name that is known (classgate(8))");
  CHECK(reader->read("{\"time\":\"soon\",\"status\":200,\"path\":\"/\"}").error() ==
        "the time is \"soon\"");
  CHECK(reader->read("{\"ts\":1,\"path\":\"/\"}").error().starts_with("has no status"));
  CHECK(reader->read("{\"ts\":1,\"status\":200}").error().starts_with("has no path"));
  CHECK(reader->read("[1]").error() == "is no JSON object");
  CHECK(reader->read("{\"ts\":").error() == "is no JSON object");
}

// ---- Whose log it is ---------------------------------------------------------------------------

TEST_CASE("whose log it is is told by its lines, whatever stands before them") {
  const std::string haproxy = httplog("10/200/30/69/320", "200", "----");
  const std::string ours =
      R"(time=2026-11-24T09:30:07.123Z client=a path="/" verdict=admitted reason=- upstream_ms=1 total_ms=1)";
  CHECK(named(combined + "\n") == "nginx");
  CHECK(named("<134>Nov 24 09:30:00 haproxy[12]: Proxy http-in started.\n" + haproxy + "\n" +
              haproxy + "\n") == "haproxy");
  CHECK(named(envoy("200", "-", "1") + "\n") == "envoy");
  CHECK(named(caddy + "\n") == "caddy");
  CHECK(named("{\"ts\":1,\"status\":200,\"path\":\"/\"}\n") == "json");
  CHECK(named(ours + "\n") == "classgate");
  for (const std::string prefix :
       {"Nov 24 09:30:00 host haproxy[12]: ", "Nov  4 09:30:00 host haproxy: ", "<134>",
        "2026-11-24T09:30:00.1+01:00 host haproxy[12]: ", "<134>Nov 24 09:30:00 haproxy[12]: ",
        "2026-11-24T09:30:00.123456789Z stdout F "}) {
    CAPTURE(prefix);
    CHECK(named(prefix + haproxy + "\n") == "haproxy");
    CHECK(named(prefix + combined + "\n") == "nginx");
    CHECK(named(prefix + ours + "\n") == "classgate");
    CHECK(named(prefix + envoy("200", "-", "1") + "\n") == "envoy");
  }
  CHECK(
      named(
          R"({"log":"192.0.2.7 - - [24/Nov/2026:09:30:07 +0000] \"GET / HTTP/1.1\" 200 8 \"-\" \"-\"\n","stream":"stdout","time":"2026-11-24T09:30:07.1Z"})"
          "\n") == "nginx");
}

TEST_CASE("a log of nobody who is known says whose could be read, and shows its first line") {
  const std::string why = named("\x1b[31mwhat is this\nand this\n");
  CHECK(
      why.contains(":1: none of its first 2 lines is of a format that is known (classgate, nginx, "
                   "haproxy, envoy, caddy, json): \\x1b[31mwhat is this"));
  CHECK(named("").ends_with(": is empty: there is no traffic in it"));
  CHECK(format_of("apache", nullptr).error().starts_with("--format: \"apache\" is none of"));
}

// A line may be cut anywhere, and anything may stand in it.
TEST_CASE("lines of others that were cut are never read past their end") {
  for (const auto& [make, line] :
       {std::pair{&nginx_reader, combined + " rt=0.1 urt=\"0.1, 0.2\""},
        std::pair{&haproxy_reader, httplog("10/200/30/69/320", "200", "----")},
        std::pair{&envoy_reader, envoy("200", "UC,DC", "1")}, std::pair{&caddy_reader, caddy},
        std::pair{&json_reader, caddy}}) {
    const auto reader = make();
    LogPrefix prefix;
    for (std::size_t size = 0; size < line.size(); ++size) {
      const std::string cut = line.substr(0, size);
      (void)reader->read(cut);
      (void)reader->read(prefix.strip("Nov 24 09:30:00 h p[1]: " + cut));
      (void)prefix.strip(cut);
    }
    CHECK(reader->read(line));
  }
}

}  // namespace
}  // namespace classgate::planning
