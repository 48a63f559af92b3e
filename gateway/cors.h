#pragma once

#include <string>
#include <string_view>

#include "conf/settings.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// Which pages of other origins may ask, and read what they are answered ([cors]; Fetch standard,
// section 3.3, "CORS protocol"). When it is on the gateway alone speaks of it, in answers of the
// service and in its own: a page that may not read a refusal sees a failed network. Immutable: any
// thread.
class Cors {
 public:
  explicit Cors(const conf::CorsSettings& settings);

  bool is_on() const { return !settings_.origins.empty(); }
  // What Access-Control-Allow-Origin says to whoever sent this head; empty: nothing.
  std::string_view allowed_origin(const proxy::wire::Head& head) const;
  // The same to a head that could not be read, as far as it has come. What is said to everybody is
  // said whoever asks; and the Origin that was read may be told, though there may have been another
  // one behind it: a browser compares it with that of its page.
  std::string_view allowed_origin_of_unread(std::string_view head_so_far) const;
  // OPTIONS that a browser asks of its own, before the request that it is about.
  static bool is_preflight(const proxy::wire::Head& head);

  // What is said in every answer, as long as it is not forgotten.
  struct Terms {
    bool is_on = false;
    bool credentials = false;
    bool varies = false;  // other origins are answered otherwise
  };
  Terms terms() const {
    return {
        .is_on = is_on(), .credentials = settings_.credentials, .varies = is_on() && !allows_all_};
  }
  template <typename Put>
  static void tell(const Terms& terms, std::string_view origin, Put put) {
    if (terms.varies) put("Vary", "Origin");
    if (origin.empty()) return;
    put("Access-Control-Allow-Origin", origin);
    if (terms.credentials) put("Access-Control-Allow-Credentials", "true");
    put("Access-Control-Expose-Headers", exposed);
  }
  // What only a preflight hears, and only from an origin that may ask.
  template <typename Put>
  void tell_preflight(Put put) const {
    put("Access-Control-Allow-Methods", methods_);
    if (!headers_.empty()) put("Access-Control-Allow-Headers", headers_);
    put("Access-Control-Max-Age", max_age_);
  }
  // The service's own word on it, which would contradict ours. What it exposes is added to what we
  // do.
  static bool is_ours_to_say(std::string_view field);

 private:
  static constexpr std::string_view exposed =
      "RateLimit, RateLimit-Policy, Request-Id, Retry-After, Retry-After-Ms, Server-Timing, "
      "X-Classgate-Reason, X-Classgate-Soft-Quota, X-Request-Id, X-Should-Retry";

  std::string_view named(std::string_view origin) const;

  conf::CorsSettings settings_;
  bool allows_all_ = false;
  std::string methods_;
  std::string headers_;
  std::string max_age_;
};

}  // namespace classgate::gateway
