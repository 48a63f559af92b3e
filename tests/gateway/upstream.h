#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/gateway/message.h"

namespace classgate::gateway::test {

class FakeUpstream;

// One connection to the fake upstream, seen from the upstream's side, on a thread of its own.
class Peer {
 public:
  Peer(FakeUpstream& upstream, proxy::net::Fd fd, int stop_fd);

  std::optional<Message> read_request();
  std::optional<Message> read_request_head();  // the body is left where it is
  bool send(std::string_view text) { return socket.send(text); }
  // Waits until the test lets one more go on. False when the test ends.
  bool hold();
  // Is busy for so long, whatever the gateway does; not longer than the test.
  void work(milliseconds time);
  // The gateway has closed the connection (or sent more than was read).
  bool wait_gone();

  Socket socket;

 private:
  FakeUpstream& upstream_;
  MessageReader reader_{socket};
};

// A service that does what the script says with each connection: answers, stalls, lies or dies.
class FakeUpstream {
 public:
  using Script = std::function<void(Peer&)>;
  using Handler = std::function<void(Peer&, const Message& request)>;

  explicit FakeUpstream(Script script);
  FakeUpstream(Script script, DeadPort& comes_alive);
  ~FakeUpstream();
  // Answers one request after the other.
  static Script each(Handler handler);
  // ... with 200 and the request's method and target as body.
  static Script echo_target();
  // ... after the test has let it go.
  static Script held();

  std::uint16_t port() const { return port_; }
  // Lets `count` more that are held, or will be, go on.
  void release(int count = 1);
  int holding() const;      // are held now
  int connections() const;  // that have carried a request, or part of one
  std::vector<Message> requests() const;
  std::size_t request_count() const { return requests().size(); }
  std::vector<std::string> targets() const;
  int open_connections() const { return open_.load(); }

 private:
  friend class Peer;
  void begin();
  void accept_all();

  Script script_;
  std::uint16_t port_ = 0;
  proxy::net::Fd listener_;
  proxy::net::Fd stop_read_;
  proxy::net::Fd stop_write_;
  mutable std::mutex mutex_;
  std::condition_variable released_;
  std::vector<Message> requests_;
  int permits_ = 0;
  int holding_ = 0;
  int connections_ = 0;
  bool stopping_ = false;
  std::atomic<int> open_{0};
  std::list<std::thread> peers_;
  std::thread acceptor_;
};

std::string answer_with(std::string_view body, std::string_view fields = {}, int status = 200);

}  // namespace classgate::gateway::test
