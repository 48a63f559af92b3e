#pragma once

#include <chrono>
#include <deque>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/reader.h"
#include "gateway/error_log.h"
#include "gateway/ops/conf_record.h"
#include "gateway/ops/errand.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/operator_tokens.h"
#include "gateway/server.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// Changes of the conf while the process runs: reload and set. What a change needs is read, looked
// up and opened by an errand; then nothing waits. One at a time. On the main thread.
class ConfChanges {
 public:
  using Lines = std::vector<std::string>;
  // What came of one, in lines; `ok` when the settings are in force.
  struct Change {
    bool ok = false;
    Lines lines;
  };
  using TellChange = std::function<void(const Change&)>;

  // What a change needs of the process.
  class Owner {
   public:
    // Why nothing may be changed at the moment, if so.
    virtual std::optional<std::string> why_no_change() const = 0;
    virtual const OperatorServer::Sockets& operator_sockets() const = 0;
    virtual std::expected<void, std::string> put_in_force(Server::Preparation&& prepared,
                                                          ConfHistory history) = 0;
    // The new settings are in force; these are the operators' sockets from now on, the control
    // socket among them, if there is one.
    virtual void on_conf_changed(OperatorServer::Sockets sockets, OperatorTokens tokens) = 0;
    virtual std::string status_line() const = 0;

   protected:
    ~Owner() = default;
  };

  // `loaded` came of `sources`, and is in force.
  ConfChanges(proxy::net::Loop& loop, Owner& owner, Server& server, ErrorLog& log,
              conf::Sources sources, conf::Loaded loaded);

  // `what` is what the log and the history call it; `by` is who asked, empty: nobody knows.
  struct Origin {
    std::string what = "reload";
    std::string by{};
  };
  void reload(TellChange tell, Origin origin);
  void reload_by_signal(const std::string& by);
  void set(const std::string& key, const std::string& value, TellChange tell, std::string by);
  // The conf with which the process began, by "start" or "upgrade".
  void note_start(std::string_view what);
  const conf::Loaded& loaded() const { return loaded_; }  // in force
  // What came of the last ones, the newest last; at most past_max.
  struct Past {
    std::chrono::system_clock::time_point at;
    Origin origin;  // "reload", "set admission.workers = 9"
    Change change;
  };
  static constexpr std::size_t past_max = 50;
  const std::deque<Past>& past() const { return past_; }
  bool is_under_way() const { return errand_.is_under_way(); }
  // That which is under way, if any.
  void give_up(const std::string& why);

 private:
  // The path of a control socket that was opened: it goes again unless it is kept.
  class FreshPath {
   public:
    FreshPath() = default;
    explicit FreshPath(std::string path) : path_(std::move(path)) {}
    FreshPath(FreshPath&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    FreshPath& operator=(FreshPath&& other) noexcept {
      std::swap(path_, other.path_);
      return *this;
    }
    ~FreshPath();
    void keep() { path_.clear(); }

   private:
    std::string path_;
  };
  struct Prepared {
    conf::Loaded loaded;
    Server::Preparation server;
    OperatorServer::Sockets operators;
    LogTarget log;
    FreshPath control;
    Lines warnings;
    OperatorTokens tokens;
  };
  using Outcome = std::expected<Prepared, Lines>;
  struct Before {
    conf::Sources sources;
    conf::Loaded loaded;
  };
  std::optional<std::string> why_none() const;
  void prepare(conf::Sources sources, std::function<Change(Outcome&&)> then, TellChange tell);
  static Outcome prepare_now(const conf::Sources& sources, const Before& before,
                             const Server::InForce& server,
                             const OperatorServer::Sockets& operators);
  static std::expected<void, std::string> open_control(const std::string& path,
                                                       const OperatorServer::Sockets& open,
                                                       Prepared& prepared);
  static Lines lost_by(const conf::Loaded& loaded, const Before& before);
  void note_differences(conf::Loaded loaded, Change& change);
  static void tell_differences(Lines changes, Change& change);
  void on_prepared(Outcome&& outcome);
  void on_timeout();
  void conclude(const Change& change);
  Change reloaded(Outcome&& outcome, ConfHistory history, Lines forgotten);
  Change apply(Prepared&& prepared, ConfHistory history);
  Change refuse(Lines lines);

  proxy::net::Loop& loop_;
  Owner& owner_;
  Server& server_;
  ErrorLog& log_;
  // What only a start takes, as this process has it, whatever the conf said since.
  const struct AtStart {
    conf::Sandbox sandbox;
    bool core_dumps;
    std::string secret;
    std::string demand_file;
  } at_start_;
  conf::Sources sources_;
  conf::Loaded loaded_;
  // The change that is under way, if any. Told of a failure, `then_` refuses it.
  std::function<Change(Outcome&&)> then_;
  TellChange tell_;
  Origin origin_;  // of it
  std::deque<Past> past_;
  std::optional<std::string> reloads_again_;  // SIGHUP came meanwhile: by whom
  proxy::net::Timer timer_;
  Errand<Outcome> errand_;
  ConfRecord record_;
};

// A line for each key that was set at run time, once the conf is read anew.
std::vector<std::string> lines_of_forgotten(const ConfHistory& history);

// Those that are open already, then those that were inherited, else new ones.
std::expected<OperatorServer::Sockets, std::string> open_operator_sockets(
    const conf::OpsSettings& settings, const OperatorServer::Sockets& open,
    std::vector<proxy::net::ListeningSocket>& inherited_ones);

}  // namespace classgate::gateway
