#pragma once

#include <cstdint>
#include <vector>

#include "admission/gate.h"
#include "admission/simulation/event_heap.h"
#include "admission/simulation/tally.h"
#include "admission/simulation/traffic.h"
#include "admission/simulation/upstream.h"
#include "admission/visit.h"
#include "conf/settings.h"

namespace classgate::simulation {

// The gateway on a virtual clock: the Gate that the gateway asks, asked in the same order and with
// the same permits and places, by requests of which only the times are real. What an Exchange does
// with sockets (gateway/exchange.cpp) a Call does here with events; when which of its states is
// over, and what then, a Visit tells to both. Each lasts until the call's alarm: the earliest of
// what its client's patience and the Visit allow.
// Single-threaded; the same settings, traffic and model give the same result, to the last byte.
class Simulation final : private admission::Waiters {
 public:
  Simulation(const conf::Settings& settings, const conf::UpstreamModel& model, Traffic& traffic);
  ~Simulation();  // may come before the end

  // Lets up to so many events happen. False when nothing is left to happen.
  bool advance(std::uint64_t events);
  Time now() const { return now_; }
  const Tally& tally() const { return tally_; }
  admission::Snapshot books() const { return gate_.snapshot(now_); }
  std::uint64_t events() const { return happened_; }
  // How many requests the service's servers take at once by the settings; Ceilings::none: no limit.
  std::uint32_t places_in_servers() const { return places_in_servers_; }

 private:
  using State = admission::Visit::State;
  struct Call {
    Wish wish;
    admission::Place place;
    admission::Permit permit;
    admission::Visit visit;
    Time alarm_set{};  // when the next alarm in the heap is due
    std::uint32_t job = Upstream::nobody;
    std::uint32_t generation = 0;
  };
  // What Gate tells while it is being asked: heard when that call has returned, as the gateway's
  // loops hear it by letter.
  struct News {
    std::uint32_t slot;
    admission::Permit permit;
    admission::Rejection rejection;  // without a permit
  };

  // admission::Waiters
  void on_granted(admission::Ticket ticket, std::uint32_t tag, admission::Permit permit) override;
  void on_shed(admission::Ticket ticket, std::uint32_t tag,
               const admission::Rejection& rejection) override;

  using RoutesById = admission::ById<admission::RouteId, conf::RouteSettings>;
  static RoutesById routes_by_id(const conf::Settings& settings);

  void pull();
  bool is_void(const Event& event) const;
  void happen(const Event& event);
  void arrive(std::uint32_t slot);
  void ask_for_worker(std::uint32_t slot);
  void take_answer(std::uint32_t slot, admission::Gate::Answer answer);
  void go_in(std::uint32_t slot, admission::Permit permit);
  void hear_news();

  void on_computed(std::uint32_t job);
  void on_alarm(std::uint32_t slot);
  void take(std::uint32_t slot, const admission::Visit::Step& step);
  void leave_line(std::uint32_t slot, const admission::Visit::Step& step);
  void cancel_forwarding(std::uint32_t slot);
  void give_worker_back(std::uint32_t slot, admission::Outcome outcome);
  void stop_waiting(std::uint32_t slot);
  void tell_client(std::uint32_t slot, const Ending& ending);
  void end(std::uint32_t slot, const Ending& ending);

  std::uint32_t take_slot(const Wish& wish);
  void free_slot(std::uint32_t slot);
  Time leaves_at(const Call& call) const;
  void set_alarm(std::uint32_t slot);
  void plan(Event::Kind kind, Time at, std::uint32_t slot, std::uint32_t generation,
            bool is_time_out = false);
  void plan_computed(const std::optional<Upstream::Started>& started);
  admission::Arrival arrival_of(const Call& call, std::uint32_t slot) const;

  const admission::Terms terms_;
  const RoutesById routes_;
  const bool finishes_ = false;  // upstream.on_client_abort
  const std::uint32_t places_in_servers_ = 0;
  Traffic& traffic_;
  Upstream upstream_;
  admission::Gate gate_;  // before what holds permits and places
  Tally tally_;
  Agenda agenda_;
  Event coming_;  // the next of traffic_; not in the heap, which so stays small
  Wish coming_wish_;
  bool is_coming_ = false;
  std::vector<Call> calls_;
  std::vector<std::uint32_t> free_;
  std::vector<News> news_;
  std::vector<News> heard_;
  Time now_{};
  std::uint64_t sequence_ = 0;
  std::uint64_t happened_ = 0;
};

}  // namespace classgate::simulation
