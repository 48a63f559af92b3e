#include "gateway/planning/access_reader.h"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>
#include <string_view>

#include "gateway/access_line.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

std::string line_of(bool as_json, std::string_view path = "/v1/classify") {
  std::string line;
  gateway::ExchangeRecord record;
  record.request_id = "x";
  record.client = "192.0.2.7";
  record.method = "POST";
  record.path = path;
  record.route = "/v1/classify";
  record.priority = 3;
  record.verdict = gateway::Verdict::admitted;
  record.cost = 2;
  record.deadline = 30s;
  record.uploading = 500us;
  record.waiting = 12'034us;
  record.at_upstream = 20'871us;
  record.total = 33'102us;
  record.status = 200;
  record.bytes_in = 52;
  record.bytes_out = 87;
  record.upstream = "127.0.0.1:9000";
  gateway::append_access_line(line, as_json, "2026-11-24T09:30:07.123Z", record);
  line.pop_back();
  return line;
}

TEST_CASE("what the gateway writes is read, in both formats") {
  for (const bool as_json : {false, true}) {
    AccessReader reader;
    const std::string line = line_of(as_json);
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->time_ns == 1795512607'123'000'000);
    CHECK(entry->client == "192.0.2.7");
    CHECK(entry->path == "/v1/classify");
    CHECK(entry->verdict == "admitted");
    CHECK(entry->reason == "-");
    CHECK(entry->priority == 3);
    CHECK(entry->deadline == 30s);
    CHECK(entry->upload == 500us);
    CHECK(entry->upstream == 20'871us);
    CHECK(entry->total == 33'102us);
    CHECK(entry->bytes_in == 52);
  }
}

TEST_CASE("a path comes back as the client sent it, whatever that was") {
  const std::string path = "/a \"b\"\\ = \xc3\xa9 verdict=rejected,}\x01";
  for (const bool as_json : {false, true}) {
    AccessReader reader;
    const std::string line = line_of(as_json, path);
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->path == path);
    CHECK(entry->verdict == "admitted");
  }
}

TEST_CASE("a call of gRPC that failed is no answer, though HTTP calls it 200") {
  struct Row {
    std::string_view said;
    int status;
  };
  for (const auto& [said, status] :
       {Row{"-", 200}, {"0", 200}, {"3", 500}, {"8", 429}, {"13", 500}, {"14", 503}}) {
    CAPTURE(said);
    AccessReader reader;
    constexpr std::string_view unsaid = "grpc_status=-";
    std::string line = line_of(false);
    line.replace(line.find(unsaid), unsaid.size(), "grpc_status=" + std::string(said));
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->status == status);
    // The next line is another request.
    const std::string next = line_of(false);
    CHECK(reader.read(next)->status == 200);
  }
}

TEST_CASE("a line that is none says what is wrong with it") {
  AccessReader reader;
  const std::string good = line_of(false);
  struct Row {
    std::string line;
    std::string why;
  };
  const auto without = [&](std::string_view part, std::string_view by = "") {
    std::string line = good;
    line.replace(line.find(part), part.size(), by);
    return line;
  };
  for (const Row& row :
       {Row{"hello", "is no line of an access log"}, Row{"", "has no time"},
        Row{without("client=192.0.2.7 "), "has no client"},
        Row{without("total_ms=33.102 "), "has no total_ms"},
        Row{without("33.102", "soon"), "total_ms is \"soon\""},
        Row{without("09:30:07", "09.30.07"), "time is \"2026-11-24T09.30.07.123Z\""},
        Row{without("11-24", "13-24"), "time is \"2026-13-24T09:30:07.123Z\""},
        Row{without("priority=3", "priority=9"), "priority is \"9\""},
        // Forged: each of these was once added up to what no number holds, or went to a terminal.
        Row{without("upload_ms=0.500", "upload_ms=9999999999999"),
            "upload_ms is \"9999999999999\""},
        Row{without("deadline_ms=30000.000", "deadline_ms=31622400000"),
            "deadline_ms is \"31622400000\""},
        Row{without("total_ms=33.102", "total_ms=99999999999999999999"),
            "total_ms is \"99999999999999999999\""},
        Row{without("bytes_in=52", "bytes_in=1125899906842625"),
            "bytes_in is \"1125899906842625\""},
        Row{without("time=2026", "time=9999"), "time is \"9999-11-24T09:30:07.123Z\""},
        Row{without("time=2026", "time=1969"), "time is \"1969-11-24T09:30:07.123Z\""},
        Row{without("30:07", "30:61"), "time is \"2026-11-24T09:30:61.123Z\""},
        Row{without("time=2026", "time=\x1b[31m\xe9\n"),
            "time is \"\\x1b[31m\\xe9\\n-11-24T09:30:07.123Z\""},
        Row{without("0.500", std::string(200, '7')),
            "upload_ms is \"" + std::string(60, '7') + "...\""}}) {
    const auto entry = reader.read(row.line);
    REQUIRE_FALSE(entry);
    CHECK(entry.error() == row.why);
  }
}

