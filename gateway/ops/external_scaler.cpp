#include "gateway/ops/external_scaler.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/protobuf.h"

namespace classgate::gateway::external_scaler {
namespace {

using Report = history::DemandReport;

constexpr std::string_view spec_path = "/externalscaler.ExternalScaler/GetMetricSpec";
constexpr std::string_view metrics_path = "/externalscaler.ExternalScaler/GetMetrics";

// ScaledObjectRef, as far as it says something here.
struct Wanted {
  std::string_view metric = "servers_needed";
  std::string_view target;  // as it was written; empty: not told
};

// An entry of map<string, string> scalerMetadata.
void take_entry(std::string_view entry, Wanted& wanted) {
  std::string_view key;
  std::string_view value;
  ProtobufReader reader(entry);
  while (const auto field = reader.next()) {
    if (field->number == 1) key = field->bytes;
    if (field->number == 2) value = field->bytes;
  }
  if (key == "metric") wanted.metric = value;
  if (key == "targetSize") wanted.target = value;
}

std::optional<Wanted> wanted_by(std::string_view reference) {
  constexpr unsigned scaler_metadata = 3;
  Wanted wanted;
  ProtobufReader reader(reference);
  while (const auto field = reader.next())
    if (field->number == scaler_metadata) take_entry(field->bytes, wanted);
  if (reader.is_malformed()) return std::nullopt;
  return wanted;
}

// Of GetMetricsRequest, the ScaledObjectRef.
std::optional<Wanted> wanted_in(std::string_view request) {
  std::string_view reference;
  ProtobufReader reader(request);
  while (const auto field = reader.next())
    if (field->number == 1) reference = field->bytes;
  if (reader.is_malformed()) return std::nullopt;
  return wanted_by(reference);
}

GrpcAnswer wrong(std::string why) { return {GrpcAnswer::invalid_argument, std::move(why)}; }
GrpcAnswer not_known(std::string why) {
  return {static_cast<unsigned>(GrpcCode::unavailable), std::move(why)};
}

bool is_metric(std::string_view name) {
  return name == "servers_needed" || name == "workers_needed" || name == "demand";
}

GrpcAnswer no_such_metric(std::string_view name) {
  return wrong(fmt::format("metric: \"{}\": servers_needed, workers_needed or demand",
                           conf::printable(name.substr(0, 64))));
}

GrpcAnswer spec_for(const Wanted& wanted, const Report* report) {
  if (!is_metric(wanted.metric)) return no_such_metric(wanted.metric);
  double target = 1;
  if (!wanted.target.empty()) {
    const char* const end = wanted.target.data() + wanted.target.size();
    const auto [at, error] = std::from_chars(wanted.target.data(), end, target);
    if (error != std::errc() || at != end || !(target > 0) || !std::isfinite(target))
      return wrong("targetSize: a number above zero");
  } else if (wanted.metric == "demand") {
    return wrong("targetSize: how much demand, in cost a second, one replica serves");
  } else if (wanted.metric == "workers_needed") {
    if (report == nullptr || !(report->workers_per_server > 0))
      return not_known("it is not known yet how many workers a server has: set targetSize");
    target = report->workers_per_server;
  }
  std::string spec;
  put_bytes(spec, 1, wanted.metric);
  // For those who do not read targetSizeFloat yet.
  put_number(spec, 2, static_cast<std::uint64_t>(std::min(std::ceil(target), 1e15)));
  put_double(spec, 3, target);
  std::string message;
  put_bytes(message, 1, spec);
  return {GrpcAnswer::ok, std::move(message)};
}

struct Value {
  double number = 0;
  std::string why_not{};  // it is not known
};

// That demand which is not passed with a probability of 0.9 when a server that is started now
// serves: by the first horizon that is not before that.
double demand_ahead(const Report& report) {
  std::size_t horizon = 0;
  while (horizon + 1 < report.horizons.size() &&
         history::demand_horizons[horizon] < report.lead_time)
    ++horizon;
  const history::Quantiles& said = report.horizons[horizon].all;
  const double lately = history::sum(report.lately);
  return std::max(std::isfinite(said.p90) ? said.p90 : lately, lately) / 60;
}

Value value_of(std::string_view metric, const Report* report) {
  if (report == nullptr) return {0, "nothing is forecast (yet): forecast.keep"};
  if (!report->why_nothing.empty()) return {0, report->why_nothing};
  if (metric == "demand") return {demand_ahead(*report)};
  const std::string why_not = report->why_no_workers.empty()
                                  ? "it is not known how many are needed: forecast.target"
                                  : report->why_no_workers;
  const auto& needed = metric == "servers_needed" ? report->servers : report->workers_ahead;
  if (!needed) return {0, why_not};
  return {static_cast<double>(*needed)};
}

GrpcAnswer metrics_for(const Wanted& wanted, const Report* report) {
  if (!is_metric(wanted.metric)) return no_such_metric(wanted.metric);
  const Value value = value_of(wanted.metric, report);
  if (!value.why_not.empty()) return not_known(value.why_not);
  std::string metric;
  put_bytes(metric, 1, wanted.metric);
  put_number(metric, 2, static_cast<std::uint64_t>(std::min(std::ceil(value.number), 1e15)));
  put_double(metric, 3, value.number);
  std::string message;
  put_bytes(message, 1, metric);
  return {GrpcAnswer::ok, std::move(message)};
}

}  // namespace

std::string is_active_message(const Report* report) {
  const bool is_known = report != nullptr && report->why_nothing.empty();
  const bool is_active = !is_known || demand_ahead(*report) > 0;
  std::string message;
  if (is_active) put_number(message, 1, 1);  // false is the default, which is not written
  return message;
}

GrpcAnswer answer(std::string_view path, std::string_view message, const Report* report) {
  const bool is_metrics = path == metrics_path;
  const bool is_stream = path == stream_is_active_path;
  if (!is_metrics && !is_stream && path != is_active_path && path != spec_path)
    return {static_cast<unsigned>(GrpcCode::unimplemented),
            "here is externalscaler.ExternalScaler, and no other service"};
  const auto wanted = is_metrics ? wanted_in(message) : wanted_by(message);
  if (!wanted) return wrong("that is no message of the call");
  if (is_metrics) return metrics_for(*wanted, report);
  if (path == spec_path) return spec_for(*wanted, report);
  return {GrpcAnswer::ok, is_active_message(report), is_stream};
}

}  // namespace classgate::gateway::external_scaler
