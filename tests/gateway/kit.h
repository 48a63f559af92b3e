#pragma once

// What the gateway's tests are made of: a real Server in this process, a scripted upstream behind
// it (upstream.h), raw clients before it.

#include <atomic>
#include <functional>
#include <memory>
#include <ostream>

#include "gateway/server.h"
#include "tests/gateway/message.h"
#include "tests/gateway/upstream.h"

namespace classgate::gateway::test {

// What the test program was told (main.cpp).
struct Run {
  std::uint32_t threads = 1;  // loops of every gateway that does not say otherwise
  std::uint64_t seed = 1;
  int stress_requests = 3000;
};
const Run& run();

// Waits until the condition holds.
bool await(const std::function<bool()>& condition, milliseconds wait = patience);
bool comes_to_hold(const FakeUpstream& upstream, int requests);

// Everything small and nothing limited: 127.0.0.1, a port of the kernel's choice, 4 workers, a
// queue of 10, no rate limit, long timeouts, nobody held when no server is up.
conf::Settings settings_for(std::uint16_t upstream_port);

struct Books {
  std::uint64_t processed = 0;
  std::uint64_t failed = 0;
  std::uint64_t rejected = 0;
  std::uint64_t abandoned = 0;
  bool operator==(const Books&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Books& books);

class Gateway {
 public:
  explicit Gateway(const conf::Settings& settings);
  ~Gateway();

  std::uint16_t port() const { return port_; }
  Server& server() { return *server_; }
  // Checks, each time, that the books balance.
  admission::Snapshot snapshot() const;
  // Nothing runs, nothing waits, and the books say this. Waits for it; complains when it does not
  // come true.
  bool settles_at(const Books& expected) const;
  bool comes_to_wait(std::size_t waiting) const;
  bool comes_to_run(std::uint32_t active) const;
  std::uint64_t rejected(conf::Reason reason) const;
  std::uint64_t failed(conf::Reason reason) const;
  // What /queue/health says to operators (a stranger's is asked for with a Client): JSON.
  std::string health() const;
  bool is_drained() const { return drained_; }

 private:
  std::atomic<bool> drained_{false};
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
};

// Whether every loop gave a sign of life within this time.
bool every_loop_turns(Server& server, milliseconds within);
// Who waits on a gateway with one loop.
std::vector<WaitingRequest> waiting_requests(Server& server);

// One raw client connection.
class Client {
 public:
  explicit Client(const Gateway& gateway, int receive_buffer = 0)
      : socket(Socket::connect(gateway.port(), receive_buffer)) {}

  bool send(std::string_view text) { return socket.send(text); }
  // An empty message (status 0) when none came.
  Message read_answer(MessageReader::Kind kind = MessageReader::Kind::answer);
  Message ask(std::string_view request) {
    send(request);
    return read_answer(request.starts_with("HEAD ") ? MessageReader::Kind::answer_to_head
                                                    : MessageReader::Kind::answer);
  }
  // The gateway closes the connection, in order or not, and sends nothing more.
  bool is_closed();
  // Nothing has come, and the connection stands. (Looks once: wait for something else first.)
  bool is_silent() { return !socket.wait_readable(0ms); }

  Socket socket;
  MessageReader reader{socket};
};

std::string get(std::string_view target, std::string_view fields = {});
std::string post(std::string_view target, std::string_view body, std::string_view fields = {});
// In chunks of the given sizes.
std::string post_chunked(std::string_view target, const std::vector<std::string>& chunks,
                         std::string_view trailers = {});
std::string chunk(std::string_view data);
// Bytes that are different everywhere, so that a lost or doubled piece is seen.
std::string pattern(std::size_t size);

}  // namespace classgate::gateway::test