TEST_CASE("a line with all that newer gateways tell is read as before") {
  const std::array<gateway::LoggedField, 1> fields{
      gateway::LoggedField{"header.client", "a\" x=y"}};
  for (const bool as_json : {false, true}) {
    std::string line;
    const std::array<admission::Time, 2> attempts{admission::Time(1ms), admission::Time(3ms)};
    gateway::ExchangeRecord record;
    record.client = "-";
    record.path = "/p";
    record.verdict = gateway::Verdict::admitted;
    record.attempts = attempts;
    record.attempts_end = admission::Time(9ms);
    record.address = "c";
    record.plan = "a plan";
    record.traceparent = "x y";
    record.user_agent = "verdict=rejected, \"client\":\"z\"}";
    record.query = "path=/other";
    record.headers = fields;
    gateway::append_access_line(line, as_json, "2026-11-24T09:30:07.123Z", record);
    line.pop_back();
    AccessReader reader;
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->client == "c");
    CHECK(entry->path == "/p");
    CHECK(entry->verdict == "admitted");
    CHECK_FALSE(entry->is_rolled_up());
  }
}

std::string rolled_up_line(bool as_json) {
  std::string line;
  gateway::append_rolled_up_line(line, as_json, "2026-11-24T09:30:06.500Z",
                                 "2026-11-24T09:30:07.400Z",
                                 {.refusal = {.client = "-",
                                              .address = "192.0.2.7",
                                              .reason = conf::Reason::client_rate,
                                              .path = "/v1/\"classify",
                                              .status = 429},
                                  .count = 40'000});
  line.pop_back();
  return line;
}

TEST_CASE("a line that stands for many refusals is read as such, in both formats") {
  for (const bool as_json : {false, true}) {
    AccessReader reader;
    const std::string line = rolled_up_line(as_json);
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->rolled_up == 40'000);
    CHECK(entry->time_ns - entry->since_ns == 900'000'000);
    CHECK(entry->client == "192.0.2.7");
    CHECK(entry->path == "/v1/\"classify");
    CHECK(entry->verdict == "rejected");
    CHECK(entry->reason == "client_rate");
  }
}

TEST_CASE("a line for many that cannot be is refused") {
  AccessReader reader;
  const std::string good = rolled_up_line(false);
  const auto why = [&](std::string_view part, std::string_view by) {
    std::string line = good;
    line.replace(line.find(part), part.size(), by);
    const auto entry = reader.read(line);
    return entry ? "" : entry.error();
  };
  CHECK(why("=40000 ", "=0 ") == "rolled_up is \"0\"");
  CHECK(why("=40000 ", "=100001 ") == "rolled_up is \"100001\"");
  CHECK(why("since=2026-11-24T09:30:06.500Z ", "") == "has no since");
  CHECK(why("09:30:06", "09:30:08") == "since is not shortly before time");
  CHECK(why("since=2026-11-24T09", "since=2026-11-24T08") == "since is not shortly before time");
}

TEST_CASE("an escape that no gateway wrote stays as it is written") {
  AccessReader reader;
  for (const auto& [written, read] :
       {std::pair{"/\\u00e9", "/\xe9"}, std::pair{"/\\u0zzz", "/\\u0zzz"},
        std::pair{"/\\u00", "/\\u00"}, std::pair{"/\\ud83dx", "/\\ud83dx"},
        std::pair{"/\\udc00\\ud83d", "/\\udc00\\ud83d"},
        // What other tools make of a log that passes through them.
        std::pair{"/\\u12e9", "/\xe1\x8b\xa9"},
        std::pair{"/\\ud83d\\ude00", "/\xf0\x9f\x98\x80"}}) {
    std::string line = line_of(false);
    line.replace(line.find("/v1/classify"), 12, written);
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->path == read);
  }
}

// Each plan whose name had a letter beyond ASCII, a quote or a backslash was one of another conf to
// `simulate --log`.
TEST_CASE("names come back as they are in the conf, whatever is in them") {
  constexpr std::array<std::string_view, 16> parts{"\"",
                                                   "\\",
                                                   " ",
                                                   "\\u00e9",
                                                   "gr\xc3\xb6\xc3\x9f"
                                                   "e",
                                                   "\x01",
                                                   "\n",
                                                   "\x7f",
                                                   "\xc2\x85",
                                                   "\xe2\x80\xae",
                                                   "\xf0\x9f\x98\x80",
                                                   "\xc3",
                                                   "\xb6",
                                                   "\xed\xa0\x80",
                                                   "\xf4\x90\x80\x80",
                                                   "plan=-,}"};
  std::mt19937_64 random(1);
  const auto any_name = [&] {
    std::string name;
    for (std::size_t left = 1 + random() % 6; left > 0; --left)
      if (random() % 4 == 0)
        name += static_cast<char>(random() % 256);
      else
        name += parts[random() % parts.size()];
    return name;
  };
  for (int i = 0; i < 20'000; ++i) {
    const bool as_json = i % 2 == 0;
    gateway::ExchangeRecord record;
    const std::string plan = any_name(), path = any_name();
    record.client = "c_1";
    record.plan = plan;
    record.path = path;
    std::string line;
    gateway::append_access_line(line, as_json, "2026-11-24T09:30:07.123Z", record);
    line.pop_back();
    AccessReader reader;
    const auto entry = reader.read(line);
    REQUIRE_MESSAGE(entry, line);
    REQUIRE_MESSAGE(entry->plan == plan, line);
    REQUIRE_MESSAGE(entry->path == path, line);
  }
}

TEST_CASE("names in logs of older versions, with each byte beyond ASCII by itself, are read") {
  for (const bool as_json : {false, true}) {
    gateway::ExchangeRecord record;
    record.client = "c_1";
    record.path = "/";
    record.plan = "PLAN X";
    std::string line;
    gateway::append_access_line(line, as_json, "2026-11-24T09:30:07.123Z", record);
    line.pop_back();
    line.replace(line.find("PLAN X"), 6, "gr\\u00c3\\u00b6\\u00c3\\u009fe");
    AccessReader reader;
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->plan ==
          "gr\xc3\xb6\xc3\x9f"
          "e");
  }
}

// A line may be cut anywhere: a full disk, a copy that was broken off.
TEST_CASE("a line that was cut is never read past its end") {
  for (const bool as_json : {false, true}) {
    const std::string line = line_of(as_json, "/\\\"x");
    for (std::size_t size = 0; size < line.size(); ++size) {
      AccessReader reader;
      const std::string cut(line.data(), size);
      (void)reader.read(cut);
    }
    AccessReader reader;
    CHECK(reader.read(line));
  }
}

}  // namespace
}  // namespace classgate::planning
