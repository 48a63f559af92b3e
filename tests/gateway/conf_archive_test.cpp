#include "gateway/ops/conf_archive.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "conf/format.h"
#include "gateway/ops/conf_files.h"

// The confs that were in force, kept in a folder, and the files on the disk that are made as one of
// them was.

namespace classgate::gateway {
namespace {

namespace fs = std::filesystem;

class ArchiveFolder {
 public:
  ArchiveFolder() {
    std::string pattern = fs::temp_directory_path() / "classgate-archive-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~ArchiveFolder() { fs::remove_all(path_); }
  std::string operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

KeptConf conf_saying(const std::string& text) {
  return {.at = "2026-11-28T09:30:00.000Z", .what = "reload", .files = {.conf = text}};
}

std::vector<std::uint64_t> numbers_of(const ConfArchive& archive) {
  std::vector<std::uint64_t> numbers;
  const auto all = archive.read();
  REQUIRE(all);
  for (const KeptConf& conf : all->confs) numbers.push_back(conf.number);
  return numbers;
}

void write_file(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

std::string text_at(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_CASE("why nothing could be kept is known before it is tried, and looking makes nothing") {
  const ArchiveFolder folder;
  CHECK(ConfArchive(folder / "conf").why_not().empty());
  CHECK(!fs::exists(folder / "conf"));
  CHECK(ConfArchive(folder / "nowhere/conf").why_not() ==
        (folder / "nowhere") + ": No such file or directory");
  write_file(folder / "file", "in the way");
  CHECK(ConfArchive(folder / "file").why_not() == (folder / "file") + ": Not a directory");
  REQUIRE(ConfArchive(folder / "conf").keep(conf_saying("a"), 5) == 1);
  CHECK(ConfArchive(folder / "conf").why_not().empty());
  fs::create_directory_symlink(folder / "conf", folder / "link");  // in which nothing is kept
  CHECK(!ConfArchive(folder / "link").why_not().empty());
  CHECK(!ConfArchive(folder / "link").keep(conf_saying("b"), 5));
}

TEST_CASE("a conf is read as it was kept, whatever characters it has") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  KeptConf kept =
      conf_saying("# \"quoted\" \\ \xc3\xbc \xe2\x82\xac\t\n[admission]\nworkers = 9\n");
  kept.by = "root";
  kept.changes = {"admission.workers = 9 (it was 50)"};
  kept.files.beside = {{"10-a.conf", "threads = 1\n"}, {"20-b.conf", ""}};
  CHECK(archive.keep(kept, 5) == 1);
  const auto all = archive.read();
  REQUIRE(all);
  REQUIRE(all->confs.size() == 1);
  const KeptConf& read = all->confs.front();
  CHECK(read.number == 1);
  CHECK(read.at == kept.at);
  CHECK(read.by == "root");
  CHECK(read.what == "reload");
  CHECK(read.changes == kept.changes);
  CHECK(read.files == kept.files);
}

TEST_CASE("the newest stay, their numbers count on, and what says the same is not kept twice") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  for (int i = 1; i <= 7; ++i) CHECK(archive.keep(conf_saying(fmt::format("#{}", i)), 3) == i);
  CHECK(numbers_of(archive) == std::vector<std::uint64_t>{5, 6, 7});
  CHECK(archive.keep(conf_saying("#7"), 3) == 0);
  CHECK(archive.keep(conf_saying("#6"), 3) == 8);  // back again: that came into force too
  CHECK(numbers_of(archive) == std::vector<std::uint64_t>{6, 7, 8});
}

TEST_CASE("several that keep at once take a number each") {
  const ArchiveFolder folder;
  const ConfArchive first(folder / "conf");
  CHECK(first.keep(conf_saying("#"), 100) == 1);
  constexpr int writers = 4, each = 5;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < writers; ++writer)
      threads.emplace_back([&folder, writer] {
        const ConfArchive archive(folder / "conf");
        for (int i = 0; i < each; ++i)
          archive.keep(conf_saying(fmt::format("{}.{}", writer, i)), 100);
      });
  }
  const std::vector<std::uint64_t> numbers = numbers_of(first);
  CHECK(numbers.size() == 1 + writers * each);
  CHECK(numbers.back() == numbers.size());
}

TEST_CASE("only its owner can read it") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  CHECK(archive.keep(conf_saying("#"), 5) == 1);
  struct stat found{};
  REQUIRE(::stat((archive.folder() + "/1.json").c_str(), &found) == 0);
  CHECK((found.st_mode & 07777) == 0600);
  REQUIRE(::stat(archive.folder().c_str(), &found) == 0);
  CHECK((found.st_mode & 07777) == 0700);
}

TEST_CASE("whoever can write the archive makes it lead nowhere") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  CHECK(archive.keep(conf_saying("#"), 9) == 1);
  const std::string good = text_at(archive.folder() + "/1.json");
  write_file(folder / "secret", good);
  fs::create_symlink(folder / "secret", archive.folder() + "/2.json");
  write_file(archive.folder() + "/3.json", good.substr(0, good.size() / 2));
  std::string elsewhere = good;
  const std::size_t beside = elsewhere.rfind("{}");
  REQUIRE(beside != std::string::npos);
  elsewhere.replace(beside, 2, R"({"../../passwd.conf": "x"})");
  write_file(archive.folder() + "/4.json", elsewhere);
  REQUIRE(::mkfifo((archive.folder() + "/5.json").c_str(), 0600) == 0);  // nobody waits for it
  write_file(archive.folder() + "/6.json", R"({"at": 5})");
  const auto all = archive.read();
  REQUIRE(all);
  CHECK(all->confs.size() == 1);
  CHECK(all->damaged.size() == 5);
  CHECK(archive.keep(conf_saying("#2"), 9) == 7);
  fs::create_symlink(folder / "conf", folder / "link");
  CHECK(!ConfArchive(folder / "link").read());
}

