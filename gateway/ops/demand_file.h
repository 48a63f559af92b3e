#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "admission/history/demand.h"

namespace classgate::gateway {

// The file in which demand is kept over a restart (forecast.file; its text: history/demand.h). What
// waits for the disk; no loop calls it.

// Which file it is, and as of when; equal: nobody has written it since.
struct DemandFileStamp {
  std::int64_t inode = 0;
  std::int64_t changed_ns = 0;  // since 1970; 0: there is none
  bool operator==(const DemandFileStamp&) const = default;
};
DemandFileStamp stamp_of_demand_file(const std::string& path);

// What is there; nothing where there is no file. One that is not as it should be is set aside, as
// PATH.broken; the error is a line for an operator.
std::expected<history::DemandRead, std::string> read_demand_file(const std::string& path,
                                                                 history::Slot now);
// Beside it first, so that it is whole whenever the machine stops. The error likewise.
std::expected<void, std::string> write_demand_file(const std::string& path,
                                                   const std::string& text);

}  // namespace classgate::gateway
