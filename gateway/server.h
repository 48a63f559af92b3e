#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gateway/shared.h"
#include "gateway/station.h"

namespace classgate::gateway {

// The whole gateway but for signals: sockets, loops, threads. Built, started and ended by one
// thread (main, or a test), which is none of the loops'.
class Server {
 public:
  // Opens everything that can fail. The error is one line for an operator.
  static std::expected<std::unique_ptr<Server>, std::string> open(const conf::Settings& settings);
  ~Server();

  // `on_drained` is called on some loop's thread when the last connection has gone after drain().
  void start(std::function<void()> on_drained);
  // Accepts nothing new, finishes what was accepted.
  void drain();
  // Ends the loops, whatever they are doing, and waits for the threads.
  void stop();

  // One line: what it listens on, what it forwards to, which limits hold.
  std::string description() const;
  // With the ports the kernel chose. Before drain(), as description().
  std::vector<std::string> listen_addresses() const;
  admission::Snapshot snapshot() const;
  std::uint32_t connections() const { return shared_->connections.load(); }

 private:
  Server() = default;
  static std::uint32_t connection_limit(const conf::Settings& settings);

  std::unique_ptr<AccessLog> access_log_;
  std::unique_ptr<proxy::Servers> servers_;
  std::unique_ptr<Shared> shared_;
  std::vector<proxy::net::Fd> sockets_;
  std::vector<std::unique_ptr<Station>> stations_;
  std::vector<std::thread> threads_;
  std::atomic<std::size_t> stations_listening_{0};
  std::atomic<std::size_t> stations_not_empty_{0};
  std::function<void()> on_drained_;
};

}  // namespace classgate::gateway
