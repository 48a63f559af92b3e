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
constexpr std::uint64_t lines_before_judging = 100;
constexpr double bad_share_max = 0.01;
constexpr double unknown_share_max = 0.01;  // of all requests, those that can't be made again

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
      const Duration first = order_.first().at.time_since_epoch();
      if (first + Duration(first_ns_) + window_ < Duration(latest_ns_)) break;
    }
    if (!read_one()) is_at_end_ = true;
  }
  if (order_.is_empty()) return false;
  const std::uint32_t slot = order_.pop().slot;
  wish = wishes_[slot];
  if (Again& again = again_[slot]; again.left > 0) {
    --again.left;
    Wish& next = wishes_[slot];
    draw_service(next, group_names_[next.group]);
    next.at += again.step;
    put_in_order(slot, next.at);
  } else {
    free_.push_back(slot);
  }
  if (wish.at < handed_out_) {
    ++late_;
    wish.at = handed_out_;
  }
  handed_out_ = wish.at;
  return true;
}

bool LogTraffic::read_one() {
  std::string_view line;
  if (!file_.next(line)) return false;
  if (line.empty()) return true;
  ++lines_;
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
  ++out_of_order_;
  return false;
}

void LogTraffic::add(const AccessEntry& entry) {
  if (options_.format->is_ours) thinned_.add(entry.time_ns);
  if (!is_traffic(entry)) {
    if (entry.is_rolled_up() && is_of_admission(entry.reason))
      without_path_ += entry.rolled_up;
    else
      skipped_ += std::max<std::uint64_t>(entry.rolled_up, 1);
    return;
  }
  requests_ += std::max<std::uint64_t>(entry.rolled_up, 1);
  latest_ns_ = std::max(latest_ns_, entry.time_ns);
  window_ = std::max(window_, 2 * entry.deadline);
  untold_ += entry.took == AccessEntry::Took::untold ? 1 : 0;
  totals_ += entry.took == AccessEntry::Took::total ? 1 : 0;
  without_bytes_ += entry.tells_bytes ? 0 : 1;
  const admission::Route& route = routes_.find(entry.path);
  Wish wish;
  wish.at = arrival_in(entry);
  wish.upload = entry.upload;
  wish.bytes = entry.bytes_in;
  wish.group = group_of(route);
  wish.route = route.id;
  wish.cost = route.cost_varies && entry.cost > 0 ? entry.cost : route.cost;
  if (keeps_questions_) wish.number = question_of(entry);
  set_client(wish, entry);
  wish.priority = static_cast<std::uint8_t>(route.priority);
  wish.rate_limited = route.rate_limited;
  wish.client_share = route.client_share;
  // Its client left then; all others would have stayed.
  if (entry.verdict == "abandoned") wish.patience = entry.total;
  set_service(wish, entry, route.name);
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(wishes_.size()));
    wishes_.emplace_back();
    again_.emplace_back();
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  wishes_[slot] = wish;
  again_[slot] = {};
  if (entry.is_rolled_up()) {  // evenly over their time
    ++rolled_up_lines_;
    rolled_up_ += entry.rolled_up;
    again_[slot].left = entry.rolled_up - 1;
    again_[slot].step =
        Duration((entry.time_ns - entry.since_ns) / static_cast<std::int64_t>(entry.rolled_up));
  }
  put_in_order(slot, wish.at);
}

Time LogTraffic::arrival_in(const AccessEntry& entry) {
  Duration since_first(arrival_of(entry) - first_ns_);
  if (entry.is_to_the_second) {
    constexpr std::uint64_t one_second = 1'000'000'000;
    ++to_the_second_;
    since_first += Duration(static_cast<std::int64_t>(seconds_drawn_.below(one_second)));
  }
  return Time{} + std::max(since_first, Duration::zero());
}

void LogTraffic::put_in_order(std::uint32_t slot, Time at) {
  simulation::Event event;
  event.at = at;
  event.sequence = sequence_++;
  event.slot = slot;
  order_.push(event);
}

