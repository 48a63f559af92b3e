#include "gateway/clients/quotas.h"
#include "gateway/clients/cut_files.h"

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

std::int64_t steady_milliseconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

std::int64_t Quotas::fingerprint_of(const HashKey& key) {
  return static_cast<std::int64_t>(SipHash::of(key, "whose ids quotas are counted by"));
}

bool Quotas::are_wanted_by(const conf::Settings& settings) {
  return std::ranges::any_of(settings.admission.fairness.plans,
                             [](const conf::PlanSettings& plan) { return plan.quota.is_any(); });
}

std::expected<std::shared_ptr<Quotas>, std::string> Quotas::open(
    const conf::ClientsSettings& clients, const HashKey& key,
    const std::shared_ptr<const QuotaNames>& names) {
  auto zone = conf::TimeZone::load(clients.time_zone);
  if (!zone) return std::unexpected("clients.time_zone: " + zone.error());
  auto store = QuotaStore::open(clients.quota_file);
  if (!store) return std::unexpected(std::move(store.error()));
  const auto are_others = (*store)->take_ids(fingerprint_of(key));
  if (!are_others)
    spdlog::warn("{}", are_others.error());
  else if (*are_others)
    spdlog::error(
        "clients.quota_file: {}: was counted with another clients.secret: clients have other ids "
        "now, and their quotas begin anew",
        clients.quota_file);
  std::shared_ptr<Quotas> quotas(new Quotas(clients, *zone, names, std::move(*store)));
  // Before the first request: what is there already.
  const auto begin = now();
  quotas->periods_ = quotas->table_.periods_at(begin);
  auto sums = quotas->store_->add({}, quotas->periods_);
  if (!sums) return std::unexpected(std::move(sums.error()));
  quotas->table_.apply(*sums, begin);
  quotas->written_at_ = now().time_since_epoch().count();
  quotas->thread_ = std::thread([self = quotas.get()] { self->run(); });
  return quotas;
}

Quotas::Quotas(const conf::ClientsSettings& clients,
               const std::shared_ptr<const conf::TimeZone>& zone,
               const std::shared_ptr<const QuotaNames>& names, std::unique_ptr<QuotaStore> store)
    : path_(clients.quota_file),
      table_(zone, clients.quota_clients_max, names),
      store_(std::move(store)) {}

std::atomic<std::chrono::steady_clock::rep> Quotas::finishes_until_{0};

std::chrono::steady_clock::time_point Quotas::finishes_until() {
  return std::chrono::steady_clock::time_point(
      std::chrono::steady_clock::duration(finishes_until_.load(std::memory_order_relaxed)));
}

void Quotas::finish(std::chrono::seconds patience) {
  constexpr std::chrono::seconds write_time_max{10};  // SQLite's patience (QuotaStore) and the disk
  const auto until = std::chrono::steady_clock::now() + patience + write_time_max;
  finishes_until_.store(until.time_since_epoch().count(), std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    patience_ = patience;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  finishes_until_.store(0, std::memory_order_relaxed);
}

void Quotas::use(const conf::ClientsSettings& clients,
                 const std::shared_ptr<const conf::TimeZone>& zone,
                 const std::shared_ptr<const QuotaNames>& names) {
  {
    const std::lock_guard lock(mutex_);
    wanted_ = {zone, clients.quota_clients_max, names};
  }
  wake_.notify_all();
}

std::int64_t Quotas::behind(std::chrono::sys_seconds now) const {
  return std::max<std::int64_t>(
      now.time_since_epoch().count() - written_at_.load(std::memory_order_relaxed), 0);
}

bool Quotas::is_held_up() const {
  const std::int64_t since = writing_since_.load(std::memory_order_relaxed);
  return is_failing_.load(std::memory_order_relaxed) ||
         (since != 0 && steady_milliseconds() - since > interval.count());
}

// Signals are main's.
void Quotas::run() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  ::pthread_setname_np(::pthread_self(), "quotas");
  survive_cut_files();
  for (bool is_ending = false; !is_ending;) {
    std::optional<Wanted> wanted;
    std::chrono::seconds patience{};
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, interval, [this] { return is_ending_ || wanted_; });
      is_ending = is_ending_;
      patience = patience_;
      wanted = std::exchange(wanted_, std::nullopt);
    }
    if (wanted) use_now(*wanted);
    if (!write() && is_ending) write_at_last(patience);
  }
}

void Quotas::use_now(const Wanted& wanted) {
  try {
    table_.use(wanted.zone, wanted.clients_max, wanted.names);
  } catch (const std::exception& failure) {
    spdlog::error("clients.time_zone, quota_clients_max: {}; they stay as they were",
                  failure.what());
  }
}

// Nobody counts any more: what is not written now is lost. Whoever waits for the end is told every
// ten seconds how much longer it may take.
void Quotas::write_at_last(std::chrono::seconds patience) {
  constexpr std::chrono::seconds between_words{10};
  const auto begun = std::chrono::steady_clock::now();
  auto word_at = begun;
  for (auto now = begun; now < begun + patience; now = std::chrono::steady_clock::now()) {
    if (now >= word_at) {
      spdlog::warn(
          "clients.quota_file: this process ends when what it has counted is written, or in {} s",
          std::chrono::ceil<std::chrono::seconds>(begun + patience - now).count());
      word_at += between_words;
    }
    std::this_thread::sleep_for(interval);
    if (write()) return;
  }
  spdlog::error("clients.quota_file: this process ends, and what it has counted since is lost");
}

// False: not now; what throws is memory that ran out.
bool Quotas::write() {
  writing_since_.store(steady_milliseconds(), std::memory_order_relaxed);
  bool was_written = false;
  try {
    was_written = try_to_write();
  } catch (const std::exception& failure) {
    spdlog::error("clients.quota_file: {}; trying again", failure.what());
  }
  writing_since_.store(0, std::memory_order_relaxed);
  return was_written;
}

bool Quotas::try_to_write() {
  const auto time = now();
  const auto periods = table_.periods_at(time);
  if (periods != std::exchange(periods_, periods)) table_.forget_former(time);
  for (const QuotaRow& row : table_.collect()) {
    auto& [plan, usage] = unwritten_[{row.client, row.kind, row.period}];
    plan = row.plan;
    usage += row.usage;
  }
  std::vector<QuotaRow> rows;
  for (const auto& [key, value] : unwritten_)
    rows.push_back({.client = std::get<0>(key),
                    .plan = value.first,
                    .kind = std::get<1>(key),
                    .period = std::get<2>(key),
                    .usage = value.second});
  const auto sums = store_->add(rows, periods);
  if (!sums) {
    write_errors_.fetch_add(1, std::memory_order_relaxed);
    if (!is_failing_.exchange(true))
      spdlog::error(
          "{}. Quotas are counted in memory meanwhile, and tried again all the time; what is not "
          "in "
          "the file is lost when the process ends",
          sums.error());
    return false;
  }
  unwritten_.clear();
  table_.apply(*sums, time);
  written_at_.store(time.time_since_epoch().count(), std::memory_order_relaxed);
  if (is_failing_.exchange(false))
    spdlog::info("clients.quota_file: written again, with all that was counted meanwhile");
  return true;
}

}  // namespace classgate::gateway
