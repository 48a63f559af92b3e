#include "gateway/ops/why.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <deque>
#include <expected>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/printable.h"
#include "conf/time_zone.h"
#include "conf/units.h"
#include "gateway/json_text.h"
#include "gateway/wall_time.h"
#include "proxy/net/handles.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

// Which bucket had too few tokens.
std::string_view bucket_name(conf::Reason reason) {
  switch (reason) {
    case conf::Reason::client_rate: return "client";
    case conf::Reason::client_pattern: return "pattern";
    case conf::Reason::route_rate: return "route";
    default: return "all";
  }
}

ordered_json word_or_null(const std::optional<conf::Reason>& reason) {
  if (!reason) return nullptr;
  return conf::word_of(*reason);
}

// A float as it was written.
double rounded(float number) { return std::round(double{number} * 1e5) / 1e5; }

ordered_json bucket_json(const Decision& decision) {
  const admission::Rejection& refused = decision.rejection;
  if (refused.rate <= 0 || !decision.reason || refused.renews_at != 0) return nullptr;
  return {{"of", bucket_name(*decision.reason)},
          {"tokens", std::round(refused.tokens * 1000) / 1000},
          {"burst", refused.burst},
          {"rate", refused.rate}};
}

// All that the request was looked at by, the narrowest first; empty: by none.
ordered_json buckets_json(const Decision& decision) {
  ordered_json list = ordered_json::array();
  const auto& [all, route, client] = decision.rejection.looked_at;
  for (const auto& [name, bucket] :
       {std::pair("client", client), std::pair("route", route), std::pair("all", all)})
    if (bucket.rate > 0)
      list.push_back({{"of", name},
                      {"tokens", std::round(double{bucket.tokens} * 1000) / 1000},
                      {"burst", rounded(bucket.burst)},
                      {"rate", rounded(bucket.rate)}});
  return list;
}

ordered_json quota_json(const Decision& decision) {
  const admission::Rejection& refused = decision.rejection;
  if (refused.renews_at == 0) return nullptr;
  return {{"limit", static_cast<std::int64_t>(refused.burst)},
          {"left", static_cast<std::int64_t>(refused.tokens)},
          {"renews_at", conf::TimeZone().text_of(
                            std::chrono::sys_seconds(std::chrono::seconds(refused.renews_at)))}};
}

// In the queue, where it came to wait.
ordered_json place_json(const Decision& decision) {
  if (decision.place == 0) return nullptr;
  return decision.place;
}

ordered_json line_json(const Decision& decision) {
  const admission::Rejection& refused = decision.rejection;
  if (refused.position == 0) return nullptr;
  return {{"place", refused.position},
          {"places", refused.places},
          {"estimate_ms", measure::in_rounded_ms(refused.estimate)}};
}

ordered_json decision_json(const Decision& decision) {
  ordered_json retry_after = nullptr;
  if (decision.rejection.retry_after > admission::Duration::zero())
    retry_after = measure::in_rounded_ms(decision.rejection.retry_after);
  return {{"time", wall_time_text(decision.ended)},
          {"id", decision.id},
          {"client", decision.client},
          {"address", decision.address},
          {"name", decision.name},
          {"plan", decision.plan},
          {"method", decision.method},
          {"path", decision.path},
          {"route", decision.route},
          {"priority", decision.priority},
          {"verdict", word_of(decision.verdict)},
          {"ending", ending_words[static_cast<std::size_t>(decision.ending)]},
          {"reason", word_or_null(decision.reason)},
          {"observed", word_or_null(decision.observed)},
          {"credentials", word_of(decision.credentials)},
          {"status", decision.status},
          {"answered_by", answered_by(decision.status, decision.is_own_answer)},
          {"protocol", decision.protocol()},
          {"upstream_protocol", decision.upstream_protocol()},
          {"grpc_status", decision.grpc_status == ExchangeFacts::no_grpc_status
                              ? ordered_json()
                              : ordered_json(int{decision.grpc_status})},
          {"retry_after_ms", retry_after},
          {"cost", decision.cost},
          {"deadline_ms", measure::in_rounded_ms(decision.deadline)},
          {"upload_ms", measure::in_rounded_ms(decision.uploading)},
          {"wait_ms", measure::in_rounded_ms(decision.waiting)},
          {"upstream_ms", measure::in_rounded_ms(decision.at_upstream)},
          {"total_ms", measure::in_rounded_ms(decision.total)},
          {"upstream", decision.upstream},
          {"retries", decision.retries},
          {"bucket", bucket_json(decision)},
          {"buckets", buckets_json(decision)},
          {"quota", quota_json(decision)},
          {"waited_at_place", place_json(decision)},
          {"line", line_json(decision)},
          {"conf",
           {{"generation", decision.limits.generation},
            {"rate", decision.limits.rate},
            {"burst", decision.limits.burst},
            {"workers", decision.limits.workers},
            {"queue_size", decision.limits.queue_size},
            {"queue_timeout_ms", measure::in_rounded_ms(decision.limits.queue_timeout)}}}};
}

