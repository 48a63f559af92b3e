#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <vector>

#include "admission/verdict.h"
#include "conf/settings.h"

namespace classgate::admission {

// The rules of admission told a second time, for the simulation to hold against the Controller: as
// plainly as possible, with no care for speed, and with other means (deques, whole numbers for
// tokens). Keeps no books. Rates, bursts and costs must be whole numbers, rates even: then no
// bucket is ever short of a single billionth of a token, which the Controller counts as rounding.
class Model {
 public:
  struct Waiting {
    std::size_t request = 0;
    Ticket ticket;
    Arrival arrival;
    Time joined{};
    Time deadline{};
  };
  enum class Way { in, wait, away };

  explicit Model(const conf::AdmissionSettings& settings)
      : settings_(settings),
        rate_(static_cast<std::int64_t>(settings.rate)),
        burst_(static_cast<std::int64_t>(settings.burst) * token),
        tokens_(burst_) {}

  std::optional<Rejection> screen(const Arrival& arrival, Time now) {
    if (is_draining) return Rejection{conf::Reason::draining, drain_time()};
    const bool pays = arrival.rate_limited && rate_ > 0;
    if (pays) refill(now);
    const std::int64_t missing = std::min(arrival.cost * token, burst_) - tokens_;
    if (pays && missing > 0)
      return Rejection{conf::Reason::rate_limited, Duration((missing + rate_ - 1) / rate_)};
    if (way_of(arrival) == Way::away) return Rejection{conf::Reason::queue_full, drain_time()};
    // It owes no more than a burst.
    if (pays)
      tokens_ -= std::min(arrival.cost * token, std::max<std::int64_t>(tokens_ + burst_, 0));
    return std::nullopt;
  }

  Way way_of(const Arrival& arrival) const {
    std::size_t size = 0;  // of those who would not give way
    std::uint64_t bytes = 0;
    for (int priority = 1; priority <= arrival.priority; ++priority) {
      size += line(priority).size();
      for (const Waiting& waiting : line(priority)) bytes += waiting.arrival.bytes;
    }
    if (in_flight < settings_.workers && size == 0) return Way::in;
    const bool fits = size + 1 <= places() && bytes + arrival.bytes <= bytes_max();
    return fits ? Way::wait : Way::away;
  }

  // Who gives way to the newcomer, which then stands last in its line.
  std::vector<Waiting> join(std::size_t request, Ticket ticket, const Arrival& arrival, Time now) {
    std::vector<Waiting> given_way;
    const std::size_t places_before = places();
    const std::uint64_t bytes_before = bytes_max();
    while (size() + 1 > places_before || bytes() + arrival.bytes > bytes_before) {
      std::deque<Waiting>& worst = *std::ranges::find_if(
          lines_.rbegin(), lines_.rend(), [](const auto& waiters) { return !waiters.empty(); });
      given_way.push_back(worst.back());
      worst.pop_back();
    }
    const Time request_deadline = arrival.at + settings_.request_timeout;
    const Time queue_deadline = now + settings_.queue_timeout;
    line(arrival.priority)
        .push_back({request, ticket, arrival, now, std::min(request_deadline, queue_deadline)});
    return given_way;
  }

  std::optional<Waiting> leave(Ticket ticket) {
    for (std::deque<Waiting>& waiters : lines_) {
      const auto found = std::ranges::find(waiters, ticket, &Waiting::ticket);
      if (found == waiters.end()) continue;
      const Waiting left = *found;
      waiters.erase(found);
      return left;
    }
    return std::nullopt;
  }

  void reconfigure(const conf::AdmissionSettings& settings, Time now) {
    if (rate_ > 0) refill(now);
    refilled_ = std::max(refilled_, now);
    settings_ = settings;
    rate_ = static_cast<std::int64_t>(settings.rate);
    burst_ = static_cast<std::int64_t>(settings.burst) * token;
    tokens_ = std::min(tokens_, burst_);
  }

  // Whose turn it is now that a worker is free. Whether it is too late is for the caller to see.
  std::optional<Waiting> next() {
    if (in_flight >= settings_.workers) return std::nullopt;
    for (std::deque<Waiting>& waiters : lines_) {
      if (waiters.empty()) continue;
      const Waiting first = waiters.front();
      waiters.pop_front();
      return first;
    }
    return std::nullopt;
  }

  void finish(Duration took) {
    --in_flight;
    if (usual_turn_ == Duration::zero()) {
      usual_turn_ = took;
      return;
    }
    // One that is much longer than usual weighs no more than eight times the usual.
    const Duration most = 8 * std::max<Duration>(usual_turn_, std::chrono::microseconds(1));
    usual_turn_ += std::min(took - usual_turn_, most) / 32;
  }

  Duration drain_time() const {
    const auto ahead = static_cast<std::int64_t>(size()) + 1;
    return std::max<Duration>(usual_turn_ * ahead / settings_.workers, std::chrono::seconds(1));
  }

  std::size_t size() const {
    std::size_t total = 0;
    for (const auto& waiters : lines_) total += waiters.size();
    return total;
  }
  std::size_t size_of(int priority) const { return line(priority).size(); }
  std::uint64_t bytes() const {
    std::uint64_t total = 0;
    for (const auto& waiters : lines_)
      for (const Waiting& waiting : waiters) total += waiting.arrival.bytes;
    return total;
  }
  // The waiter at this position, counted over all lines.
  const Waiting& at(std::size_t position) const {
    const std::deque<Waiting>* waiters = lines_.data();
    for (; position >= waiters->size(); ++waiters) position -= waiters->size();
    return (*waiters)[position];
  }

  bool is_draining = false;
  std::uint32_t in_flight = 0;

 private:
  // Tokens are counted in billionths: what a rate of 1 gains in 1 ns.
  static constexpr std::int64_t token = 1'000'000'000;

  // A queue longer than its new limit may stay as long as it is.
  std::size_t places() const { return std::max<std::size_t>(settings_.queue_size, size()); }
  std::uint64_t bytes_max() const { return std::max(settings_.queue_bytes.count, bytes()); }

  void refill(Time now) {
    if (now <= refilled_) return;
    const std::int64_t longest = burst_ / rate_ + 3600 * token;  // more than fills any bucket
    const std::int64_t passed = std::min<std::int64_t>((now - refilled_).count(), longest);
    tokens_ = std::min(burst_, tokens_ + passed * rate_);
    refilled_ = now;
  }
  std::deque<Waiting>& line(int priority) { return lines_[static_cast<std::size_t>(priority - 1)]; }
  const std::deque<Waiting>& line(int priority) const {
    return lines_[static_cast<std::size_t>(priority - 1)];
  }

  conf::AdmissionSettings settings_;
  std::int64_t rate_;
  std::int64_t burst_;
  std::int64_t tokens_;
  Time refilled_{};
  std::array<std::deque<Waiting>, conf::priority_count> lines_;
  Duration usual_turn_{};
};

}  // namespace classgate::admission
