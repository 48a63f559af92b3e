#include "gateway/planning/series.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "conf/format.h"
#include "gateway/planning/csv_row.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {
namespace {

using testing::WrittenFile;

std::expected<Series, std::string> read_series_text(std::string_view text,
                                                    bool are_arrivals = false) {
  const WrittenFile file(text);
  return read_series({.series = file.path(), .arrivals = are_arrivals});
}

// So many rows, a minute apart.
std::string rows(std::string_view head, const std::function<std::string(int)>& row,
                 std::string_view end = "\n") {
  std::string text(head);
  for (int i = 0; i < 30; ++i) text += row(i) + std::string(end);
  return text;
}

std::string plain(int i) { return fmt::format("{},{}", i * 60, i + 0.5); }

}  // namespace

TEST_CASE("however a series is written, it is the same series") {
  struct Way {
    const char* name;
    std::string text;
  };
  for (const Way& way :
       {Way{"plain", rows("time,value\n", plain)}, Way{"no header", rows("", plain)},
        Way{"a comment above the header", rows("# of a Tuesday\n\ntime,value\n", plain)},
        Way{"comments and empty rows between", rows("t,v\n", plain, "\n# more\n\n,\n")},
        Way{"a byte order mark", rows("\xef\xbb\xbftime,value\n", plain)},
        Way{"a byte order mark and no header", rows("\xef\xbb\xbf", plain)},
        Way{"ends of lines as on Windows", rows("time,value\r\n", plain, "\r\n")},
        Way{"semicolons",
            rows("time;value\n", [](int i) { return fmt::format("{};{}", i * 60, i + 0.5); })},
        Way{"tabs, blanks and commas in names",
            rows("time\tvalue, as it was\n",
                 [](int i) { return fmt::format(" {} \t {} ", i * 60, i + 0.5); })},
        Way{"quotes", rows("\"time\",\"the \"\"value\"\", so to say\"\n",
                           [](int i) { return fmt::format("\"{}\", \"{}\"", i * 60, i + 0.5); })},
        Way{"more columns",
            rows("time,value,\"a, b\"\n",
                 [](int i) { return fmt::format("{},{},\"x, {}\"", i * 60, i + 0.5, i); })},
        Way{"backwards", rows("time,value\n", [](int i) { return plain(29 - i); })},
        Way{"dates",
            rows("time,value\n",
                 [](int i) { return fmt::format("1970-01-01T00:{:02}:00Z,{}", i, i + 0.5); })},
        Way{"dates of another place", rows("time,value\n", [](int i) {
              return fmt::format("1970-01-01 02:{:02}:00.000+02:00,{}", i, i + 0.5);
            })}}) {
    CAPTURE(way.name);
    const auto series = read_series_text(way.text);
    REQUIRE_MESSAGE(series, (series ? "" : series.error()));
    CHECK(series->step == std::chrono::seconds(60));
    CHECK(series->first_slot == 0);
    REQUIRE(series->values.size() == 30);
    for (std::size_t i = 0; i < 30; ++i) CHECK(series->values[i] == static_cast<double>(i) + 0.5);
  }
}

