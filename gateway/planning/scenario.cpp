#include "gateway/planning/scenario.h"

#include <algorithm>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/planning/log_traffic.h"
#include "gateway/planning/part_traffic.h"
#include "gateway/planning/workload_clients.h"
#include "gateway/planning/workload_traffic.h"

namespace classgate::planning {
namespace {

std::string lines_of(const std::vector<conf::Mistake>& mistakes) {
  std::string lines;
  for (const conf::Mistake& mistake : mistakes)
    lines += fmt::format("{}{}: {}", lines.empty() ? "" : "\n", mistake.place, mistake.text);
  return lines;
}

// A law in place of a whole model: "exponential 50ms", or a file that has an [upstream].
std::expected<conf::UpstreamModel, std::string> read_model(const std::string& text) {
  if (text.contains('/') || text.ends_with(".toml")) {
    const auto workload = conf::read_workload(text, false);
    if (!workload) return std::unexpected(lines_of(workload.error()));
    return workload->upstream;
  }
  const auto law = conf::parse_law(text);
  if (!law)
    return std::unexpected("--upstream: " + law.error() +
                           "; or \"recorded\", \"fitted\", or a file with an [upstream]");
  conf::UpstreamModel model;
  model.service = *law;
  return model;
}

bool is_of_the_log(const std::string& upstream) {
  return upstream.empty() || upstream == "recorded" || upstream == "fitted";
}

}  // namespace

std::expected<Scenario, std::string> Scenario::open(const conf::PlanningOptions& options) {
  Scenario scenario;
  if (options.log.empty() == options.workload.empty())
    return std::unexpected(std::string("name what is asked: --log FILE or --workload FILE"));
  scenario.keeps_going_ = options.keeps_going;
  if (!options.log.empty()) {
    auto log = LogFile::open(options.log);
    if (!log) return std::unexpected(log.error());
    scenario.log_ = std::move(*log);
    const auto format = format_of(options.format, scenario.log_);
    if (!format) return std::unexpected(format.error());
    scenario.format_ = *format;
  }
  scenario.upstream_text_ = options.upstream;
  if (!options.workload.empty()) {
    auto workload = conf::read_workload(options.workload);
    if (!workload) return std::unexpected(lines_of(workload.error()));
    scenario.workload_ = std::move(*workload);
    scenario.upstream_ = scenario.workload_->upstream;
    scenario.seed_ = scenario.workload_->seed;
  }
  if (options.seed) scenario.seed_ = *options.seed;
  if (!is_of_the_log(options.upstream)) {
    auto model = read_model(options.upstream);
    if (!model) return std::unexpected(model.error());
    scenario.upstream_ = *model;
  } else if (scenario.workload_ && !options.upstream.empty()) {
    return std::unexpected(fmt::format(
        "--upstream {} belongs to --log: a workload has no recorded times", options.upstream));
  }
  if (scenario.workload_) {
    scenario.workload_->seed = scenario.seed_;
    scenario.workload_->upstream = scenario.upstream_;
  }
  auto scale = parse_scale(options.scale);
  if (!scale) return std::unexpected(scale.error());
  scenario.scale_ = std::move(*scale);
  if (scenario.workload_)
    if (const std::string why = apply(scenario.scale_, *scenario.workload_); !why.empty())
      return std::unexpected(why);
  return scenario;
}

std::expected<std::unique_ptr<NamedTraffic>, std::string> Scenario::traffic(
    const conf::Settings& settings, bool knows_clients) const {
  if (workload_) {
    std::expected<std::vector<simulation::ClassTraffic::Client>, std::string> clients{};
    if (knows_clients) clients = clients_of(*workload_, settings);
    if (!clients) return std::unexpected(clients.error());
    return std::make_unique<WorkloadTraffic>(*workload_, admission::RouteTable(settings.routes),
                                             std::move(*clients));
  }
  using Service = LogOptions::Service;
  const Service service = upstream_text_ == "fitted"      ? Service::fitted
                          : is_of_the_log(upstream_text_) ? Service::recorded
                                                          : Service::model;
  auto log = LogTraffic::open({.file = log_,
                               .format = format_,
                               .keeps_bad_lines = keeps_going_,
                               .service = service,
                               .model = upstream_,
                               .seed = seed_},
                              settings);
  if (!log) return std::unexpected(log.error());
  std::unique_ptr<NamedTraffic> traffic = std::move(*log);
  if (scale_.is_any()) traffic = scaled(std::move(traffic), scale_, seed_);
  if (from_ > Duration::zero() || to_ < Duration::max())
    traffic = std::make_unique<PartTraffic>(std::move(traffic), from_, to_);
  return traffic;
}

void Scenario::take_part(Duration from, Duration to) {
  from_ = from;
  to_ = to;
}

std::string Scenario::multiply(double times) {
  if (workload_) return apply(Scale{.all = times}, *workload_);
  scale_.all *= times;
  for (auto& [name, factor] : scale_.of) factor *= times;
  return {};
}

void Scenario::set_seed(std::uint64_t seed) {
  seed_ = seed;
  if (workload_) workload_->seed = seed;
}

void Scenario::set_servers(std::uint32_t servers) {
  upstream_.servers = servers;
  if (workload_) workload_->upstream.servers = servers;
}

void Scenario::set_capacity(std::uint32_t capacity) {
  upstream_.capacity = capacity;
  if (workload_) workload_->upstream.capacity = capacity;
}

std::string Scenario::describe() const { return workload_ ? workload_->name : log_->name(); }

std::string Scenario::describe_upstream() const {
  if (!workload_ && is_of_the_log(upstream_text_))
    return upstream_text_ == "fitted" ? "a law fitted to the log" : "as recorded in the log";
  std::string text = conf::print_law(upstream_.service);
  if (upstream_.servers > 1) text += fmt::format(", {} servers", upstream_.servers);
  if (upstream_.capacity > 0)
    text += fmt::format(", {} at once{}", upstream_.capacity, upstream_.servers > 1 ? " each" : "");
  if (upstream_.slowdown_beyond > 0)
    text += fmt::format(", slower beyond {}", upstream_.slowdown_beyond);
  if (upstream_.failures > 0) text += fmt::format(", {} % fail", upstream_.failures * 100);
  return text;
}

double Result::seconds() const {
  return std::max(measure::in_seconds(tally.last_arrival().time_since_epoch()), 1e-9);
}

double Result::goodput(const simulation::Counts& counts) const {
  return static_cast<double>(counts.served) / seconds();
}

double Result::worker_share() const {
  double busy = 0;
  for (const auto& step : tally.timeline().steps()) busy += step.active_seconds;
  const double all = workers * measure::in_seconds(end.time_since_epoch());
  return all > 0 ? busy / all : 0;
}

std::expected<Result, std::string> run(const Scenario& scenario, const conf::Settings& settings,
                                       const std::string& conf_name, const OnProgress& on_progress,
                                       const Wrap& wrap) {
  constexpr std::uint64_t events_at_a_time = 200'000;
  auto traffic = scenario.traffic(settings, true);
  if (!traffic) return std::unexpected(traffic.error());
  if (wrap) *traffic = wrap(std::move(*traffic));
  simulation::Simulation simulation(settings, scenario.upstream(), **traffic);
  while (simulation.advance(events_at_a_time))
    if (on_progress) on_progress((*traffic)->progress());
  if (const std::string complaint = (*traffic)->complaint(); !complaint.empty()) {
    std::string lines;
    for (const std::string& remark : (*traffic)->remarks()) lines += remark + "\n";
    return std::unexpected(lines + complaint);
  }
  return Result{.settings = settings,
                .conf = conf_name,
                .traffic = std::move(*traffic),
                .tally = simulation.tally(),
                .end = simulation.now(),
                .events = simulation.events(),
                .workers = std::min(settings.admission.workers, simulation.places_in_servers())};
}

}  // namespace classgate::planning
