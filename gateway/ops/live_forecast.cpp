#include "gateway/ops/live_forecast.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/target.h"
#include "conf/time_zone.h"
#include "gateway/history/usage_history.h"

namespace classgate::gateway {
namespace {

using namespace std::chrono_literals;
using history::DemandMinute;

static_assert(history::WorkDone::buckets == DurationHistogram::bounds.size() + 1);

// What it has learnt of two weeks takes some seconds to learn again: whoever serves goes first. Of
// this thread only (setpriority(2) on Linux); where it may not, it does without.
void give_way_to_others() { ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 19); }

void add_growth(history::WorkDonePerPriority& to, const history::WorkDonePerPriority& now,
                const history::WorkDonePerPriority& before) {
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i].cost += now[i].cost - before[i].cost;
    to[i].work_seconds += now[i].work_seconds - before[i].work_seconds;
    for (std::size_t k = 0; k < to[i].times.size(); ++k)
      to[i].times[k] += now[i].times[k] - before[i].times[k];
  }
}

// Empty: there is none.
std::string demand_file_of(const conf::Settings& settings) {
  const std::string& file = settings.forecast.file;
  return file == "off" ? "" : file == "auto" ? state_folder_of(settings) + "/demand" : file;
}

}  // namespace

struct LiveForecast::Mind {
  // Waits for the disk.
  explicit Mind(const std::string& zone_name) : zone(zone_of(zone_name)), forecast(zone) {}
  static std::shared_ptr<const conf::TimeZone> zone_of(const std::string& name) {
    const auto zone = conf::TimeZone::load(name);
    return zone ? *zone : std::make_shared<const conf::TimeZone>();
  }
  std::shared_ptr<const conf::TimeZone> zone;
  history::DemandForecast forecast;
  history::ServiceTimes times{DurationHistogram::bounds};
  history::ServersNeeded servers;
};

struct LiveForecast::Job {
  std::shared_ptr<std::unique_ptr<Mind>> mind;
  std::string time_zone;
  std::string path;
  bool reads = false;
  DemandFileStamp read_before;
  std::vector<DemandMinute> minutes;
  history::WorkDonePerPriority ended{};
  history::DemandQuestion question;
  bool writes = false;
  std::optional<DemandMinute> part;  // to be written with it
  std::shared_ptr<std::atomic<bool>> is_writing;
};

LiveForecast::LiveForecast(proxy::net::Loop& loop, Server& server, OnReport on_report)
    : server_(server),
      path_(demand_file_of(server.settings())),
      on_report_(std::move(on_report)),
      minute_(loop, [this] { tick(); }),
      again_(loop, [this] { look_again(); }),
      errand_(loop, [this](Outcome outcome) { on_outcome(std::move(outcome)); }) {}

