#pragma once

// What the tests of quotas are made of.

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>

#include "gateway/clients/quota_table.h"

namespace classgate::gateway::test {

using namespace std::chrono_literals;

inline constexpr std::chrono::sys_seconds noon = std::chrono::sys_days(2026y / 11 / 27) + 12h;

inline PlanQuota plan_of(const conf::QuotaSettings& quota, const char* name = "free") {
  return PlanQuota(name, quota);
}

inline std::shared_ptr<const conf::TimeZone> utc() {
  return std::make_shared<const conf::TimeZone>();
}

// A folder of one test.
class QuotaFolder {
 public:
  QuotaFolder() { REQUIRE(::mkdtemp(path_.data()) != nullptr); }
  ~QuotaFolder() {
    for (const char* const end : {"", "-wal", "-shm", "-journal"}) ::unlink((file() + end).c_str());
    ::rmdir(path_.c_str());
  }
  std::string file() const { return path_ + "/quotas.db"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/classgate-quota-XXXXXX";
};

}  // namespace classgate::gateway::test
