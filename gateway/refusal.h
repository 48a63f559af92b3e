#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "admission/verdict.h"
#include "conf/settings.h"
#include "proxy/wire/writer.h"

namespace classgate::gateway {

// What WWW-Authenticate says, which a 401 must have (RFC 9110 section 15.5.2).
struct Challenges {
  std::string usual = "Bearer realm=\"classgate\"";
  std::string of_bad_token = usual;  // to who has a token that is not believed
};

// What refusals say of a bucket's rate and burst, which is the same each time: of the last buckets
// that one loop has told of. A loop's own; bounded: 4 KiB.
class RateTexts {
 public:
  // For a rejection with a rate that is no quota's; as long as no other is asked for.
  struct Text {
    std::string_view policy() const { return {policy_text.data(), policy_size}; }
    std::string_view members() const { return {members_text.data(), members_size}; }

    conf::Reason reason{};
    std::uint8_t policy_size = 0;
    std::uint8_t members_size = 0;
    double rate = 0;  // none yet
    double burst = 0;
    std::array<char, 80> policy_text;    // a line: 32 and two numbers of 15
    std::array<char, 128> members_text;  // of the body: 60 and two numbers of 24
  };
  const Text& of(const admission::Rejection& rejection);

 private:
  std::array<Text, 16> texts_{};
};

// The gateway's own answers to requests it does not serve, prebuilt for each reason so that
// refusing costs a few copies; with what is known of the limit that was reached and of the line. By
// default application/problem+json (RFC 9457), which also has `message`, where clients look for
// words. What clients of model services go by is said too: Retry-After-Ms and X-Should-Retry (as
// OpenAI's and Anthropic's libraries read them), Request-Id. Immutable: any thread.
class Refusals {
 public:
  Refusals(const conf::StatusTable& statuses, conf::RefusalBody form,
           const Challenges& challenges = {})
      : Refusals(make_texts(statuses, form), challenges) {}
  // The same texts, which are not copied, with other challenges.
  Refusals with(const Challenges& challenges) const { return {texts_, challenges}; }

  struct Facts {
    const admission::Rejection& rejection;
    std::string_view request_id;       // empty: none yet
    std::string_view date;             // IMF-fixdate
    std::string_view allow = {};       // methods; for method_refused
    std::string_view own_fields = {};  // further lines, each with its CRLF
    std::uint64_t cost = 0;            // of a quota's unit; for quota
    bool close = false;
    bool says_keep_alive = false;  // HTTP/1.0
    bool without_body = false;     // HEAD
    bool has_bad_token = false;    // unknown_client, by its token
    bool says_rate_limit = false;  // with RateLimit and RateLimit-Policy, where a rate is exceeded
    RateTexts* rate_texts = nullptr;  // the loop's; null: they are made anew
  };
  void append(std::string& out, const Facts& facts) const;
  int status(conf::Reason reason) const { return texts_->statuses[conf::index_of(reason)]; }

 private:
  struct Prebuilt {
    std::string head;  // status line up to the Content-Length
    // The body, without its end: between two of these it says when to come back.
    std::array<std::string, 4> body;
    std::size_t pieces = 0;
    std::size_t size = 0;  // of these together
    bool asks = false;     // who it is: with a challenge
  };
  // What does not hang on who may be known by what: the same for many routes.
  struct Texts {
    conf::StatusTable statuses;
    conf::RefusalBody form;
    std::array<Prebuilt, conf::reason_count> prebuilt{};
    Prebuilt beyond_quota{};
  };
  Refusals(std::shared_ptr<const Texts> texts, const Challenges& challenges);
  static std::shared_ptr<const Texts> make_texts(const conf::StatusTable& statuses,
                                                 conf::RefusalBody form);
  // `detail`: the words for this occurrence, where the title is not.
  static Prebuilt build(const conf::ReasonText& text, int code, conf::RefusalBody form,
                        std::string_view detail = {});
  const Prebuilt& prebuilt_for(const Facts& facts) const;
  void put_head(const Facts& facts, const Prebuilt& prebuilt, const RateTexts::Text* rate_text,
                std::size_t body_size, proxy::wire::Writer& to) const;

  std::shared_ptr<const Texts> texts_;
  std::string challenge_;        // a line, with its end
  std::string token_challenge_;  // likewise
};

// Whether a client's library should try again by itself. Not where the service has worked for
// nothing already and would again, where retries are what is too much, nor where time does not
// help.
enum class ShouldRetry : std::uint8_t { yes, no, nobody_knows };
ShouldRetry should_retry(const admission::Rejection& rejection);

// The phrase that goes with a status (RFC 9110 section 15); "Refused" for one we don't use.
std::string_view reason_phrase(int status);

}  // namespace classgate::gateway
