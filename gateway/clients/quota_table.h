#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "conf/settings.h"
#include "conf/time_zone.h"

namespace classgate::gateway {

// What a client has had of the service.
struct Usage {
  std::int64_t requests = 0;
  std::int64_t cost = 0;
  Usage& operator+=(const Usage& other) {
    requests += other.requests;
    cost += other.cost;
    return *this;
  }
  Usage operator-(const Usage& other) const {
    return {requests - other.requests, cost - other.cost};
  }
  Usage operator-() const { return {-requests, -cost}; }
  bool operator==(const Usage&) const = default;
  std::int64_t in(conf::QuotaUnit unit) const {
    return unit == conf::QuotaUnit::requests ? requests : cost;
  }
};

enum class QuotaPeriod : std::uint8_t { day, month };
inline constexpr std::array quota_periods{QuotaPeriod::day, QuotaPeriod::month};
constexpr std::size_t index_of(QuotaPeriod kind) { return static_cast<std::size_t>(kind); }

// A client's usage in one period of the calendar; as a sum, or as what is to be added to one.
struct QuotaRow {
  std::uint64_t client = 0;
  std::uint64_t plan = 0;  // the client's (PlanQuota::key)
  QuotaPeriod kind = QuotaPeriod::day;
  std::int64_t period = 0;  // its number (conf/time_zone.h)
  Usage usage;
  bool operator==(const QuotaRow&) const = default;
};

// Of all processes, with all in them that was collected here.
struct QuotaSums {
  std::vector<QuotaRow> rows;
  std::array<std::int64_t, 2> periods{};
  bool are_all = false;  // else those that have changed since the last time
};

// What a plan gives to each of its clients.
struct PlanQuota {
  // Stands for the name, in every process.
  static std::uint64_t key_of(std::string_view plan_name);
  PlanQuota(std::string_view plan_name, const conf::QuotaSettings& said)
      : name(plan_name), key(key_of(plan_name)), quota(said) {}
  PlanQuota() = default;

  std::string name;
  std::uint64_t key = 0;
  conf::QuotaSettings quota;
};

// The clients that the conf names one by one, and gives a quota.
struct QuotaNames {
  std::vector<std::uint64_t> ids;  // in order, each once
  // Of a plan, by their keys: which ids these have is known when they come.
  std::size_t keys = 0;
  bool has(std::uint64_t id) const { return std::ranges::binary_search(ids, id); }
  std::size_t count() const { return ids.size() + keys; }
};

// What one client's plan gives it in a period, and what it has had of that.
struct QuotaState {
  QuotaPeriod kind = QuotaPeriod::day;
  std::int64_t limit = 0;  // 0: none; it only warns
  std::int64_t soft = 0;   // 0: it does not warn
  std::int64_t used = 0;
  std::chrono::sys_seconds begin, end;
  bool is_too_small = false;  // all of it is less than what is asked for: no use in waiting
  std::int64_t left() const;  // of the limit; where there is none, of what is warned of
};

// The counters of all clients, of one process: what they have had in this day and this month. Each
// is the sum of what others have told (`others`: the file, and so other processes and former ones)
// and of what was counted here (`own`). What is counted here and has not been handed over yet is
// taken by collect(), several times a second; apply() brings the new sums back. Until then one
// process does not know what others count: by that much a quota may be passed.
//
// Each day and month of the calendar has counters of its own, whatever the time zone was when they
// were counted. A period that is later than all before it begins at once; one that was, or is
// earlier, as after a clock that goes back over midnight, begins with its sums (apply()). Until
// then, a quarter of a second while the file can be read, the one before it goes on: so a client
// never has the quota of a day twice.
//
// Another time zone may make another day or month of this moment. It begins with its sums too, and
// what a client had of the one before, as far as it is more than it had of this, is carried along
// until the new one is over: so a change there, and one back, gives nobody more than the limit. It
// is carried in memory only: the file, and a process that begins, know the days and months alone.
//
// `clients_max` are counted each for itself, until the month is over. Places for all that the conf
// names one by one (QuotaNames; no more than `clients_max`) are kept free, and such a one always
// gets one. The rest is for those of plans' networks, of whom there may be any number: who comes
// beyond shares the counters of all such clients of his plan, with one client's quota: nobody gets
// more than is his.
//
// In parts, each behind a lock of its own that is held for some ten instructions and never over
// anything that waits. Needs memory for a client that is new only. Any thread.
class QuotaTable {
 public:
  QuotaTable(const std::shared_ptr<const conf::TimeZone>& zone, std::size_t clients_max,
             const std::shared_ptr<const QuotaNames>& names = std::make_shared<QuotaNames>());
  // Who was named, and is not any more, counts among the others from now on.
  void use(const std::shared_ptr<const conf::TimeZone>& zone, std::size_t clients_max,
           const std::shared_ptr<const QuotaNames>& names);

