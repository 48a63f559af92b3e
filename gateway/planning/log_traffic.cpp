#include "gateway/planning/log_traffic.h"

#include <algorithm>

#include "admission/measure/units.h"
#include "admission/simulation/tally.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

using simulation::Wish;

constexpr Duration span_max = std::chrono::hours(366 * 24);  // between the first line and any other
constexpr std::uint64_t looked_ahead = 200'000;  // lines, to learn what the service takes
constexpr std::uint64_t bytes_looked_ahead = 256ULL << 20;  // or these: lines may be long
constexpr std::size_t shown_bad = 5;

// Reasons with which admission, or the service, ended a request; any other one ended it for what it
// was, whatever the limits.
bool is_of_admission(std::string_view reason) {
  const auto known = conf::reason_from_word(reason);
  if (!known) return reason == "-";
  const conf::ReasonKind kind = conf::kind_of(*known);
  return kind != conf::ReasonKind::room && kind != conf::ReasonKind::request;
}

bool is_traffic(const AccessEntry& entry) {
  return entry.verdict != "operator" && entry.path != "-" && is_of_admission(entry.reason);
}

bool was_answered(const AccessEntry& entry) {
  return entry.verdict == "admitted" && entry.reason == "-";
}

// What the service refuses itself it would have done, had there been room.
bool was_refused_by_service(const AccessEntry& entry) {
  return was_answered(entry) && (entry.status == 429 || entry.status == 503);
}

// An error is no work, and a tunnel lasts as long as somebody talks. What is not told counts as
// one.
bool was_worked_on(const AccessEntry& entry) {
  constexpr int switching_protocols = 101;
  return was_answered(entry) && entry.status < 400 && entry.status != switching_protocols;
}

bool tells_service_time(const AccessEntry& entry) {
  return was_worked_on(entry) && entry.took != AccessEntry::Took::untold;
}

// Of the first, where there are many.
std::int64_t arrival_of(const AccessEntry& entry) {
  return entry.is_rolled_up() ? entry.since_ns : entry.time_ns - entry.total.count();
}

}  // namespace

std::expected<std::unique_ptr<LogTraffic>, std::string> LogTraffic::open(
    const LogOptions& options, const conf::Settings& settings) {
  auto file = LineFile::open(options.file);
  if (!file) return std::unexpected(file.error());
  std::unique_ptr<LogTraffic> traffic(new LogTraffic(options, std::move(*file), settings));
  if (auto looked = traffic->look_ahead(); !looked) return std::unexpected(looked.error());
  return traffic;
}

// Requests that were refused tell nothing of what they would have taken: others of their route do.
// And the log begins with the first that ended, not with the first that arrived.
std::expected<void, std::string> LogTraffic::look_ahead() {
  auto file = LineFile::open(options_.file);
  if (!file) return std::unexpected(file.error());
  const std::unique_ptr<LineReader> reader = options_.format->make();
  std::uint64_t untold = 0;
  LineOrder line_order(options_.format->is_ours);
  Duration behind_most{};
  std::string_view line;
  while (file->number() < looked_ahead && file->unpacked() < bytes_looked_ahead &&
         file->next(line)) {
    line = prefix_.strip(line);
    const auto entry = reader->read(line);
    if (!entry || !is_near(*entry)) continue;
    const Duration behind = line_order.add(line, file->number(), entry->time_ns);
    if (behind > LineOrder::mended_max) continue;
    behind_most = std::max(behind_most, behind);
    if (!is_traffic(*entry)) continue;
    const std::int64_t arrived_ns = arrival_of(*entry);
    first_ns_ = first_ns_ < 0 ? arrived_ns : std::min(first_ns_, arrived_ns);
    if (entry->took == AccessEntry::Took::untold) ++untold;
    if (tells_service_time(*entry)) services_.add(routes_.find(entry->path).name, entry->upstream);
  }
  services_.settle();
  window_ = window_least + behind_most;
  if (!file->error().empty() && services_.is_empty())
    return std::unexpected(file->name() + ": " + file->error());
  if (file->number() == 0)
    return std::unexpected(file->name() + ": is empty: there is no traffic in it");
  if (services_.is_empty() && untold > 0 && options_.service != LogOptions::Service::model)
    return std::unexpected(
        fmt::format("{}: it does not tell how long the service took: describe the service with "
                    "--upstream, such as --upstream \"exponential 50ms\"; or have it told: {}",
                    file_.name(), options_.format->for_service_times));
  if (services_.is_empty() && options_.service != LogOptions::Service::model)
    return std::unexpected(fmt::format(
        "{}: no request in it was served, so that nothing is known of the service; describe it "
        "with --upstream, such as --upstream \"exponential 50ms\"",
        file_.name()));
  return {};
}

