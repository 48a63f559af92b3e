// Links conf and admission and nothing else: proof at every build that admission decides without a
// socket, a thread or a clock of its own. Sends a virtual minute of traffic through the defaults.

#include <cstdio>
#include <functional>
#include <queue>
#include <vector>

#include "admission/controller.h"
#include "admission/route_table.h"

using namespace classgate;
using namespace std::chrono_literals;
using admission::Time;

namespace {

// A service that takes 400 ms for each request, and the workers in it.
class VirtualMinute {
 public:
  explicit VirtualMinute(const conf::Settings& settings)
      : controller_(settings.admission), routes_(settings.routes) {}

  void run() {
    constexpr const char* paths[] = {"/v1/classify", "/v1/classify/batch", "/health", "/other"};
    std::size_t turn = 0;
    for (Time now{}; now < Time{} + 1min; now += 5ms) {
      finish_until(now);
      arrive(paths[turn++ % 4], now);
    }
    finish_until(Time::max());
  }
  admission::Snapshot books() const { return controller_.snapshot(Time{} + 1min); }

 private:
  void arrive(const char* path, Time now) {
    const admission::Route& route = routes_.find(path);
    admission::Arrival arrival{.priority = route.priority,
                               .rate_limited = route.rate_limited,
                               .cost = route.cost,
                               .at = now};
    if (controller_.screen(arrival, now)) return;
    const admission::Verdict verdict = controller_.arrive(arrival, now);
    if (const auto* admitted = std::get_if<admission::Admitted>(&verdict)) work(admitted->seat);
    listen(now);
  }
  void listen(Time now) {
    while (const auto notice = controller_.next(now))
      if (const auto* granted = std::get_if<admission::Granted>(&notice->news)) work(granted->seat);
  }
  void work(const admission::Seat& seat) { working_.push(seat); }
  void finish_until(Time now) {
    while (!working_.empty() && working_.front().since + service_time <= now) {
      const admission::Seat seat = working_.front();
      working_.pop();
      const Time end = seat.since + service_time;
      controller_.finish(admission::Outcome::processed(), seat, end);
      listen(end);
    }
  }

  static constexpr auto service_time = 400ms;
  admission::Controller controller_;
  admission::RouteTable routes_;
  std::queue<admission::Seat> working_;  // all take equally long: in the order in which they end
};

}  // namespace

int main() {
  VirtualMinute minute{conf::Settings{}};
  minute.run();
  const admission::Snapshot books = minute.books();
  const auto rejected = admission::sum(books.rejected);
  const auto wait = std::chrono::duration<double, std::milli>(books.average_wait);
  std::printf("a virtual minute: %llu arrived, %llu processed, %llu rejected, mean wait %.1f ms\n",
              static_cast<unsigned long long>(books.total),
              static_cast<unsigned long long>(books.processed),
              static_cast<unsigned long long>(rejected), wait.count());
  const bool is_balanced = books.total == books.processed + rejected && books.total == 12'000;
  return is_balanced ? 0 : 1;
}
