#include "gateway/planning/access_reader.h"

#include <doctest/doctest.h>

#include "gateway/access_line.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

std::string line_of(bool as_json, std::string_view path = "/v1/classify") {
  std::string line;
  gateway::append_access_line(line, as_json, "2026-11-24T09:30:07.123Z",
                              {.request_id = "x",
                               .client = "192.0.2.7",
                               .method = "POST",
                               .path = path,
                               .route = "/v1/classify",
                               .priority = 3,
                               .verdict = gateway::Verdict::admitted,
                               .cost = 2,
                               .deadline = 30s,
                               .uploading = 500us,
                               .waiting = 12'034us,
                               .at_upstream = 20'871us,
                               .total = 33'102us,
                               .status = 200,
                               .bytes_in = 52,
                               .bytes_out = 87,
                               .upstream = "127.0.0.1:9000"});
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

TEST_CASE("an escape that no gateway wrote stays as it is written") {
  AccessReader reader;
  for (const auto& [written, read] :
       {std::pair{"/\\u00e9", "/\xe9"}, std::pair{"/\\u0zzz", "/\\u0zzz"},
        std::pair{"/\\u12e9", "/\\u12e9"}, std::pair{"/\\u00", "/u00"}}) {
    std::string line = line_of(false);
    line.replace(line.find("/v1/classify"), 12, written);
    const auto entry = reader.read(line);
    REQUIRE(entry);
    CHECK(entry->path == read);
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
