// What loops tell the history, and the thread that counts it.

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "gateway/history/usage_history.h"
#include "gateway/history/usage_journal.h"
#include "gateway/history/usage_store.h"

using namespace classgate;
using namespace classgate::gateway;

namespace {

history::Use use_of_client(std::uint64_t client, history::End end = history::End::served) {
  history::Use use{.client = client, .bytes_in = 3, .bytes_out = 5, .cost = 2, .end = end};
  use.status = end == history::End::refused ? 429 : 200;
  if (end == history::End::refused) {
    use.cost = 0;
    use.reason = static_cast<std::uint8_t>(conf::Reason::rate_limited);
  }
  return use;
}

class StateFolder {
 public:
  StateFolder() : path_(std::filesystem::temp_directory_path() / "classgate-usage-XXXXXX") {
    std::string text = path_;
    path_ = ::mkdtemp(text.data());
  }
  ~StateFolder() { std::filesystem::remove_all(path_); }
  conf::Settings settings() const {
    conf::Settings settings;
    settings.state_dir = path_;
    return settings;
  }

 private:
  std::filesystem::path path_;
};

UsageTable table_of(UsageHistory& history) {
  std::promise<UsageTable> told;
  REQUIRE(history.ask([&](UsageHistory::Books& books) {
    auto table = books.store->table({.since = 0, .until = books.now + 1, .top = 100});
    told.set_value(table ? std::move(*table) : UsageTable());
  }));
  return told.get_future().get();
}

}  // namespace

TEST_CASE("a journal tells in order what was written, once") {
  UsageBell bell;
  UsageJournal journal(bell);
  std::uint64_t next = 1;
  for (int round = 0; round < 5; ++round) {
    for (std::size_t i = 0; i < UsageJournal::room - 1; ++i)
      journal.add(
          use_of_client(static_cast<std::uint64_t>(round) * (UsageJournal::room - 1) + i + 1));
    const std::size_t count =
        journal.drain([&](const history::Use& use) { CHECK(use.client == next++); });
    CHECK(count == UsageJournal::room - 1);
  }
  CHECK(journal.sums() == UsageJournal::Sums{});
}

TEST_CASE("what finds a journal full is counted in its sums") {
  UsageBell bell;
  UsageJournal journal(bell);
  for (std::size_t i = 0; i < UsageJournal::room; ++i) journal.add(use_of_client(1));
  for (int i = 0; i < 10; ++i) journal.add(use_of_client(2, history::End::refused));
  for (int i = 0; i < 7; ++i) journal.add(use_of_client(2));
  const UsageJournal::Sums sums = journal.sums();
  CHECK(sums.ends == std::array<std::uint64_t, history::end_count>{7, 0, 10, 0});
  CHECK(sums.reasons[conf::index_of(conf::Reason::rate_limited)][2] == 10);
  CHECK(sums.statuses[4][2] == 10);
  CHECK(sums.statuses[2][0] == 7);
  CHECK(sums.cost == 14);
  CHECK(sums.bytes_in == 51);
  CHECK(sums.bytes_out == 85);
  std::size_t seen = 0;
  journal.drain([&](const history::Use& use) { seen += use.client == 1; });
  CHECK(seen == UsageJournal::room);
  journal.add(use_of_client(3));
  CHECK(journal.drain([](const history::Use& use) { CHECK(use.client == 3); }) == 1);
}

TEST_CASE("all that several loops tell is counted, however fast they are") {
  const StateFolder folder;
  constexpr std::size_t loops = 3;
  constexpr std::uint64_t each = 60'000;
  UsageJournals journals(loops);
  UsageHistory history(journals, folder.settings());
  std::vector<std::thread> threads;
  for (std::size_t loop = 0; loop < loops; ++loop)
    threads.emplace_back([&journal = *journals.of_loop(loop), loop] {
      for (std::uint64_t i = 0; i < each; ++i)
        journal.add(use_of_client(1 + ((i + loop) % 20 << 32),
                                  i % 3 == 0 ? history::End::refused : history::End::served));
    });
  for (std::thread& thread : threads) thread.join();
  const UsageTable table = table_of(history);
  CHECK(table.all.requests == loops * each);
  CHECK(table.all.refused == loops * each / 3);
  CHECK(table.all.cost == 2 * table.all.served);
  CHECK(table.all.bytes_out == 5 * loops * each);
  std::uint64_t sum = table.others.requests;
  for (const history::UsageRow& row : table.lines) sum += row.requests;
  CHECK(sum == loops * each);
  history.finish();
  CHECK(!history.ask([](UsageHistory::Books&) {}));
}

TEST_CASE("the next process knows what the one before it has counted until its end") {
  const StateFolder folder;
  for (std::uint64_t run = 1; run <= 3; ++run) {
    UsageJournals journals(1);
    UsageHistory history(journals, folder.settings());
    for (int i = 0; i < 100; ++i) journals.of_loop(0)->add(use_of_client(run << 32));
    if (run < 3) continue;  // its end writes
    const UsageTable table = table_of(history);
    CHECK(table.all.requests == 300);
    CHECK(table.lines.size() == 3);
  }
}

TEST_CASE("questions beyond a bound are not taken, and each that is gets its answer") {
  const StateFolder folder;
  UsageJournals journals(1);
  UsageHistory history(journals, folder.settings());
  std::mutex mutex;
  std::atomic<int> answered{0};
  int taken = 0;
  {
    const std::lock_guard lock(mutex);  // the first waits for us
    for (int i = 0; i < 1000; ++i)
      taken += history.ask([&](UsageHistory::Books&) {
        const std::lock_guard own(mutex);
        ++answered;
      });
  }
  CHECK(taken < 1000);
  history.finish();
  CHECK(answered == taken);
}
