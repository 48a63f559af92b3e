#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "admission/history/usage_row.h"
#include "gateway/history/usage_store.h"

namespace classgate::gateway::test {

// A folder of a history, which goes with it.
class HistoryFolder {
 public:
  HistoryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "classgate-history-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  HistoryFolder(const HistoryFolder&) = delete;
  HistoryFolder& operator=(const HistoryFolder&) = delete;
  ~HistoryFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string file() const { return (path_ / "history.db").string(); }
  // What the disk holds of it: the file, and what SQLite keeps beside it.
  std::string bytes() const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      all += text.str();
    }
    return all;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      all.push_back(entry.path().filename());
    return all;
  }

 private:
  std::filesystem::path path_;
};

inline std::unique_ptr<UsageStore> opened(const std::string& folder, const std::string& run = "a",
                                          const UsageBounds& bounds = {}, std::int64_t now = 0) {
  auto store = UsageStore::open(folder, bounds, run, now);
  REQUIRE_MESSAGE(store, store.error());
  return std::move(*store);
}

// Requests of 2 items each, of which every fourth is refused.
inline history::UsageRow usage_of(history::UsageLevel level, history::UsageKind kind,
                                  const std::string& key, std::int64_t at, std::uint64_t requests) {
  const std::uint64_t refused = requests / 4;
  history::UsageRow row{.level = level,
                        .kind = kind,
                        .start = start_of(level, at),
                        .key = key,
                        .requests = requests,
                        .cost = 2 * (requests - refused),
                        .served = requests - refused,
                        .refused = refused,
                        .bytes_in = 10 * requests,
                        .bytes_out = 20 * requests,
                        .first_seen = at,
                        .last_seen = at};
  row.wait.add(1000, requests);
  row.service.add(50'000, requests - refused);
  if (refused > 0) row.add_reason(3, refused);
  return row;
}

}  // namespace classgate::gateway::test
