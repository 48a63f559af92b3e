#include "conf/planning_options.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::conf {

std::vector<std::string> GivenOptions::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [given, value] : options_)
    if (given == name) values.push_back(value);
  return values;
}

bool GivenOptions::has(std::string_view name) const {
  return std::ranges::any_of(options_, [&](const auto& given) { return given.first == name; });
}

std::expected<std::string, std::string> GivenOptions::one(std::string_view name) const {
  const std::vector<std::string> values = all(name);
  if (values.size() > 1) return std::unexpected(fmt::format("--{} is given twice", name));
  return values.empty() ? std::string() : values.front();
}

namespace {

// "http://127.0.0.1:9000/embed" is an address and a path. That of a Unix socket has none.
void split_path(PlanningOptions& planning) {
  if (planning.to.starts_with("unix:")) return;
  const std::size_t slashes = planning.to.find("//");
  const std::size_t path = planning.to.find('/', slashes == std::string::npos ? 0 : slashes + 2);
  if (path == std::string::npos) return;
  planning.path = planning.to.substr(path);
  planning.to.resize(path);
  if (planning.path == "/") planning.path.clear();
}

// What the requests of `load` say.
std::optional<std::string> read_question(const GivenOptions& given, PlanningOptions& planning) {
  std::optional<std::string> wrong;
  const auto one = [&](const char* name) -> std::string {
    const auto value = given.one(name);
    if (!value) wrong = value.error();
    return value.value_or("");
  };
  planning.request = one("request");
  planning.method = one("method");
  planning.body = one("body");
  planning.fields = given.all("header");
  const std::string size = one("body-bytes");
  planning.grpc = one("grpc");
  if (wrong) return wrong;
  if (given.has("grpc")) {
    for (const char* name : {"request", "method", "body-bytes"})
      if (given.has(name))
        return fmt::format(
            "--grpc makes calls whose message is the file of --body, or empty: not with --{}",
            name);
    if (!planning.grpc.starts_with('/') || planning.grpc.find('/', 1) == std::string::npos)
      return fmt::format("--grpc: {} is no method such as /package.Service/Method",
                         quote(planning.grpc));
    if (!planning.path.empty())
      return std::string("--grpc tells the path: --to names the address alone");
    planning.http2 = true;
  }
  for (const auto& [name, told] : {std::pair("method", "the method"), std::pair("body", "the body"),
                                   std::pair("body-bytes", "the body")})
    if (!planning.request.empty() && given.has(name))
      return fmt::format("the file of --request tells {}: not with --{}", told, name);
  if (!planning.body.empty() && !size.empty())
    return std::string("--body and --body-bytes both say what the body is: give one of them");
  if (!planning.path.empty()) {
    if (!planning.request.empty())
      return std::string("the file of --request tells the path: --to names the address alone");
    if (!planning.log.empty() || !planning.workload.empty())
      return fmt::format("--{} tells the path of each request: --to names the address alone",
                         planning.log.empty() ? "workload" : "log");
  }
  if (size.empty()) return std::nullopt;
  constexpr Bytes most{64ULL << 20};
  const bool is_plain = size.find_first_not_of("0123456789") == std::string::npos;
  const auto bytes = parse_bytes(is_plain ? size + "B" : size);
  if (!bytes || bytes->count > most.count)
    return fmt::format("--body-bytes: {} is no size such as 4000 or 64KiB, {} at most", quote(size),
                       print_bytes(most));
  planning.body_bytes = bytes->count;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> read_planning(const GivenOptions& given, PlanningOptions& planning) {
  const auto all = [&](const char* name) { return given.all(name); };
  std::optional<std::string> wrong;
  const auto one = [&](const char* name) -> std::string {
    const auto value = given.one(name);
    if (!value) wrong = value.error();
    if (value && value->empty() && given.has(name))
      wrong = fmt::format("--{}: its value is empty", name);
    return value.value_or("");
  };
  planning.log = one("log");
  planning.format = one("format");
  planning.workload = one("workload");
  if (!planning.format.empty() && planning.log.empty())
    return std::string("--format says whose a log is: it belongs to --log");
  planning.upstream = one("upstream");
  planning.json = one("json");
  planning.html = one("html");
  planning.requests = one("requests");
  planning.diff = one("diff");
  planning.sweep = all("sweep");
  planning.growth = one("growth");
  const bool varies = !planning.sweep.empty() || !planning.growth.empty();
  planning.plan = all("plan");
  planning.scale = all("scale");
  planning.workload_out = one("workload-out");
  planning.try_on = one("try-on");
  if (!planning.try_on.empty() && planning.plan.empty())
    return std::string("--try-on tries a plan: it belongs to --plan");
  if (!planning.diff.empty() + varies + !planning.plan.empty() > 1)
    return std::string(
        "--diff, --plan, and --sweep or --growth are three questions: ask one at a time");
  if (!planning.requests.empty() && !(planning.diff.empty() && !varies && planning.plan.empty()))
    return std::string("--requests tells of one run: not with --diff, --sweep, --growth or --plan");
  if (!planning.workload_out.empty() &&
      !(planning.diff.empty() && !varies && planning.plan.empty()))
    return std::string(
        "--workload-out belongs to one run: not with --diff, --sweep, --growth or --plan");
  planning.to = one("to");
  split_path(planning);
  planning.service_time_header = one("service-time-header");
  planning.find_knee = given.has("find-knee");
  planning.anywhere = given.has("anywhere");
  planning.forwarded_for = given.has("forwarded-for");
  if (const std::string time = one("time"); !time.empty()) {
    const auto duration = parse_duration(time);
    if (!duration || *duration == milliseconds::zero() || *duration > std::chrono::hours(366 * 24))
      return fmt::format("--time: \"{}\" is no duration such as 30s, a year at most", time);
    planning.seconds_max = *duration;
  }
  if (const std::string count = one("connections"); !count.empty()) {
    const char* end = count.data() + count.size();
    const auto [stop, error] = std::from_chars(count.data(), end, planning.connections_max);
    if (error != std::errc{} || stop != end || planning.connections_max < 1 ||
        planning.connections_max > 50'000)
      return fmt::format("--connections: \"{}\" is not 1 to 50000", count);
  }
  planning.http2 = given.has("h2");
  if (const std::string count = one("streams"); !count.empty()) {
    const char* end = count.data() + count.size();
    const auto [stop, error] = std::from_chars(count.data(), end, planning.streams);
    if (error != std::errc{} || stop != end || planning.streams < 1 || planning.streams > 10'000)
      return fmt::format("--streams: \"{}\" is not 1 to 10000", count);
    if (!planning.http2 && !given.has("grpc"))
      return std::string("--streams are those of HTTP/2: it belongs to --h2 or --grpc");
  }
  if (!wrong) wrong = read_question(given, planning);
  planning.keeps_going = given.has("keep-going");
  if (const std::string seed = one("seed"); !seed.empty()) {
    std::uint64_t number = 0;
    const char* end = seed.data() + seed.size();
    const auto [stop, error] = std::from_chars(seed.data(), end, number);
    if (error != std::errc{} || stop != end)
      return fmt::format("--seed: \"{}\" is not a whole number from 0 to {}", seed,
                         std::numeric_limits<std::uint64_t>::max());
    planning.seed = number;
  }
  return wrong;
}

}  // namespace classgate::conf