void LogTraffic::set_service(Wish& wish, const AccessEntry& entry, const std::string& route) {
  using Service = LogOptions::Service;
  const bool is_told = entry.took != AccessEntry::Took::untold;
  if (was_refused_by_service(entry)) {
    ++refused_by_service_;
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
      wish.service = simulation::draw(options_.model.service, services_drawn_);
      wish.fails = options_.model.failures > 0 && failures_drawn_.unit() < options_.model.failures;
      return;
    case Service::fitted:
      wish.service = simulation::draw(services_.fitted(route), services_drawn_);
      return;
    case Service::recorded: wish.service = services_.draw(route, services_drawn_);
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

std::uint32_t LogTraffic::question_of(const AccessEntry& entry) {
  const auto is_of_methods = [](char c) { return (c >= 'A' && c <= 'Z') || c == '-' || c == '_'; };
  constexpr std::size_t method_max = 20;
  const bool is_told =
      entry.method.size() <= method_max && std::ranges::all_of(entry.method, is_of_methods);
  std::string question(is_told ? entry.method : std::string_view());
  question += ' ';
  question += entry.path;
  if (const auto known = questions_.find(question); known != questions_.end()) return known->second;
  if (questions_.size() >= questions_max) return Wish::unnumbered;
  const auto number = static_cast<std::uint32_t>(questions_.size());
  question_of_number_.push_back(&questions_.emplace(std::move(question), number).first->first);
  return number;
}

LogTraffic::Asked LogTraffic::asked_by(const Wish& wish) const {
  if (wish.number >= question_of_number_.size()) return {};
  const std::string_view question = *question_of_number_[wish.number];
  const std::size_t space = question.find(' ');
  return {question.substr(0, space), question.substr(space + 1)};
}

void LogTraffic::set_client(Wish& wish, const AccessEntry& entry) {
  const std::uint64_t count = std::max<std::uint64_t>(entry.rolled_up, 1);
  wish.client = client_of(entry.client);
  if (plans_.need_ids() && entry.is_by_address) without_id_ += count;
  if (!plans_.are_any()) return;
  const ClientPlans::Found found = plans_.of(entry);
  const bool is_remembered = wish.client < plan_of_client_.size();
  if (!found.is_in_conf) {
    if (of_other_plans_ == 0) other_plan_ = entry.plan;
    of_other_plans_ += count;
  }
  if (found.is_told) {
    if (is_remembered) plan_of_client_[wish.client] = found.plan;
    wish.plan = found.plan;
  } else if (entry.is_rolled_up()) {  // such lines have no plan: it is that of the lines before
    if (is_remembered) wish.plan = plan_of_client_[wish.client];
  } else {
    without_plan_ += count;
  }
}

std::string LogTraffic::client_name(std::uint32_t client) const {
  return client < client_names_.size() ? client_names_[client] : "all others";
}

double LogTraffic::progress() const { return file_.progress(); }

// Of the file, not of its lines.
std::string LogTraffic::damage() const {
  return file_.error().empty()
             ? ""
             : fmt::format("{}:{}: {}", file_.name(), file_.number() + 1, file_.error());
}

void LogTraffic::note_bad(std::string_view line, const std::string& why) {
  ++bad_;
  if (first_bad_.size() >= shown_bad) return;
  first_bad_.push_back(fmt::format("{}:{}: {}: {}{}", file_.name(), file_.number(), why,
                                   conf::printable(line.substr(0, 60)),
                                   line.size() > 60 ? "..." : ""));
}

// What a log of somebody else cannot tell, and what is done about it.
std::string LogTraffic::what_is_missing() const {
  std::string missing;
  const auto say = [&](std::uint64_t count, std::string_view what) {
    if (count == 0) return;
    missing +=
        fmt::format("{} {} of {} requests {}", missing.empty() ? "" : ";", count, requests_, what);
  };
  say(untold_, "do not tell what the service took (--upstream does)");
  say(totals_, "tell only how long all of it took, with what their clients took to send and read");
  say(to_the_second_, "tell the second in which they ended: where in it is drawn by chance");
  say(without_bytes_, "do not tell how long their body was: it counts as empty");
  return missing.empty() ? missing
                         : fmt::format("read as a log of {}:{}", options_.format->name, missing);
}

// Seconds and milliseconds are taken for each other easily: a simulation of that is a thousand
// times off, and looks like any other.
std::string LogTraffic::what_is_doubtful() const {
  constexpr Duration long_time = std::chrono::seconds(10);
  constexpr Duration short_time = std::chrono::microseconds(50);
  const Duration median = services_.median();
  if (options_.format->is_ours || services_.is_empty() ||
      (median <= long_time && median >= short_time))
    return {};
  const bool is_long = median > long_time;
  return fmt::format(
      "{}: the service took {} in the median of the first lines: is the unit right? The log may "
      "tell {} where {} are read (classgate(8) says which name is read in which unit)",
      file_.name(),
      is_long ? fmt::format("{:g} s", measure::in_seconds(median))
              : fmt::format("{:g} ms", measure::in_ms(median)),
      is_long ? "milliseconds" : "seconds", is_long ? "seconds" : "milliseconds");
}

std::string LogTraffic::what_is_thinned() const {
  const std::string why = options_.format->is_ours ? thinned_.why() : std::string();
  return why.empty()
             ? why
             : fmt::format("{}: there was more traffic than it tells: {}", file_.name(), why);
}

// Without it the limits for each client would be tried on clients that are none.
std::string LogTraffic::what_the_conf_needs() const {
  const auto are_many = [this](std::uint64_t count) {
    return static_cast<double>(count) > unknown_share_max * static_cast<double>(requests_);
  };
  if (are_many(without_id_))
    return fmt::format(
        "{}: {} of {} requests do not tell their client, only its address; the conf has limits for "
        "each client and tells them apart by something else (fairness.identity): whom they would "
        "refuse can't be told (--keep-going takes each address for a client)",
        file_.name(), without_id_, requests_);
  if (are_many(without_plan_))
    return fmt::format(
        "{}: {} of {} requests do not tell the plan of their client, and the conf has [[plan]]s: "
        "whom they would refuse can't be told (--keep-going has all on everybody's terms)",
        file_.name(), without_plan_, requests_);
  return {};
}

std::vector<std::string> LogTraffic::remarks() const {
  std::vector<std::string> remarks = first_bad_;
  if (const std::string missing = what_is_missing(); !missing.empty()) remarks.push_back(missing);
  if (const std::string why = what_is_doubtful(); !why.empty()) remarks.push_back(why);
  if (const std::string why = damage(); !why.empty())
    remarks.push_back(why + "; what follows is missing");
  if (bad_ > 0) remarks.push_back(fmt::format("{} malformed lines were left out", bad_));
  if (!line_order_.is_good())
    remarks.push_back(fmt::format("{}: {}", file_.name(), line_order_.why()));
  if (out_of_order_ > 0)
    remarks.push_back(fmt::format("{} lines that are out of order were left out", out_of_order_));
  if (skipped_ > 0)
    remarks.push_back(fmt::format(
        "{} lines were left out: operators' requests, and those refused for what they were",
        skipped_));
  if (const std::string why = what_is_thinned(); !why.empty()) remarks.push_back(why);
  if (of_other_plans_ > 0)
    remarks.push_back(fmt::format(
        "{} requests are of plans that the conf does not have, such as {}: they are on everybody's "
        "terms",
        of_other_plans_, shown(other_plan_)));
  if (refused_by_service_ > 0)
    remarks.push_back(fmt::format(
        "{} requests were refused by the service itself (429, 503): here they take what "
        "others of their route took",
        refused_by_service_));
  if (rolled_up_ > 0)
    remarks.push_back(
        fmt::format("{} refusals stood in {} lines for many (log.refusals_max): they arrive evenly "
                    "over the time of their line",
                    rolled_up_, rolled_up_lines_));
  if (without_path_ > 0)
    remarks.push_back(
        fmt::format("{} more refusals stood in lines that do not tell their path: what would have "
                    "become of them can't be told",
                    without_path_));
  if (late_ > 0)
    remarks.push_back(
        fmt::format("{} requests took longer than the log is looked ahead, or stand later in it "
                    "than that: they "
                    "arrive later than they did",
                    late_));
  return remarks;
}

std::string LogTraffic::complaint() const {
  if (options_.keeps_bad_lines) return {};
  if (const std::string why = damage(); !why.empty())
    return why + " (--keep-going takes what comes before)";
  if (!line_order_.is_good())
    return fmt::format("{}: {} (--keep-going leaves out what is more than {} out of order)",
                       file_.name(), line_order_.why(), "10 min");
  const auto bad = static_cast<double>(bad_);
  const bool is_judged = lines_ >= lines_before_judging || is_at_end_;
  if (is_judged && bad > bad_share_max * static_cast<double>(lines_))
    return fmt::format(
        "{}: {} of {} lines are malformed, more than 1 %: is this a log of {}? (--format says "
        "whose it is; --keep-going takes what can be read)",
        file_.name(), bad_, lines_, options_.format->name);
  // Until the end nobody knows how many there are of the others.
  const std::uint64_t all = requests_ + without_path_;
  if (is_at_end_ &&
      static_cast<double>(without_path_) > unknown_share_max * static_cast<double>(all))
    return fmt::format(
        "{}: {} of {} requests stand in lines that do not tell their path (log.refusals_max), more "
        "than 1 %: without them there would be less traffic than there was (--keep-going goes "
        "without them)",
        file_.name(), without_path_, all);
  if (!is_at_end_) return {};
  if (const std::string why = what_is_thinned(); !why.empty())
    return why + " (--keep-going takes what there is)";
  if (const std::string why = line_order_.why_doubled(); !why.empty())
    return fmt::format("{}: {} (--keep-going takes them as they are)", file_.name(), why);
  return what_the_conf_needs();
}

}  // namespace classgate::planning