std::string plain(const ordered_json& value) { return conf::printable(value.get<std::string>()); }

std::string span_of(const ordered_json& milliseconds) {
  const double ms = milliseconds.get<double>();
  if (ms >= 10'000) return fmt::format("{:.0f} s", ms / 1000);
  if (ms >= 1'000) return fmt::format("{:.1f} s", ms / 1000);
  return ms >= 10 ? fmt::format("{:.0f} ms", ms) : fmt::format("{:.2g} ms", ms);
}

// As it stands in the access log.
std::string exact_span_of(const ordered_json& milliseconds) {
  return fmt::format("{:.3f} ms", milliseconds.get<double>());
}

std::string number_of(const ordered_json& value) { return conf::print_number(value.get<double>()); }

std::string what_was_decided(const ordered_json& decision) {
  std::string text = plain(decision.at("verdict"));
  if (!decision.at("reason").is_null()) {
    const std::string word = decision.at("reason");
    text += ": " + word;
    if (const auto reason = conf::reason_from_word(word))
      text += fmt::format(" ({})", conf::text_of(*reason).title);
  }
  return text;
}

// In words what it says of them; what it does not know here it says as it came.
struct CredentialText {
  std::string_view word, text;
};
constexpr auto credential_texts = std::to_array<CredentialText>({
    {"ambiguous",
     "what an identity names stands there twice or with \"_\" for \"-\", or Connection names it"},
    {"key_unknown", "the key is nobody's: neither in clients.clients_file nor of a plan"},
    {"client_expired", "of a client of clients.clients_file that is valid no more"},
    {"client_not_yet", "of a client of clients.clients_file that is not valid yet"},
    {"certificate",
     "the connection's certificate counts no more, or one is required now (tls.client_ca)"},
    {"token_names_nobody", "the token is good, but lacks the claim that identity names"},
    {"token_malformed", "the token is not well-formed"},
    {"token_too_large", "the token is larger than jwt.token_bytes"},
    {"token_algorithm", "the token's algorithm (alg) is none that jwt.algorithms names"},
    {"token_unknown_key",
     "no key of jwt.keys_file is of the token's algorithm, kid and length of signature"},
    {"token_missing_claim", "the token does not say when it expires (exp)"},
    {"token_expired", "the token had expired (exp)"},
    {"token_not_yet", "the token was not good yet (nbf)"},
    {"token_issuer", "the token's issuer (iss) is not jwt.iss"},
    {"token_audience", "the token's audience (aud) is none of jwt.aud, or it has none"},
    {"token_signature", "none of the keys of jwt.keys_file has signed the token"},
    {"token_too_many", "the token was not looked at: more came than jwt.checks_max"},
});

std::string credential_text(const std::string& word) {
  const auto known = std::ranges::find(credential_texts, word, &CredentialText::word);
  return known == credential_texts.end() ? conf::printable(word)
                                         : fmt::format("{} ({})", word, known->text);
}

std::string answer_text(const ordered_json& decision) {
  if (decision.at("status").get<int>() == 0) return "none: nobody was there to hear it";
  std::string text = fmt::format("{} by the {}", decision.at("status").get<int>(),
                                 plain(decision.at("answered_by")));
  // Another gateway, before an upgrade, may have said it without this.
  if (const ordered_json code = decision.value("grpc_status", ordered_json()); !code.is_null())
    text += fmt::format(", grpc-status {}", code.get<int>());
  if (decision.value("upstream_protocol", "") == "h2") text += ", which was asked by HTTP/2";
  if (!decision.at("retry_after_ms").is_null())
    text += fmt::format(", to come back in {}", span_of(decision.at("retry_after_ms")));
  return text;
}

std::string decision_page(const ordered_json& decision, std::uint64_t generation_now) {
  std::string out;
  const auto row = [&out](std::string_view name, const std::string& text) {
    out += fmt::format("{:<10} {}\n", name, text);
  };
  row("time", plain(decision.at("time")));
  row("request", fmt::format("{} {} from {}{}", plain(decision.at("method")),
                             plain(decision.at("path")), plain(decision.at("address")),
                             decision.value("protocol", "") == "h2" ? ", by HTTP/2" : ""));
  const std::string known = plain(decision.at("name"));
  row("client",
      fmt::format("{}{}, plan {}", plain(decision.at("client")),
                  known == "-" ? "" : fmt::format(" ({})", known), plain(decision.at("plan"))));
  row("route",
      fmt::format("{}, priority {}, cost {}", plain(decision.at("route")),
                  decision.at("priority").get<int>(), decision.at("cost").get<std::uint64_t>()));
  row("verdict", what_was_decided(decision));
  if (const std::string word = decision.at("credentials"); word != "-")
    row("credential", credential_text(word));
  row("answer", answer_text(decision));
  std::string_view name = "buckets";
  for (const ordered_json& bucket : decision.at("buckets")) {
    const bool is_it =
        !decision.at("bucket").is_null() && decision.at("bucket").at("of") == bucket.at("of");
    row(std::exchange(name, ""),
        fmt::format("of {}: {} of {} tokens, {}/s{}", plain(bucket.at("of")),
                    number_of(bucket.at("tokens")), number_of(bucket.at("burst")),
                    number_of(bucket.at("rate")), is_it ? ": too few" : ""));
  }
  if (const ordered_json& place = decision.at("waited_at_place"); !place.is_null())
    row("queue", fmt::format("came to wait at place {}", place.get<std::uint64_t>()));
  if (const ordered_json& quota = decision.at("quota"); !quota.is_null())
    row("quota", fmt::format("{} of {} left, renewed at {}", quota.at("left").get<std::int64_t>(),
                             quota.at("limit").get<std::int64_t>(), plain(quota.at("renews_at"))));
  if (const ordered_json& line = decision.at("line"); !line.is_null())
    row("line",
        fmt::format("would have been at place {} of {}, for about {}",
                    line.at("place").get<std::uint64_t>(), line.at("places").get<std::uint64_t>(),
                    span_of(line.at("estimate_ms"))));
  row("times",
      fmt::format("waited {}, at the service {}, {} in all; {} allowed",
                  exact_span_of(decision.at("wait_ms")), exact_span_of(decision.at("upstream_ms")),
                  exact_span_of(decision.at("total_ms")), span_of(decision.at("deadline_ms"))));
  const ordered_json& conf = decision.at("conf");
  const auto generation = conf.at("generation").get<std::uint64_t>();
  const std::string rate = conf.at("rate") == 0
                               ? "no rate limit"
                               : fmt::format("rate {}/s, burst {}", number_of(conf.at("rate")),
                                             number_of(conf.at("burst")));
  row("limits", fmt::format("{}, workers {}, queue {}, by conf {}{}", rate,
                            conf.at("workers").get<std::uint64_t>(),
                            conf.at("queue_size").get<std::uint64_t>(), generation,
                            generation == generation_now
                                ? ", which is in force"
                                : fmt::format("; conf {} is in force now", generation_now)));
  return out;
}

// The field stands second in a line of either format (append_access_line()): what a client has said
// comes later.
bool is_line_of(std::string_view line, std::string_view id) {
  const auto takes = [&line](std::string_view text) {
    if (!line.starts_with(text)) return false;
    line.remove_prefix(text.size());
    return true;
  };
  const bool is_json = takes("{\"time\":\"");
  if (!is_json && !takes("time=")) return false;
  const std::size_t end = line.find(is_json ? '"' : ' ');
  if (end == std::string_view::npos) return false;
  line.remove_prefix(end);
  return takes(is_json ? "\",\"id\":\"" : " id=") && takes(id) && takes(is_json ? "\"" : " ");
}

constexpr std::size_t line_max = 64 * 1024;  // what is longer is cut

constexpr int not_a_file = -1;

// Calls back with each line of a regular file; or why it cannot be read, as an errno or not_a_file.
template <typename OnLine>
std::expected<void, int> read_lines(const std::string& path, OnLine on_line) {
  const auto because = [](int error) { return std::unexpected(error); };
  const auto no_file = [] { return std::unexpected(not_a_file); };
  struct stat is{};
  if (::stat(path.c_str(), &is) != 0) return because(errno);
  if (!S_ISREG(is.st_mode)) return no_file();
  // It may be another by now.
  const proxy::net::Fd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file || ::fstat(file.get(), &is) != 0) return because(errno);
  if (!S_ISREG(is.st_mode)) return no_file();
  std::string buffer(line_max, '\0'), line;
  for (;;) {
    const ssize_t size = ::read(file.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return because(errno);
    if (size == 0) return {};  // what does not end is being written
    std::string_view rest(buffer.data(), static_cast<std::size_t>(size));
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos;) {
      line.append(rest.substr(0, std::min(end, line_max - line.size())));
      on_line(std::string_view(line));
      line.clear();
      rest.remove_prefix(end + 1);
    }
    line.append(rest.substr(0, std::min(rest.size(), line_max - line.size())));
  }
}

}  // namespace

