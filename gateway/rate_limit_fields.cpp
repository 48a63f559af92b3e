#include "gateway/rate_limit_fields.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

using admission::Limits;

constexpr double largest = 999'999'999'999'999;  // of a structured field (RFC 9651 section 3.3.1)

std::uint64_t whole(double number) {
  return static_cast<std::uint64_t>(std::clamp(number, 0.0, largest));
}

// The narrowest first.
template <typename Append>
std::string list(const Limits::Buckets& buckets, Append append) {
  std::string out;
  for (const auto reason :
       {conf::Reason::client_rate, conf::Reason::route_rate, conf::Reason::rate_limited}) {
    const auto& bucket = buckets.of(reason);
    if (!bucket) continue;
    if (!out.empty()) out += ", ";
    fmt::format_to(std::back_inserter(out), "\"{}\";", rate_limit_name(reason));
    append(out, *bucket);
  }
  return out;
}

}  // namespace

std::string rate_limit_policy(const Limits::Buckets& buckets) {
  return list(buckets, [](std::string& out, const Limits::Bucket& bucket) {
    fmt::format_to(std::back_inserter(out), "q={};w={}", whole(bucket.burst),
                   std::max<std::uint64_t>(whole(std::ceil(bucket.burst / bucket.rate)), 1));
  });
}

std::string rate_limit_state(const Limits::Buckets& buckets) {
  return list(buckets, [](std::string& out, const Limits::Bucket& bucket) {
    fmt::format_to(std::back_inserter(out), "r={};t={}", whole(bucket.tokens),
                   whole(std::ceil((bucket.burst - bucket.tokens) / bucket.rate)));
  });
}

std::string_view rate_limit_name(conf::Reason reason) {
  switch (reason) {
    case conf::Reason::client_rate: return "client";
    case conf::Reason::route_rate: return "route";
    case conf::Reason::rate_limited: return "all";
    default: return {};
  }
}

}  // namespace classgate::gateway
