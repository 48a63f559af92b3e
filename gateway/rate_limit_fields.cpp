#include "gateway/rate_limit_fields.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <utility>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

using admission::Limits;

constexpr double largest = 999'999'999'999'999;  // of a structured field (RFC 9651 section 3.3.1)

std::uint64_t whole(double number) {
  // By way of a signed one, for which a processor has a conversion of its own.
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(std::clamp(number, 0.0, largest)));
}

// The narrowest first.
template <typename Put>
std::string list(const Limits::Buckets& buckets, Put put) {
  constexpr std::size_t most = 3 * (rate_limit_most + std::string_view(", \"client\";").size());
  std::string out;
  proxy::wire::append(out, most, [&](proxy::wire::Writer& to) {
    std::string_view between = "\"";
    for (const auto reason :
         {conf::Reason::client_rate, conf::Reason::route_rate, conf::Reason::rate_limited}) {
      const auto& bucket = buckets.of(reason);
      if (!bucket) continue;
      to.text(std::exchange(between, ", \""));
      to.text(rate_limit_name(reason));
      to.text("\";");
      put(to, *bucket);
    }
  });
  return out;
}

std::int64_t seconds_left(const QuotaState& quota, std::chrono::sys_seconds now) {
  return std::max<std::int64_t>((quota.end - now).count(), 0);
}

}  // namespace

void put_policy(proxy::wire::Writer& to, const Limits::Bucket& bucket) {
  to.text("q=");
  to.number(whole(bucket.burst));
  to.text(";w=");
  constexpr double rounding = 1e-6;
  to.number(std::max<std::uint64_t>(whole(std::ceil(bucket.burst / bucket.rate - rounding)), 1));
}

void put_state(proxy::wire::Writer& to, const Limits::Bucket& bucket, admission::Duration time) {
  to.text("r=");
  to.number(whole(bucket.tokens));
  to.text(";t=");
  to.number(whole(std::ceil(std::chrono::duration<double>(time).count())));
}

std::string rate_limit_policy(const Limits::Buckets& buckets) { return list(buckets, put_policy); }

std::string rate_limit_state(const Limits::Buckets& buckets) {
  return list(buckets, [](proxy::wire::Writer& to, const Limits::Bucket& bucket) {
    // A full one has no next token.
    const double next = std::min(std::floor(std::max(bucket.tokens, 0.0)) + 1, bucket.burst);
    const double seconds = std::clamp((next - bucket.tokens) / bucket.rate, 0.0, 1e9);
    put_state(to, bucket,
              admission::Duration(static_cast<admission::Duration::rep>(seconds * 1e9)));
  });
}

void add_quota_warning(const QuotaState& quota, std::chrono::sys_seconds now, std::string& policy,
                       std::string& state) {
  const std::string_view between = policy.empty() ? "" : ", ";
  policy +=
      fmt::format("{}\"quota\";q={};w={}", between, quota.limit, (quota.end - quota.begin).count());
  state += fmt::format("{}\"quota\";r={};t={}", between, quota.left(), seconds_left(quota, now));
}

std::string soft_quota_warning(const QuotaState& quota, std::chrono::sys_seconds now) {
  return fmt::format("{};soft={};used={};t={}", quota.kind == QuotaPeriod::day ? "day" : "month",
                     quota.soft, quota.used, seconds_left(quota, now));
}

std::string_view rate_limit_name(conf::Reason reason) {
  switch (reason) {
    case conf::Reason::client_rate: return "client";
    case conf::Reason::client_pattern: return "pattern";
    case conf::Reason::quota: return "quota";
    case conf::Reason::route_rate: return "route";
    case conf::Reason::rate_limited: return "all";
    default: return {};
  }
}

}  // namespace classgate::gateway