std::string why(std::string_view id, const Decisions& decisions, const Policy& policy) {
  const conf::Settings& settings = policy.rules->settings;
  ordered_json log = nullptr;
  if (settings.log.access.starts_with('/')) log = settings.log.access;
  ordered_json list = ordered_json::array();
  for (const Decision& decision : decisions.told) list.push_back(decision_json(decision));
  return json_text({{"id", id},
                    {"decisions", list},
                    {"decisions_more", decisions.more},
                    {"conf_generation", policy.rules->generation},
                    {"why_max", settings.ops.why_max},
                    {"why_found_max", settings.ops.why_found_max},
                    {"access_log", log}});
}

std::string why_page(std::string_view why_json) {
  const ordered_json said = ordered_json::parse(why_json);
  std::string out;
  for (const ordered_json& decision : said.at("decisions")) {
    if (!out.empty()) out += '\n';
    out += decision_page(decision, said.at("conf_generation").get<std::uint64_t>());
  }
  if (const auto more = said.at("decisions_more").get<std::uint64_t>(); more > 0)
    out += fmt::format("\nand {} older ones with this id are kept (ops.why_found_max)\n", more);
  return out;
}

LogLines lines_of_id(const std::string& log, std::string_view id, std::size_t most) {
  LogLines found;
  std::deque<std::string> lines;
  const auto look_in = [&](const std::string& path, bool may_be_absent) {
    const auto read = read_lines(path, [&](std::string_view line) {
      if (!is_line_of(line, id)) return;
      lines.emplace_back(line);
      if (lines.size() <= most) return;
      lines.pop_front();
      ++found.more;
    });
    if (read || (may_be_absent && read.error() == ENOENT)) return;
    found.trouble +=
        fmt::format("{}{}: {}", found.trouble.empty() ? "" : "; ", conf::printable(path),
                    read.error() == not_a_file ? "not a regular file"
                                               : std::generic_category().message(read.error()));
  };
  look_in(log + ".1", true);
  look_in(log, false);
  found.lines.assign(std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end()));
  return found;
}

}  // namespace classgate::gateway