  // What was counted of one request.
  struct Charge {
    std::uint64_t client = 0;  // whose counters
    std::uint64_t plan = 0;
    std::array<std::int64_t, 2> periods{};
    Usage usage;
  };
  struct Answer {
    Charge charge;                                     // where it is not refused
    std::optional<QuotaState> refused = std::nullopt;  // by this one, and nothing was counted
    std::optional<QuotaState> warning = std::nullopt;  // with this request
  };
  // Counts a request of so much, unless that is more than is left. `is_named`: one of QuotaNames.
  Answer take(std::uint64_t client, const PlanQuota& plan, std::int64_t cost,
              std::chrono::sys_seconds now, bool is_named = false);
  // It has turned out to cost so much more (or, below zero, less).
  void settle(Charge& charge, std::int64_t more);
  void give_back(const Charge& charge);
  // As it stands; changes nothing. One for each period that has a limit or warns.
  std::vector<QuotaState> look(std::uint64_t client, const PlanQuota& plan,
                               std::chrono::sys_seconds now, bool is_named = false) const;
  // Why take() would refuse so much: one of these that is too small for it at any time, else the
  // one that is renewed last. `states` in the order of quota_periods.
  static std::optional<QuotaState> beyond(std::span<const QuotaState> states, conf::QuotaUnit unit,
                                          std::int64_t cost);

  // What was counted here since the last time, for periods of now or before.
  std::vector<QuotaRow> collect();
  std::array<std::int64_t, 2> periods_at(std::chrono::sys_seconds now) const;
  // Begins the periods that sums are of, where they are all that there are. `now`: of them. On the
  // thread that calls use().
  void apply(const QuotaSums& sums, std::chrono::sys_seconds now);
  // Forgets who has had nothing in the periods of now.
  void forget_former(std::chrono::sys_seconds now);

  struct PlanUsage {
    std::size_t clients = 0;  // who have had anything
    std::size_t used_up = 0;  // of these: have nothing left
    Usage usage;
  };
  // By period, in the order of the plans.
  std::vector<std::array<PlanUsage, 2>> by_plan(std::span<const PlanQuota> plans,
                                                std::chrono::sys_seconds now) const;
  std::size_t clients() const { return clients_.load(std::memory_order_relaxed); }
  std::size_t clients_max() const { return clients_max_.load(std::memory_order_relaxed); }
  std::uint64_t not_remembered() const { return not_remembered_.load(std::memory_order_relaxed); }

 private:
  struct Tally {
    std::int64_t period = 0;
    Usage others, own;
    Usage collected;  // of own
    Usage carried;    // from the period that another time zone had in its place
    Usage used() const {
      Usage sum = others;
      sum += own;
      return sum += carried;
    }
  };
  struct Entry {
    std::uint64_t plan = 0;  // its key
    std::array<Tally, 2> tallies{};
    bool is_named = false;  // or the one that a plan's clients share; else one of others_
  };
  // The periods that are counted in.
  struct Calendar {
    std::array<conf::CalendarPeriod, 2> periods{};
    static constexpr std::int64_t none = std::numeric_limits<std::int64_t>::min();
    std::array<std::int64_t, 2> newest{none, none};  // number of a period that has begun
    bool has_new_zone = false;  // and may still have a period of the one before
  };
  struct alignas(64) Part {
    mutable std::mutex mutex;
    std::shared_ptr<const conf::TimeZone> zone;
    std::shared_ptr<const QuotaNames> names;
    mutable Calendar calendar;
    std::unordered_map<std::uint64_t, Entry> entries;
    std::vector<QuotaRow> left_over;  // of periods that have gone, not collected yet
  };
  static constexpr std::size_t part_count = 32;
  static std::size_t place_of(std::uint64_t client) { return (client ^ client >> 32) % part_count; }
  Part& part_of(std::uint64_t client) { return parts_[place_of(client)]; }
  const Part& part_of(std::uint64_t client) const { return parts_[place_of(client)]; }
  static const Calendar& calendar_at(const Part& part, std::chrono::sys_seconds now);
  static std::array<conf::CalendarPeriod, 2> periods_of(const Part& part,
                                                        std::chrono::sys_seconds now);
  static void begin(Calendar& calendar, QuotaPeriod kind, const conf::CalendarPeriod& period);
  using Kinds = std::array<bool, quota_periods.size()>;
  static Kinds begin_with_sums(Part& part, const QuotaSums& sums, std::chrono::sys_seconds now);
  void apply_to(Part& part, const QuotaRow& sum);
  static void carry_along(Part& part, const Kinds& kinds);
  static void turn(Part& part, std::uint64_t client, Entry& entry, const Calendar& calendar);
  static void turn(Part& part, std::uint64_t client, Entry& entry, QuotaPeriod kind,
                   std::int64_t period);
  static Usage used_in(const Entry& entry, QuotaPeriod kind, const Calendar& calendar);
  Entry* find_or_add(Part& part, std::uint64_t client, bool is_named, std::size_t others_max);
  static std::size_t others_max_of(std::size_t clients_max, const QuotaNames& names) {
    return clients_max - std::min(clients_max, names.count());
  }
  std::size_t others_max() const { return others_max_.load(std::memory_order_relaxed); }
  Answer take_from(Part& part, std::uint64_t client, Entry& entry, const PlanQuota& plan,
                   std::int64_t cost, std::chrono::sys_seconds now);
  void add(const Charge& charge, const Usage& usage);

  std::array<Part, part_count> parts_;
  std::atomic<std::size_t> clients_max_;
  std::atomic<std::size_t> others_max_;  // of these: for whoever is not named
  std::atomic<std::size_t> clients_{0};
  std::atomic<std::size_t> others_{0};  // of these: not named
  std::atomic<std::uint64_t> not_remembered_{0};
};

}  // namespace classgate::gateway
