#include "gateway/refusal.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <utility>

#include "conf/format.h"
#include "conf/time_zone.h"
#include "gateway/rate_limit_fields.h"
#include "proxy/wire/serialise.h"

namespace classgate::gateway {

using proxy::wire::Writer;

ShouldRetry should_retry(const admission::Rejection& rejection) {
  const bool will_help = rejection.retry_after > admission::Duration::zero();
  switch (rejection.reason) {
    case conf::Reason::retry_budget:
    case conf::Reason::quota:
    case conf::Reason::deadline:
    case conf::Reason::loop_detected:
    case conf::Reason::repeated: return ShouldRetry::no;
    case conf::Reason::would_miss_deadline: return will_help ? ShouldRetry::yes : ShouldRetry::no;
    case conf::Reason::upstream_unreachable: break;  // the service has not worked on it
    default:
      if (conf::kind_of(rejection.reason) == conf::ReasonKind::service) return ShouldRetry::no;
  }
  return will_help ? ShouldRetry::yes : ShouldRetry::nobody_knows;
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 404: return "Not Found";
    case 409: return "Conflict";
    case 421: return "Misdirected Request";
    case 424: return "Failed Dependency";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 508: return "Loop Detected";
    default: return "Refused";
  }
}

namespace {

std::uint64_t whole(std::chrono::nanoseconds::rep count) {
  return static_cast<std::uint64_t>(std::max<std::chrono::nanoseconds::rep>(count, 0));
}

std::uint64_t milliseconds_up(admission::Duration duration) {
  return whole(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

// As few digits as read back as the same number. Rates in a conf are whole numbers or have a few
// decimals, and a division is rounded as reading is: to_chars() is for the others.
void put_decimal(Writer& to, double number) {
  if (number >= 0 && number < 1e12) {
    const auto below = static_cast<std::int64_t>(number);  // signed: a processor's own conversion
    if (static_cast<double>(below) == number) return to.number(static_cast<std::uint64_t>(below));
    const auto thousandths = static_cast<std::uint64_t>(number * 1000 + 0.5);
    const std::uint64_t rest = thousandths % 1000;
    if (static_cast<double>(thousandths) / 1000 == number) {
      to.number(thousandths / 1000);
      const std::array digits{'.', static_cast<char>('0' + rest / 100),
                              static_cast<char>('0' + rest / 10 % 10),
                              static_cast<char>('0' + rest % 10)};
      const std::size_t size = rest % 10 != 0 ? 4 : rest % 100 != 0 ? 3 : 2;
      return to.text({digits.data(), size});
    }
  }
  to.shortest(number);
}

// RFC 3339, in UTC: 20 characters.
void put_time(std::int64_t seconds, Writer& to) {
  const conf::TimeZone utc;
  to.text(utc.text_of(std::chrono::sys_seconds(std::chrono::seconds(seconds))));
}

// It asks for more than all that its quota gives, whenever that is renewed.
bool is_beyond_quota(const admission::Rejection& rejection) {
  return rejection.renews_at != 0 && rejection.retry_after <= admission::Duration::zero();
}

// A quota's period by its length; a day may have 25 hours.
std::string_view period_of(const admission::Rejection& quota) {
  constexpr double longest_day = 26 * 3600;
  return quota.burst <= quota.rate * longest_day ? "day" : "month";
}

// What follows the words that say why: when it makes sense to come back.
constexpr std::size_t advice_max = 64;  // words 19, numbers of 20 and 24 characters
void put_advice(const admission::Rejection& rejection, std::uint64_t cost, Writer& to) {
  if (is_beyond_quota(rejection)) {
    to.text(" of a ");
    to.text(period_of(rejection));
    to.text(": ");
    to.number(cost);
    to.text(" of ");
    return put_decimal(to, rejection.burst);
  }
  if (rejection.retry_after <= admission::Duration::zero()) return;
  if (rejection.renews_at != 0) {
    to.text("; it is renewed at ");
    return put_time(rejection.renews_at, to);
  }
  const std::uint64_t tenths = (milliseconds_up(rejection.retry_after) + 99) / 100;
  to.text("; try again in ");
  to.number(tenths < 100 ? tenths / 10 : (tenths + 9) / 10);
  if (tenths < 100 && tenths % 10 != 0) {
    const std::array decimal{'.', static_cast<char>('0' + tenths % 10)};
    to.text({decimal.data(), decimal.size()});
  }
  to.text(" s");
}

// The `type` of an error as OpenAI's API has it.
std::string_view error_type(int status) {
  if (status == 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "server_error";
}

// The members of the body that are not the same each time, and its end. With numbers of 20 and 24
// digits: 38 for the time, 104 for rate and burst, 34 for the places, 73 for the position. Of a
// quota: 134 for its numbers, 36 for when it is renewed or 28 for the cost.
constexpr std::size_t particulars_max = 320;
void put_rate_members(const admission::Rejection& rejection, Writer& to) {
  to.text(",\"violated-policies\":[\"");
  to.text(rate_limit_name(rejection.reason));
  to.text("\"],\"rate\":");
  put_decimal(to, rejection.rate);
  to.text(",\"burst\":");
  put_decimal(to, rejection.burst);
}

void describe(const admission::Rejection& rejection, std::uint64_t cost,
              const RateTexts::Text* rate_text, Writer& to) {
  if (rejection.retry_after > admission::Duration::zero()) {
    to.text(",\"retry_after_ms\":");
    to.number(milliseconds_up(rejection.retry_after));
  }
  if (rejection.renews_at != 0) {
    to.text(",\"violated-policies\":[\"quota\"],\"quota\":");
    put_decimal(to, rejection.burst);
    to.text(",\"left\":");
    put_decimal(to, rejection.tokens);
    if (is_beyond_quota(rejection)) {
      to.text(",\"cost\":");
      to.number(cost);
    } else {
      to.text(",\"renews_at\":\"");
      put_time(rejection.renews_at, to);
      to.text("\"");
    }
  } else if (rate_text != nullptr) {
    to.text(rate_text->members());
  } else if (rejection.rate > 0) {
    put_rate_members(rejection, to);
  }
  if (rejection.places > 0) {
    to.text(",\"queue_size\":");
    to.number(rejection.places);
  }
  if (rejection.position > 0) {
    to.text(",\"position\":");
    to.number(rejection.position);
    if (rejection.estimate > admission::Duration::zero()) {  // else nobody knows yet
      to.text(",\"estimated_wait_ms\":");
      to.number(milliseconds_up(rejection.estimate));
    }
  }
  to.text("}\n");
}

// The fields that tell of the bucket that has too few tokens; names and ends: 31 bytes.
constexpr std::size_t rate_limit_fields_max = 2 * (rate_limit_most + 40);
admission::Limits::Bucket bucket_of(const admission::Rejection& rejection) {
  return {rejection.tokens, rejection.rate, rejection.burst};
}

void put_policy_line(const admission::Rejection& rejection, Writer& to) {
  to.text("RateLimit-Policy: \"");
  to.text(rate_limit_name(rejection.reason));
  to.text("\";");
  put_policy(to, bucket_of(rejection));
  to.text("\r\n");
}

void put_rate_limit(const admission::Rejection& rejection, const RateTexts::Text* rate_text,
                    Writer& to) {
  if (rate_text != nullptr)
    to.text(rate_text->policy());
  else
    put_policy_line(rejection, to);
  if (is_beyond_quota(rejection)) return;  // no time brings enough
  to.text("RateLimit: \"");
  to.text(rate_limit_name(rejection.reason));
  to.text("\";");
  put_state(to, bucket_of(rejection), rejection.retry_after);
  to.text("\r\n");
}

}  // namespace

const RateTexts::Text& RateTexts::of(const admission::Rejection& rejection) {
  // The upper bits of a product with the golden ratio hang on all bits.
  constexpr std::uint64_t golden = 0x9e3779b97f4a7c15;
  const std::uint64_t rate = std::bit_cast<std::uint64_t>(rejection.rate) * golden;
  const std::uint64_t burst = std::bit_cast<std::uint64_t>(rejection.burst);
  static_assert(std::tuple_size_v<decltype(texts_)> == 16);
  Text& text = texts_[(rate ^ burst ^ conf::index_of(rejection.reason)) * golden >> 60];
  if (text.reason == rejection.reason && text.rate == rejection.rate &&
      text.burst == rejection.burst) [[likely]]
    return text;
  Writer policy(text.policy_text.data(), text.policy_text.data() + text.policy_text.size());
  put_policy_line(rejection, policy);
  Writer members(text.members_text.data(), text.members_text.data() + text.members_text.size());
  put_rate_members(rejection, members);
  text.reason = rejection.reason;
  text.rate = rejection.rate;
  text.burst = rejection.burst;
  text.policy_size = static_cast<std::uint8_t>(policy.end() - text.policy_text.data());
  text.members_size = static_cast<std::uint8_t>(members.end() - text.members_text.data());
  return text;
}

Refusals::Refusals(std::shared_ptr<const Texts> texts, const Challenges& challenges)
    : texts_(std::move(texts)),
      challenge_(fmt::format("WWW-Authenticate: {}\r\n", challenges.usual)),
      token_challenge_(fmt::format("WWW-Authenticate: {}\r\n", challenges.of_bad_token)) {}

std::shared_ptr<const Refusals::Texts> Refusals::make_texts(const conf::StatusTable& statuses,
                                                            conf::RefusalBody form) {
  Texts texts{.statuses = statuses, .form = form};
  const auto built = [&](const conf::ReasonText& text, std::string_view detail = {}) {
    return build(text, statuses[conf::index_of(text.reason)], form, detail);
  };
  for (const conf::ReasonText& text : conf::reason_texts)
    texts.prebuilt[conf::index_of(text.reason)] = built(text);
  // The title is of both (RFC 9457 section 3.1.3: the same for every occurrence).
  const conf::ReasonText& quota = conf::text_of(conf::Reason::quota);
  texts.prebuilt[conf::index_of(conf::Reason::quota)] =
      built(quota, "The quota of this client is used up");
  texts.beyond_quota = built(quota, "The request costs more than this client's whole quota");
  return std::make_shared<const Texts>(std::move(texts));
}

Refusals::Prebuilt Refusals::build(const conf::ReasonText& text, int code, conf::RefusalBody form,
                                   std::string_view detail) {
  const std::string_view words = detail.empty() ? text.title : detail;
  Prebuilt built;
  std::string_view type = "application/problem+json";
  // Texts need no escapes: the titles have none, and words are words (refusal_test).
  const std::string start =
      fmt::format(R"({{"type":"urn:classgate:reason:{}","title":"{}","status":{},"reason":"{}",)",
                  text.word, text.title, code, text.word);
  const std::string said = fmt::format(R"("detail":"{})", words);
  const std::string message = fmt::format(R"(","message":"{})", words);
  switch (form) {
    case conf::RefusalBody::problem:
      built.body = {start + said, message, "\""};
      built.pieces = 3;
      break;
    case conf::RefusalBody::openai:
      type = "application/json";
      built.body = {
          start + fmt::format(R"("error":{{"message":"{})", words),
          fmt::format(R"(","type":"{}","param":null,"code":"{}"}},)", error_type(code), text.word) +
              said,
          message, "\""};
      built.pieces = 4;
      break;
    case conf::RefusalBody::text:
      type = "text/plain; charset=utf-8";
      built.body = {std::string(words), "\n"};
      built.pieces = 2;
      break;
  }
  for (const std::string& piece : built.body) built.size += piece.size();
  built.asks = code == 401 || text.reason == conf::Reason::unknown_client;
  built.head = fmt::format(
      "HTTP/1.1 {} {}\r\n"
      "Content-Type: {}\r\n"
      "Cache-Control: no-store\r\n"
      "X-Classgate-Reason: {}\r\n"
      "Content-Length: ",
      code, reason_phrase(code), type, text.word);
  return built;
}

const Refusals::Prebuilt& Refusals::prebuilt_for(const Facts& facts) const {
  const conf::Reason reason = facts.rejection.reason;
  if (reason == conf::Reason::quota && is_beyond_quota(facts.rejection))
    return texts_->beyond_quota;
  return texts_->prebuilt[conf::index_of(reason)];
}

void Refusals::append(std::string& out, const Facts& facts) const {
  const admission::Rejection& rejection = facts.rejection;
  const bool is_of_bucket = rejection.rate > 0 && rejection.renews_at == 0;
  const RateTexts::Text* const rate_text =
      is_of_bucket && facts.rate_texts != nullptr ? &facts.rate_texts->of(rejection) : nullptr;
  std::array<char, particulars_max> room;
  Writer particulars(room.data(), room.data() + room.size());
  if (texts_->form != conf::RefusalBody::text)
    describe(rejection, facts.cost, rate_text, particulars);
  const std::string_view rest(room.data(), particulars.end());
  std::array<char, advice_max> words;
  Writer advising(words.data(), words.data() + words.size());
  put_advice(rejection, facts.cost, advising);
  const std::string_view advice(words.data(), advising.end());
  const Prebuilt& prebuilt = prebuilt_for(facts);
  const std::size_t body_size = prebuilt.size + (prebuilt.pieces - 1) * advice.size() + rest.size();
  constexpr std::size_t own_words = 300;  // names of the fields 140, numbers 60, ends of lines 20
  const std::size_t most = prebuilt.head.size() + body_size + facts.allow.size() +
                           facts.own_fields.size() + facts.date.size() +
                           std::max(challenge_.size(), token_challenge_.size()) +
                           2 * facts.request_id.size() + rate_limit_fields_max + own_words;
  proxy::wire::append(out, most, [&](Writer& to) {
    put_head(facts, prebuilt, rate_text, body_size, to);
    if (facts.without_body) return;
    for (std::size_t i = 0; i < prebuilt.pieces; ++i) {
      if (i > 0) to.text(advice);
      to.text(prebuilt.body[i]);
    }
    to.text(rest);
  });
}

void Refusals::put_head(const Facts& facts, const Prebuilt& prebuilt,
                        const RateTexts::Text* rate_text, std::size_t body_size, Writer& to) const {
  const admission::Rejection& rejection = facts.rejection;
  const auto field = [&to](std::string_view name, std::string_view value) {
    to.text(name);
    to.text(value);
    to.text("\r\n");
  };
  to.text(prebuilt.head);
  to.number(body_size);
  // Whole seconds, upwards (RFC 9110 section 10.2.3): too early would be refused again.
  if (rejection.retry_after > admission::Duration::zero()) {
    to.text("\r\nRetry-After: ");
    to.number(whole(std::chrono::ceil<std::chrono::seconds>(rejection.retry_after).count()));
    to.text("\r\nRetry-After-Ms: ");
    to.number(milliseconds_up(rejection.retry_after));
  }
  to.text(proxy::wire::crlf);
  if (prebuilt.asks) {
    const bool is_of_token =
        rejection.reason == conf::Reason::unknown_client && facts.has_bad_token;
    to.text(is_of_token ? token_challenge_ : challenge_);
  }
  switch (should_retry(rejection)) {
    case ShouldRetry::yes: to.text("X-Should-Retry: true\r\n"); break;
    case ShouldRetry::no: to.text("X-Should-Retry: false\r\n"); break;
    case ShouldRetry::nobody_knows: break;
  }
  if (rejection.rate > 0 && facts.says_rate_limit) put_rate_limit(rejection, rate_text, to);
  // A 405 must say what is allowed (RFC 9110 section 15.5.6).
  if (!facts.allow.empty()) field("Allow: ", facts.allow);
  to.text(facts.own_fields);
  field("Date: ", facts.date);
  if (!facts.request_id.empty()) {
    to.text("X-Request-Id: ");
    to.text(facts.request_id);
    field("\r\nRequest-Id: ", facts.request_id);  // where Anthropic's clients look
  }
  if (facts.close)
    field("Connection: close", "");
  else if (facts.says_keep_alive)
    field("Connection: keep-alive", "");
  to.text("\r\n");
}

}  // namespace classgate::gateway
