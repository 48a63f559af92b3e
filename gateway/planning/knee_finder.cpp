#include "gateway/planning/knee_finder.h"

#include <sys/resource.h>

#include <algorithm>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "gateway/planning/knee_traffic.h"

namespace classgate::planning {
namespace {

double processor_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

Knee find_knee(const LoadOptions& options, const Question& question, const conf::Law* service,
               std::uint64_t seed, const std::function<bool(double, const std::string&)>& on_turn) {
  KneeSearch search(options.time_max, options.connections_max);
  bool goes_on = true;
  while (const auto step = search.next()) {
    KneeTraffic traffic(*step, service, seed);
    LoadOptions own = options;
    own.connections_max = std::max(own.connections_max, step->at_once);
    own.time_max = own.answer_max = Duration::max() / 2;  // the step knows when it is over
    OpenLoop loop(own, {question}, traffic);
    const double used = processor_seconds();
    Duration now{};
    loop.run([&](Duration elapsed) {
      now = elapsed;
      goes_on =
          on_turn(search.progress(), step->is_probe ? std::string("waiting until it has caught up")
                                                    : fmt::format("{} at once", step->at_once));
      const bool is_over = traffic.is_over(admission::Time{} + elapsed);
      return goes_on &&
             !(is_over && (traffic.is_answered() || elapsed >= traffic.lasted() + step->patience));
    });
    KneeMeasure measure = std::move(traffic).measure(admission::Time{} + now);
    measure.answers.add(loop.answers());
    measure.busy = (processor_seconds() - used) / std::max(measure::in_seconds(now), 1e-3);
    if (!goes_on) break;
    search.add(std::move(measure));
  }
  return search.knee();
}

}  // namespace classgate::planning
