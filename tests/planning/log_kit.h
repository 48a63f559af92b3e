#pragma once

// Logs of our own that a test writes line by line, and the traffic that they are.

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "gateway/planning/log_traffic.h"
#include "tests/planning/written_file.h"

namespace classgate::planning {

using simulation::Wish;

class Log : public testing::WrittenFile {
 public:
  struct Fields {
    std::string client = "192.0.2.1";
    std::string path = "/v1/classify";
    std::string verdict = "admitted";
    std::string reason = "-";
    double upstream_ms = 20;
    int status = 200;
    int cost = 1;
    std::string rest = "";  // such as " plan=gold name=acme"
  };
  // `end` since 09:30; `total` before it the request arrived.
  using WrittenFile::add;
  void add(std::chrono::milliseconds end, std::chrono::milliseconds total, const Fields& fields) {
    add(
        fmt::format("time=2026-11-24T09:{:02}:{:02}.{:03}Z id=x client={} method=POST "
                    "path=\"{}\" route=\"{}\" priority=3 verdict={} reason={} cost={} "
                    "deadline_ms=30000.000 upload_ms=0.000 wait_ms=0.000 upstream_ms={:.3f} "
                    "total_ms={}.000 status={} bytes_in=52 bytes_out=87 upstream=- retries=0 "
                    "tls=-{}\n",
                    30 + end.count() / 60'000, end.count() / 1000 % 60, end.count() % 1000,
                    fields.client, fields.path, fields.path, fields.verdict, fields.reason,
                    fields.cost, fields.upstream_ms, total.count(), fields.status, fields.rest));
  }
};

inline const LogFormat* ours() { return *format_of("classgate", nullptr); }

inline std::unique_ptr<LogTraffic> open(LogOptions options, const conf::Settings& settings = {}) {
  if (options.format == nullptr) options.format = ours();
  auto traffic = LogTraffic::open(options, settings);
  if (!traffic) FAIL(traffic.error());
  return std::move(*traffic);
}

inline std::vector<Wish> all_of(LogTraffic& traffic) {
  std::vector<Wish> wishes;
  for (Wish wish; traffic.next(wish);) wishes.push_back(wish);
  return wishes;
}

}  // namespace classgate::planning
