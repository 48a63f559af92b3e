#include "gateway/ops/explain_page.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/units.h"

namespace classgate::gateway {
namespace {

using nlohmann::ordered_json;

std::string time_text(const ordered_json& ms_json) {
  const double ms = ms_json.get<double>();
  if (ms >= 10'000) return fmt::format("{:.0f} s", ms / 1000);
  if (ms >= 1'000) return fmt::format("{:.1f} s", ms / 1000);
  return ms >= 10 ? fmt::format("{:.0f} ms", ms) : fmt::format("{:.2g} ms", ms);
}

std::string plural(std::uint64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

// "2 of 5 workers", or "2 workers" where there is no limit.
std::string part(const ordered_json& has, const ordered_json& limit, std::string_view word) {
  const auto most = limit.get<std::uint64_t>();
  if (most == 0) return plural(has.get<std::uint64_t>(), word);
  return fmt::format("{} of {}", has.get<std::uint64_t>(), plural(most, word));
}

std::string route_text(const ordered_json& route) {
  const std::string match = route.at("match");
  std::string_view why = "the rule for exactly this path";
  if (match == "prefix") why = "the longest rule that this path begins with";
  if (match == "none") why = "no rule is for this path";
  return fmt::format("{} ({}){}", route.at("rule").get<std::string>(), why,
                     route.at("rate_limited").get<bool>() ? "" : ", not rate limited");
}

// In words what the JSON says of a token (TokenFault, or that it is good and of no use).
struct TokenText {
  std::string_view word, text;
};
constexpr auto token_texts = std::to_array<TokenText>(
    {{"malformed",
      "not believed: it is no well-formed token (three parts of base64url, each member "
      "once and of its type)"},
     {"too_large", "not believed: it is larger than jwt.token_bytes"},
     {"algorithm", "not believed: its algorithm (alg) is none that jwt.algorithms names"},
     {"unknown_key",
      "not believed: no key of jwt.keys_file is of its algorithm, kid and length of "
      "signature"},
     {"missing_claim", "not believed: it does not say when it expires (exp)"},
     {"expired", "not believed: it has expired (exp)"},
     {"not_yet", "not believed: it is not good yet (nbf)"},
     {"issuer", "not believed: its issuer (iss) is not jwt.iss"},
     {"audience", "not believed: its audience (aud) is none of jwt.aud, or it has none"},
     {"signature", "not believed: none of the keys of jwt.keys_file has signed it"},
     {"too_many", "not looked at: more are to be verified than jwt.checks_max"},
     {"names_nobody", "good, but names nobody: it lacks the claim that identity names"},
     {"not_valid", "good, but its client is not valid now"}});

std::string token_text(const std::string& word) {
  const auto known = std::ranges::find(token_texts, word, &TokenText::word);
  return known == token_texts.end() ? word : std::string(known->text);
}

// Of a client of the file: "acme is valid from ... to ...".
std::string validity_text(const ordered_json& client) {
  std::string text = client.at("name").get<std::string>() + " is valid";
  if (const auto& from = client.at("not_before"); !from.is_null())
    text += " from " + from.get<std::string>();
  if (const auto& to = client.at("not_after"); !to.is_null())
    text += " to " + to.get<std::string>();
  return text + " (clients.clients_file)";
}

std::string key_text(const std::string& word) {
  return word == "not_valid" ? "known, but not valid now"
                             : "nobody's: neither in clients.clients_file nor of a plan";
}

std::string client_text(const ordered_json& client) {
  const std::string state = client.at("state");
  std::string text = client.at("id").get<std::string>();
  if (!client.at("name").is_null())
    text += fmt::format(" ({})", client.at("name").get<std::string>());
  const std::string source = client.at("source");
  text += source == "unknown" ? ", the one that all are who are not known (clients.unknown)"
                              : " by " + source;
  if (!client.at("plan").is_null()) text += ", plan " + client.at("plan").get<std::string>();
  if (state == "new") text += ", not seen lately";
  if (state == "shared") text += ", no room to remember it: one of those that share an entry";
  text += fmt::format("; has {}, {} waiting",
                      part(client.at("active_workers"), client.at("workers"), "worker"),
                      part(client.at("waiting"), client.at("queue_size"), "place"));
  if (client.at("is_retry").get<bool>())
    text += client.at("may_retry").get<bool>() ? "; a retry" : "; a retry, and its budget is spent";
  return text;
}

std::string cost_text(const ordered_json& cost, const ordered_json& workers) {
  return fmt::format(
      "{} ({}), {}{}", plural(cost.at("tokens").get<std::uint64_t>(), "token"),
      cost.at("source").get<std::string>(),
      plural(workers.at("wanted").get<std::uint64_t>(), "worker"),
      cost.at("rest_is_in_body").get<bool>() ? "; more when its body is here and says so" : "");
}

// Of what it must leave, "3 are kept for ...", or all.
std::string kept_text(const ordered_json& bucket) {
  const ordered_json& kept = bucket.at("kept");
  const double tokens = kept.at("tokens").get<double>();
  const std::string how_many = tokens >= bucket.at("burst").get<double>()
                                   ? std::string("all of them")
                                   : conf::print_number(tokens);
  if (kept.at("for") == "content")
    return how_many + " are kept for clients that ask for no more than their part";
  return how_many + " are kept for clients that come when they were told to" +
         (kept.at("comes_early").get<bool>() ? ", and this one comes before its time" : "");
}

// What is kept for those who are due comes free when they have come: no filling tells when.
std::string bucket_text(const ordered_json& bucket) {
  std::string text =
      fmt::format("{} of {} tokens, {}/s", conf::print_number(bucket.at("tokens").get<double>()),
                  conf::print_number(bucket.at("burst").get<double>()),
                  conf::print_number(bucket.at("rate").get<double>()));
  if (bucket.contains("rate_of_all_gateways"))
    text += fmt::format(" of the {}/s that all gateways share",
                        conf::print_number(bucket.at("rate_of_all_gateways").get<double>()));
  const ordered_json& kept = bucket.at("kept");
  if (!kept.is_null()) text += "; " + kept_text(bucket);
  if (bucket.at("short_for_ms").get<double>() <= 0) return text;
  const bool is_for_due = !kept.is_null() && kept.at("for") == "due";
  if (is_for_due && !bucket.at("told_in_ms").is_null())
    return text + "; it is told to come in " + time_text(bucket.at("told_in_ms"));
  return text + "; short for " + time_text(bucket.at("short_for_ms"));
}

// What is usual for its client, and what follows.
std::string pattern_text(const ordered_json& pattern) {
  const std::string ground = pattern.at("ground");
  const auto a_second = [&](const char* key) {
    return conf::print_number(pattern.at(key).get<double>()) + "/s";
  };
  if (ground == "learning")
    return "nothing is unusual yet: it has only begun to learn (fairness.pattern_learning)";
  std::string text = ground == "newcomer" ? std::string("of this client no day is known yet")
                     : ground == "shared"
                         ? std::string(
                               "no room to remember this client, who shares what a "
                               "newcomer is allowed")
                         : a_second("usual") + " is usual at this hour";
  text += "; allowed " + a_second("allowed");
  return text + (pattern.at("service_is_short").get<bool>()
                     ? ": counts now, as the service is short"
                     : ": counts only while the service is short, which it is not");
}

std::string quota_text(const ordered_json& quota) {
  const auto limit = quota.at("limit").get<std::int64_t>();
  const auto soft = quota.at("soft").get<std::int64_t>();
  return fmt::format("{}: {} of {} {} used{}, renewed at {}", quota.at("of").get<std::string>(),
                     quota.at("used").get<std::int64_t>(), limit > 0 ? limit : soft,
                     quota.at("unit") == "cost" ? "tokens" : "requests",
                     limit == 0 ? " before it warns" : "",
                     quota.at("renews_at").get<std::string>());
}

std::string workers_text(const ordered_json& workers, const ordered_json& priority) {
  std::string text =
      fmt::format("{} of {} taken, {} by priority {}", workers.at("active").get<std::uint64_t>(),
                  workers.at("limit").get<std::uint64_t>(),
                  workers.at("active_of_priority").get<std::uint64_t>(), priority.get<int>());
  if (const auto reserved = workers.at("reserved_for_priority").get<std::uint64_t>(); reserved > 0)
    text += fmt::format(", which has {} reserved", reserved);
  return text;
}

std::string estimate_text(const ordered_json& estimate) {
  if (estimate.at("work_ms").get<double>() <= 0) return "none yet: no request has been through";
  const ordered_json& range = estimate.at("wait_range_ms");
  const std::string between =
      range[0] == range[1] ? std::string()
                           : fmt::format(" ({} to {})", time_text(range[0]), time_text(range[1]));
  std::string text =
      fmt::format("a wait of {}{}, then {} of work", time_text(estimate.at("wait_ms")), between,
                  time_text(estimate.at("work_ms")));
  if (estimate.at("is_doubted").get<bool>())
    text += "; too long for its deadline, but let through to see whether that is still so";
  return text;
}

// "1 reachable, 1 failing"; nothing when all is well.
std::string upstream_text(const ordered_json& upstream) {
  std::string text;
  for (const auto& [word, count] : upstream.items())
    if (const auto number = count.get<std::uint64_t>(); number > 0)
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", number, word);
  const auto is_well = [&](const char* word) {
    return upstream.at(word).get<std::uint64_t>() == 0;
  };
  return is_well("failing") && is_well("ejected") && is_well("unreachable") && is_well("not known")
             ? ""
             : text;
}

std::string verdict_text(const ordered_json& verdict) {
  const std::string answer = verdict.at("answer");
  if (answer == "admitted") return "admitted: a worker is free";
  if (answer == "operator") return "answered by the gateway itself";
  if (answer == "waits")
    return fmt::format("waits at place {}{}{}", verdict.at("place").get<std::uint64_t>(),
                       verdict.at("wait_ms").is_null()
                           ? ", nobody knows yet for how long"
                           : " for about " + time_text(verdict.at("wait_ms")),
                       verdict.at("takes_anothers_place").get<bool>()
                           ? "; the queue is full: another one gives way"
                           : "");
  const std::string why = verdict.contains("detail") ? "detail" : "title";
  const ordered_json& seconds = verdict.at("retry_after");
  return fmt::format("refused with {} {}, {} ({})", verdict.at("status").get<int>(),
                     verdict.at("reason").get<std::string>(),
                     seconds.is_null()
                         ? "no Retry-After"
                         : fmt::format("Retry-After: {}", seconds.get<std::uint64_t>()),
                     verdict.at(why).get<std::string>());
}

}  // namespace

std::string explain_page(std::string_view explanation_json) {
  const ordered_json said = ordered_json::parse(explanation_json);
  std::string out;
  const auto row = [&](std::string_view name, const std::string& text) {
    out += fmt::format("{:<9} {}\n", name, conf::printable(text));
  };
  if (said.contains("request")) {
    const ordered_json& request = said.at("request");
    const bool is_path_known = !request.at("path").is_null();
    row("request",
        fmt::format(
            "{} {} from {}{}", request.at("method").get<std::string>(),
            request.at(is_path_known ? "path" : "target").get<std::string>(),
            request.at("address").get<std::string>(),
            request.at("sender_is_trusted").get<bool>() ? ", as a trusted proxy says" : ""));
  }
  if (said.contains("route")) {
    row("route", route_text(said.at("route")));
    row("priority", fmt::format("{}", said.at("priority").get<int>()));
  }
  // Who it would be, behind what is not valid now.
  const auto told = [&](const std::string& word, const std::string& text) {
    return word == "not_valid" ? text + ": " + validity_text(said.at("not_valid")) : text;
  };
  if (said.contains("token")) {
    const std::string word = said.at("token");
    row("token", told(word, token_text(word)));
  }
  if (said.contains("key")) {
    const std::string word = said.at("key");
    row("key", told(word, key_text(word)));
  }
  if (said.contains("cost")) {
    const ordered_json& client = said.at("client");
    row("client",
        client.is_null() ? "nobody is told apart (fairness.identity)" : client_text(client));
    row("cost", cost_text(said.at("cost"), said.at("workers")));
  }
  if (said.contains("deadline"))
    row("deadline", fmt::format("{} ({})", time_text(said.at("deadline").at("time_ms")),
                                said.at("deadline").at("source").get<std::string>()));
  if (said.contains("cost")) {
    std::string_view name = "buckets";
    for (const ordered_json& bucket : said.at("buckets")) {
      row(name, fmt::format("{:<6} {}", bucket.at("of").get<std::string>(), bucket_text(bucket)));
      name = "";
    }
    if (said.at("buckets").empty()) row(name, "none applies");
    if (!said.at("pattern").is_null()) row("pattern", pattern_text(said.at("pattern")));
    name = "quota";
    for (const ordered_json& quota : said.at("quotas")) {
      row(name, quota_text(quota));
      name = "";
    }
    row("workers", workers_text(said.at("workers"), said.at("priority")));
    row("queue",
        fmt::format("{} of {} waiting", said.at("queue").at("waiting").get<std::uint64_t>(),
                    said.at("queue").at("limit").get<std::uint64_t>()));
    row("estimate", estimate_text(said.at("estimate")));
    for (const ordered_json& reason : said.at("observed"))
      row("observed", reason.get<std::string>() + ": counted, not enforced");
  }
  const std::string upstream =
      said.contains("upstream") ? upstream_text(said.at("upstream")) : std::string();
  if (!upstream.empty()) row("upstream", upstream);
  const ordered_json& verdict = said.at("verdict");
  row("verdict", verdict_text(verdict));
  if (verdict.contains("held_ms") && verdict.at("answer") != "refused")
    row("", "no server is up: it then waits for one, for " + time_text(verdict.at("held_ms")) +
                " at most (upstream.hold)");
  return out;
}

}  // namespace classgate::gateway
