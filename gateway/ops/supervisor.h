#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "conf/reader.h"
#include "gateway/error_log.h"
#include "gateway/ops/access.h"
#include "gateway/ops/api.h"
#include "gateway/ops/conf_changes.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/events.h"
#include "gateway/ops/forecast_hook.h"
#include "gateway/ops/handover.h"
#include "gateway/ops/kept_patterns.h"
#include "gateway/ops/live_forecast.h"
#include "gateway/ops/name_watch.h"
#include "gateway/ops/operator_server.h"
#include "gateway/ops/questions.h"
#include "gateway/ops/roll_call.h"
#include "gateway/ops/table_watch.h"
#include "gateway/ops/upgrade.h"
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
class Supervisor final : private ConfChanges::Owner, private HandOver::Owner {
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
  // Before the conf is read: of the signals that ask something of a process that serves none ends
  // one that is about to; they are heard when it does. Those that end it still do.
  static void block_requests();

  Supervisor(Start start, ErrorLog& log, Server& server, Inheritance inheritance);
  ~Supervisor();

  // Serves until the end; returns the exit status of the process.
  int run();

 private:
  struct DataPathDrained {};

  void on_signal();
  void on_signal(int number, std::uint32_t sender);

  // The end.
  void drain(const std::string& why);
  void end(int status);
  void on_drained();
  void on_drain_timeout();

  // The conf.
  std::optional<std::string> why_no_change() const override;
  const OperatorServer::Sockets& operator_sockets() const override { return operator_sockets_; }
  std::expected<void, std::string> put_in_force(Server::Preparation&& prepared,
                                                ConfHistory history) override;
  void on_conf_changed(OperatorServer::Sockets sockets, OperatorTokens tokens) override;
  void read_tokens();
  void open_control(const conf::OpsSettings& settings);
  void use_operator_sockets(OperatorServer::Sockets sockets);

  // Upgrade.
  void upgrade(const HandOver::Tell& tell);
  OperatorServer::Sockets on_handed_over(int successor) override;
  void on_taken_back(OperatorServer::Sockets operators) override;
  void on_last_worker_back() override { on_drained(); }

  // Operators.
  void take_orders();

  // The service manager.
  void tell_status();
  std::map<std::string, int> own_sockets() const;
  void keep_sockets();  // over a crash
  void feed_watchdog();
  void note_turns(bool every_loop);
  void rotate_ticket_keys();
  void warn_of_certificates() const;
  void on_report(const history::DemandReport& report);
  GrpcAnswer answer_call(const OperatorServer::Request& request);
  std::string status_line() const override;

  struct Timers {
    explicit Timers(Supervisor* of);
    proxy::net::Timer drain;
    proxy::net::Timer status;
    proxy::net::Timer watchdog;
    proxy::net::Timer tickets;
  };

  // What the service manager knows, and wants to know.
  struct Manager {
    std::string last_status{};
    std::set<std::string> kept_sockets;  // that it has, by name
    std::chrono::milliseconds watchdog_interval;
  };
  struct Signals {
    explicit Signals(Supervisor* of);
    proxy::net::Fd fd;
    proxy::net::Watch watch;
  };
  struct Forecast {
    ForecastHook hook;
    LiveForecast live;
  };
  // What the log tells now and then: addresses that names had, tables that had no room.
  struct Watches {
    NameWatch names;
    TableWatch tables;
  };
  struct Ending {
    bool is_draining = false;
    bool was_told_to = false;  // since the hand-over
    int status = 0;            // of the process
  };

  Start start_;
  ErrorLog& log_;
  Server& server_;
  Inheritance inheritance_;
  proxy::net::Loop loop_;
  Signals signals_;
  proxy::net::Mailbox<DataPathDrained> mailbox_;
  Desk desk_;
  OperatorServer operators_;
  RollCall roll_;
  Questions questions_;
  Access access_;
  Events events_;
  Forecast forecast_;
  KeptPatterns patterns_;
  Watches watches_;
  OperatorServer::Sockets operator_sockets_;
  std::string control_path_;  // ours to remove; empty when there is none
  Timers timers_;
  ConfChanges changes_;
  Api api_;
  Manager manager_;
  HandOver handover_;
  TakeOver takeover_;
  Ending ending_;
};

}  // namespace classgate::gateway
