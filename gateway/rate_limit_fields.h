#pragma once

#include <string>
#include <string_view>

#include "admission/limits.h"
#include "gateway/clients/quota_table.h"
#include "proxy/wire/writer.h"

namespace classgate::gateway {

// RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10): the token buckets that
// a request is charged to. A bucket is a quota of its burst in the window in which it fills:
//   RateLimit-Policy: "client";q=20;w=4, "all";q=200;w=2
//   RateLimit: "client";r=3;t=4, "all";r=187;t=1
// r is what could be asked at once, t the seconds until there is more of it: with a refusal, until
// the refused request is served (what Retry-After says); else until the next token.
std::string rate_limit_policy(const admission::Limits::Buckets& buckets);
std::string rate_limit_state(const admission::Limits::Buckets& buckets);

// Of one bucket, without its name, at most `rate_limit_most` bytes each: five and two numbers.
constexpr std::size_t rate_limit_most = 48;
void put_policy(proxy::wire::Writer& to, const admission::Limits::Bucket& bucket);
void put_state(proxy::wire::Writer& to, const admission::Limits::Bucket& bucket,
               admission::Duration time);

// One more, behind what they say already: a quota that has a limit, which it is of in its period,
// and renewed in t seconds.
//   RateLimit-Policy: "quota";q=1000000;w=2592000
//   RateLimit: "quota";r=87432;t=172800
void add_quota_warning(const QuotaState& quota, std::chrono::sys_seconds now, std::string& policy,
                       std::string& state);

// Of a quota without a limit, which only warns. RateLimit is not for it: a client that obeys would
// ask no more, for the rest of the month, of a service that refuses it nothing.
//   X-Classgate-Soft-Quota: month;soft=1000000;used=1000003;t=172800
std::string soft_quota_warning(const QuotaState& quota, std::chrono::sys_seconds now);

// What the bucket is called there that is too empty when this reason is said: "all", "route" or
// "client", and the quota "quota"; empty for every other reason.
std::string_view rate_limit_name(conf::Reason reason);

}  // namespace classgate::gateway
