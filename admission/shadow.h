#pragma once

#include <queue>
#include <vector>

#include "admission/controller.h"

namespace classgate::admission {

struct ShadowMemo;

// A second policy in the shadow of the one in force: it sees every arrival, decides, and nobody
// obeys. What becomes of a request there is held against the verdict on it here, live.
//
// In the shadow a request that goes in keeps its worker for as long as its route's requests lately
// did; a client that leaves early is not known to it. Beside the Controller's own work each arrival
// costs O(log workers), memory is bounded by the shadow's workers and queue. Not thread-safe.
class Shadow {
 public:
  // `ids`: of the conf in force, with which requests come. What the shadow's own has of the same
  // name applies to them.
  Shadow(const conf::AdmissionSettings& settings, const Ids& ids) : controller_(settings, ids) {}
  explicit Shadow(const conf::AdmissionSettings& settings) : controller_(settings) {}

  // Other ids, and whatever else the settings say by now; what it has counted stays.
  void reconfigure(const conf::AdmissionSettings& settings, const Ids& ids, Time now) {
    catch_up(now);
    controller_.reconfigure(settings, ids, now);
    listen(now);
  }
  // A request has got its verdict: refused for a reason, or none. `work` is what such requests
  // take.
  void compare(Arrival arrival, std::optional<conf::Reason> refused, Duration work, Time now);
  // As Controller::settle().
  void settle(const Arrival& arrival, Time now) { controller_.settle(arrival, now); }
  ShadowCounts counts() const;
  // As Controller has them, with the counts.
  ShadowMemo learnt(Time now) const;
  std::size_t show_debtors(std::size_t first, std::size_t count, Time now, Debtors& to) const {
    return controller_.show_debtors(first, count, now, to);
  }
  void take_up(const ShadowMemo& memo, Time at);

 private:
  struct End {
    Time at;
    Seat seat;
    bool operator>(const End& other) const { return at > other.at; }
  };
  void catch_up(Time now);
  void listen(Time now);
  void goes_in(const Seat& seat, std::uint32_t refused, Time now);
  void is_refused(conf::Reason reason, std::uint32_t refused);

  Controller controller_;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  ById<RouteId, Duration> works_;
  ShadowCounts counts_{.is_on = true};
};

}  // namespace classgate::admission
