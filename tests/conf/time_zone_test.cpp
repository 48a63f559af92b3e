// Calendar days and months of places: those in which the clock is changed.

#include "conf/time_zone.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <time.h>

#include <ctime>

#include "conf/format.h"

namespace {

using classgate::conf::CalendarPeriod;
using classgate::conf::TimeZone;
using std::chrono::hours;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using namespace std::chrono_literals;

std::shared_ptr<const TimeZone> zone(const std::string& name) {
  auto loaded = TimeZone::load(name);
  REQUIRE_MESSAGE(loaded, loaded.error());
  return *loaded;
}

sys_seconds utc(std::chrono::year_month_day date, seconds time = {}) {
  return sys_days(date) + time;
}

}  // namespace

TEST_CASE("a day of UTC has 24 hours and a month begins on its first") {
  const auto place = zone("UTC");
  const sys_seconds now = utc(2026y / 11 / 27, 23h + 41min);
  const CalendarPeriod day = place->day_of(now);
  CHECK(day.begin == utc(2026y / 11 / 27));
  CHECK(day.end == utc(2026y / 11 / 28));
  const CalendarPeriod month = place->month_of(now);
  CHECK(month.begin == utc(2026y / 11 / 1));
  CHECK(month.end == utc(2026y / 12 / 1));
  CHECK(month.number == 56 * 12 + 10);
  CHECK(place->text_of(day.end) == "2026-11-28T00:00:00Z");
}

TEST_CASE(
    "in Berlin a day has 23 hours in March, 25 in October, and a month is that of its clock") {
  const auto berlin = zone("Europe/Berlin");
  const CalendarPeriod spring = berlin->day_of(utc(2026y / 3 / 29, 12h));
  CHECK(spring.begin == utc(2026y / 3 / 28, 23h));
  CHECK(spring.end - spring.begin == 23h);
  const CalendarPeriod autumn = berlin->day_of(utc(2026y / 10 / 25, 0h + 30min));
  CHECK(autumn.begin == utc(2026y / 10 / 24, 22h));
  CHECK(autumn.end - autumn.begin == 25h);
  const CalendarPeriod december = berlin->month_of(utc(2026y / 11 / 30, 23h));
  CHECK(december.begin == utc(2026y / 11 / 30, 23h));
  CHECK(december.end == utc(2026y / 12 / 31, 23h));
  CHECK(berlin->text_of(december.begin) == "2026-12-01T00:00:00+01:00");
  const CalendarPeriod october = berlin->month_of(utc(2026y / 10 / 25, 2h));
  CHECK(october.end - october.begin == 31 * 24h + 1h);
}

TEST_CASE("where midnight is left out the day begins with the hour after it") {
  // Cairo goes from 00:00 to 01:00 on the last Friday of April.
  const auto cairo = zone("Africa/Cairo");
  const CalendarPeriod day = cairo->day_of(utc(2026y / 4 / 24, 6h));
  CHECK(day.begin == utc(2026y / 4 / 23, 22h));
  CHECK(cairo->text_of(day.begin) == "2026-04-24T01:00:00+03:00");
  CHECK(day.end - day.begin == 23h);
}

TEST_CASE("where midnight comes twice the day begins with the first") {
  // Havana goes from 01:00 back to 00:00: it stays in the day.
  const auto havana = zone("America/Havana");
  // (Of a year that is over: in 2026 Cuba did not, which tzdata of 2026 knows.)
  const CalendarPeriod day = havana->day_of(utc(2025y / 11 / 2, 5h + 30min));
  CHECK(day.begin == utc(2025y / 11 / 2, 4h));
  CHECK(day.end == utc(2025y / 11 / 3, 5h));
  // St John's went from 00:01 back to 23:01 of the day before: its new day goes on.
  const auto johns = zone("America/St_Johns");
  const CalendarPeriod before = johns->day_of(utc(2010y / 11 / 7, 2h + 29min));
  const CalendarPeriod after = johns->day_of(utc(2010y / 11 / 7, 2h + 45min));
  CHECK(before.end == utc(2010y / 11 / 7, 2h + 30min));
  CHECK(after.number == before.number + 1);
  CHECK(after.begin == before.end);
}

