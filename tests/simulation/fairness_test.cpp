// One client that wants too much among others that do not, and batches among single requests: what
// the others notice, in virtual time.

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/simulation/kit.h"

namespace classgate::simulation::test {
namespace {

// Clients that come at random (Poisson), each at its own rate, whatever they hear.
struct Source {
  std::uint32_t first_client = 0;
  std::uint32_t clients = 1;
  double rate = 0;  // of all of them together
  std::uint32_t cost = 1;
  Duration service{};  // mean; exponential
};

class Mixture final : public Traffic {
 public:
  Mixture(std::vector<Source> sources, Duration length, std::uint64_t seed)
      : sources_(std::move(sources)), end_(Time{} + length), random_(seed) {
    for (const Source& source : sources_) next_.push_back(Time{} + gap(1e9 / source.rate));
    waits.resize(sources_.size());
    refused.resize(sources_.size());
  }

  bool next(Wish& wish) override {
    const auto first = std::ranges::min_element(next_);
    const auto index = static_cast<std::size_t>(first - next_.begin());
    const Source& source = sources_[index];
    if (*first >= end_) return false;
    wish = {};
    wish.at = *first;
    wish.group = static_cast<std::uint32_t>(index);
    wish.client = source.first_client + static_cast<std::uint32_t>(random_() % source.clients);
    wish.priority = 3;
    wish.cost = source.cost;
    wish.service = gap(static_cast<double>(source.service.count()));
    *first += gap(1e9 / source.rate);
    return true;
  }

  bool after(const Wish& wish, const Ending& ending, Time now, Wish&) override {
    if (ending.kind == Ending::Kind::served)
      waits[wish.group].push_back(now - wish.at - wish.service);
    else
      ++refused[wish.group];
    return false;
  }

  Duration wait(std::size_t source, double quantile) {
    std::vector<Duration>& all = waits[source];
    std::ranges::sort(all);
    return all[static_cast<std::size_t>(quantile * static_cast<double>(all.size() - 1))];
  }

  std::vector<std::vector<Duration>> waits;  // of each source: as long as the gateway took
  std::vector<std::uint64_t> refused;

 private:
  Duration gap(double mean) {
    const double uniform = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
    return Duration(static_cast<Duration::rep>(-std::log(uniform) * mean));
  }

  std::vector<Source> sources_;
  Time end_;
  std::mt19937_64 random_;
  std::vector<Time> next_;
};

conf::Settings settings_of(bool is_fair) {
  conf::Settings settings;
  settings.admission.rate = 0;
  settings.admission.fairness.is_on = is_fair;
  return settings;
}

Mixture played(const conf::Settings& settings, std::vector<Source> sources) {
  Mixture traffic(std::move(sources), 60s, 1);
  conf::UpstreamModel upstream;
  upstream.capacity = 50;
  Simulation simulation(settings, upstream, traffic);
  run_all(simulation);
  check_books(simulation);
  return traffic;
}

std::string ms(Duration duration) {
  return std::to_string(std::chrono::duration<double, std::milli>(duration).count()) + " ms";
}

TEST_CASE("one client at a hundred times among a hundred polite ones waits behind itself") {
  // The service does 1000 a second; the polite want 700 of them, and so does the one.
  const Source polite{.first_client = 0, .clients = 100, .rate = 700, .service = 50ms};
  const Source greedy{.first_client = 1000, .rate = 700, .service = 50ms};
  Mixture alone = played(settings_of(true), {polite});
  Mixture fair = played(settings_of(true), {polite, greedy});
  Mixture fifo = played(settings_of(false), {polite, greedy});
  const auto lost = [](const Mixture& of, std::size_t source) {
    return static_cast<double>(of.refused[source]) /
           static_cast<double>(of.refused[source] + of.waits[source].size());
  };
  MESSAGE("polite clients alone: p99 wait ", ms(alone.wait(0, 0.99)));
  MESSAGE("with turns: polite lose ", 100 * lost(fair, 0), " %, p99 wait ", ms(fair.wait(0, 0.99)),
          "; the one loses ", 100 * lost(fair, 1), " %, p99 wait ", ms(fair.wait(1, 0.99)));
  MESSAGE("first come first served: polite lose ", 100 * lost(fifo, 0), " %, p99 wait ",
          ms(fifo.wait(0, 0.99)));
  CHECK(lost(fair, 0) < 0.01);
  // As long as the service takes in an idle system, once more: p99 of wait and service together
  // stays within twice.
  CHECK(fair.wait(0, 0.99) < 50ms);
  CHECK(lost(fifo, 0) > 0.2);
  CHECK(lost(fair, 1) > 0.4);
}

TEST_CASE("batches of fifty items wait for their turns, single requests hardly") {
  // A fifth of the requests are batches, which take fifty times as long: twice what there is.
  const Source single{.first_client = 0, .clients = 100, .rate = 160, .service = 50ms};
  const Source batch{
      .first_client = 1000, .clients = 10, .rate = 40, .cost = 50, .service = 2'500ms};
  Mixture fair = played(settings_of(true), {single, batch});
  conf::Settings capped_settings = settings_of(true);
  capped_settings.admission.fairness.everybody.workers = 4;
  Mixture capped = played(capped_settings, {single, batch});
  Mixture fifo = played(settings_of(false), {single, batch});
  MESSAGE("with turns by cost: single p95 wait ", ms(fair.wait(0, 0.95)), ", batches ",
          ms(fair.wait(1, 0.95)));
  MESSAGE("first come first served: single p95 wait ", ms(fifo.wait(0, 0.95)));
  MESSAGE("with turns and 4 workers for each client: single p95 wait ", ms(capped.wait(0, 0.95)));
  // Turns alone leave the wait for a worker that a batch has; a cap keeps some free of them.
  CHECK(fair.wait(0, 0.95) < fifo.wait(0, 0.95) / 10);
  CHECK(capped.wait(0, 0.95) < 100ms);
  CHECK(fifo.wait(0, 0.95) > 1s);
  CHECK(fair.waits[1].size() > 500);
}

}  // namespace
}  // namespace classgate::simulation::test
