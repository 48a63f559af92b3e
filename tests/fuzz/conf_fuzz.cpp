// The text of a conf file. It is good, and then what is printed of it gives the same settings; or
// every mistake has its place within the text.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "conf/format.h"
#include "conf/reader.h"
#include "tests/fuzz/require.h"

namespace {

using classgate::conf::Loaded;
using classgate::conf::Mistake;

auto load_text(std::string_view text) {
  static const int fd = ::memfd_create("conf", MFD_CLOEXEC);
  FUZZ_REQUIRE(fd >= 0 && ::ftruncate(fd, 0) == 0);
  FUZZ_REQUIRE(::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return classgate::conf::load({fmt::format("/proc/self/fd/{}", fd), {}, {}});
}

void check_place(const Mistake& mistake, std::string_view text) {
  const std::size_t column_at = mistake.place.rfind(':');
  const std::size_t line_at =
      column_at == std::string::npos ? column_at : mistake.place.rfind(':', column_at - 1);
  FUZZ_REQUIRE(!mistake.text.empty());
  if (line_at == std::string::npos || line_at == 0) return;  // of no line: the file, a default
  long line = 0;
  std::from_chars(mistake.place.data() + line_at + 1, mistake.place.data() + column_at, line);
  const auto lines = std::ranges::count(text, '\n') + 1;
  FUZZ_REQUIRE(line >= 1 && line <= lines + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto loaded = load_text(text);
  if (!loaded) {
    FUZZ_REQUIRE(!loaded.error().empty());
    for (const Mistake& mistake : loaded.error()) check_place(mistake, text);
    return 0;
  }
  const std::string printed = classgate::conf::print(*loaded);
  const auto again = load_text(printed);
  FUZZ_REQUIRE(again.has_value());
  FUZZ_REQUIRE(again->values.size() == loaded->values.size());
  for (std::size_t i = 0; i < loaded->values.size(); ++i)
    FUZZ_REQUIRE(again->values[i].value == loaded->values[i].value);
  FUZZ_REQUIRE(again->settings.routes == loaded->settings.routes);
  return 0;
}