TEST_CASE("where no folder can be made the reason is told, with its place") {
  const ArchiveFolder folder;
  const auto kept = ConfArchive(folder / "not/there").keep(conf_saying("#"), 5);
  REQUIRE(!kept);
  CHECK(kept.error().contains("not/there"));
  CHECK(kept.error().contains("No such file"));
}

TEST_CASE("a conf is found again among all that was read, with its files of conf.d") {
  const conf::Texts texts{{"/etc/c/c.conf", "a"},
                          {"/etc/c/conf.d/1.conf", "b"},
                          {"/etc/c/clients", "many"},
                          {"/etc/other/conf.d/2.conf", "c"}};
  const ConfFiles files = files_of(texts, "/etc/c/c.conf");
  CHECK(files == ConfFiles{.conf = "a", .beside = {{"1.conf", "b"}}});
  CHECK(texts_of(files, "/etc/c/c.conf") ==
        conf::Texts{{"/etc/c/c.conf", "a"}, {"/etc/c/conf.d/1.conf", "b"}});
}

TEST_CASE("files are made as a conf had them, and put back, without a byte lost") {
  const ArchiveFolder folder;
  const std::string conf = folder / "c.conf";
  write_file(conf, "new");
  REQUIRE(::chmod(conf.c_str(), 0604) == 0);
  write_file(folder / "conf.d/1.conf", "one, new");
  write_file(folder / "conf.d/3.conf", "three");
  write_file(folder / "conf.d/3.conf.rolled-back", "of another day");
  const ConfFiles before = read_conf_files(conf).value();
  const ConfFiles wanted{.conf = "old", .beside = {{"1.conf", "one, old"}, {"2.conf", "two"}}};

  ConfFileSwap swap(conf);
  REQUIRE(swap.to(wanted));
  CHECK(read_conf_files(conf).value() == wanted);
  CHECK(text_at(folder / "conf.d/3.conf.rolled-back.2") == "three");
  CHECK(text_at(folder / "conf.d/3.conf.rolled-back") == "of another day");
  CHECK(swap.told().size() == 1);
  struct stat found{};
  REQUIRE(::stat(conf.c_str(), &found) == 0);
  CHECK((found.st_mode & 07777) == 0604);

  CHECK(swap.back().empty());
  CHECK(read_conf_files(conf).value() == before);
  CHECK(!fs::exists(folder / "conf.d/2.conf"));
  CHECK(!fs::exists(folder / "conf.d/3.conf.rolled-back.2"));
}

TEST_CASE("a file that cannot be written leaves the others as they were") {
  const ArchiveFolder folder;
  const std::string conf = folder / "c.conf";
  write_file(conf, "new");
  write_file(folder / "conf.d/1.conf", "one");
  write_file(folder / "conf.d/9.conf", "nine");
  const ConfFiles before = read_conf_files(conf).value();
  // A device stands where the conf file was: no rename goes over it.
  fs::remove(conf);
  fs::create_symlink("/dev/full", conf);
  ConfFileSwap swap(conf);
  CHECK(!swap.to({.conf = "old", .beside = {{"1.conf", "other"}}}));
  CHECK(text_at(folder / "conf.d/1.conf") == "one");
  CHECK(text_at(folder / "conf.d/9.conf") == "nine");
  CHECK(fs::is_symlink(conf));
  CHECK(before.beside.size() == 2);
}

TEST_CASE("what a link leads to is written, and the link stays") {
  const ArchiveFolder folder;
  write_file(folder / "real/c.conf", "new");
  fs::create_symlink(folder / "real/c.conf", folder / "c.conf");
  ConfFileSwap swap(folder / "c.conf");
  REQUIRE(swap.to({.conf = "old"}));
  CHECK(fs::is_symlink(folder / "c.conf"));
  CHECK(text_at(folder / "real/c.conf") == "old");
}

TEST_CASE("files that are damaged cost none that are good, and a number beyond all is none") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  for (int i = 1; i <= 3; ++i)
    REQUIRE(archive.keep(conf_saying(fmt::format("threads = {}\n", i)), 50) == i);
  for (const char* name : {"4", "5", "6", "7", "18446744073709551615", "99999999999999999999"})
    write_file(folder / "conf" + "/" + name + ".json", "x");
  CHECK(archive.keep(conf_saying("threads = 9\n"), ConfArchive::every_one) == 8);
  CHECK(numbers_of(archive) == std::vector<std::uint64_t>{1, 2, 3, 8});
}

TEST_CASE("of two rollbacks at once the second one is told to wait") {
  const ArchiveFolder folder;
  const ConfArchive archive(folder / "conf");
  CHECK(archive.lock());  // there is nothing to be locked yet
  REQUIRE(archive.keep(conf_saying("threads = 1\n"), 50) == 1);
  {
    const auto first = archive.lock();
    REQUIRE(first);
    CHECK(archive.lock().error() == "another rollback is under way");
  }
  CHECK(archive.lock());
}

}  // namespace
}  // namespace classgate::gateway