TEST_CASE("a day that a place left out lasts for no time") {
  // Samoa went from 29 December 2011 to the 31st.
  const auto apia = zone("Pacific/Apia");
  const CalendarPeriod last = apia->day_of(utc(2011y / 12 / 30, 9h));
  const CalendarPeriod next = apia->day_of(utc(2011y / 12 / 30, 10h));
  CHECK(last.end == next.begin);
  CHECK(next.number == last.number + 2);
}

TEST_CASE("periods follow one another without a gap, for any hour of some years") {
  for (const char* const name :
       {"Europe/Berlin", "America/New_York", "America/Havana", "America/St_Johns", "Africa/Cairo",
        "Asia/Beirut", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Chatham", "Australia/Lord_Howe",
        "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran", "Etc/GMT+12"}) {
    const auto place = zone(name);
    CAPTURE(name);
    for (const auto year : {2010y, 2011y, 2026y, 2045y}) {
      CalendarPeriod day = place->day_of(utc(year / 1 / 1));
      CalendarPeriod month = place->month_of(utc(year / 1 / 1));
      bool is_right = true;
      for (sys_seconds now = utc(year / 1 / 1); now < utc((year + std::chrono::years(1)) / 1 / 1);
           now += 30min) {
        const CalendarPeriod today = place->day_of(now);
        const CalendarPeriod this_month = place->month_of(now);
        is_right = is_right && today.contains(now) && this_month.contains(now);
        if (today.number != day.number)
          is_right = is_right && today.begin == day.end && today.number > day.number;
        if (this_month.number != month.number)
          is_right = is_right && this_month.begin == month.end &&
                     this_month.number == month.number + 1 && this_month.begin == today.begin;
        day = today;
        month = this_month;
      }
      CHECK(is_right);
    }
  }
}

TEST_CASE("the clock is the C library's, for any week of 200 years") {
  for (const char* const name : {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                 "Asia/Kathmandu", "Pacific/Chatham", "Africa/Casablanca"}) {
    CAPTURE(name);
    const auto place = zone(name);
    ::setenv("TZ", name, 1);
    ::tzset();
    std::int64_t differ = 0;
    for (sys_seconds now = utc(1900y / 1 / 1); now < utc(2099y / 1 / 1); now += 7 * 24h + 1h) {
      const std::time_t time = now.time_since_epoch().count();
      std::tm local{};
      ::localtime_r(&time, &local);
      if (local.tm_gmtoff != place->offset_at(now).count()) ++differ;
    }
    CHECK(differ == 0);
  }
  ::unsetenv("TZ");
  ::tzset();
}

TEST_CASE("what is no time zone is told, with what to write") {
  for (const char* const name :
       {"Europe/Berlim", "../../etc/passwd", "/etc/localtime", "", "Europe", "a b", "tzdata.zi"}) {
    const auto loaded = TimeZone::load(name);
    REQUIRE(!loaded);
    CHECK_MESSAGE(loaded.error().contains("Europe/Berlin"), loaded.error());
  }
}

TEST_CASE("a file that is cut off anywhere, or has a byte changed, is read or refused") {
  std::string file;
  {
    std::FILE* const in = std::fopen("/usr/share/zoneinfo/America/New_York", "rb");
    REQUIRE(in != nullptr);
    for (int c; (c = std::fgetc(in)) != EOF;) file += static_cast<char>(c);
    std::fclose(in);
  }
  REQUIRE(TimeZone::read(file));
  for (std::size_t size = 0; size < file.size(); ++size)
    CHECK(!TimeZone::read(std::string_view(file).substr(0, size)));
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string other = file;
    other[at] = static_cast<char>(~other[at]);
    if (const auto read = TimeZone::read(other)) {
      const CalendarPeriod day = read->day_of(utc(2026y / 7 / 1));
      CHECK(day.contains(utc(2026y / 7 / 1)));
    }
  }
}
