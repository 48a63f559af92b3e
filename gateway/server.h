#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gateway/listening.h"
#include "gateway/shared.h"
#include "gateway/station.h"

namespace classgate::gateway {

class Sharing;
class SharedWorkers;
class UsageHistory;

// Listening sockets that another process left us. Taken where the conf wants them, before new ones
// are opened; or, when they are given (socket activation), instead of what the conf wants.
struct Inherited {
  std::vector<proxy::net::ListeningSocket> sockets;
  bool are_given = false;
  std::string via_name;  // of the process that we take over from (gateway/shared.h); empty: none
};

// Reads certificates and keys as the settings want them; `keys` for tickets, or fresh ones. The
// error has a line for each that is bad.
std::expected<Policy::Tls, std::string> open_tls(
    const conf::Settings& settings, std::shared_ptr<const proxy::net::TicketKeys> keys = nullptr);

// For operators, where file descriptors leave room for fewer than client.max_connections; empty:
// nothing is wrong.
std::string lack_of_descriptors(const conf::Settings& settings);

// The whole data path: sockets, loops, threads. Built, started, changed and ended by one thread
// (main, or a test), which is none of the loops'.
class Server {
 public:
  // Opens everything that can fail. The error is one line for an operator.
  static std::expected<std::unique_ptr<Server>, std::string> open(const conf::Settings& settings,
                                                                  Inherited inherited = {});
  ~Server();

  // Goes on from what the process before had learnt. Before start().
  void take_up(const admission::Memo& memo) { shared_->gate.take_up(memo); }
  // Likewise; at any time where it knows nothing of patterns.
  void take_up(const admission::PatternMemo& memo, admission::Time now) {
    shared_->gate.take_up(memo, now);
  }
  std::size_t forget_patterns(std::uint32_t upper_half) {
    return shared_->gate.forget_patterns(upper_half);
  }
  // `on_drained` is called on some loop's thread when the last connection has gone after drain().
  void start(std::function<void()> on_drained);

  // New settings while requests flow: all of them or, with the error for an operator, none. In two
  // steps. The first looks names up that were not known before and opens sockets, certificates and
  // the log: it may wait, and may be taken on any thread. The second waits for nothing.
  struct InForce {
    std::shared_ptr<const Policy> policy;
    Sockets sockets;
    bool sockets_are_given;
    HashKey hash_key;  // of the clients' ids
    bool ids_last;     // the next process will have the same of clients
  };
  struct Preparation {
    conf::Settings settings;
    proxy::Servers::Names names;
    OpenedSockets sockets;
    Policy::Tls tls;
    std::shared_ptr<Quotas> quotas;
    std::shared_ptr<const conf::TimeZone> time_zone;
    std::shared_ptr<const QuotaNames> quota_names;
    std::optional<LogTarget> access_log;  // none: off
  };
  InForce in_force() const;
  // Certificates and keys: read again, as a reload does, or as they were as long as the settings
  // say the same of them.
  enum class Files : std::uint8_t { read_again, as_they_were };
  static std::expected<Preparation, std::string> prepare(const conf::Settings& settings,
                                                         const InForce& now,
                                                         Files files = Files::read_again);
  // What was accepted is never dropped. `history` is shown to operators.
  std::expected<void, std::string> reconfigure(Preparation&& ready, ConfHistory history);
  // Both, for one who may wait.
  std::expected<void, std::string> reconfigure(const conf::Settings& settings,
                                               ConfHistory history) {
    auto ready = prepare(settings, in_force());
    if (!ready) return std::unexpected(ready.error());
    return reconfigure(std::move(*ready), std::move(history));
  }

  // How long its end tries again to write what was counted, of quotas and for the history each:
  // whoever stops it waits for that, and beside a successor nobody does.
  static constexpr std::chrono::seconds patience_at_end{5};
  static constexpr std::chrono::seconds patience_beside_successor{60};

