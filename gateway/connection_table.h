#pragma once

#include <memory>
#include <vector>

#include "conf/reason.h"
#include "gateway/client_connection.h"
#include "gateway/clients/client_identity.h"
#include "gateway/letter.h"
#include "gateway/turn_line.h"
#include "proxy/net/listener.h"

namespace classgate::gateway {

class Station;

// The client connections of one loop: who is let in, who gives way when there is no room for a
// newcomer, and who when memory runs out. On the loop.
class ConnectionTable {
 public:
  explicit ConnectionTable(Station& station);

  // Who waits in the backlog of a socket that goes is accepted first.
  void stop_listening_except(const Sockets& sockets);
  void listen_on(const Sockets& sockets);
  // With the backlog, or, where another process listens on the same socket, without.
  void stop_listening(bool with_backlog);

  bool is_empty() const { return connections_.empty(); }
  void close(ClientConnection& connection);
  void drain();
  // By the trusted proxies of the policy in force.
  void judge_senders();
  // Those that have not had all of an answer are reset, not just closed.
  void reset_unfinished();
  // Counts it among the connections of its address; false when that has too many already.
  bool count_client(ClientConnection& connection);
  // The connection that ends now must be gone at once: another one waits for its room.
  bool is_making_room() const { return is_making_room_; }
  // More of its input is used in a turn to come: ClientConnection::on_turn().
  void wait_for_turn(ClientConnection& connection);
  // Those that hold most give way until memory is ample again.
  void take_memory_back();

 private:
  void accept(proxy::net::Fd fd, const proxy::net::SocketAddress& address, bool is_tls,
              const std::shared_ptr<const ClientIdentities::Listener>& listener);
  bool take_room();
  bool make_room();
  void turn_away(proxy::net::Fd fd, bool is_tls, conf::Reason reason,
                 const ClientIdentities::Listener* listener);
  bool take_client(const conf::IpAddress& address, bool& is_counted);

  Station& station_;
  TurnLine turns_;
  std::vector<std::unique_ptr<ClientConnection>> connections_;
  std::vector<std::unique_ptr<proxy::net::Listener>> listeners_;
  bool is_making_room_ = false;
  proxy::net::Time next_relief_{};  // not before: the last one found too little
};

}  // namespace classgate::gateway
