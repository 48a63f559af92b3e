#include "gateway/ops/memo_text.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/sha256.h"
#include "gateway/json_text.h"

namespace classgate::gateway {

using admission::Memo;
using admission::PolicyMemo;
using admission::ReasonCounts;
using admission::ShadowMemo;
using Account = admission::ClientTable::Account;
using admission::ClientKind;
using nlohmann::ordered_json;

namespace {

// ---- Written ------------------------------------------------------------------------------------

ordered_json json_of(const ReasonCounts& counts) {
  ordered_json by_word = ordered_json::object();
  for (const conf::ReasonText& text : conf::reason_texts)
    if (const std::uint64_t count = counts[conf::index_of(text.reason)]; count > 0)
      by_word[std::string(text.word)] = count;
  return by_word;
}

ordered_json json_of(const PolicyMemo& memo) {
  ordered_json json = {{"usual_turn_ns", memo.usual_turn.count()}};
  if (memo.tokens) json["tokens"] = *memo.tokens;
  if (memo.rate) json["rate"] = *memo.rate;
  if (memo.workers) json["workers"] = *memo.workers;
  ordered_json& routes = json["routes"] = ordered_json::array();
  for (const admission::RouteMemo& route : memo.routes) {
    ordered_json entry = {{"path", route.path},
                          {"mean_ns", route.work.mean.count()},
                          {"deviation_ns", route.work.deviation.count()},
                          {"seen", route.work.seen}};
    if (route.tokens) entry["tokens"] = *route.tokens;
    routes.push_back(std::move(entry));
  }
  json["plans"] = memo.plans;
  ordered_json& clients = json["clients"] = ordered_json::array();
  for (const Account& client : memo.clients)
    clients.push_back(ordered_json::array({client.id, client.plan, client.tokens, client.retries,
                                           client.credit, static_cast<unsigned>(client.kind)}));
  return json;
}

// ---- Read ---------------------------------------------------------------------------------------

// Ends the reading; caught in read_memo().
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const ordered_json& part(const ordered_json& json, const char* name) {
  if (!json.is_object() || !json.contains(name)) throw Mistake(fmt::format("no {}", name));
  return json[name];
}

std::uint64_t whole(const ordered_json& json, const char* name, std::uint64_t most) {
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() > most)
    throw Mistake(fmt::format("{} is no number from 0 to {}", name, most));
  return json.get<std::uint64_t>();
}

double number(const ordered_json& json, const char* name) {
  constexpr double largest = 1e15;
  const double value = json.is_number() ? json.get<double>() : largest * 2;
  if (!(std::abs(value) <= largest)) throw Mistake(fmt::format("{} is no number", name));
  return value;
}

std::chrono::nanoseconds duration(const ordered_json& json, const char* name) {
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(whole(json, name, std::numeric_limits<std::int64_t>::max())));
}

const std::string& text(const ordered_json& json, const char* name) {
  if (!json.is_string()) throw Mistake(fmt::format("{} is no text", name));
  return json.get_ref<const std::string&>();
}

const ordered_json& list(const ordered_json& json, const char* name) {
  const ordered_json& items = part(json, name);
  if (!items.is_array()) throw Mistake(fmt::format("{} is no list", name));
  return items;
}

Account account_in(const ordered_json& json, std::size_t plans) {
  if (!json.is_array() || json.size() != 6) throw Mistake("a client has not the six values of one");
  const std::uint64_t plan = whole(json[1], "a client's plan", 0xffffffff);
  if (plan >= plans) throw Mistake("a client has a plan that is not there");
  return {.id = whole(json[0], "a client's id", std::numeric_limits<std::uint64_t>::max()),
          .plan = static_cast<std::uint32_t>(plan),
          .tokens = number(json[2], "a client's tokens"),
          .retries = static_cast<float>(number(json[3], "a client's retries")),
          .credit = static_cast<float>(number(json[4], "a client's credit")),
          .kind = static_cast<ClientKind>(whole(json[5], "a client's kind", 2))};
}

PolicyMemo policy_in(const ordered_json& json) {
  constexpr std::uint64_t most = 0xffffffff;
  PolicyMemo memo{.usual_turn = duration(part(json, "usual_turn_ns"), "usual_turn_ns")};
  if (json.contains("tokens")) memo.tokens = number(json["tokens"], "tokens");
  if (json.contains("rate")) memo.rate = number(json["rate"], "rate");
  if (json.contains("workers"))
    memo.workers = static_cast<std::uint32_t>(whole(json["workers"], "workers", most));
  for (const ordered_json& entry : list(json, "routes")) {
    admission::RouteMemo route{.path = text(part(entry, "path"), "path")};
    route.work.mean = duration(part(entry, "mean_ns"), "mean_ns");
    route.work.deviation = duration(part(entry, "deviation_ns"), "deviation_ns");
    route.work.seen = static_cast<std::uint32_t>(whole(part(entry, "seen"), "seen", most));
    if (entry.contains("tokens")) route.tokens = number(entry["tokens"], "tokens");
    memo.routes.push_back(std::move(route));
  }
  for (const ordered_json& name : list(json, "plans")) memo.plans.push_back(text(name, "a plan"));
  const ordered_json& clients = list(json, "clients");
  if (clients.size() > PolicyMemo::clients_max) throw Mistake("too many clients");
  for (const ordered_json& client : clients)
    memo.clients.push_back(account_in(client, memo.plans.size()));
  return memo;
}

