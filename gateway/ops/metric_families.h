#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/loop_metrics.h"

namespace classgate::gateway {

// The text of metrics, in Prometheus' text format 0.0.4, or as OpenMetrics 1.0 when the Accept
// field asks for that.
struct Exposition {
  std::string_view content_type;
  std::string text;
};

// Collects families of metrics, each with its help. Names and units as Prometheus' conventions
// want them: base units, _total for what only grows. What is added belongs to the family that was
// begun last.
class MetricFamilies {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  MetricFamilies();
  ~MetricFamilies();
  MetricFamilies(const MetricFamilies&) = delete;

  MetricFamilies& counter(std::string name, std::string help);
  MetricFamilies& gauge(std::string name, std::string help);
  MetricFamilies& histograms(std::string name, std::string help);
  template <typename Number>
  MetricFamilies& value(Number number, const Labels& labels = {}) {
    return add(static_cast<double>(number), labels);
  }
  // The same histogram of every loop, added up.
  void histogram(const std::vector<const DurationHistogram*>& parts, const Labels& labels);

  Exposition written_for(std::string_view accept) const;

 private:
  struct Families;  // of the library that writes them
  MetricFamilies& add(double value, const Labels& labels);
  const std::unique_ptr<Families> families_;
};

}  // namespace classgate::gateway
