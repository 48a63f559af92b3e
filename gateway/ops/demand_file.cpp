#include "gateway/ops/demand_file.h"

#include <sys/stat.h>

#include "conf/format.h"
#include "gateway/ops/whole_file.h"

namespace classgate::gateway {
namespace {

std::unexpected<std::string> demand_file_error(const std::string& path, std::string_view what) {
  return std::unexpected(fmt::format("forecast.file: {}: {}", path, what));
}

}  // namespace

DemandFileStamp stamp_of_demand_file(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {.inode = static_cast<std::int64_t>(status.st_ino),
          .changed_ns = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::expected<history::DemandRead, std::string> read_demand_file(const std::string& path,
                                                                 history::Slot now) {
  const auto text = read_whole_file(path, history::demand_text_max);
  if (!text) return demand_file_error(path, text.error() + "; demand begins anew");
  if (!*text) return {};
  auto read = history::read_demand_text(**text, now);
  if (read) return read;
  return demand_file_error(path, fmt::format("{}; demand begins anew, and the file {}",
                                             read.error(), set_file_aside(path)));
}

std::expected<void, std::string> write_demand_file(const std::string& path,
                                                   const std::string& text) {
  if (const auto written = write_whole_file(path, text); !written)
    return demand_file_error(path, written.error() + "; demand is not kept over a restart");
  return {};
}

}  // namespace classgate::gateway