// Whether it may belong to the same log as the first line that could be read.
bool LogTraffic::is_near(const AccessEntry& entry) {
  if (first_line_ns_ < 0) first_line_ns_ = entry.time_ns;
  const Duration apart(entry.time_ns - first_line_ns_);
  return apart <= span_max && apart >= -span_max;
}

bool LogTraffic::next(Wish& wish) {
  while (!is_at_end_) {
    if (!order_.is_empty()) {
      const Duration first = order_.first().time_since_epoch();
      if (first + Duration(first_ns_) + window_ < Duration(latest_ns_)) break;
    }
    if (!read_one()) is_at_end_ = true;
  }
  if (order_.is_empty()) return false;
  wish = order_.take_first([this](Wish& next) { draw_service(next, group_names_[next.group]); });
  if (wish.at < handed_out_) {
    ++counts_.late;
    wish.at = handed_out_;
  }
  handed_out_ = wish.at;
  return true;
}

bool LogTraffic::read_one() {
  std::string_view line;
  if (!file_.next(line)) return false;
  if (line.empty()) return true;
  ++counts_.lines;
  line = prefix_.strip(line);
  const auto entry = reader_->read(line);
  if (!entry)
    note_bad(line, entry.error());
  else if (!is_near(*entry))
    note_bad(line, "is of another year than the first line");
  else if (is_in_order(*entry, line))
    add(*entry);
  return complaint().empty();
}

bool LogTraffic::is_in_order(const AccessEntry& entry, std::string_view line) {
  const Duration behind = line_order_.add(line, file_.number(), entry.time_ns);
  if (behind <= LineOrder::mended_max) {
    window_ = std::max(window_, window_least + behind);
    return true;
  }
  ++counts_.out_of_order;
  return false;
}

void LogTraffic::add(const AccessEntry& entry) {
  if (options_.format->is_ours) thinned_.add(entry.time_ns);
  if (!is_traffic(entry)) {
    if (entry.is_rolled_up() && is_of_admission(entry.reason))
      counts_.without_path += entry.rolled_up;
    else
      counts_.skipped += std::max<std::uint64_t>(entry.rolled_up, 1);
    return;
  }
  counts_.requests += std::max<std::uint64_t>(entry.rolled_up, 1);
  latest_ns_ = std::max(latest_ns_, entry.time_ns);
  window_ = std::max(window_, 2 * entry.deadline);
  counts_.untold += entry.took == AccessEntry::Took::untold ? 1 : 0;
  counts_.totals += entry.took == AccessEntry::Took::total ? 1 : 0;
  counts_.without_bytes += entry.tells_bytes ? 0 : 1;
  const admission::Route& route = routes_.find(entry.path);
  Wish wish;
  wish.at = arrival_in(entry);
  wish.upload = entry.upload;
  wish.bytes = entry.bytes_in;
  wish.group = group_of(route);
  wish.route = route.id;
  wish.cost = route.cost_varies && entry.cost > 0 ? entry.cost : route.cost;
  if (keeps_questions_)
    wish.number = questions_.number_of(entry.method, entry.path, Wish::unnumbered);
  set_client(wish, entry);
  wish.priority = static_cast<std::uint8_t>(route.priority);
  wish.rate_limited = route.rate_limited;
  wish.client_share = route.client_share;
  // Its client left then; all others would have stayed.
  if (entry.verdict == "abandoned") wish.patience = entry.total;
  set_service(wish, entry, route.name);
  WishOrder::Again again;
  if (entry.is_rolled_up()) {  // evenly over their time
    ++counts_.rolled_up_lines;
    counts_.rolled_up += entry.rolled_up;
    again.left = entry.rolled_up - 1;
    again.step =
        Duration((entry.time_ns - entry.since_ns) / static_cast<std::int64_t>(entry.rolled_up));
  }
  order_.add(wish, again);
}

Time LogTraffic::arrival_in(const AccessEntry& entry) {
  Duration since_first(arrival_of(entry) - first_ns_);
  if (entry.is_to_the_second) {
    constexpr std::uint64_t one_second = 1'000'000'000;
    ++counts_.to_the_second;
    since_first += Duration(static_cast<std::int64_t>(chance_.seconds.below(one_second)));
  }
  return Time{} + std::max(since_first, Duration::zero());
}

