#include "gateway/ops/metric_families.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <sstream>

#include "conf/printable.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

// Labels are UTF-8; names of routes and servers are what a conf says.
std::vector<ClientMetric::Label> printable_labels(const MetricFamilies::Labels& labels) {
  std::vector<ClientMetric::Label> printable;
  printable.reserve(labels.size());
  for (const auto& [name, value] : labels) printable.push_back({name, conf::printable(value)});
  return printable;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// How much an element of Accept wants what it names, 0 to 1 (RFC 9110 section 12.4.2).
double weight_of(std::string_view element) {
  for (std::size_t at; (at = element.find(';')) != std::string_view::npos;) {
    element.remove_prefix(at + 1);
    const std::string_view parameter = trimmed(element.substr(0, element.find(';')));
    if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) continue;
    double weight = 0;
    const char* const end = parameter.data() + parameter.size();
    const auto [stop, error] = std::from_chars(parameter.data() + 2, end, weight);
    return error == std::errc{} && stop == end ? std::clamp(weight, 0.0, 1.0) : 0;
  }
  return 1;
}

// Whoever names OpenMetrics and likes it no less than the text format, however it names that.
bool wants_openmetrics(std::string_view accept) {
  double open = 0;
  double plain = 0;
  int plain_is_named = 0;  // 3 as such, 2 as text/*, 1 as */*: the closest counts
  proxy::wire::for_each_element(accept, [&](std::string_view element) {
    const std::string_view type = trimmed(element.substr(0, element.find(';')));
    const double weight = weight_of(element);
    if (proxy::wire::equal_names(type, "application/openmetrics-text"))
      open = std::max(open, weight);
    const int named = proxy::wire::equal_names(type, "text/plain") ? 3
                      : proxy::wire::equal_names(type, "text/*")   ? 2
                      : type == "*/*"                              ? 1
                                                                   : 0;
    if (named == 0 || named < plain_is_named) return;
    plain = named > plain_is_named ? weight : std::max(plain, weight);
    plain_is_named = named;
  });
  return open > 0 && open >= plain;
}

// The serializer writes the text format; OpenMetrics differs from what it writes in two points: a
// counter's family is named without "_total", and the end is marked.
std::string to_openmetrics(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  out.reserve(text.size() + 16);
  constexpr std::string_view suffix = "_total";
  for (std::string line; std::getline(in, line);) {
    const bool is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
    if (is_comment) {
      const std::size_t end = line.find(' ', 7);
      const std::string_view name = std::string_view(line).substr(7, end - 7);
      if (name.ends_with(suffix)) line.erase(end - suffix.size(), suffix.size());
    }
    out += line;
    out += '\n';
  }
  return out + "# EOF\n";
}

}  // namespace

struct MetricFamilies::Families {
  void begin(MetricType type, std::string name, std::string help) {
    all.push_back({std::move(name), std::move(help), type, {}});
  }
  std::vector<prometheus::MetricFamily> all;
};

MetricFamilies::MetricFamilies() : families_(std::make_unique<Families>()) {}
MetricFamilies::~MetricFamilies() = default;

MetricFamilies& MetricFamilies::counter(std::string name, std::string help) {
  families_->begin(MetricType::Counter, std::move(name), std::move(help));
  return *this;
}

MetricFamilies& MetricFamilies::gauge(std::string name, std::string help) {
  families_->begin(MetricType::Gauge, std::move(name), std::move(help));
  return *this;
}

MetricFamilies& MetricFamilies::histograms(std::string name, std::string help) {
  families_->begin(MetricType::Histogram, std::move(name), std::move(help));
  return *this;
}

MetricFamilies& MetricFamilies::add(double value, const Labels& labels) {
  prometheus::MetricFamily& family = families_->all.back();
  ClientMetric metric;
  metric.label = printable_labels(labels);
  if (family.type == MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
  return *this;
}

void MetricFamilies::histogram(const std::vector<const DurationHistogram*>& parts,
                               const Labels& labels) {
  ClientMetric metric;
  metric.label = printable_labels(labels);
  constexpr std::size_t count = DurationHistogram::bounds.size();
  for (std::size_t i = 0; i <= count; ++i) {
    for (const DurationHistogram* part : parts) metric.histogram.sample_count += part->bucket(i);
    const double bound =
        i < count ? DurationHistogram::bounds[i] : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({metric.histogram.sample_count, bound});
  }
  for (const DurationHistogram* part : parts) metric.histogram.sample_sum += part->sum_seconds();
  families_->all.back().metric.push_back(std::move(metric));
}

Exposition MetricFamilies::written_for(std::string_view accept) const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_->all);
  if (wants_openmetrics(accept))
    return {"application/openmetrics-text; version=1.0.0; charset=utf-8",
            to_openmetrics(out.str())};
  return {"text/plain; version=0.0.4; charset=utf-8", out.str()};
}

}  // namespace classgate::gateway