LiveForecast::~LiveForecast() {
  constexpr auto patience = 2s;
  const auto until = std::chrono::steady_clock::now() + patience;
  while (*is_writing_ && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(2ms);
}

history::MinuteSampler::Time LiveForecast::now() {
  return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

LiveForecast::Readings LiveForecast::read_counters() const {
  Readings sums;
  for (const auto& station : server_.stations()) {
    const LoopMetrics& numbers = station->numbers();
    for (std::size_t i = 0; i < conf::priority_count; ++i) {
      const DemandCounts& counts = numbers.demand[i];
      sums.asked.by_priority[i] += static_cast<double>(counts.asked.read());
      sums.done[i].cost += static_cast<double>(counts.served.read());
      sums.done[i].work_seconds += static_cast<double>(counts.work_ns.read()) * 1e-9;
      for (std::size_t k = 0; k < sums.done[i].times.size(); ++k)
        sums.done[i].times[k] += static_cast<double>(numbers.upstream_times[i].bucket(k));
    }
    numbers.for_each_plan([&sums](const PlanMetrics& plan) {
      sums.asked.by_plan[conf::printable(plan.name)] += static_cast<double>(plan.asked.read());
    });
  }
  return sums;
}

// ---- Counting ----------------------------------------------------------------------------------

void LiveForecast::begin() {
  constexpr auto until_old_has_written = 5s;
  const Readings readings = read_counters();
  sampler_.begin(readings.asked, now());
  done_ = readings.done;
  is_counting_ = server_.settings().forecast.keep;
  writes_at_last_ = false;
  start_timer();
  if (!is_counting_ || path_.empty()) return;
  look_again();
  again_.start(until_old_has_written);
}

// Past the turn of the minute: a timer may be a millisecond early by another clock.
void LiveForecast::start_timer() {
  constexpr auto past_the_turn = 5ms;
  const auto time = now();
  minute_.start(std::chrono::floor<std::chrono::minutes>(time) + 1min - time + past_the_turn);
}

void LiveForecast::end() {
  minute_.stop();
  again_.stop();
  if (!std::exchange(is_counting_, false) || path_.empty()) return;
  if (errand_.is_under_way())
    writes_at_last_ = true;
  else
    start(false, true);
}

// Where there is a file that this process has not read.
void LiveForecast::look_again() {
  if (errand_.is_under_way()) return again_.start(1s);
  if (::access(path_.c_str(), F_OK) == 0) start(true, false);
}

void LiveForecast::tick() {
  start_timer();
  const Readings readings = read_counters();
  const bool is_wanted = server_.settings().forecast.keep;
  if (is_wanted && std::exchange(is_counting_, true)) {
    const auto minute = sampler_.read(readings.asked, now());
    // Before anything is asked for nothing is known of it, and no memory is taken for that.
    const bool tells = minute && (mind_ || history::sum(minute->asked) > 0);
    if (tells && minutes_.size() < waiting_max) minutes_.push_back(*minute);
    add_growth(ended_, readings.done, done_);
  } else {
    sampler_.begin(readings.asked, now());
    if (!is_wanted && std::exchange(is_counting_, false)) {
      mind_.reset();
      report_.reset();
      minutes_.clear();
    }
  }
  done_ = readings.done;
  if (!is_counting_ || errand_.is_under_way()) return;
  if (minutes_.empty() && !mind_) return;
  const bool writes = !path_.empty() && --minutes_to_write_ <= 0;
  start(false, writes);
}

// ---- The errand --------------------------------------------------------------------------------

history::DemandQuestion LiveForecast::question() const {
  const conf::Settings& settings = server_.settings();
  const conf::ForecastSettings& forecast = settings.forecast;
  const auto servers = static_cast<std::uint32_t>(server_.policy().servers->count());
  history::DemandQuestion question{
      .now = std::chrono::floor<std::chrono::seconds>(now()),
      .workers_in_force = server_.snapshot().workers,
      .servers_in_force = servers,
      .workers_per_server =
          forecast.workers_per_server > 0 ? static_cast<double>(forecast.workers_per_server)
          : settings.admission.workers_per_server > 0
              ? static_cast<double>(settings.admission.workers_per_server)
              : static_cast<double>(settings.admission.workers) / std::max(servers, 1U),
      .lead_time = forecast.lead_time,
      .bounds = {forecast.servers_min, forecast.servers_max, forecast.fall}};
  if (auto target = conf::parse_time_target(forecast.target)) question.target = std::move(*target);
  return question;
}

void LiveForecast::start(bool reads, bool writes) {
  if (!mind_) mind_ = std::make_shared<std::unique_ptr<Mind>>();
  if (writes) minutes_to_write_ = minutes_between_writes;
  auto job = std::make_shared<Job>(Job{.mind = mind_,
                                       .time_zone = server_.settings().clients.time_zone,
                                       .path = path_,
                                       .reads = reads,
                                       .read_before = stamp_,
                                       .minutes = std::exchange(minutes_, {}),
                                       .ended = std::exchange(ended_, {}),
                                       .question = question(),
                                       .writes = writes,
                                       .part = {},
                                       .is_writing = is_writing_});
  if (writes) job->part = sampler_.so_far(read_counters().asked, now());
  *is_writing_ = writes;
  if (!errand_.begin([job = std::move(job)] { return work(*job); })) *is_writing_ = false;
}

// On the errand's thread. What throws is memory that ran out: the minute is lost, and said so.
LiveForecast::Outcome LiveForecast::work(const Job& job) {
  Outcome outcome;
  try {
    if (!*job.mind) *job.mind = std::make_unique<Mind>(job.time_zone);
    // What is known of minutes that are still to come is worth nothing, and would let none be
    // added.
    const history::Slot minute_now = job.question.now.time_since_epoch() / 1min;
    const history::DemandRecord& known = (*job.mind)->forecast.record();
    const bool is_set_back = !known.is_empty() && known.last() > minute_now + 1;
    if (is_set_back) {
      outcome.problem = fmt::format(
          "forecast: the clock has been set back by {} minutes: demand of later than now is "
          "forgotten",
          known.last() - minute_now);
      *job.mind = std::make_unique<Mind>(job.time_zone);
    }
    Mind& mind = **job.mind;
    if (job.reads || is_set_back) {
      outcome.stamp = stamp_of_demand_file(job.path);
      if (is_set_back || outcome.stamp != job.read_before) {
        give_way_to_others();
        if (auto read = read_demand_file(job.path, minute_now); !read) {
          outcome.problem = read.error();
        } else if (const history::DemandRecord& record = read->record; true) {
          for (history::Slot minute = record.first(); minute <= record.last(); ++minute)
            if (const auto asked = record.at(minute))
              mind.forecast.add(minute, *asked, read->plans.of(minute));
          if (read->later > 0)
            outcome.problem = fmt::format(
                "forecast.file: {}: {} minutes are later than now and are not taken: was the clock "
                "wrong, or is it?",
                job.path, read->later);
          outcome.part = read->part;
          outcome.taken = record.known();
        }
      }
    }
    mind.times.learn(job.ended);
    for (const DemandMinute& minute : job.minutes)
      mind.forecast.add(minute.minute, minute.asked, minute.plans);
    outcome.report = std::make_shared<const history::DemandReport>(
        history::report_demand(mind.forecast, mind.times, mind.servers, job.question));
    if (outcome.report->missed_at)
      outcome.missed_at = mind.zone->text_of(*outcome.report->missed_at);
    if (job.writes) {
      const auto written = write_demand_file(
          job.path, history::demand_text(mind.forecast.record(), mind.forecast.plans(), job.part));
      outcome.has_written = written.has_value();
      if (!written) outcome.problem = written.error();
    }
  } catch (const std::exception& failure) {
    outcome.problem = fmt::format("forecast: {}", failure.what());
  }
  *job.is_writing = false;
  return outcome;
}

void LiveForecast::on_outcome(Outcome outcome) {
  if (outcome.part) sampler_.add_part(*outcome.part);
  if (outcome.stamp.changed_ns != 0) stamp_ = outcome.stamp;
  if (outcome.taken > 0)
    spdlog::info("forecast: the demand of {} minutes is taken from {}{}", outcome.taken, path_,
                 outcome.part ? fmt::format(", and {:g} of the minute that goes on",
                                            history::sum(outcome.part->asked))
                              : std::string());
  if (!outcome.problem.empty() && outcome.problem != problem_) spdlog::warn("{}", outcome.problem);
  if (!outcome.problem.empty() || outcome.has_written) problem_ = outcome.problem;
  if (std::exchange(writes_at_last_, false)) return start(false, true);
  if (!is_counting_ || !outcome.report) return;
  report_ = std::move(outcome.report);
  tell(*report_, outcome.missed_at);
  on_report_(*report_);
}

// Said when it comes into sight, once an hour while it stays, and when it is over.
void LiveForecast::tell(const history::DemandReport& report, const std::string& missed_at) {
  constexpr auto said_again = 1h;
  if (!report.why_nothing.empty()) return;
  if (!report.missed_at) {
    if (std::exchange(missed_told_, std::nullopt))
      spdlog::info("forecast: at this trend \"{}\" holds", report.target);
    return;
  }
  if (missed_told_ && report.at - *missed_told_ < said_again) return;
  missed_told_ = report.at;
  spdlog::warn(
      "forecast: at this trend \"{}\" is missed at {}, with {} workers; {} are needed in an hour",
      report.target, missed_at, report.workers_now,
      report.horizons[history::DemandForecast::an_hour].workers.value_or(0));
}

}  // namespace classgate::gateway