  // Nothing else than what operators see of the conf's past.
  void note(ConfHistory history);
  // A name in upstream.servers has these addresses now.
  void use_endpoints(const conf::Address& wanted,
                     const std::vector<proxy::net::Endpoint>& endpoints);
  // Why it has no addresses still.
  void note_unknown(const conf::Address& wanted, const std::string& why);
  // Seals new session tickets with another key.
  void rotate_ticket_keys();
  // Accepts nothing new, finishes what was accepted. With a successor nobody is refused either:
  // whoever has a connection may ask once more.
  void drain(const Drain& how = {});
  // Takes back a drain that had a successor: accepts on these again.
  void resume(Sockets sockets);
  // Ends the loops, whatever they are doing, and waits for the threads.
  void stop();

  // One line: what it listens on, what it forwards to, which limits hold.
  std::string description() const;
  // With the ports the kernel chose. Empty after drain().
  std::vector<std::string> listen_addresses() const;
  const Sockets& sockets() const { return sockets_; }
  bool sockets_are_given() const { return sockets_are_given_; }
  const conf::Settings& settings() const { return policy_->rules->settings; }
  const Policy& policy() const { return *policy_; }
  const Shared& shared() const { return *shared_; }
  // As Shared::note_exception(), from any thread.
  void note_exception(const std::exception& thrown) { shared_->note_exception(thrown); }
  admission::Snapshot snapshot() const;
  std::uint32_t connections() const { return shared_->connections.load(); }

  // For /metrics and the watchdog.
  const std::vector<std::unique_ptr<Station>>& stations() const { return stations_; }
  void reopen_access_log() { access_log_->reopen(); }
  // Each loop calls `on_turn` once, on its thread, as soon as it turns. Returns how many will.
  std::size_t ask_turns(const std::function<void()>& on_turn);
  // The same with those that wait there.
  using OnWaiters = std::function<void(std::vector<WaitingRequest>)>;
  std::size_t ask_waiters(const OnWaiters& on_waiters);
  // The same with what is kept of the requests with this id.
  using OnDecisions = std::function<void(Decisions)>;
  std::size_t ask_decisions(const std::string& id, const OnDecisions& on_decisions);
  // Who used how much; null: nobody keeps a history, or it has not started.
  UsageHistory* usage() const { return usage_.get(); }
  // One more bound of the workers in force (admission/ceilings.h), until another value or
  // Ceilings::none takes its place; a reload leaves it as it is. Not shown as the conf's.
  void set_ceiling(admission::Ceilings::Source source, std::uint32_t workers);
  // So many of the workers in force are another process's, before the same service.
  void set_kept_elsewhere(std::uint32_t workers);

 private:
  Server() = default;
  static std::expected<std::shared_ptr<Quotas>, std::string> open_quotas(
      const conf::Settings& settings, const HashKey& key, bool ids_last);
  void take_inherited(Inherited inherited);
  void take_back_rules();
  void put_in_force(std::shared_ptr<const Policy> policy);
  void tell_stations(std::shared_ptr<const Policy> policy);
  bool use_servers(std::shared_ptr<proxy::Servers> servers);  // false: they are in use already

  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<Shared> shared_;
  HashKey hash_key_{};  // of the clients' ids, for good
  bool ids_last_ = true;
  std::shared_ptr<const Policy> policy_;
  Sockets sockets_;
  bool sockets_are_given_ = false;
  bool has_successor_ = false;  // while it drains
  std::string sandbox_text_;    // what keeps the loops, for the log
  std::unique_ptr<UsageHistory> usage_;
  // Of workers that several gateways have together; null: this one is alone.
  std::unique_ptr<SharedWorkers> shared_workers_;
  std::unique_ptr<Sharing> sharing_;  // uses the former
  std::vector<std::unique_ptr<Station>> stations_;
  std::vector<std::thread> threads_;
  std::unique_ptr<MemoryKeeper> memory_keeper_;  // sends letters to the stations
  std::atomic<std::size_t> stations_not_empty_{0};
  std::function<void()> on_drained_;
};

}  // namespace classgate::gateway
