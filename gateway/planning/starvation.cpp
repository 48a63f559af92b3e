#include "gateway/planning/starvation.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/planning/answers.h"

namespace classgate::planning {
namespace {

// Fewer tell little, and half of what others get is no starvation.
constexpr std::uint64_t requests_least = 20;
constexpr double starved_share = 0.5;

double share_served(const simulation::Counts& of) {
  return of.arrived == 0 ? 1 : static_cast<double>(of.served) / static_cast<double>(of.arrived);
}

struct End {
  std::uint64_t count = 0;
  bool is_left = false;
  conf::Reason reason{};
};

// How most of those ended that were not served.
End most_ends(const simulation::Counts& of) {
  End most{of.abandoned, true, {}};
  for (const conf::ReasonText& text : conf::reason_texts) {
    const std::size_t index = conf::index_of(text.reason);
    const std::uint64_t count = of.rejected[index] + of.failed[index];
    if (count > most.count) most = {count, false, text.reason};
  }
  return most;
}

std::string remedy(const End& end, int priority) {
  const std::string workers = fmt::format(
      "[reserve] priority_{} = 0.1 keeps a tenth of the workers for their priority", priority);
  if (end.is_left) return workers + ", so that they wait for less long";
  switch (end.reason) {
    case conf::Reason::rate_limited:
      return "rate_limited = false in the [[route]] of their path exempts them from admission.rate";
    case conf::Reason::route_rate:
      return "a higher rate in the [[route]] of their path lets more in";
    case conf::Reason::client_rate:
      return "a higher fairness.rate, or a [[plan]] of their own with one, lets more in";
    case conf::Reason::client_pattern:
      return "more capacity, or a higher fairness.pattern_headroom or pattern_floor, lets more in";
    case conf::Reason::client_queue:
      return "a higher fairness.queue_size, or a [[plan]] of their own with one, lets more wait";
    case conf::Reason::upstream_timeout:
      return "a longer admission.request_timeout, or deadline in the [[route]] of their path";
    default: break;
  }
  switch (conf::kind_of(end.reason)) {
    case conf::ReasonKind::workers:
    case conf::ReasonKind::deadline: return workers;
    case conf::ReasonKind::client: return "a [[plan]] of their own lets their clients have more";
    default: return {};
  }
}

}  // namespace

std::vector<std::string> starved_in(const Result& result, const Survey& survey) {
  std::vector<std::string> starved;
  const auto& groups = result.tally.by_group();
  const double all = share_served(result.tally.all());
  for (std::uint32_t i = 0; i < groups.size(); ++i) {
    const simulation::Group& of = groups[i];
    if (of.arrived < requests_least || share_served(of) >= starved_share * all) continue;
    const End end = most_ends(of);
    const std::string mended = remedy(end, survey.priority_of_group(i));
    starved.push_back(conf::printable(fmt::format(
        "{} of {} requests of {} {} would be served (most of the others end with {}){}{}",
        grouped(of.served), grouped(of.arrived), result.traffic->group_kind(),
        result.traffic->group_name(i),
        end.is_left ? std::string_view("their clients leaving") : conf::text_of(end.reason).word,
        mended.empty() ? "" : ": ", mended)));
  }
  return starved;
}

}  // namespace classgate::planning