// A reason that is not known here counts for nobody.
ReasonCounts counts_in(const ordered_json& json, const char* name) {
  const ordered_json& by_word = part(json, name);
  if (!by_word.is_object()) throw Mistake(fmt::format("{} is no table", name));
  ReasonCounts counts{};
  for (const auto& [word, count] : by_word.items()) {
    const std::uint64_t value = whole(count, name, 1ULL << 53U);
    if (const auto reason = conf::reason_from_word(word)) counts[conf::index_of(*reason)] = value;
  }
  return counts;
}

ShadowMemo shadow_in(const ordered_json& json) {
  return {.alike = whole(part(json, "alike"), "alike", 1ULL << 53U),
          .would_refuse = counts_in(json, "would_refuse"),
          .would_accept = counts_in(json, "would_accept"),
          .policy = policy_in(part(json, "policy")),
          .conf = text(part(json, "conf"), "conf")};
}

SignedMemo memo_in(const ordered_json& json, admission::Time now) {
  const std::uint64_t version =
      whole(part(json, "version"), "version", std::numeric_limits<std::uint64_t>::max());
  if (version != memo_version)
    throw Mistake(fmt::format("it is of version {}, and {} is known here", version, memo_version));
  SignedMemo read;
  // CLOCK_MONOTONIC is the same for all processes of a machine.
  read.memo.at = admission::Time(duration(part(json, "at_ns"), "at_ns"));
  if (read.memo.at > now) throw Mistake("it is of a time that has not come");
  read.ids_of = whole(part(json, "ids_of"), "ids_of", std::numeric_limits<std::uint64_t>::max());
  read.memo.policy = policy_in(part(json, "policy"));
  if (json.contains("shadow")) read.memo.shadow = shadow_in(json["shadow"]);
  return read;
}

// ---- Of a server --------------------------------------------------------------------------------

// What decides in the shadow, as one would write it, hashed; empty: nobody has one. Not whom its
// plans name: requests come with the plans of the conf in force.
std::string shadow_says(const Server& server) {
  const auto& shadow = server.settings().admission.shadow;
  if (!shadow) return {};
  conf::Settings all;
  all.admission = *shadow;
  std::string said;
  for (const conf::Key& key : conf::all_keys())
    said += fmt::format("{} = {}\n", key.name, key.print(all));
  for (const conf::PlanSettings& plan : shadow->fairness.plans)
    said += fmt::format("plan {}: {} {} {} {} {} {}\n", plan.name, plan.rate, plan.burst,
                        plan.workers, plan.queue_size, plan.weight, plan.priority);
  for (const conf::RouteRate& route : shadow->route_rates)
    said += fmt::format("route {}: {} {}\n", route.path, route.rate, route.burst);
  return conf::hex_of(conf::sha256(said));
}

}  // namespace

std::uint64_t sign_of_ids(const Server& server) {
  return SipHash::of(server.in_force().hash_key, "what a process has learnt");
}

std::string memo_text(const SignedMemo& memo) {
  ordered_json json = {{"version", memo_version},
                       {"at_ns", memo.memo.at.time_since_epoch().count()},
                       {"ids_of", memo.ids_of},
                       {"policy", json_of(memo.memo.policy)}};
  if (const auto& shadow = memo.memo.shadow)
    json["shadow"] = {{"conf", shadow->conf},
                      {"alike", shadow->alike},
                      {"would_refuse", json_of(shadow->would_refuse)},
                      {"would_accept", json_of(shadow->would_accept)},
                      {"policy", json_of(shadow->policy)}};
  return json_text(json, -1);
}

std::expected<SignedMemo, std::string> read_memo(std::string_view text, admission::Time now) {
  if (text.size() > memo_bytes_max)
    return std::unexpected(fmt::format("it is larger than {} bytes", memo_bytes_max));
  const ordered_json json = ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) return std::unexpected("it is no JSON");
  try {
    return memo_in(json, now);
  } catch (const Mistake& mistake) {
    return std::unexpected(mistake.what());
  }
}

std::expected<std::string, std::string> memo_of(const Server& server) {
  SignedMemo all{.memo = server.shared().gate.learnt(std::chrono::steady_clock::now()),
                 .ids_of = sign_of_ids(server)};
  if (all.memo.shadow) all.memo.shadow->conf = shadow_says(server);
  std::string text = memo_text(all);
  if (text.size() > memo_bytes_max)
    return std::unexpected(
        fmt::format("it is {} bytes, more than {}", text.size(), memo_bytes_max));
  if (const std::string patterns = patterns_of(server); !patterns.empty())
    text += (text.ends_with('\n') ? "" : "\n") + patterns;
  return text;
}

std::expected<std::string, std::string> take_up_memo(Server& server, std::string_view text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  auto read = read_memo(text.substr(0, end), std::chrono::steady_clock::now());
  if (!read) return std::unexpected(read.error());
  Memo& memo = read->memo;
  if (read->ids_of != sign_of_ids(server)) {
    memo.policy.clients.clear();
    if (memo.shadow) memo.shadow->policy.clients.clear();
  }
  if (memo.shadow && memo.shadow->conf != shadow_says(server)) memo.shadow.reset();
  server.take_up(memo);
  std::string patterns;
  if (end + 1 < text.size()) {
    const auto taken = take_up_patterns(server, text.substr(end + 1));
    patterns = taken ? fmt::format(", patterns: {}", *taken)
                     : fmt::format(", patterns: none ({})", taken.error());
  }
  return fmt::format("routes: {}, clients: {}{}{}", memo.policy.routes.size(),
                     memo.policy.clients.size(), patterns,
                     memo.shadow ? ", and of the shadow" : "");
}

}  // namespace classgate::gateway