TEST_CASE("the unit of times is that of the file, and is said when it is not the second") {
  for (const auto& [zeros, name] :
       {std::pair{"", ""}, std::pair{"000", "milliseconds"}, std::pair{"000000", "microseconds"},
        std::pair{"000000000", "nanoseconds"}}) {
    CAPTURE(name);
    const auto series = read_series_text(rows(
        "t,v\n", [&](int i) { return fmt::format("{}{},{}", 1'700'000'040 + i * 60, zeros, i); }));
    REQUIRE(series);
    CHECK(series->time_of(0) == std::chrono::sys_seconds(std::chrono::seconds(1'700'000'040)));
    CHECK(series->values.size() == 30);
    CHECK(series->remarks.size() == (*name == '\0' ? 0 : 1));
    for (const std::string& remark : series->remarks) CHECK(remark.contains(name));
  }
}

TEST_CASE("what cannot be read for certain is refused, with its line") {
  struct Row {
    std::string text;
    const char* reason;
  };
  for (const Row& row :
       {Row{"t,v\n0,1\n60,\"1,234\"\n", ":3: \"1,234\" is no number: a number is written with"},
        Row{"t,v\n0,12,5\n60,13,5\n", ":2: 3 fields, and 2 in the first row"},
        Row{"t;v\n0;12,5\n60;13,5\n", ":2: \"12,5\" is no number: a number is written with"},
        Row{"t;v\n0;1\n60,2\n", ":3: there is no value"},
        Row{"t,v\n0,1\n60,2,\n", ":3: 3 fields, and 2"},
        Row{"t,v\n0,1\n60,\"2\n", ":3: a quote is not closed"},
        Row{"t,v\n0,1\n60,\"2\"3\n", ":3: something stands behind"},
        Row{"t,v\n0,1\n60,2\"3\n", ":3: a quote stands in the middle"},
        Row{"0,many\n60,2\n", ":1: \"many\" is no number"},
        Row{"noon,5\n60,2\n", ":1: \"noon\" is no time"},
        Row{"2026-13-01,5\n", ":1: \"2026-13-01\" is no time"},
        Row{",5\n60,2\n", ":1: \"\" is no time"},
        Row{"# of May\nnoon,5\n", ":2: \"noon\" is no time"},
        Row{"t,v\nu,w\n", ":2: \"u\" is no time"},
        Row{"t,v\n0,1\n1700000000000,2\n", ":3: \"1700000000000\" is taken for milliseconds"},
        Row{"t,v\n1700000000000,2\n60,1\n", ":3: \"60\" is taken for seconds"},
        Row{"t,v\n60,1\n1970-01-01T00:02:00Z,2\n",
            ":3: \"1970-01-01T00:02:00Z\" is taken for dates"},
        Row{"t,v\n0,1\n60,inf\n", ":3: \"inf\" is no number"},
        Row{"t,v\n0,1\n60,-1\n", ":3: \"-1\" is below 0"},
        Row{"t,v\n0,1\nnan,1\n", ":3: \"nan\" is no time"},
        Row{"t,v\n0,1\n-60,1\n", ":3: \"-60\" is no time"},
        Row{"t,v\n0,1\n1970-01-01T00:01:00+01x00,1\n", "is no time"},
        Row{"\xff\xfet\0,\0v\0", ":1: this is no UTF-8 text"},
        Row{"t,v\n0,nan\n60,NULL\n120,N/A\n180,\n", "no row has a value"},
        Row{"t,v\n", "no row with a time"}}) {
    CAPTURE(row.text);
    const auto series = read_series_text(row.text);
    REQUIRE_FALSE(series);
    CHECK_MESSAGE(series.error().contains(row.reason), series.error());
  }
}

TEST_CASE("what was made of rows is told") {
  const auto series = read_series_text("t,of the load\n0,1\n60,3\n60,5\n180,nan\n120,7\n240,9\n");
  REQUIRE(series);
  CHECK(series->what.ends_with(", of the load"));
  CHECK(series->values[1] == 4);
  CHECK(std::isnan(series->values[3]));
  REQUIRE(series->remarks.size() == 3);
  CHECK(series->remarks[0] == "1 row came before the one above: all were put in order");
  CHECK(series->remarks[1].starts_with("1 row had the time"));
  CHECK(series->remarks[2] == "1 of 5 steps are missing");
}

TEST_CASE("arrivals need no value, and a name above them is no arrival") {
  const auto series = read_series_text("time\n0\n10\n70\n190\n", true);
  REQUIRE(series);
  CHECK(series->values == std::vector<double>{2, 1, 0, 1});
  CHECK_FALSE(read_series_text("2026-13-01\n0\n10\n", true));
}

}  // namespace classgate::planning
