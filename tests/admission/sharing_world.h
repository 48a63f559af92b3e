#pragma once

// Gateways that share the seats of one service, the network between them and their ledger, and the
// engine that keeps it: on virtual time, with whatever can go wrong.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "admission/sharing/holding.h"
#include "admission/sharing/ledger.h"
#include "admission/sharing/rate_holding.h"
#include "admission/token_bucket.h"
#include "tests/admission/run.h"

namespace classgate::sharing {

using admission::Random;
using namespace std::chrono_literals;

class World {
 public:
  struct Settings {
    std::uint32_t workers = 50;
    Duration lease = 1s;
    Duration period = 50ms;
    Duration work_most = 2s;  // and as long as a request may last
    WhenAway when_away = WhenAway::share;
    // Of all together; 0: none.
    double rate = 0;
    double burst = 0;
  };
  World(const Settings& settings, std::uint64_t seed)
      : settings_(settings), random_(seed), ledger_(terms()) {}

  // Another ledger that is told the same, and must say the same.
  class Twin {
   public:
    virtual void on_settled(const Report& report, const std::string& server, LedgerTime told,
                            const Share& share) = 0;
    virtual void on_buried(const std::string& member) = 0;
    virtual void on_lost_everything() = 0;
    virtual void on_copy_kept() = 0;      // before something is written
    virtual void on_copy_dropped() = 0;   // the oldest
    virtual void on_copy_taken_up() = 0;  // likewise

   protected:
    ~Twin() = default;
  };
  void set_twin(Twin& twin) { twin_ = &twin; }

  struct Gateway {
    std::string name;
    std::unique_ptr<Holding> holding;
    std::array<std::deque<Time>, priorities> waiting{};  // since when
    std::uint32_t in_use = 0;
    std::uint64_t begun = 0;
    std::uint64_t reports = 0;
    double load = 0;        // requests a second
    Duration work = 200ms;  // on average
    int priority = 3;
    bool is_up = true;  // false: its process is gone
    bool is_cut_off = false;
    Time stopped_until{};  // SIGSTOP
    Duration waited{};
    std::unique_ptr<RateHolding> rates{};
    admission::TokenBucket bucket{0, 0};
    double rate = 0;  // of its conf
    double asks = 0;  // a second, for one token each
    std::uint32_t clients = 1;
    double asked = 0;  // since its last report
    std::uint64_t taken = 0;
  };

  Gateway& add(double load, int priority = 3, Duration work = 200ms) {
    auto gateway = std::make_unique<Gateway>();
    gateway->load = load;
    gateway->priority = priority;
    gateway->work = work;
    gateway->rate = settings_.rate;
    gateways_.push_back(std::move(gateway));
    start(*gateways_.back());
    return *gateways_.back();
  }
  // Its process begins; after kill -9 it is another one, and the service still works for the old.
  void start(Gateway& gateway) {
    gateway.name = "gateway " + std::to_string(++processes_);
    gateway.holding =
        std::make_unique<Holding>(Holding::Settings{.member = gateway.name,
                                                    .workers = settings_.workers,
                                                    .lease = settings_.lease,
                                                    .request_timeout = settings_.work_most,
                                                    .when_away = settings_.when_away});
    gateway.in_use = 0;
    gateway.reports = 0;  // of this process
    for (auto& line : gateway.waiting) line.clear();
    gateway.is_up = true;
    const std::uint64_t process = processes_;
    at(now_ + 1us, [this, &gateway, process] { arrive(gateway, process); });
    at(now_ + 1us, [this, &gateway, process] { report(gateway, process); });
    if (settings_.rate > 0) {
      gateway.bucket = admission::TokenBucket(gateway.rate, settings_.burst);
      gateway.rates = std::make_unique<RateHolding>(
          RateHolding::Settings{settings_.period, settings_.lease * 4 / 5});
      starts.push_back(now_);
      at(now_ + 1us, [this, &gateway, process] { ask(gateway, process); });
    }
    process_of_[&gateway] = process;
  }
  void kill(Gateway& gateway) {
    gateway.is_up = false;
    process_of_[&gateway] = 0;
  }
  // Its next process knows that it is gone, and says so, if it can.
  void bury(const std::string& member) {
    if (is_down_ || now_ < hangs_until_) return;
    ledger_.bury(member);
    if (twin_ != nullptr) twin_->on_buried(member);
  }
  void stop(Gateway& gateway, Duration time) { gateway.stopped_until = now_ + time; }

  // --- The engine. ---
  void hang(Duration time) { hangs_until_ = now_ + time; }
  void set_down(bool is_down) { is_down_ = is_down; }
  void lose_everything() {
    ledger_ = Ledger(terms());
    if (twin_ != nullptr) twin_->on_lost_everything();
    ++servers_;
  }
  // Another one takes over, which has not seen the last of what was written.
  void fail_over() {
    if (!copies_.empty()) {
      ledger_ = copies_.front();
      if (twin_ != nullptr) twin_->on_copy_taken_up();
    }
    ++servers_;
  }
  // Whether anybody who can reach the engine knows who there was: else nobody can tell a ledger
  // that has lost everything from one that is new.
  bool is_known_to_somebody() const {
    return !is_down_ && now_ >= hangs_until_ &&
           std::ranges::any_of(gateways_, [this](const auto& gateway) {
             return gateway->is_up && !gateway->is_cut_off && now_ >= gateway->stopped_until &&
                    !gateway->holding->is_away(now_);
           });
  }
  void set_clock(std::chrono::microseconds by) { clock_ += by; }
  void lose(std::uint64_t percent) { lost_percent_ = percent; }

