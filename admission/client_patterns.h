#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "admission/client_index.h"
#include "admission/time.h"
#include "admission/usage_week.h"
#include "conf/settings.h"

namespace classgate::admission {

// fairness.rate = "pattern": what each client is allowed while the service is short follows its own
// usual use (UsageWeek), so that whoever suddenly asks for more than ever gives way first.
//   allowed = headroom * usual, at least `floor`, at most `ceiling`     requests, or cost, a second
// A client of which no day is known is allowed its plan's rate, or `newcomer`. Each has a token
// bucket that gains what it is allowed and holds five minutes of it, at least the plan's burst. It
// pays whenever it is let in, so that whoever asks for more for long has none left when it counts.
//
// What teaches is what was served, and of an hour no more than
//   growth * (usual, or `newcomer` if that is more)
// Refused requests teach nothing; a flood teaches no more than `growth` a day, however large it is,
// and `ceiling` in the end. For the time `learning`, a day, the rule has nothing to compare with:
// it allows everything and learns what it sees, up to the ceiling. So it does anew when it has seen
// nobody for a day.
//
// `clients_max` weeks are kept. A newcomer takes the place of a client that has had nothing for a
// week, or was there in no more than one hour besides the one that runs; else it is one of those
// that share a place, and are together allowed what a newcomer is. So a flood of identities takes
// its own places again and again, and those whose days are known keep theirs. Not thread-safe.
class ClientPatterns {
 public:
  // What a client is allowed, at one instant.
  struct Look {
    enum class Ground : std::uint8_t {
      learning,  // the rule has just begun: whatever it wants
      newcomer,  // no day of this client is known
      shared,    // likewise, with all for whom there was no place
      usual,
    };
    Ground ground = Ground::learning;
    double usual = 0;  // a second, in hours like this; with the ground `usual`
    double rate = 0;   // that it is allowed; 0: nothing is known of it
    double burst = 0;
    double tokens = 0;
    Duration wait_for(double cost) const;
  };
  struct Counts {
    std::size_t clients = 0;  // whose week is kept
    std::size_t places = 0;   // 0: the rule is off
    bool is_learning = false;
    std::uint64_t not_remembered = 0;  // requests of those for whom there was no place
  };

  // One client, as another process is told of it (pattern_memo.h).
  struct Kept {
    std::uint64_t id = 0;
    UsageWeek week{};
    float tokens = 0;
  };

  // New settings. What is known stays; what is beyond a lower `clients_max` too. O(clients).
  void use(const conf::PatternSettings& settings);
  bool is_on() const { return settings_.is_on; }

  // Until this client is allowed so much; zero: it is. Its identity is not 0, but for those that
  // the ClientTable does not remember.
  Duration wait_for(std::uint64_t id, const conf::PlanSettings& plan, double cost, Time now);
  // It is let in, whatever wait_for() said; or its cost has turned out to be so much more.
  void take(std::uint64_t id, double cost);
  // It is served.
  void note_served(std::uint64_t id, const conf::PlanSettings& plan, double cost, Time now);
  // The same as wait_for(), changing nothing.
  Look look(std::uint64_t id, const conf::PlanSettings& plan, Time now) const;
  Counts counts(Time now) const;

  // Adds those at these places, from 0 on, and returns how many places are taken.
  std::size_t show(std::size_t first, std::size_t count, Time now, std::vector<Kept>& to) const;
  Duration learning_since(Time now) const { return has_begun_ ? now - began_ : Duration::zero(); }
  Duration silent_since(Time now) const {
    return has_begun_ ? std::max(now - latest_, Duration::zero()) : Duration::zero();
  }
  // Goes on from what another process had learnt by `at`, as long as there is room. The hours that
  // have passed since had nothing.
  void resume(Time at, Duration learning, Duration silent);
  void resume(const Kept& client, Time at, Time now);
  // Of clients whose id has this upper half (by which they are called) nothing is known any more.
  // How many there were.
  std::size_t forget(std::uint32_t upper_half);

 private:
  using Hour = UsageWeek::Hour;
  struct Record {
    std::uint64_t id = 0;
    UsageWeek week{};
    Time filled{};
    double tokens = 0;
    float rate = 0;
    float burst = 0;
    float most = 0;        // that the hour that runs may teach
    bool is_stale = true;  // rate, burst and most are not those of this hour
    bool is_shared = false;
  };
  static constexpr ClientNumber shared = 0;  // the place of those who have none
  static constexpr int places_looked_at = 16;
  static constexpr float burst_seconds = 300;

  void follow_clock(Time now);
  // It has seen nobody for a day, or nobody at all.
  bool begins_at(Time now) const { return !has_begun_ || now - latest_ > std::chrono::days(1); }
  bool is_learning(Time now) const { return now - began_ < settings_.learning; }
  ClientNumber find(std::uint64_t id) const;
  Record& find_or_add(std::uint64_t id, const conf::PlanSettings& plan, Time now);
  // The place that a newcomer would take, beginning behind `hand`; none: there is none.
  std::optional<ClientNumber> place_to_take(Hour hour, std::size_t& hand) const;
  ClientNumber place_for_newcomer(Hour hour);
  Record fresh(std::uint64_t id, const conf::PlanSettings& plan, Time now) const;
  void bring_up_to(Record& record, const conf::PlanSettings& plan, Time now) const;
  void judge(Record& record, const conf::PlanSettings& plan) const;
  double newcomers_rate(const conf::PlanSettings& plan) const;

  conf::PatternSettings settings_;
  std::vector<Record> records_;
  ClientIndex index_;
  std::size_t hand_ = 0;
  ClientNumber last_found_ = shared;  // most ask several times in a row
  bool has_begun_ = false;
  Time began_{};   // to learn
  Time latest_{};  // that anybody came
  std::uint64_t not_remembered_ = 0;
};

}  // namespace classgate::admission
