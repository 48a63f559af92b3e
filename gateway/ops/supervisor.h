#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conf/reader.h"
#include "gateway/error_log.h"
#include "gateway/ops/conf_changes.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/handover.h"
#include "gateway/ops/name_watch.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/questions.h"
#include "gateway/ops/roll_call.h"
#include "gateway/server.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/timer.h"
#include "proxy/net/watch.h"

namespace classgate::gateway {

// The main thread: everything that concerns the process and not a request. Signals, the service
// manager, operators' questions and orders, reload, upgrade, the end. Has a loop of its own, so
// that neither the data path waits for it nor it for the data path, nor for a disk or a name: what
// may wait is an errand (ops/errand.h), and loops are asked by a roll call.
//
//   SIGTERM, SIGINT, SIGQUIT  drain; the second time end at once
//   SIGHUP                    reload the conf
//   SIGUSR1                   open the logs anew
//   SIGUSR2                   upgrade: start the program that is installed now in our place
class Supervisor final : private ConfChanges::Owner {
 public:
  // How the process was started: needed again at a reload and an upgrade.
  struct Start {
    conf::Sources sources;
    conf::Loaded loaded;  // what came of them
    std::string program;
    std::vector<std::string> arguments;
  };
  // Before there is a second thread: blocks the signals that it handles.
  static void block_signals();

  Supervisor(Start start, ErrorLog& log, Server& server, Inheritance inheritance);
  ~Supervisor();

  // Serves until the end; returns the exit status of the process.
  int run();

 private:
  struct DataPathDrained {};

  void on_signal();
  void on_signal(int number);

  // The end.
  void drain(const std::string& why);
  void end(int status);
  void on_drained();
  void on_drain_timeout();

  // The conf.
  std::optional<std::string> why_no_change() const override;
  const OperatorServer::Sockets& operator_sockets() const override { return operator_sockets_; }
  std::expected<void, std::string> put_in_force(Server::Preparation&& prepared, ConfHistory history,
                                                const conf::Settings& settings) override;
  void on_conf_changed(OperatorServer::Sockets sockets) override;
  void open_control(const conf::OpsSettings& settings, OperatorServer::Sockets& sockets);

  // Upgrade.
  void upgrade(std::function<void(bool ok, const std::string& text)> tell);
  void on_successor_says();
  void on_successor_ended();
  void on_upgrade_timeout();
  void fail_upgrade(const std::string& why);
  void hand_over();
  void share_workers();  // the old one's side, while it drains
  void let_go_of_sockets();
  void take_back();
  // The new one's side.
  void take_over();
  void take_more_workers();
  void use_what_is_left(std::uint32_t workers);

  // Operators.
  void take_orders();

  // The service manager.
  void tell_status();
  void keep_sockets();  // over a crash
  void feed_watchdog();
  void note_turns(bool every_loop);
  void rotate_ticket_keys();
  void warn_of_certificates() const;
  std::string status_line() const override;

  Start start_;
  ErrorLog& log_;
  Server& server_;
  Inheritance inheritance_;
  proxy::net::Loop loop_;
  proxy::net::Fd signals_;
  proxy::net::Watch signal_watch_;
  proxy::net::Mailbox<DataPathDrained> mailbox_;
  Desk desk_;
  OperatorServer operators_;
  RollCall roll_;
  Questions questions_;
  NameWatch names_;
  OperatorServer::Sockets operator_sockets_;
  std::string control_path_;  // ours to remove; empty when there is none
  proxy::net::Timer drain_timer_;
  proxy::net::Timer status_timer_;
  proxy::net::Timer watchdog_timer_;
  proxy::net::Timer ticket_timer_;
  proxy::net::Timer upgrade_timer_;
  proxy::net::Timer share_timer_;
  std::string last_status_;
  ConfChanges changes_;
  std::set<std::string> kept_sockets_;  // the service manager has them, by name
  std::chrono::milliseconds watchdog_interval_;

  std::optional<HandoverChannel> predecessor_;
  std::unique_ptr<proxy::net::Watch> predecessor_watch_;
  std::uint32_t predecessor_keeps_ = 0;  // of the workers
  std::optional<Successor> successor_;
  std::unique_ptr<proxy::net::Watch> successor_channel_watch_;
  std::unique_ptr<proxy::net::Watch> successor_process_watch_;
  std::function<void(bool, const std::string&)> tell_upgrade_;
  std::uint32_t kept_workers_ = 0;             // while we share them with a successor
  std::optional<std::uint32_t> told_workers_;  // what it knows of that
  Sockets lent_sockets_;  // after a hand-over, as long as we would accept on them again
  OperatorServer::Sockets lent_operator_sockets_;
  bool handed_over_ = false;
  std::chrono::steady_clock::time_point grace_over_;  // after the hand-over
  bool was_told_to_end_ = false;                      // since then
  bool data_path_drained_ = false;
  bool draining_ = false;
  int exit_status_ = 0;
};

}  // namespace classgate::gateway
