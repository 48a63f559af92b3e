#include <sys/stat.h>

#include "conf/format.h"
#include "tests/conf/kit.h"

// Where settings come from on the disk: the conf, conf.d, and what is set at run time over them.

namespace classgate::conf {
namespace {

TEST_CASE("a conf file that cannot be read is told why") {
  const ConfFile file("");
  const std::string missing = file.folder() / "missing";
  const std::string folder = file.folder();
  CHECK(mistakes_of({missing, {}, {}}) ==
        Lines{missing + ": cannot be read: No such file or directory (name another with --conf)"});
  CHECK(mistakes_of({folder, {}, {}}) ==
        Lines{folder + ": cannot be read: Is a directory (name another with --conf)"});
  CHECK(mistakes_of({file.path() + "/x", {}, {}}) ==
        Lines{file.path() + "/x: cannot be read: Not a directory (name another with --conf)"});
  // A link to itself cannot be opened by anyone, root included.
  const std::string loop = file.folder() / "loop";
  std::filesystem::create_symlink(loop, loop);
  CHECK(mistakes_of({loop, {}, {}}) ==
        Lines{loop +
              ": cannot be read: Too many levels of symbolic links (name another with --conf)"});
  // What would be waited for, or never ends.
  const std::string fifo = file.folder() / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  for (const std::string& path : {fifo, std::string("/dev/zero")})
    CHECK(mistakes_of({path, {}, {}}) ==
          Lines{path + ": cannot be read: it is no regular file (name another with --conf)"});
  CHECK(mistakes_of({"/dev/null", {}, {}}) == Lines{});
}

TEST_CASE("a conf file may have 1 MiB and not a byte more") {
  const std::string line = "threads = 3\n#";
  const std::string full = line + std::string((1 << 20) - line.size(), 'x');
  CHECK(mistakes_in(full) == Lines{});
  CHECK(load_text(full).settings.threads == 3);
  CHECK(mistakes_in(full + "x") == Lines{"conf: is larger than 1 MiB: this is no conf file"});
}

TEST_CASE("files in conf.d are read after the conf, in the order of their names") {
  const ConfFile file(
      "[admission]\nworkers = 1\nburst = 3\n[[route]]\npath = \"/a\"\npriority = 1\n");
  const auto folder = file.folder() / "conf.d";
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "20-b.conf") << "[admission]\nworkers = 3\n";
  std::ofstream(folder / "10-a.conf") << "[admission]\nworkers = 2\nburst = 4\n"
                                         "[[route]]\npath = \"/a\"\npriority = 2\n";
  std::ofstream(folder / "30-c.conf~") << "[admission]\nworkers = 9\n";
  std::ofstream(folder / ".40-d.conf") << "[admission]\nworkers = 9\n";
  const auto loaded = load({file.path(), {}, {}});
  REQUIRE(loaded.has_value());
  CHECK(loaded->settings.admission.workers == 3);
  CHECK(loaded->settings.admission.burst == 4);
  CHECK(loaded->settings.routes.back().path == "/a");
  CHECK(loaded->settings.routes.back().priority == 2);
  for (const ValueInForce& value : loaded->values)
    if (value.key == "admission.workers")
      CHECK(value.origin == (folder / "20-b.conf").string() + ":2:1");
}

TEST_CASE("mistakes in conf.d name their file, beside those of the conf") {
  const ConfFile file("[admission]\nworker = 1\n");
  const auto folder = file.folder() / "conf.d";
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "a.conf") << "[admission]\n\nworkers = 0\n";
  std::ofstream(folder / "b.conf") << "listen =\n";
  const Lines lines = mistakes_of({file.path(), {}, {}});
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].starts_with(file.path() + ":2:1: unknown key admission.worker"));
  CHECK(lines[1].starts_with((folder / "a.conf").string() + ":3:1: admission.workers: 0 is out"));
  CHECK(lines[2].starts_with((folder / "b.conf").string() + ":1:"));
}

TEST_CASE("what is set at run time wins over everything and is shown as such") {
  const ConfFile file("[admission]\nworkers = 1\n");
  const auto loaded = load({file.path(),
                            {{"CLASSGATE_ADMISSION_WORKERS", "2"}},
                            {{"admission.workers", "3", "workers"}},
                            {{"admission.workers", "4", ""}}});
  REQUIRE(loaded.has_value());
  CHECK(loaded->settings.admission.workers == 4);
  for (const ValueInForce& value : loaded->values)
    if (value.key == "admission.workers") CHECK(value.origin == "set at run time");
  CHECK(mistakes_of({file.path(), {}, {}, {{"admission.workers", "none", ""}}}) ==
        Lines{"set at run time: admission.workers: \"none\" is not a whole number"});
}

}  // namespace
}  // namespace classgate::conf