  // Whether the ledger may lose what nobody knows who could tell it anew.
  enum class Memory { is_known, may_be_lost };
  void let_something_happen(Memory memory) {
    Gateway& one = *gateways_[random_.below(gateways_.size())];
    const auto forget = [&](auto deed) {
      if (memory == Memory::may_be_lost) return deed();
      if (!is_known_to_somebody()) return;
      lose(0);
      deed();
      run(1s);  // whoever knows says so
    };
    switch (random_.below(12)) {
      case 0: kill(one); break;
      case 1:
        if (one.is_up) break;
        if (random_.chance(50)) bury(one.name);
        start(one);
        break;
      case 2: stop(one, std::chrono::milliseconds(random_.between(10, 6'000))); break;
      case 3: one.is_cut_off = true; break;
      case 4: one.is_cut_off = false; break;
      case 5: hang(std::chrono::milliseconds(random_.between(10, 8'000))); break;
      case 6: set_down(true); break;
      case 7: set_down(false); break;
      case 8: forget([this] { lose_everything(); }); break;
      case 9: forget([this] { fail_over(); }); break;
      case 10: set_clock(std::chrono::milliseconds(random_.below(7'200'000)) - 1h); break;
      default: lose(random_.below(2) * random_.below(30)); break;
    }
  }

  void run(Duration time) {
    const Time end = now_ + time;
    while (!events_.empty() && events_.top().when <= end) {
      const auto what = events_.top().what;
      now_ = events_.top().when;
      events_.pop();
      what();
    }
    now_ = end;
  }
  template <typename Deed>
  void at(Time when, Deed deed) {
    events_.push({when, ++count_, std::move(deed)});
  }

  Time now() const { return now_; }
  std::uint32_t at_work() const { return at_work_; }
  std::uint32_t most_at_work = 0;
  // Seats in use, in seconds, since the last time that this was set to 0.
  double seat_seconds = 0;
  std::uint64_t served = 0;
  std::deque<Time> taken;    // when each token was, of all gateways
  std::vector<Time> starts;  // of their processes
  Random& random() { return random_; }
  const Ledger& ledger() const { return ledger_; }
  std::vector<std::unique_ptr<Gateway>>& gateways() { return gateways_; }

 private:
  struct Event {
    Time when;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return when != other.when ? when > other.when : number > other.number;
    }
  };
  Terms terms() const {
    return {std::chrono::duration_cast<std::chrono::microseconds>(settings_.lease)};
  }
  double one_to_one() { return (static_cast<double>(random_.below(1U << 30)) + 1) / (1U << 30); }
  Duration exponential(Duration mean) {
    return std::chrono::duration_cast<Duration>(mean * -std::log(one_to_one()));
  }
  bool is_it(Gateway& gateway, std::uint64_t process) const {
    const auto found = process_of_.find(&gateway);
    return found != process_of_.end() && found->second == process;
  }
  // What happens in a process that is stopped happens when it goes on.
  template <typename Deed>
  void in(Gateway& gateway, std::uint64_t process, Deed deed) {
    if (!is_it(gateway, process)) return;
    if (now_ < gateway.stopped_until)
      return at(gateway.stopped_until,
                [this, &gateway, process, deed] { in(gateway, process, deed); });
    deed();
  }

  void arrive(Gateway& gateway, std::uint64_t process) {
    in(gateway, process, [&, process, this] {
      auto& line = gateway.waiting[static_cast<std::size_t>(gateway.priority - 1)];
      if (line.size() < 1000) line.push_back(now_);
      begin(gateway, process);
      const Duration gap = std::chrono::duration_cast<Duration>(1s / std::max(gateway.load, 1e-3));
      at(now_ + std::max<Duration>(exponential(gap), 1us),
         [this, &gateway, process] { arrive(gateway, process); });
    });
  }

  // Before its first answer nothing is begun, for want of a seat.
  void ask(Gateway& gateway, std::uint64_t process) {
    in(gateway, process, [&, process, this] {
      if (gateway.holding->members() > 0) {
        ++gateway.asked;
        if (gateway.bucket.wait_for(1, now_) == Duration::zero()) {
          gateway.bucket.take(1);
          ++gateway.taken;
          taken.push_back(now_);
        }
      }
      const Duration gap = std::chrono::duration_cast<Duration>(1s / std::max(gateway.asks, 1e-3));
      at(now_ + std::max<Duration>(exponential(gap), 1us),
         [this, &gateway, process] { ask(gateway, process); });
    });
  }
  std::vector<RateReport> rates_of(Gateway& gateway) {
    const double spilled = gateway.bucket.take_spilled(now_);
    const std::array uses{RateHolding::Use{.id = "rate",
                                           .rate = gateway.rate,
                                           .burst = settings_.burst,
                                           .tokens = gateway.bucket.tokens(),
                                           .asked = std::exchange(gateway.asked, 0.0),
                                           .spilled = spilled}};
    return gateway.rates->report(uses, gateway.holding->part(now_), gateway.clients, now_);
  }
  void hear(Gateway& gateway, const Share& share) {
    gateway.holding->hear(share, now_);
    if (!gateway.rates || !share.is_heard) return;
    const double part = std::max(gateway.holding->part(now_), 1e-4);
    for (const RateHolding::Loan& loan :
         gateway.rates->hear(share.rates, part, gateway.holding->were_lost(), now_))
      gateway.bucket.lend(std::max(loan.rate, 1e-3), settings_.burst * part, loan.until,
                          loan.whole * part, now_);
  }

  void begin(Gateway& gateway, std::uint64_t process) {
    for (auto& line : gateway.waiting)
      while (!line.empty() && gateway.in_use < gateway.holding->seats(now_)) {
        gateway.waited += now_ - line.front();
        line.pop_front();
        ++gateway.in_use;
        ++gateway.begun;
        change_at_work(1);
        const Duration work = std::min(exponential(gateway.work), settings_.work_most);
        at(now_ + work, [this, &gateway, process] {
          change_at_work(-1);
          ++served;
          in(gateway, process, [&, process, this] {
            --gateway.in_use;
            begin(gateway, process);
          });
        });
      }
  }
  void change_at_work(int by) {
    seat_seconds += std::chrono::duration<double>(now_ - changed_).count() * at_work_;
    changed_ = now_;
    at_work_ = static_cast<std::uint32_t>(static_cast<int>(at_work_) + by);
    most_at_work = std::max(most_at_work, at_work_);
  }

  void report(Gateway& gateway, std::uint64_t process) {
    in(gateway, process, [&, process, this] {
      Demand demand;
      for (std::size_t i = 0; i < priorities; ++i) {
        demand.wanted[i] = static_cast<std::uint32_t>(gateway.waiting[i].size());
        if (static_cast<int>(i) == gateway.priority - 1) demand.wanted[i] += gateway.in_use;
        demand.weight[i] = demand.wanted[i] > 0 ? 1 : 0;
      }
      Report report = gateway.holding->report(gateway.in_use, demand, now_);
      if (gateway.rates) report.rates = rates_of(gateway);
      ++gateway.reports;
      if (!is_lost(gateway))
        at(now_ + delay(), [this, &gateway, process, report] { settle(gateway, process, report); });
      at(now_ + settings_.period, [this, &gateway, process] { this->report(gateway, process); });
    });
  }
  bool is_lost(const Gateway& gateway) {
    return gateway.is_cut_off || random_.chance(lost_percent_);
  }
  Duration delay() {
    return std::chrono::microseconds(random_.chance(99) ? random_.between(100, 3'000)
                                                        : random_.between(3'000, 400'000));
  }
  // An engine that hangs reads what has come when it goes on, also from who has left.
  void settle(Gateway& gateway, std::uint64_t process, const Report& report) {
    if (is_down_) return;
    if (now_ < hangs_until_)
      return at(hangs_until_ + std::chrono::microseconds(random_.below(1'000)),
                [this, &gateway, process, report] { settle(gateway, process, report); });
    copies_.push_back(ledger_);
    if (twin_ != nullptr) twin_->on_copy_kept();
    if (copies_.size() > 6) {
      copies_.pop_front();
      if (twin_ != nullptr) twin_->on_copy_dropped();
    }
    const std::string server = "server " + std::to_string(servers_);
    const auto told =
        std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()) + clock_;
    const Share share = ledger_.settle(report, server, told);
    if (twin_ != nullptr) twin_->on_settled(report, server, told, share);
    const std::uint64_t number = report.number;
    if (!is_lost(gateway))
      at(now_ + delay(), [this, &gateway, process, share, number] {
        in(gateway, process, [&, share, number, this] {
          // The connection of an earlier report was closed.
          if (number == gateway.reports) hear(gateway, share);
          begin(gateway, process_of_.at(&gateway));
        });
      });
  }

  Settings settings_;
  Random random_;
  Ledger ledger_;
  Twin* twin_ = nullptr;
  std::deque<Ledger> copies_;
  std::vector<std::unique_ptr<Gateway>> gateways_;
  std::map<Gateway*, std::uint64_t> process_of_;
  std::priority_queue<Event> events_;
  std::uint64_t count_ = 0;
  std::uint64_t processes_ = 0;
  std::uint32_t at_work_ = 0;
  Time now_ = Time{} + 1h;
  Time changed_ = Time{} + 1h;
  Time hangs_until_{};
  std::chrono::microseconds clock_{};
  std::uint64_t servers_ = 1;
  std::uint64_t lost_percent_ = 0;
  bool is_down_ = false;
};

}  // namespace classgate::sharing
