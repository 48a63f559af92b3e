#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "gateway/clients/quota_store.h"
#include "gateway/clients/quota_table.h"
#include "gateway/clients/sip_hash.h"

namespace classgate::gateway {

// The quotas of all clients: the counters of this process, and a thread that adds them to the file
// four times a second and brings back what all processes have counted. So whoever is killed loses a
// second's worth at most, and of two processes none knows of what the other has counted since: a
// quota is passed by that much at most. While the file cannot be written, what was counted is kept
// in memory, bounded by the clients there are, and tried again each time; that is said once, and
// once when it is over.
//
// Where the conf has no quota any more the counters stay: it may have one again. Owned by the
// Server; what is not the thread's may be called on any thread.
class Quotas {
 public:
  static std::chrono::sys_seconds now() {
    return std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  }
  // What somebody of some plan may have is in these settings.
  static bool are_wanted_by(const conf::Settings& settings);
  // Reads what is there, and begins; `key` makes the ids. The error is one line for an operator.
  // Waits for the disk.
  static std::expected<std::shared_ptr<Quotas>, std::string> open(
      const conf::ClientsSettings& clients, const HashKey& key,
      const std::shared_ptr<const QuotaNames>& names);
  // Which key it is, and not what it is (QuotaStore::take_ids).
  static std::int64_t fingerprint_of(const HashKey& key);
  ~Quotas() { finish(); }
  // Ends the thread, with all that was counted in the file. The Server's end calls it: who else
  // holds this by then (a reload whose thread hangs) may outlive main, and the process ends by
  // _exit(2). Nothing is written any more after it. Where the file cannot be written it is tried
  // again for so long.
  void finish(std::chrono::seconds patience = {});
  // Until then finish() may still be writing, in some thread of this process: it has its patience,
  // and time for a write that has begun. Whoever ends the process waits so long. The past: it is
  // not. Any thread.
  static std::chrono::steady_clock::time_point finishes_until();
  Quotas(const Quotas&) = delete;
  Quotas& operator=(const Quotas&) = delete;

  // Another time zone, or bound, or others who are named, as soon as the thread has read what it
  // needs for it; the file stays. Waits for nothing.
  void use(const conf::ClientsSettings& clients, const std::shared_ptr<const conf::TimeZone>& zone,
           const std::shared_ptr<const QuotaNames>& names);

  const std::string& path() const { return path_; }
  QuotaTable& table() { return table_; }
  const QuotaTable& table() const { return table_; }
  std::uint64_t write_errors() const { return write_errors_.load(std::memory_order_relaxed); }
  // Seconds since all that was counted was in the file.
  std::int64_t behind(std::chrono::sys_seconds now) const;
  // The file cannot be written, or writing it takes longer than it should: somebody has locked it.
  bool is_held_up() const;

 private:
  Quotas(const conf::ClientsSettings& clients, const std::shared_ptr<const conf::TimeZone>& zone,
         const std::shared_ptr<const QuotaNames>& names, std::unique_ptr<QuotaStore> store);
  struct Wanted {
    std::shared_ptr<const conf::TimeZone> zone;
    std::size_t clients_max = 0;
    std::shared_ptr<const QuotaNames> names;
  };
  void run();
  void use_now(const Wanted& wanted);
  bool write();
  bool try_to_write();
  void write_at_last(std::chrono::seconds patience);

  // Of the second that may be lost, the disk has the rest.
  static constexpr std::chrono::milliseconds interval{250};
  const std::string path_;
  QuotaTable table_;
  std::unique_ptr<QuotaStore> store_;  // the thread's
  // What could not be written yet, likewise: by client, kind and period, with the plan.
  std::map<std::tuple<std::uint64_t, QuotaPeriod, std::int64_t>, std::pair<std::uint64_t, Usage>>
      unwritten_;
  std::array<std::int64_t, 2> periods_{-1, -1};
  std::atomic<std::uint64_t> write_errors_{0};
  std::atomic<std::int64_t> written_at_{0};
  std::atomic<bool> is_failing_{false};
  std::atomic<std::int64_t> writing_since_{0};  // milliseconds of the steady clock; 0: it is not
  std::mutex mutex_;
  std::condition_variable wake_;
  bool is_ending_ = false;            // guarded by mutex_
  std::chrono::seconds patience_{0};  // likewise: then
  std::optional<Wanted> wanted_;      // likewise: by use(), and not in force yet
  std::thread thread_;
  static std::atomic<std::chrono::steady_clock::rep> finishes_until_;
};

// One request in the counters, until it is known whether the service had it. Destroying it gives
// back what was counted, unless keep() has been called. On one thread; the Quotas must outlive it.
class QuotaCharge {
 public:
  QuotaCharge() = default;
  QuotaCharge(Quotas& quotas, const QuotaTable::Charge& charge)
      : quotas_(&quotas), charge_(charge) {}
  QuotaCharge(QuotaCharge&& other) noexcept
      : quotas_(std::exchange(other.quotas_, nullptr)), charge_(other.charge_) {}
  QuotaCharge& operator=(QuotaCharge&& other) noexcept {
    give_back();
    quotas_ = std::exchange(other.quotas_, nullptr);
    if (quotas_ != nullptr) charge_ = other.charge_;
    return *this;
  }
  ~QuotaCharge() { give_back(); }

  explicit operator bool() const { return quotas_ != nullptr; }
  std::int64_t cost() const { return charge_.usage.cost; }
  void settle(std::int64_t more) {
    if (quotas_ != nullptr && more != 0) quotas_->table().settle(charge_, more);
  }
  void keep() { quotas_ = nullptr; }
  void give_back() {
    if (Quotas* const quotas = std::exchange(quotas_, nullptr)) quotas->table().give_back(charge_);
  }

 private:
  Quotas* quotas_ = nullptr;
  QuotaTable::Charge charge_;
};

}  // namespace classgate::gateway
