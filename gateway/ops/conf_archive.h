#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "conf/reader.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {

// What a conf was made of: the conf file, and those in conf.d beside it.
struct ConfFiles {
  std::string conf{};
  std::map<std::string, std::string> beside{};  // by name, such as "10-limits.conf"
  bool operator==(const ConfFiles&) const = default;
};
// Of what was read of this conf; what its keys name (clients.clients_file, keys) is not of it.
ConfFiles files_of(const conf::Texts& texts, const std::string& conf_path);
// The other way round: to read a conf of them without a disk.
conf::Texts texts_of(const ConfFiles& files, const std::string& conf_path);

// One conf that was in force.
struct KeptConf {
  std::uint64_t number = 0;  // counts on, whatever is dropped
  std::string at{};          // RFC 3339
  std::string by{};          // "root", "uid 1000", "an operator at 192.0.2.7"; empty: nobody knows
  std::string what{};        // "start", "reload", "rollback to 3"
  bool was_in_force = true;  // false: it stood on the disk when a rollback took it away
  std::vector<std::string> changes{};  // against the one before, a line each, without secrets
  ConfFiles files{};
};

// The confs that were in force, as files "N.json" in a folder of their own (`conf` in state_dir),
// which only their owner can read: a conf may hold secrets. Several processes may use it at once
// (an upgrade, a rollback): a number is taken by who makes its file first. Whoever can write the
// folder is not believed more than that: no path comes from it, and no link in it is followed. Any
// thread; may wait for the disk.
class ConfArchive {
 public:
  static constexpr std::size_t bytes_max = 8 << 20;          // of one
  static constexpr std::size_t changes_max = 100;            // lines of one that are kept
  static constexpr std::size_t looked_through_max = 10'000;  // files of the folder
  static constexpr std::uint64_t number_max =
      1'000'000'000'000'000;  // a larger one is none of ours
  static constexpr std::size_t every_one = std::numeric_limits<std::size_t>::max();

  explicit ConfArchive(std::string folder) : folder_(std::move(folder)) {}

  // The oldest first. A file that is damaged is passed over, and told in `damaged`.
  struct All {
    std::vector<KeptConf> confs;
    std::vector<std::string> damaged;  // a line each
  };
  std::expected<All, std::string> read() const;
  // Under the next number, which it tells; the oldest go, so that `most` stay. 0: nothing was kept,
  // because the last one says the same. Makes the folder, and not the one in which it stands.
  std::expected<std::uint64_t, std::string> keep(const KeptConf& conf, std::size_t most) const;
  // Why nothing could be kept there now, with the folder's name; empty: it seems that it could.
  // Writes nothing.
  std::string why_not() const;
  // For a rollback, of which there is one at a time: held until the result goes. One with no
  // descriptor: there is no such folder yet.
  std::expected<proxy::net::Fd, std::string> lock() const;
  const std::string& folder() const { return folder_; }

 private:
  std::string folder_;
};

}  // namespace classgate::gateway
