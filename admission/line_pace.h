#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "admission/time.h"

namespace classgate::admission {

// How fast the line of one priority moves: by those who went in from it while somebody waited in
// it, over the last eight to sixteen turns of a worker. It holds all that stands in the way without
// a model of it: better priorities, reserved workers, long requests in the workers.
//
// Counted by group: those who go in within a 32nd of a turn are one. A service that answers many
// together lets as many in at once and then nobody for a whole turn, and an average of the times
// between two who go in would be next to nothing after each group and far too long before it. What
// counts is how many go in from the beginning of one group to that of the next:
//   gap = time between groups,  size = moves / groups,  pace = gap / size
// A group after which nobody waits any more might have been larger: it is not counted, nor is the
// time before the first one of a line that begins. Until a line has told, it is expected to move as
// guess() says, which is the turn of a worker divided by the workers (Little's law).
//   In few groups for each turn (a gap of an eighth of it, or more), whoever joins behind `ahead`
// others goes in with the group after ahead / size others, and the next one is due one gap after
// the last, as far as gaps are regular (deviation: their mean deviation from the mean):
//   wait = ahead / size * gap + gap - max(1 - 2 * deviation / gap, 0) * min(since, gap)
// In all others it flows:
//   wait = (ahead + 1) * pace
// When the next group is overdue, it is as long again as it already is.
// O(1). Not thread-safe.
class LinePace {
 public:
  // Somebody waits where nobody did. `turn`: that a worker is kept for, lately. What the line did a
  // moment ago still tells more than guess().
  template <typename Guess>
  void begin(Guess guess, Duration turn, Time now) {
    if (now - moved_ > memory || before_.moves == 0) restart(guess(), turn);
    is_going_on_ = false;
    group_ = 0;
    moved_ = std::max(moved_, now);
  }
  // Those `turn` are in flight as long.
  void move(Duration turn, Time now) {
    const Duration apart = turn / 32;
    if (group_ > 0 && now - group_began_ <= apart) {
      ++group_;
    } else {
      if (group_ > 0) note_group(turn);
      group_began_ = std::max(moved_, now);
      group_ = 1;
    }
    moved_ = std::max(moved_, now);
  }
  Duration wait_behind(std::size_t ahead, Time now) const {
    const double gap = static_cast<double>(gap_.count());
    const double since = static_cast<double>(std::max(now - moved_, Duration::zero()).count());
    double wait = 0;
    if (is_in_groups_) {
      const auto groups =
          static_cast<double>(static_cast<std::uint64_t>(static_cast<double>(ahead) / size_));
      wait = groups * gap + gap - regularity_ * std::min(since, gap);
    } else {
      wait = static_cast<double>(ahead + 1) * gap / size_;
    }
    wait += std::max(since - gap, 0.0);
    return wait < longest ? Duration(static_cast<Duration::rep>(wait)) : Duration(longest_rep);
  }

  // One whose turn has come waited so long, and had been expected to.
  void note_wait(double seconds, double expected) {
    error_ +=
        (std::min(std::abs(seconds - expected) / std::max(expected, 1e-3), 1.0) - error_) / 32;
  }
  // Whether to be told of the wait of one who joins now: of one in eight, which is enough.
  bool is_looked_at() { return joined_++ % 8 == 0; }
  // What seven in eight of those who are told this wait do not exceed (of a normal distribution,
  // whose standard deviation is 1.25 times its mean deviation), and as many of them reach. With
  // another caution than 1 so many times as far from it.
  Duration most_of(Duration wait, double caution = 1) const {
    return stretched(wait, 1 + caution * far * error_);
  }
  Duration least_of(Duration wait) const {
    return stretched(wait, std::max(1 - far * error_, 0.0));
  }
  // For one who leaves a part of the line to others: a tenth, and more where less is known of it.
  // (Of those who came back when they were told to, at twice the load, with a fixed 15 % from 83 to
  // 98 % found room, by how much the service's times vary; so 93 to 99 %.)
  Duration with_part_kept(Duration wait) const {
    return stretched(wait, 1 / (1 - std::min(0.1 + 1.5 * error_, 0.5)));
  }

 private:
  static Duration stretched(Duration wait, double factor) {
    return Duration(static_cast<Duration::rep>(static_cast<double>(wait.count()) * factor));
  }
  static constexpr double far = 1.4;
  struct Window {
    Duration time{};
    std::uint32_t moves = 0;
    std::uint32_t groups = 0;
  };
  static constexpr Duration memory = std::chrono::seconds(1);
  static constexpr Duration::rep longest_rep = Duration(std::chrono::hours(24)).count();  // "never"
  static constexpr double longest = static_cast<double>(longest_rep);

  // As if it had moved so for four turns.
  void restart(Duration guess, Duration turn) {
    const Duration each = std::max(guess, Duration(1));
    const auto moves =
        static_cast<std::uint32_t>(std::clamp<Duration::rep>(4 * turn / each, 4, 1U << 20U));
    before_ = {each * moves, moves, moves};
    now_ = {};
    deviation_ = each;
    learn(turn);
  }
  // The one that has just ended.
  void note_group(Duration turn) {
    if (is_going_on_) {
      const Duration gap = group_began_ - anchor_;
      now_.time += gap;
      now_.moves += group_;
      ++now_.groups;
      deviation_ += (std::chrono::abs(gap - gap_) - deviation_) / 8;
      const bool is_whole = now_.time >= 8 * turn && now_.groups >= 4;
      // Where much goes on not at each group: its divisions cost.
      if (is_in_groups_ || is_whole || now_.groups % 8 == 0) learn(turn);
      if (is_whole) {
        before_ = now_;
        now_ = {};
      }
    }
    anchor_ = group_began_;
    is_going_on_ = true;
  }
  void learn(Duration turn) {
    const auto groups = static_cast<Duration::rep>(before_.groups + now_.groups);
    gap_ = std::max((before_.time + now_.time) / groups, Duration(1));
    size_ = static_cast<double>(before_.moves + now_.moves) / static_cast<double>(groups);
    is_in_groups_ = gap_ >= turn / 8;
    regularity_ = std::max(
        1 - 2 * static_cast<double>(deviation_.count()) / static_cast<double>(gap_.count()), 0.0);
  }

  Window before_;
  Window now_;
  Duration gap_{};
  Duration deviation_{};  // of gaps
  double size_ = 1;
  double regularity_ = 0;
  // How far from what was expected those waited whose turn came lately, as a part of that: the
  // mean, over some 250 of them.
  double error_ = 0;
  std::uint32_t joined_ = 0;
  bool is_in_groups_ = false;
  bool is_going_on_ = false;  // somebody has waited since the anchor
  std::uint32_t group_ = 0;   // moves of the one that goes on
  Time group_began_{};
  Time anchor_{};  // the beginning of the one before
  Time moved_{};
};

}  // namespace classgate::admission
