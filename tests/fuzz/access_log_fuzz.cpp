// An access log that somebody has written: the first byte chooses what stands for the service,
// and whose log it is said to be; the rest are its lines, packed or not. Whatever they say, what is
// read is in its ranges, the simulation comes to its end, everything that arrived has ended, and
// what would be printed is clean.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <string>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/planning/access_reader.h"
#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/log_prefix.h"
#include "gateway/planning/result_json.h"
#include "gateway/planning/result_text.h"
#include "gateway/planning/scenario.h"
#include "tests/fuzz/require.h"

namespace {

using namespace classgate;

void read_line(planning::LineReader& reader, std::string_view line) {
  using planning::AccessEntry;
  const auto entry = reader.read(line);
  if (!entry) {
    FUZZ_REQUIRE(!entry.error().empty());
    FUZZ_REQUIRE(conf::printable(entry.error()) == entry.error());
    return;
  }
  for (const auto duration : {entry->deadline, entry->upload, entry->upstream, entry->total})
    FUZZ_REQUIRE(duration.count() >= 0 && duration <= AccessEntry::duration_max);
  FUZZ_REQUIRE(entry->bytes_in <= AccessEntry::bytes_max);
  FUZZ_REQUIRE(entry->priority >= 0 && entry->priority <= 5);
  FUZZ_REQUIRE(entry->time_ns >= 0);
}

void simulate(std::string_view text, std::uint8_t choice) {
  static const int fd = ::memfd_create("log", MFD_CLOEXEC);
  FUZZ_REQUIRE(fd >= 0 && ::ftruncate(fd, 0) == 0);
  FUZZ_REQUIRE(::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  conf::PlanningOptions options;
  options.log = fmt::format("/proc/self/fd/{}", fd);
  options.keeps_going = true;
  constexpr std::array formats{"", "classgate", "nginx", "haproxy", "envoy", "caddy", "json"};
  options.format = formats[choice / 6 % formats.size()];
  options.upstream = choice % 3 == 0 ? "" : choice % 3 == 1 ? "fitted" : "exponential 50ms";
  const auto scenario = planning::Scenario::open(options);
  if (!scenario) return;  // of nobody's format, or damaged
  conf::Settings settings;
  if (choice % 2 == 1) settings.admission.discipline = conf::Discipline::adaptive;
  const auto result = planning::run(*scenario, settings, "the defaults");
  if (!result) return;
  const simulation::Group& all = result->tally.all();
  FUZZ_REQUIRE(all.arrived == all.served + all.abandoned + all.all_rejected() + all.all_failed());
  const std::string shown = conf::printable_lines(planning::to_text(*scenario, *result));
  FUZZ_REQUIRE(conf::is_utf8_text(shown));
  FUZZ_REQUIRE(shown.find('\x1b') == std::string::npos);
  (void)planning::to_json(*scenario, *result);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  planning::AccessReader own;
  const std::array others{planning::nginx_reader(), planning::haproxy_reader(),
                          planning::envoy_reader(), planning::caddy_reader(),
                          planning::json_reader()};
  planning::LogPrefix prefix;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    read_line(own, line);
    for (const auto& other : others) read_line(*other, prefix.strip(line));
    at = end + 1;
  }
  simulate(text, data[0]);
  return 0;
}
