#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/reader.h"
#include "gateway/ops/conf_archive.h"
#include "gateway/ops/errand.h"
#include "gateway/ops/operator_server.h"

namespace classgate::gateway {

// Who asked for a change, as far as that is known: "root", "uid 1000", "an operator at 192.0.2.7".
std::string who_asked(const OperatorServer::Request& request);
std::string who_is(std::uint32_t user);

// Sees to it that each conf that comes into force is kept in state_dir (ops.conf_history), in the
// order in which they came. The disk is an errand's business: nothing waits for it, and a disk that
// hangs costs the record of confs beyond `waiting_max`, which the log tells. On the main thread.
class ConfRecord {
 public:
  static constexpr std::size_t waiting_max = 8;

  explicit ConfRecord(proxy::net::Loop& loop);

  // Why a conf that comes into force now would not be kept, where it is to be: for the answer to
  // whoever asked for that. Empty: nothing speaks against it, or nobody gave this process a folder.
  // Any thread; may wait for the disk.
  static std::string why_not(const conf::Settings& settings);
  // `loaded` came of `conf_path` and is in force. `changes` is what it says differently from the
  // one before; none: that is found out, by what the last one that was kept says.
  void note(const conf::Loaded& loaded, const conf::Sources& sources, std::string_view what,
            std::string_view by, std::optional<std::vector<std::string>> changes);

 private:
  struct Note {
    std::string folder;
    std::size_t most;
    KeptConf conf;
    // To compare with the last one that was kept; none: `conf.changes` says it.
    std::optional<conf::Loaded> loaded;
    conf::Sources sources;
  };
  static std::string write(Note& note);
  void write_next();
  void on_written(const std::string& trouble);

  proxy::net::Loop& loop_;
  std::deque<Note> waiting_;
  std::string last_trouble_;  // told once
  Errand<std::string> errand_;
};

}  // namespace classgate::gateway
