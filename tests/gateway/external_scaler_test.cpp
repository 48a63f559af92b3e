#include "gateway/ops/external_scaler.h"

#include <doctest/doctest.h>

#include "gateway/protobuf.h"

namespace classgate::gateway {
namespace {

using namespace std::string_literals;

const std::string is_active(external_scaler::is_active_path);
const std::string stream_is_active(external_scaler::stream_is_active_path);
const std::string get_spec = "/externalscaler.ExternalScaler/GetMetricSpec";
const std::string get_metrics = "/externalscaler.ExternalScaler/GetMetrics";

// What KEDA sends: a ScaledObjectRef with this metadata.
std::string reference(const std::vector<std::pair<std::string, std::string>>& metadata = {}) {
  std::string message;
  put_bytes(message, 1, "model");
  put_bytes(message, 2, "default");
  for (const auto& [key, value] : metadata) {
    std::string entry;
    put_bytes(entry, 1, key);
    put_bytes(entry, 2, value);
    put_bytes(message, 3, entry);
  }
  return message;
}

std::string metrics_request(const std::string& of) {
  std::string message;
  put_bytes(message, 1, of);
  put_bytes(message, 2, "s0-servers_needed");
  return message;
}

// A list of one MetricSpec, or MetricValue.
std::string one_metric(std::string_view name, std::uint64_t whole, double number) {
  std::string metric;
  put_bytes(metric, 1, name);
  put_number(metric, 2, whole);
  put_double(metric, 3, number);
  std::string message;
  put_bytes(message, 1, metric);
  return message;
}

history::DemandReport report() {
  history::DemandReport report;
  report.lately[2] = 600;  // cost a minute
  for (auto& horizon : report.horizons) horizon.all = {660, 720, 780};
  report.horizons[1].all.p90 = 1500;  // 15 minutes
  report.workers_ahead = 37;
  report.workers_per_server = 7.5;
  report.servers = 5;
  report.lead_time = std::chrono::minutes(10);
  return report;
}

TEST_CASE("KEDA is told how many servers are needed, one for each replica") {
  const auto now = report();
  const auto spec = external_scaler::answer(get_spec, reference(), &now);
  CHECK(spec.status == GrpcAnswer::ok);
  CHECK(spec.text == one_metric("servers_needed", 1, 1));
  const auto value = external_scaler::answer(get_metrics, metrics_request(reference()), &now);
  CHECK(value.status == GrpcAnswer::ok);
  CHECK(value.text == one_metric("servers_needed", 5, 5));
}

TEST_CASE("or how many workers, by as many as a server has") {
  const auto now = report();
  const std::string wanted = reference({{"scalerAddress", "x:1"}, {"metric", "workers_needed"}});
  CHECK(external_scaler::answer(get_spec, wanted, &now).text ==
        one_metric("workers_needed", 8, 7.5));
  CHECK(external_scaler::answer(get_metrics, metrics_request(wanted), &now).text ==
        one_metric("workers_needed", 37, 37));
}

TEST_CASE("or the demand a second when a server that is started now serves") {
  const auto now = report();
  const std::string wanted = reference({{"metric", "demand"}, {"targetSize", "2.5"}});
  CHECK(external_scaler::answer(get_spec, wanted, &now).text == one_metric("demand", 3, 2.5));
  CHECK(external_scaler::answer(get_metrics, metrics_request(wanted), &now).text ==
        one_metric("demand", 25, 25));
}

TEST_CASE("who does not know says so, and is active") {
  history::DemandReport nothing;
  nothing.why_nothing = "too little is known";
  auto no_target = report();
  no_target.servers = std::nullopt;
  no_target.why_no_workers = "there is no forecast.target";
  const std::string wanted = metrics_request(reference());
  for (const auto& [now, why] :
       {std::pair<const history::DemandReport*, std::string>(nullptr, "yet"),
        {&nothing, "too little is known"},
        {&no_target, "there is no forecast.target"}}) {
    CAPTURE(why);
    const auto value = external_scaler::answer(get_metrics, wanted, now);
    CHECK(value.status == 14);
    CHECK(value.text.find(why) != std::string::npos);
    CHECK(external_scaler::answer(is_active, reference(), now).text == "\x08\x01"s);
  }
}

TEST_CASE("nobody is active while nothing is asked for, and nothing is expected") {
  history::DemandReport now;
  for (auto& horizon : now.horizons) horizon.all = {0, 0, 0};
  CHECK(external_scaler::answer(is_active, reference(), &now).text.empty());
  CHECK_FALSE(external_scaler::answer(is_active, reference(), &now).goes_on);
  CHECK(external_scaler::answer(stream_is_active, reference(), &now).goes_on);
  now.horizons[0].all.p90 = 1;
  CHECK(external_scaler::is_active_message(&now) == "\x08\x01"s);
  now.horizons[0].all = {0, std::numeric_limits<double>::quiet_NaN(), 0};
  CHECK(external_scaler::is_active_message(&now).empty());
  now.lately[4] = 1;
  CHECK(external_scaler::is_active_message(&now) == "\x08\x01"s);
}

TEST_CASE("what cannot be answered is refused with the reason") {
  const auto now = report();
  const auto status_of = [&](const std::string& path, const std::string& message) {
    const auto answer = external_scaler::answer(path, message, &now);
    CHECK_FALSE((answer.status != GrpcAnswer::ok && answer.text.empty()));
    return answer.status;
  };
  CHECK(status_of("/externalscaler.ExternalScaler/Other", reference()) == 12);
  CHECK(status_of("/grpc.health.v1.Health/Check", "") == 12);
  CHECK(status_of(get_spec, reference({{"metric", "cpu"}})) == 3);
  CHECK(status_of(get_spec, reference({{"metric", "demand"}})) == 3);
  for (const char* const size : {"0", "-1", "nan", "inf", "many", "1x", "1e999"})
    CHECK(status_of(get_spec, reference({{"targetSize", size}})) == 3);
  CHECK(status_of(get_spec, "\x0a\x7f") == 3);                  // longer than the message
  CHECK(status_of(get_metrics, "\xff\xff\xff") == 3);           // a number without an end
  CHECK(status_of(get_metrics, metrics_request("\x1b")) == 3);  // a group
  CHECK(status_of(get_metrics, "") == GrpcAnswer::ok);          // all is left at what it is
}

}  // namespace
}  // namespace classgate::gateway
