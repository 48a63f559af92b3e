#include "conf/processors.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace classgate::conf {
namespace {

namespace fs = std::filesystem;

// A membership and a hierarchy of cgroups, made of files.
class Cgroups {
 public:
  explicit Cgroups(const std::string& membership) { write("membership", membership); }
  ~Cgroups() { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  unsigned quota() const { return processors_of_quota(folder_ / "membership", folder_); }

 private:
  fs::path folder_ = [] {
    std::string name = (fs::temp_directory_path() / "classgate-cgroups-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    return fs::path(name);
  }();
};

TEST_CASE("a quota of version 2 is rounded up, and none is none") {
  Cgroups group("0::/app\n");
  CHECK(group.quota() == 0);
  group.write("app/cpu.max", "max 100000\n");
  CHECK(group.quota() == 0);
  group.write("app/cpu.max", "150000 100000\n");
  CHECK(group.quota() == 2);
  group.write("app/cpu.max", "10000 100000\n");
  CHECK(group.quota() == 1);
  group.write("app/cpu.max", "nonsense\n");
  CHECK(group.quota() == 0);
}

TEST_CASE("the least quota on the way up counts") {
  Cgroups group("0::/slice/app\n");
  group.write("slice/app/cpu.max", "800000 100000\n");
  group.write("slice/cpu.max", "300000 100000\n");
  CHECK(group.quota() == 3);
}

TEST_CASE("in a container, where the path is the host's, the root of the hierarchy is looked at") {
  Cgroups group("0::/docker/0123456789\n");
  group.write("cpu.max", "200000 100000\n");
  CHECK(group.quota() == 2);
}

TEST_CASE("a quota of version 1 counts, and -1 is none") {
  Cgroups group("9:name=systemd:/\n4:cpu,cpuacct:/app\n0::/\n");
  group.write("cpu,cpuacct/app/cpu.cfs_period_us", "50000\n");
  group.write("cpu,cpuacct/app/cpu.cfs_quota_us", "-1\n");
  CHECK(group.quota() == 0);
  group.write("cpu,cpuacct/app/cpu.cfs_quota_us", "120000\n");
  CHECK(group.quota() == 3);
  group.write("cpu/cpu.cfs_period_us", "100000\n");
  group.write("cpu/cpu.cfs_quota_us", "100000\n");
  CHECK(group.quota() == 1);
}

}  // namespace
}  // namespace classgate::conf
