#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "admission/verdict.h"
#include "conf/settings.h"
#include "proxy/wire/writer.h"

namespace classgate::gateway {

// The gateway's own answers to requests it does not serve, prebuilt for each reason so that
// refusing costs a few copies; with what is known of the limit that was reached and of the line. By
// default application/problem+json (RFC 9457), which also has `message`, where clients look for
// words. What clients of model services go by is said too: Retry-After-Ms and X-Should-Retry (as
// OpenAI's and Anthropic's libraries read them), Request-Id. Immutable: any thread.
class Refusals {
 public:
  // `challenge`: of WWW-Authenticate, which a 401 must have (RFC 9110 section 15.5.2);
  // `token_challenge`: of the same, for who has a token that is not believed; empty: the same.
  Refusals(const conf::StatusTable& statuses, conf::RefusalBody form,
           const std::string& challenge = "Bearer realm=\"classgate\"",
           const std::string& token_challenge = {});

  struct Facts {
    admission::Rejection rejection;
    std::string_view request_id;  // empty: none yet
    std::string_view date;        // IMF-fixdate
    std::string_view allow;       // methods; for method_refused
    std::string_view own_fields;  // further lines, each with its CRLF
    std::uint64_t cost = 0;       // of a quota's unit; for quota
    bool close = false;
    bool says_keep_alive = false;  // HTTP/1.0
    bool without_body = false;     // HEAD
    bool has_bad_token = false;    // unknown_client, by its token
    bool says_rate_limit = false;  // with RateLimit and RateLimit-Policy, where a rate is exceeded
  };
  void append(std::string& out, const Facts& facts) const;
  int status(conf::Reason reason) const { return statuses_[conf::index_of(reason)]; }

 private:
  struct Prebuilt {
    std::string head;  // status line up to the Content-Length
    // The body, without its end: between two of these it says when to come back.
    std::array<std::string, 4> body;
    std::size_t pieces = 0;
    std::size_t size = 0;  // of these together
  };
  // `detail`: the words for this occurrence, where the title is not.
  Prebuilt build(const conf::ReasonText& text, std::string_view challenge,
                 std::string_view detail = {}) const;
  const Prebuilt& prebuilt_for(const Facts& facts) const;
  static void put_head(const Facts& facts, const Prebuilt& prebuilt, std::size_t body_size,
                       proxy::wire::Writer& to);

  conf::StatusTable statuses_;
  conf::RefusalBody form_;
  std::array<Prebuilt, conf::reason_count> prebuilt_;
  Prebuilt bad_token_;
  Prebuilt beyond_quota_;
};

// The phrase that goes with a status (RFC 9110 section 15); "Refused" for one we don't use.
std::string_view reason_phrase(int status);

}  // namespace classgate::gateway
