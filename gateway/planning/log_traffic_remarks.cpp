// What is said of a log that was read, and why it is not believed.

#include <chrono>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/planning/log_fields.h"
#include "gateway/planning/log_traffic.h"

namespace classgate::planning {
namespace {

constexpr std::uint64_t lines_before_judging = 100;
constexpr double bad_share_max = 0.01;
constexpr double unknown_share_max = 0.01;  // of all requests, those that can't be made again

}  // namespace

// Of the file, not of its lines.
std::string LogTraffic::damage() const {
  return file_.error().empty()
             ? ""
             : fmt::format("{}:{}: {}", file_.name(), file_.number() + 1, file_.error());
}

// What a log of somebody else cannot tell, and what is done about it.
std::string LogTraffic::what_is_missing() const {
  std::string missing;
  const auto say = [&](std::uint64_t count, std::string_view what) {
    if (count == 0) return;
    missing += fmt::format("{} {} of {} requests {}", missing.empty() ? "" : ";", count,
                           counts_.requests, what);
  };
  say(counts_.untold, "do not tell what the service took (--upstream does)");
  say(counts_.totals,
      "tell only how long all of it took, with what their clients took to send and read");
  say(counts_.to_the_second, "tell the second in which they ended: where in it is drawn by chance");
  say(counts_.without_bytes, "do not tell how long their body was: it counts as empty");
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
    return static_cast<double>(count) > unknown_share_max * static_cast<double>(counts_.requests);
  };
  if (are_many(counts_.without_id))
    return fmt::format(
        "{}: {} of {} requests do not tell their client, only its address; the conf has limits for "
        "each client and tells them apart by something else (fairness.identity): whom they would "
        "refuse can't be told (--keep-going takes each address for a client)",
        file_.name(), counts_.without_id, counts_.requests);
  if (are_many(counts_.without_plan))
    return fmt::format(
        "{}: {} of {} requests do not tell the plan of their client, and the conf has [[plan]]s: "
        "whom they would refuse can't be told (--keep-going has all on everybody's terms)",
        file_.name(), counts_.without_plan, counts_.requests);
  return {};
}

std::vector<std::string> LogTraffic::remarks() const {
  std::vector<std::string> remarks = counts_.first_bad;
  if (const std::string missing = what_is_missing(); !missing.empty()) remarks.push_back(missing);
  if (const std::string why = what_is_doubtful(); !why.empty()) remarks.push_back(why);
  if (const std::string why = damage(); !why.empty())
    remarks.push_back(why + "; what follows is missing");
  if (counts_.bad > 0)
    remarks.push_back(fmt::format("{} malformed lines were left out", counts_.bad));
  if (!line_order_.is_good())
    remarks.push_back(fmt::format("{}: {}", file_.name(), line_order_.why()));
  if (counts_.out_of_order > 0)
    remarks.push_back(
        fmt::format("{} lines that are out of order were left out", counts_.out_of_order));
  if (counts_.skipped > 0)
    remarks.push_back(fmt::format(
        "{} lines were left out: operators' requests, and those refused for what they were",
        counts_.skipped));
  if (const std::string why = what_is_thinned(); !why.empty()) remarks.push_back(why);
  if (counts_.of_other_plans > 0)
    remarks.push_back(fmt::format(
        "{} requests are of plans that the conf does not have, such as {}: they are on everybody's "
        "terms",
        counts_.of_other_plans, shown(counts_.other_plan)));
  if (counts_.refused_by_service > 0)
    remarks.push_back(fmt::format(
        "{} requests were refused by the service itself (429, 503): here they take what "
        "others of their route took",
        counts_.refused_by_service));
  if (counts_.rolled_up > 0)
    remarks.push_back(
        fmt::format("{} refusals stood in {} lines for many (log.refusals_max): they arrive evenly "
                    "over the time of their line",
                    counts_.rolled_up, counts_.rolled_up_lines));
  if (counts_.without_path > 0)
    remarks.push_back(
        fmt::format("{} more refusals stood in lines that do not tell their path: what would have "
                    "become of them can't be told",
                    counts_.without_path));
  if (counts_.late > 0)
    remarks.push_back(
        fmt::format("{} requests took longer than the log is looked ahead, or stand later in it "
                    "than that: they "
                    "arrive later than they did",
                    counts_.late));
  return remarks;
}

std::string LogTraffic::complaint() const {
  if (options_.keeps_bad_lines) return {};
  if (const std::string why = damage(); !why.empty())
    return why + " (--keep-going takes what comes before)";
  if (!line_order_.is_good())
    return fmt::format(
        "{}: {} (--keep-going leaves out what is more than {} min out of order)", file_.name(),
        line_order_.why(),
        std::chrono::duration_cast<std::chrono::minutes>(LineOrder::mended_max).count());
  const auto bad = static_cast<double>(counts_.bad);
  const bool is_judged = counts_.lines >= lines_before_judging || is_at_end_;
  if (is_judged && bad > bad_share_max * static_cast<double>(counts_.lines))
    return fmt::format(
        "{}: {} of {} lines are malformed, more than 1 %: is this a log of {}? (--format says "
        "whose it is; --keep-going takes what can be read)",
        file_.name(), counts_.bad, counts_.lines, options_.format->name);
  // Until the end nobody knows how many there are of the others.
  const std::uint64_t all = counts_.requests + counts_.without_path;
  if (is_at_end_ &&
      static_cast<double>(counts_.without_path) > unknown_share_max * static_cast<double>(all))
    return fmt::format(
        "{}: {} of {} requests stand in lines that do not tell their path (log.refusals_max), more "
        "than 1 %: without them there would be less traffic than there was (--keep-going goes "
        "without them)",
        file_.name(), counts_.without_path, all);
  if (!is_at_end_) return {};
  if (const std::string why = what_is_thinned(); !why.empty())
    return why + " (--keep-going takes what there is)";
  if (const std::string why = line_order_.why_doubled(); !why.empty())
    return fmt::format("{}: {} (--keep-going takes them as they are)", file_.name(), why);
  return what_the_conf_needs();
}

}  // namespace classgate::planning