void LogTraffic::set_service(Wish& wish, const AccessEntry& entry, const std::string& route) {
  using Service = LogOptions::Service;
  const bool is_told = entry.took != AccessEntry::Took::untold;
  if (was_refused_by_service(entry)) {
    ++counts_.refused_by_service;
    return draw_service(wish, route);
  }
  // No law of the service's work is one of these.
  if (was_answered(entry) && !was_worked_on(entry) && is_told) {
    wish.service = entry.upstream;
    return;
  }
  if (options_.service == Service::model) return draw_service(wish, route);
  wish.fails = entry.reason == "upstream_broken" || entry.reason == "upstream_unreachable";
  if (options_.service == Service::recorded && is_told && (was_answered(entry) || wish.fails))
    wish.service = entry.upstream;
  else if (options_.service == Service::recorded && entry.reason == "upstream_timeout")
    wish.service = 2 * std::max(entry.deadline, entry.total);  // nobody knows how long
  else
    draw_service(wish, route);
}

// For one of which the log does not tell how long it took.
void LogTraffic::draw_service(Wish& wish, const std::string& route) {
  using Service = LogOptions::Service;
  switch (options_.service) {
    case Service::model:
      wish.service = simulation::draw(options_.model.service, chance_.services);
      wish.fails = options_.model.failures > 0 && chance_.failures.unit() < options_.model.failures;
      return;
    case Service::fitted:
      wish.service = simulation::draw(services_.fitted(route), chance_.services);
      return;
    case Service::recorded: wish.service = services_.draw(route, chance_.services);
  }
}

std::uint32_t LogTraffic::group_of(const admission::Route& route) {
  constexpr std::uint32_t none = 0xffffffff;
  if (route.index >= group_of_route_.size()) group_of_route_.resize(route.index + 1, none);
  std::uint32_t& group = group_of_route_[route.index];
  if (group == none) {
    group = static_cast<std::uint32_t>(group_names_.size());
    group_names_.push_back(route.name);
  }
  return group;
}

std::uint32_t LogTraffic::client_of(std::string_view name) {
  if (const auto known = clients_.find(name); known != clients_.end()) return known->second;
  if (client_names_.size() >= simulation::Tally::clients_max) return simulation::Tally::clients_max;
  const auto id = static_cast<std::uint32_t>(client_names_.size());
  client_names_.emplace_back(name);
  plan_of_client_.emplace_back();
  clients_.emplace(name, id);
  return id;
}

void LogTraffic::set_client(Wish& wish, const AccessEntry& entry) {
  const std::uint64_t count = std::max<std::uint64_t>(entry.rolled_up, 1);
  wish.client = client_of(entry.client);
  if (plans_.need_ids() && entry.is_by_address) counts_.without_id += count;
  if (!plans_.are_any()) return;
  const ClientPlans::Found found = plans_.of(entry);
  const bool is_remembered = wish.client < plan_of_client_.size();
  if (!found.is_in_conf) {
    if (counts_.of_other_plans == 0) counts_.other_plan = entry.plan;
    counts_.of_other_plans += count;
  }
  if (found.is_told) {
    if (is_remembered) plan_of_client_[wish.client] = found.plan;
    wish.plan = found.plan;
  } else if (entry.is_rolled_up()) {  // of older versions, and of many clients: it is that of the
                                      // lines before
    if (is_remembered) wish.plan = plan_of_client_[wish.client];
  } else {
    counts_.without_plan += count;
  }
}

std::string LogTraffic::client_name(std::uint32_t client) const {
  return client < client_names_.size() ? client_names_[client] : "all others";
}

std::optional<std::chrono::system_clock::time_point> LogTraffic::began() const {
  using std::chrono::system_clock;
  return system_clock::time_point(std::chrono::duration_cast<system_clock::duration>(
      Duration(std::max(first_ns_, INT64_C(0)))));
}

double LogTraffic::progress() const { return file_.progress(); }

void LogTraffic::note_bad(std::string_view line, const std::string& why) {
  ++counts_.bad;
  if (counts_.first_bad.size() >= shown_bad) return;
  counts_.first_bad.push_back(fmt::format("{}:{}: {}: {}{}", file_.name(), file_.number(), why,
                                          conf::printable(line.substr(0, 60)),
                                          line.size() > 60 ? "..." : ""));
}

}  // namespace classgate::planning
