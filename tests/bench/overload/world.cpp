#include "tests/bench/overload/world.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace classgate::bench {
namespace {

using admission::Controller;

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class World {
 public:
  World(const Load& load, const conf::AdmissionSettings& settings,
        std::optional<std::uint32_t> start)
      : load_(load), controller_(begin_at(settings, start)), random_(load.seed) {
    if (start) controller_.reconfigure(settings, now_);
    result_.classes.resize(load.classes.size());
  }

  Result run() {
    double next_arrival = gap(0);
    double next_second = 1;
    for (;;) {
      const double next_leave = leaves_.empty() ? infinity : leaves_.top().at;
      const double next_end = end_of_first();
      const double next = std::min({next_arrival, next_leave, next_end, next_second});
      if (next > load_.length) break;
      work_until(next);
      if (next == next_second) {
        result_.limits.push_back(controller_.snapshot(now_).workers);
        result_.completions.push_back(std::exchange(useful_now_, 0));
        next_second += 1;
      } else if (next == next_end) {
        end_first();
      } else if (next == next_leave) {
        leave();
      } else {
        arrive();
        next_arrival = next + gap(next);
      }
    }
    for (const Request& request : requests_)
      if (request.state == State::working || request.state == State::orphaned)
        result_.classes[request.kind].busy_seconds += counted_since(request.began);
    result_.books = controller_.snapshot(now_);
    return std::move(result_);
  }

 private:
  static constexpr double infinity = 1e300;
  enum class State : std::uint8_t { waiting, working, orphaned, over };
  struct Request {
    std::size_t kind;
    double at;
    double began = 0;
    State state = State::waiting;
    bool counts;
    admission::Ticket ticket{};
    admission::Seat seat{};
  };
  struct Moment {
    double at;
    std::uint32_t request;
    bool operator>(const Moment& other) const { return at > other.at; }
  };
  using Moments = std::priority_queue<Moment, std::vector<Moment>, std::greater<>>;

  static conf::AdmissionSettings begin_at(conf::AdmissionSettings settings,
                                          std::optional<std::uint32_t> start) {
    if (start) settings.autos.workers_min = settings.autos.workers_max = *start;
    return settings;
  }

  double counted_since(double began) const {
    return std::max(0.0, at_ - std::max(began, load_.warm_up));
  }
  double uniform() { return (static_cast<double>(random_() >> 11) + 0.5) / 9007199254740992.0; }
  double gap(double at) { return -std::log(uniform()) / load_.rate(at); }

  // Everybody in the upstream has done the same share of `done_`, in seconds of work alone.
  double speed() const {
    return ends_.empty() ? 1 : 1 / load_.slowdown(static_cast<double>(ends_.size()), at_);
  }
  double end_of_first() const {
    return ends_.empty() ? infinity : std::max(at_, at_ + (ends_.top().at - done_) / speed());
  }
  void work_until(double at) {
    done_ += (at - at_) * speed();
    at_ = at;
    now_ = Time{} + std::chrono::hours(1) + Duration(static_cast<Duration::rep>(at * 1e9));
  }

  void arrive() {
    double dice = uniform();
    std::size_t kind = 0;
    while (kind + 1 < load_.classes.size() && dice >= load_.classes[kind].share)
      dice -= load_.classes[kind++].share;
    const Class& what = load_.classes[kind];
    const auto number = static_cast<std::uint32_t>(requests_.size());
    requests_.push_back({.kind = kind,
                         .at = at_,
                         .counts = at_ >= load_.warm_up && at_ < load_.length - load_.warm_up});
    Request& request = requests_.back();
    ClassResult& result = result_.classes[kind];
    if (request.counts) ++result.offered;
    admission::Arrival arrival{.priority = what.priority,
                               .route = {.slot = static_cast<std::uint32_t>(kind)},
                               .at = now_,
                               .deadline = what.says_deadline ? now_ + what.deadline : Time::max(),
                               .tag = number};
    const auto refuse = [&] {
      request.state = State::over;
      if (request.counts) ++result.refused;
    };
    if (controller_.screen(arrival, now_)) return refuse();
    const admission::Verdict verdict = controller_.arrive(arrival, now_);
    if (std::holds_alternative<admission::Rejection>(verdict)) return refuse();
    leaves_.push({at_ + seconds(what.deadline), number});
    if (const auto* admitted = std::get_if<admission::Admitted>(&verdict))
      begin(number, admitted->seat);
    else
      request.ticket = std::get<admission::Ticket>(verdict);
    listen();
  }

  void listen() {
    while (const auto notice = controller_.next(now_)) {
      if (const auto* granted = std::get_if<admission::Granted>(&notice->news)) {
        begin(notice->tag, granted->seat);
      } else {
        Request& request = requests_[notice->tag];
        request.state = State::over;
        if (request.counts) ++result_.classes[request.kind].turned_away;
      }
    }
  }

  void begin(std::uint32_t number, const admission::Seat& seat) {
    Request& request = requests_[number];
    request.state = State::working;
    request.seat = seat;
    request.began = at_;
    const double work = seconds(load_.classes[request.kind].work);
    const double factor = load_.is_random_work ? -std::log(uniform()) : 0.9 + 0.2 * uniform();
    ends_.push({done_ + factor * work, number});
  }

  void end_first() {
    const std::uint32_t number = ends_.top().request;
    ends_.pop();
    Request& request = requests_[number];
    ClassResult& result = result_.classes[request.kind];
    const bool is_useful = request.state == State::working;
    if (request.counts) {
      ++(is_useful ? result.useful : result.late);
      if (is_useful) result.times.push_back((at_ - request.at) * 1000);
    }
    result.busy_seconds += counted_since(request.began);
    if (is_useful) ++useful_now_;
    if (!is_useful) controller_.adopt();
    request.state = State::over;
    controller_.finish(
        is_useful ? admission::Outcome::processed() : admission::Outcome::abandoned(), request.seat,
        now_);
    listen();
  }

  void leave() {
    const std::uint32_t number = leaves_.top().request;
    leaves_.pop();
    Request& request = requests_[number];
    if (request.state == State::working) {
      request.state = State::orphaned;
      controller_.orphan();
    } else if (request.state == State::waiting) {
      request.state = State::over;
      if (request.counts) ++result_.classes[request.kind].in_vain;
      controller_.leave(request.ticket, admission::Departure::abandoned, now_);
      listen();
    }
  }

  const Load& load_;
  Controller controller_;
  std::mt19937_64 random_;
  Time now_ = Time{} + std::chrono::hours(1);
  double at_ = 0;
  double done_ = 0;
  std::vector<Request> requests_;
  Moments leaves_;
  Moments ends_;
  std::uint64_t useful_now_ = 0;
  Result result_;
};

}  // namespace

Result run(const Load& load, const conf::AdmissionSettings& settings,
           std::optional<std::uint32_t> start) {
  return World(load, settings, start).run();
}

std::uint64_t Result::useful() const {
  return std::accumulate(classes.begin(), classes.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& each) { return sum + each.useful; });
}

std::uint64_t Result::offered() const {
  return std::accumulate(classes.begin(), classes.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& each) { return sum + each.offered; });
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = std::min(values.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(values.size())));
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(at));
  return values[at];
}

}  // namespace classgate::bench
