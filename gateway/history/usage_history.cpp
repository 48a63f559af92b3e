#include "gateway/history/usage_history.h"

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <random>
#include <utility>

#include "conf/format.h"
#include "gateway/clients/cut_files.h"
#include "gateway/clients/pseudonym.h"
#include "gateway/history/state_folder.h"
#include "gateway/history/usage_store.h"

namespace classgate::gateway {
namespace {

std::int64_t unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

// No other process, nor this one when it runs again, has it.
std::string name_of_run() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

}  // namespace

std::string state_folder_of(const conf::Settings& settings) {
  const char* const given = std::getenv("STATE_DIRECTORY");
  return state_folder_of(settings.state_dir, given == nullptr ? "" : given);
}

UsageHistory::UsageHistory(UsageJournals& journals, const conf::Settings& settings)
    : journals_(journals),
      settings_(settings),
      sums_(journals.journals.size()),
      thread_([this] { run(); }) {}

UsageHistory::~UsageHistory() { finish(); }

std::atomic<std::chrono::steady_clock::rep> UsageHistory::finishes_until_{0};

std::chrono::steady_clock::time_point UsageHistory::finishes_until() {
  return std::chrono::steady_clock::time_point(
      std::chrono::steady_clock::duration(finishes_until_.load(std::memory_order_relaxed)));
}

void UsageHistory::finish(std::chrono::seconds patience) {
  constexpr std::chrono::seconds write_time_max{10};  // SQLite's patience, and the disk
  const auto until = std::chrono::steady_clock::now() + patience + write_time_max;
  finishes_until_.store(until.time_since_epoch().count(), std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    patience_ = patience;
  }
  journals_.bell.notify();
  if (thread_.joinable()) thread_.join();
  finishes_until_.store(0, std::memory_order_relaxed);
}

bool UsageHistory::ask(Question question) {
  {
    const std::lock_guard lock(mutex_);
    if (is_ending_ || questions_.size() >= questions_max) return false;
    questions_.push_back(std::move(question));
  }
  journals_.bell.notify();
  return true;
}

UsageHistory::Numbers UsageHistory::numbers() const {
  const std::lock_guard lock(mutex_);
  return numbers_;
}

// Signals are main's.
void UsageHistory::run() {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
  ::pthread_setname_np(::pthread_self(), "history");
  survive_cut_files();
  // Memory is taken when there is something to count, or a question.
  std::unique_ptr<history::UsageRecord> record;
  const auto begin = [&] {
    run_ = name_of_run();
    const history::UsageRecord::Bounds bounds{
        .clients_max = settings_.history.clients_max,
        .session_gap = settings_.history.session_gap.count() / 1000,
        .top_clients = settings_.history.top_clients};
    known_.clear();
    if (open_store(unix_seconds()))
      for (const std::string& name : store_->known_clients(bounds.clients_max))
        if (const auto half = half_in(name)) known_.push_back(*half);
    std::ranges::sort(known_);
    record = std::make_unique<history::UsageRecord>(
        bounds,
        history::UsageTally::Names{
            .of_client = [](std::uint64_t client) { return pseudonym_of(client); },
            .of_number = [this](std::uint16_t number) { return journals_.names.name_of(number); }},
        unix_seconds(), [this](std::uint64_t client) {
          return std::ranges::binary_search(known_, static_cast<std::uint32_t>(client >> 32));
        });
  };
  for (bool is_ending = false; !is_ending;) {
    std::vector<Question> questions;
    {
      // Longer where nothing waits to be written: then it only makes up for a ring that was missed.
      const bool has_more = record && !record->is_collected();
      const auto at_most = has_seen_something_ ? interval : has_more ? rest : 2 * rest;
      std::unique_lock lock(mutex_);
      journals_.bell.wait(lock, at_most, !has_seen_something_,
                          [this] { return is_ending_ || !questions_.empty(); });
      is_ending = is_ending_;
      questions = std::exchange(questions_, {});
    }
    // What throws is memory that ran out: what it was about is not counted.
    try {
      if (!record) {
        for (const auto& journal : journals_.journals)
          journal->drain([&](const history::Use& use) {
            if (!record) begin();
            record->add(use);
          });
        if (!record && questions.empty()) continue;
        if (!record) begin();
      }
      // Hours that are still to come would take all that happens until then.
      if (const std::int64_t ahead = record->now() - unix_seconds(); ahead > set_back_least) {
        spdlog::warn("history: the clock has been set back by {} s: it is counted anew from here",
                     ahead);
        write(*record, true);
        store_.reset();
        carried_ = counted(*record);
        begin();
      }
      if (const std::uint64_t cuts = cut_files_seen(); std::exchange(cuts_seen_, cuts) != cuts) {
        spdlog::error(
            "history: a file of the database was cut short while it was in use; it is opened "
            "again");
        store_.reset();
      }
      look(*record);
      const std::int64_t now = unix_seconds();
      const bool is_time = now - written_at_ >= between_writes || now < written_at_;
      if (is_time || is_ending || !questions.empty()) write(*record, !questions.empty());
      Books books{.now = now, .record = *record, .store = store_.get(), .known_before = known_};
      // Whoever has an answer finds the numbers that go with it.
      if (!questions.empty()) publish(*record);
      for (const Question& question : questions) question(books);
      publish(*record);
    } catch (const std::exception& failure) {
      spdlog::error("history: {}", failure.what());
    }
  }
  write_at_last();
  store_.reset();
}

// What waits for a file that somebody has locked, or a disk that is full, is written when that has
// passed, or is lost with this process.
void UsageHistory::write_at_last() {
  constexpr std::chrono::seconds between_words{10};
  if (!store_) return;
  const auto begun = std::chrono::steady_clock::now();
  auto word_at = begun;
  std::chrono::seconds patience{};
  {
    const std::lock_guard lock(mutex_);
    patience = patience_;
  }
  for (auto now = begun; store_->rows_waiting() > 0; now = std::chrono::steady_clock::now()) {
    if (store_->write({}, unix_seconds())) break;
    if (now >= begun + patience) {
      spdlog::error("history: {} rows could not be written to {}, and are lost",
                    store_->rows_waiting(), store_->path());
      break;
    }
    if (now >= word_at) {
      spdlog::warn("history: this process ends when {} rows are written to {}, or in {} s",
                   store_->rows_waiting(), store_->path(),
                   std::chrono::ceil<std::chrono::seconds>(begun + patience - now).count());
      word_at += between_words;
    }
    std::this_thread::sleep_for(interval);
  }
}

// Not before there is something to write, or a question: SQLite takes memory.
bool UsageHistory::open_store(std::int64_t now) {
  if (store_) return true;
  const UsageBounds bounds{
      .retention = std::chrono::duration_cast<std::chrono::seconds>(settings_.history.retention),
      .bytes_max = settings_.history.bytes_max.count,
      .memory_max = 8ULL << 20};
  auto store = UsageStore::open(state_folder_of(settings_), bounds, run_, now);
  if (!store) {
    spdlog::error("history: {}; tried again", store.error());
    return false;
  }
  store_ = std::move(*store);
  return true;
}

void UsageHistory::write(history::UsageRecord& record, bool is_asked) {
  const std::int64_t now = unix_seconds();
  written_at_ = now;
  if (record.is_collected() && !store_ && !is_asked) return;
  if (!open_store(now)) return;
  if (!record.is_collected() || store_->rows_waiting() > 0) {
    const history::UsageRecord::Collected all = record.collect();
    store_->write({.rows = all.rows, .users = all.users, .sessions = all.sessions}, now);
  }
  if (now - pruned_at_ >= between_prunes || now < pruned_at_) {
    pruned_at_ = now;
    store_->prune(now);
  }
  for (const std::string& remark : store_->take_remarks()) spdlog::warn("{}", remark);
}

void UsageHistory::look(history::UsageRecord& record) {
  record.advance(unix_seconds());
  std::size_t seen = 0;
  for (const auto& journal : journals_.journals)
    seen += journal->drain([&](const history::Use& use) { record.add(use); });
  add_sums(record);
  has_seen_something_ = seen > 0;
}

// What has come to the sums of those that found no room.
void UsageHistory::add_sums(history::UsageRecord& record) {
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const UsageJournal::Sums now = journals_.journals[i]->sums();
    UsageJournal::Sums& before = sums_[i];
    if (now == before) continue;
    history::UsageRow row;
    const auto came = [&](history::End end) {
      const auto place = static_cast<std::size_t>(end);
      return now.ends[place] - before.ends[place];
    };
    row.served = came(history::End::served);
    row.failed = came(history::End::failed);
    row.refused = came(history::End::refused);
    row.abandoned = came(history::End::abandoned);
    row.requests = row.served + row.failed + row.refused + row.abandoned;
    row.cost = now.cost - before.cost;
    row.bytes_in = now.bytes_in - before.bytes_in;
    row.bytes_out = now.bytes_out - before.bytes_out;
    for (std::size_t reason = 0; reason < now.reasons.size(); ++reason)
      for (const auto end : {history::End::failed, history::End::refused})
        if (const std::uint64_t times = now.reasons[reason][static_cast<std::size_t>(end)] -
                                        before.reasons[reason][static_cast<std::size_t>(end)];
            times > 0)
          row.add_reason(static_cast<std::uint8_t>(reason), times);
    row.first_seen = row.last_seen = unix_seconds();
    record.add_to_others(row);
    unnamed_ += row.requests;
    before = now;
  }
}

UsageHistory::Numbers UsageHistory::counted(const history::UsageRecord& record) const {
  const history::Sessions& sessions = record.sessions();
  return {.begun = carried_.begun + sessions.begun(),
          .ended = carried_.ended + sessions.ended(),
          .newcomers = carried_.newcomers + sessions.newcomers(),
          .returning = carried_.returning + sessions.returning(),
          .gave_way = carried_.gave_way + sessions.gave_way(),
          .requests = carried_.requests + record.total().requests};
}

void UsageHistory::publish(history::UsageRecord& record) {
  const history::Sessions& sessions = record.sessions();
  Numbers numbers = counted(record);
  numbers.distinct_day = record.distinct_day();
  numbers.unnamed = unnamed_;
  for (std::size_t i = 0; i < numbers.active.size(); ++i)
    numbers.active[i] = sessions.active(static_cast<history::Sessions::Window>(i));
  if (store_) {
    numbers.is_on_disk = store_->is_on_disk();
    numbers.bytes = store_->bytes();
    numbers.rows_waiting = store_->rows_waiting();
    numbers.rows_lost = store_->rows_lost();
  }
  const std::lock_guard lock(mutex_);
  numbers_ = numbers;
}

}  // namespace classgate::gateway
