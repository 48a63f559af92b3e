// Refusals that get no line of their own in the access log.

#include "gateway/refusal_rollup.h"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "conf/format.h"
#include "gateway/access_line.h"
#include "gateway/loop_metrics.h"

namespace classgate::gateway {
namespace {

using conf::Reason;
using std::chrono::milliseconds;

const admission::Time first_refusal = admission::Time() + std::chrono::hours(1);

// What is told, by client, reason and path.
std::map<std::string, std::uint64_t> told(RefusalRollup& rollup) {
  std::map<std::string, std::uint64_t> counts;
  rollup.take([&](const RefusalRollup::Line& line) {
    counts[fmt::format("{} {} {}", line.refusal.client, conf::word_of(line.refusal.reason),
                       line.refusal.path)] += line.count;
  });
  return counts;
}

TEST_CASE("refusals of one client, reason and route are one line, of the first one's path") {
  RefusalRollup rollup;
  RouteMetrics a, b;
  for (int i = 0; i < 3; ++i)
    CHECK(rollup.add({"c1", "a1", Reason::client_rate, &a, i == 0 ? "/a/1" : "/a/2", 429},
                     first_refusal + milliseconds(i)));
  CHECK(rollup.add({"c1", "a1", Reason::queue_full, &a, "/a/1", 503}, first_refusal));
  CHECK(rollup.add({"c1", "a1", Reason::client_rate, &b, "/b", 429}, first_refusal));
  CHECK(rollup.add({"c2", "a1", Reason::client_rate, &a, "/a/1", 429}, first_refusal));
  CHECK(rollup.since() == first_refusal);
  const std::map<std::string, std::uint64_t> expected{{"c1 client_rate /a/1", 3},
                                                      {"c1 queue_full /a/1", 1},
                                                      {"c1 client_rate /b", 1},
                                                      {"c2 client_rate /a/1", 1}};
  CHECK((told(rollup) == expected));
  CHECK(rollup.is_empty());
  CHECK(told(rollup).empty());
}

TEST_CASE("refusals for other faults of credentials have a line of their own") {
  RefusalRollup rollup;
  for (const auto fault : {CredentialFault::key_unknown, CredentialFault::client_expired,
                           CredentialFault::key_unknown})
    CHECK(rollup.add({.client = "-",
                      .address = "a",
                      .reason = Reason::unknown_client,
                      .path = "-",
                      .status = 401,
                      .credentials = fault},
                     first_refusal));
  std::map<std::string, std::uint64_t> counts;
  rollup.take([&](const RefusalRollup::Line& line) {
    std::string text;
    append_rolled_up_line(text, false, "since", "time", line);
    counts[text.substr(text.rfind(' ') + 1)] += line.count;
  });
  const std::map<std::string, std::uint64_t> expected{{"credentials=key_unknown\n", 2},
                                                      {"credentials=client_expired\n", 1}};
  CHECK((counts == expected));
}

TEST_CASE("a line knows when the first and the last of its refusals were") {
  RefusalRollup rollup;
  for (int i = 0; i < 5; ++i)
    CHECK(rollup.add({"c", "a", Reason::rate_limited, nullptr, "-", 429},
                     first_refusal + milliseconds(10 * i)));
  rollup.take([](const RefusalRollup::Line& line) {
    CHECK(line.first == first_refusal);
    CHECK(line.last == first_refusal + milliseconds(40));
    CHECK(line.refusal.status == 429);
  });
}

TEST_CASE("whatever the number of clients, the table is bounded and the counts are whole") {
  RefusalRollup rollup;
  RouteMetrics route;
  constexpr std::uint64_t clients = 10'000;
  for (std::uint64_t i = 0; i < clients; ++i)
    CHECK(rollup.add({std::to_string(i), "a",
                      i % 2 == 0 ? Reason::client_rate : Reason::rate_limited, &route, "/a", 429},
                     first_refusal));
  const auto counts = told(rollup);
  CHECK(counts.size() == RefusalRollup::kinds_max + 2);
  std::uint64_t sum = 0;
  for (const auto& [kind, count] : counts) sum += count;
  CHECK(sum == clients);
  CHECK(counts.at("* client_rate -") == (clients - RefusalRollup::kinds_max) / 2);
}

TEST_CASE("who has no id is told from others by its address") {
  RefusalRollup rollup;
  for (const char* address : {"192.0.2.1", "192.0.2.2", "192.0.2.1"})
    CHECK(rollup.add({"-", address, Reason::queue_full, nullptr, "/", 503}, first_refusal));
  std::map<std::string, std::uint64_t> counts;
  rollup.take([&](const RefusalRollup::Line& line) {
    counts[std::string(line.refusal.address)] = line.count;
  });
  CHECK((counts == std::map<std::string, std::uint64_t>{{"192.0.2.1", 2}, {"192.0.2.2", 1}}));
}

TEST_CASE("names that are too long are cut, paths are left out") {
  RefusalRollup rollup;
  const std::string name(1000, 'n'), path(1000, '/');
  CHECK(rollup.add({name, name, Reason::rate_limited, nullptr, path, 429}, first_refusal));
  CHECK((told(rollup) ==
         std::map<std::string, std::uint64_t>{{std::string(16, 'n') + " rate_limited -", 1}}));
}

TEST_CASE("a line has the name of a known client") {
  RefusalRollup rollup;
  CHECK(rollup.add({.client = "c_1",
                    .address = "10.0.0.1",
                    .reason = Reason::quota,
                    .path = "/",
                    .status = 429,
                    .name = "acme@prod"},
                   first_refusal));
  CHECK(rollup.add({"c_2", "10.0.0.1", Reason::quota, nullptr, "/", 429}, first_refusal));
  std::vector<std::string> names;
  rollup.take([&](const RefusalRollup::Line& line) { names.emplace_back(line.refusal.name); });
  CHECK(names == std::vector<std::string>{"acme@prod", "-"});
}

TEST_CASE("a line has the plan of its client, and of many clients none") {
  RefusalRollup rollup;
  const std::string longest(64, 'p');
  const std::size_t clients = RefusalRollup::kinds_max + 1;
  for (std::size_t i = 0; i < clients; ++i)
    CHECK(rollup.add({.client = fmt::format("c{}", i),
                      .address = "10.0.0.1",
                      .reason = Reason::quota,
                      .path = "/",
                      .status = 429,
                      .plan = i % 2 == 0 ? std::string_view(longest) : "-"},
                     first_refusal));
  std::vector<std::string> plans;
  rollup.take([&](const RefusalRollup::Line& line) {
    plans.emplace_back(line.refusal.plan);
    for (const bool as_json : {false, true}) {
      std::string text;
      append_rolled_up_line(text, as_json, "", "", line);
      const std::string told =
          fmt::format("{}{}", as_json ? ",\"plan\":\"" : " plan=", line.refusal.plan);
      CHECK(text.contains("plan") == !line.refusal.plan.empty());
      if (text.contains("plan")) CHECK(text.contains(told));
    }
  });
  REQUIRE(plans.size() == clients);
  CHECK(plans[0] == longest);
  CHECK(plans[1] == "-");
  CHECK(plans.back().empty());
}

TEST_CASE("a kind that has become too large is to be told at once") {
  RefusalRollup rollup;
  const RefusalRollup::Refusal refusal{"c", "a", Reason::rate_limited, nullptr, "/", 429};
  std::uint64_t added = 1;
  while (rollup.add(refusal, first_refusal)) ++added;
  CHECK(added == RefusalRollup::count_max);
}

}  // namespace
}  // namespace classgate::gateway
