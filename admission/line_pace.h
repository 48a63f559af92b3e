#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "admission/line_season.h"
#include "admission/time.h"

namespace classgate::admission {

// How fast the line of one priority moves: by those who went in from it while somebody waited in
// it. It holds all that stands in the way without a model of it: better priorities, reserved
// workers, long requests in the workers.
//
// Over how long: the more turns, the less chance has a say in it, as long as nothing has changed.
// So windows of eight turns of a worker are put together (each counts a 16th less for every one
// after it) for as long as they foretell the next one better than the last one alone does. When one
// is off by more than four times what is usual it has changed, and all before is forgotten.
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
// When the next group is overdue, it is as long again as it already is. A line in which turns
// repeat exactly is told by LineSeason instead. Who leaves the line in vain, without a worker, has
// moved those behind it up as well, and is counted as if it had gone in.
// O(1). Not thread-safe.
class LinePace {
 public:
  // Somebody waits where nobody did. `turn`: that a worker is kept for, lately. What the line did a
  // moment ago still tells more than guess().
  template <typename Guess>
  void begin(Guess guess, Duration turn, Time now) {
    if (now - moved_ > memory || known_.moves == 0) restart(guess(), turn);
    is_going_on_ = false;
    group_ = 0;
    season_.begin();
    moved_ = std::max(moved_, now);
  }
  // Those `turn` are in flight as long, in so many workers.
  void move(Duration turn, std::uint32_t workers, Time now) {
    season_.move(workers, now);
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
  // One has left in vain.
  void drop() { ++now_.drops; }
  Duration wait_behind(std::size_t ahead, Time now) const {
    const double wait = season_.is_regular() ? season_.wait_behind(those_served_of(ahead), now)
                                             : wait_by_pace(static_cast<double>(ahead), now);
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
    double time = 0;  // ns
    double moves = 0;
    double drops = 0;
    double groups = 0;

    double gone() const { return moves + drops; }
    // How far the pace here is from the pace there, as a part of it; 1 at most.
    double off_from(const Window& other) const {
      return std::min(std::abs(time * other.gone() / (gone() * other.time) - 1), 1.0);
    }
    Window and_also(const Window& more) const {
      return {time + more.time, moves + more.moves, drops + more.drops, groups + more.groups};
    }
    Window faded() const {
      constexpr double left = 15.0 / 16;
      return {time * left, moves * left, drops * left, groups * left};
    }
  };
  static constexpr Duration memory = std::chrono::seconds(1);
  static constexpr Duration::rep longest_rep = Duration(std::chrono::hours(24)).count();  // "never"
  static constexpr double longest = static_cast<double>(longest_rep);
  static constexpr double off_at_first = 0.05;
  static constexpr double off_at_least = 0.01;  // that is no change

  std::size_t those_served_of(std::size_t ahead) const {
    return static_cast<std::size_t>(static_cast<double>(ahead) * served_);
  }
  double wait_by_pace(double ahead, Time now) const {
    const double gap = static_cast<double>(gap_.count());
    const double since = static_cast<double>(std::max(now - moved_, Duration::zero()).count());
    double wait = 0;
    if (is_in_groups_) {
      const auto groups = static_cast<double>(static_cast<std::uint64_t>(ahead / size_));
      wait = groups * gap + gap - regularity_ * std::min(since, gap);
    } else {
      wait = (ahead + 1) * gap / size_;
    }
    return wait + std::max(since - gap, 0.0);
  }
  // As if it had moved so for four turns, until a window tells.
  void restart(Duration guess, Duration turn) {
    const Duration each = std::max(guess, Duration(1));
    const auto moves =
        static_cast<double>(std::clamp<Duration::rep>(4 * turn / each, 4, 1U << 20U));
    known_ = {static_cast<double>(each.count()) * moves, moves, 0, moves};
    is_guessed_ = true;
    now_ = {};
    deviation_ = each;
    learn(turn);
  }
  // The one that has just ended.
  void note_group(Duration turn) {
    if (is_going_on_) {
      const Duration gap = group_began_ - anchor_;
      now_.time += static_cast<double>(gap.count());
      now_.moves += group_;
      ++now_.groups;
      deviation_ += (std::chrono::abs(gap - gap_) - deviation_) / 8;
      const bool is_whole = now_.time >= 8 * static_cast<double>(turn.count()) && now_.groups >= 4;
      if (is_whole) note_window();
      // Where much goes on not at each group: its divisions cost.
      if (is_in_groups_ || is_whole || ++groups_seen_ % 8 == 0) learn(turn);
    }
    anchor_ = group_began_;
    is_going_on_ = true;
  }
  // now_ is whole.
  void note_window() {
    if (is_guessed_) {
      known_ = now_;
      off_from_known_ = off_from_last_ = off_at_first;
    } else {
      const double off = now_.off_from(known_);
      const bool has_changed = off > 4 * std::max(off_from_known_, off_at_least);
      off_from_known_ += (off - off_from_known_) / 8;
      off_from_last_ += (now_.off_from(last_) - off_from_last_) / 8;
      // By a quarter, which chance alone seldom does.
      const bool has_drifted = off_from_known_ > 1.25 * off_from_last_;
      if (has_changed || has_drifted) {
        known_ = has_changed ? now_ : now_.and_also(last_);
        off_from_known_ = off_from_last_;
      } else {
        known_ = known_.faded().and_also(now_);
      }
    }
    is_guessed_ = false;
    last_ = now_;
    now_ = {};
  }
  void learn(Duration turn) {
    const Window all = known_.and_also(now_);
    gap_ = std::max(Duration(static_cast<Duration::rep>(all.time / all.groups)), Duration(1));
    size_ = all.gone() / all.groups;
    served_ = all.moves / all.gone();
    is_in_groups_ = gap_ >= turn / 8;
    regularity_ = std::max(
        1 - 2 * static_cast<double>(deviation_.count()) / static_cast<double>(gap_.count()), 0.0);
  }

  Window known_;  // all that is like now
  Window last_;   // the last whole one
  Window now_;
  double off_from_known_ = 0;  // each window from what was known, and from the one before: the mean
  double off_from_last_ = 0;
  double served_ = 1;  // of those who leave the line, the part that goes in
  LineSeason season_;
  Duration gap_{};
  Duration deviation_{};  // of gaps
  double size_ = 1;
  double regularity_ = 0;
  // How far from what was expected those waited whose turn came lately, as a part of that: the
  // mean, over some 250 of them.
  double error_ = 0;
  std::uint32_t joined_ = 0;
  std::uint32_t groups_seen_ = 0;
  bool is_guessed_ = true;
  bool is_in_groups_ = false;
  bool is_going_on_ = false;  // somebody has waited since the anchor
  std::uint32_t group_ = 0;   // moves of the one that goes on
  Time group_began_{};
  Time anchor_{};  // the beginning of the one before
  Time moved_{};
};

}  // namespace classgate::admission
