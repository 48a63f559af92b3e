#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conf/sha256.h"
#include "gateway/ops/desk.h"
#include "gateway/ops/operator_server.h"
#include "gateway/server.h"
#include "proxy/net/timer.h"

namespace classgate::gateway {

// What the page is told each second, as server-sent events: first all of it, then what differs
// from the second before, by JSON pointer (RFC 6901), null for what has gone. One event is made
// for all who watch. Who comes again within a minute and says which event he had last
// (Last-Event-ID) has the ones that he missed; who does not read is given all of it later. An id is
// "EPOCH-NUMBER": one of another process, before a restart or an upgrade, is known as such, and all
// of it is told.
//
// When all places are taken, the oldest viewer of whoever has most of them gives way to a newcomer
// who has fewer, or who is the same: he is told so ("event: displaced"), and his page asks no more.
//
// Looks only while somebody watches, and linger_time longer. Bounded: ops.viewers_max, kept_max
// events, recent_max samples. On the main thread.
class Events {
 public:
  static constexpr std::chrono::seconds linger_time{600};
  static constexpr std::size_t kept_max = 60;
  static constexpr std::size_t recent_max = 600;  // seconds

  Events(proxy::net::Loop& loop, const Server& server, OperatorServer& operators);

  // Whom a viewer's place counts for (Access::party_of).
  using Party = conf::Sha256;
  void add_viewer(const Desk::Request& request, const Party& party, const Desk::Responder& answer);
  // The last minutes as far as somebody looked, for the charts of one who comes.
  OperatorServer::Reply recent();

 private:
  struct Viewer {
    std::uint64_t connection;
    std::uint64_t has;  // the number of the last event that he was sent
    Party party;
  };
  struct Event {
    std::uint64_t number;
    std::string text;
  };
  void wake();
  void on_tick();
  void look();
  void send_to(Viewer& viewer);
  bool make_room(const Party& party);
  std::optional<std::uint64_t> number_in(std::string_view id) const;
  std::string event_text(std::string_view kind, const nlohmann::ordered_json& json) const;
  std::string all() const;
  std::string missed_since(std::uint64_t number) const;

  const Server& server_;
  OperatorServer& operators_;
  proxy::net::Timer timer_;
  bool is_awake_ = false;
  std::chrono::steady_clock::time_point asked_at_;
  const std::string epoch_;     // of this process
  std::uint64_t number_ = 0;    // of the last event
  nlohmann::ordered_json now_;  // flat
  std::string status_;
  std::string status_since_;  // empty: since before anybody looked
  std::deque<Event> kept_;
  std::deque<std::vector<double>> recent_;
  std::vector<Viewer> viewers_;  // the oldest first
};

}  // namespace classgate::gateway
