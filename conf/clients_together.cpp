#include "conf/clients_together.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_set>

#include "conf/format.h"
#include "conf/identity.h"
#include "conf/keys.h"
#include "conf/known_clients.h"
#include "conf/nearest.h"
#include "conf/printable.h"
#include "conf/secret_fields.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

// What tells clients apart, wherever it stands: for mistakes that hang on it.
constexpr auto identities = {"fairness.identity", "listener", "route"};

class ClientsTogether {
 public:
  explicit ClientsTogether(Reading& reading)
      : reading_(reading), settings_(reading.loaded.settings) {}

  // What admission must know of the routes, and the plans on everybody's terms.
  void put_all() {
    AdmissionSettings& admission = settings_.admission;
    FairnessSettings& fairness = admission.fairness;
    bool has_rates = false;
    std::vector<IdentitySource> sources = fairness.identity;
    fairness.is_on = !fairness.identity.empty();
    reading_.routes.inherit_prefix(fairness.identity);
    for (ListenerSettings& listener : settings_.listeners) {
      if (!listener.identity) continue;
      inherit_prefix(*listener.identity, fairness.identity);
      fairness.is_on = fairness.is_on || !listener.identity->empty();
      add_sources(sources, *listener.identity);
    }
    for (const auto& [route, origin] : reading_.routes.all()) {
      fairness.is_on = fairness.is_on || (route.identity && !route.identity->empty());
      if (route.identity) add_sources(sources, *route.identity);
      has_rates = has_rates || route.rate > 0;
      admission.route_rates.push_back({name_of(route), route.rate, route.burst});
    }
    if (!has_rates) admission.route_rates.clear();
    check_pattern(fairness);
    ClientsSettings& clients = settings_.clients;
    put_tokens_together(sources);
    read_clients(clients, !settings_.jwt.claims.empty() || !reading_.are_known(identities));
    std::vector<KnownClients::Key> keys;
    if (clients.known && !reading_.plans.names().empty()) keys = clients.known->keys;
    std::ranges::sort(keys, {}, &KnownClients::Key::hash);
    std::unordered_set<std::string_view> names;  // made when a plan has one
    const std::string no_certificate = why_no_certificate();
    const auto wrong_with = [&](const PlanClient& client) -> std::string {
      using enum IdentitySource::Kind;
      if (client.source.kind == tls || client.source.kind == tls_san) return no_certificate;
      if (!clients.known) return {};
      if (client.source.kind == jwt) {
        if (names.empty())
          for (const KnownClient& known : clients.known->clients) names.insert(known.name);
        if (names.contains(client.name))
          return fmt::format("has a name that stands already at {}", clients.clients_file);
      } else if (carries_key(client.source.kind)) {
        const auto found = std::ranges::lower_bound(keys, client.key, {}, &KnownClients::Key::hash);
        if (found != keys.end() && found->hash == client.key)
          return fmt::format("has a key that stands already at {}:{}", clients.clients_file,
                             found->line);
      }
      return {};
    };
    for (auto& [place, text] : reading_.plans.finish(fairness, sources, wrong_with))
      if (reading_.are_known(identities)) reading_.mistake(place, std::move(text));
    put_known_together(sources);
    check_unknown(sources);
    check_quotas();
    check_logged_fields(sources);
    warn_of_plans();
    warn_of_cors(sources);
    if (fairness.is_on) return;
    for (const char* key : {"fairness.rate", "fairness.workers", "fairness.queue_size"})
      if (const auto given = reading_.origins.find(key); given != reading_.origins.end())
        if (find_key(key)->print(settings_) != "0")
          reading_.blame(key, "needs fairness.identity, to tell clients", identities);
  }

 private:
  void check_pattern(FairnessSettings& fairness) {
    const PatternSettings& pattern = fairness.pattern;
    if (pattern.is_on) fairness.everybody.rate = 0;  // nor has a plan one that names none
    for (const auto& [key, value] : {std::pair("fairness.pattern_floor", pattern.floor),
                                     std::pair("fairness.pattern_newcomer", pattern.newcomer)})
      if (value > pattern.ceiling)
        reading_.blame(key, "is more than fairness.pattern_ceiling", {"fairness.pattern_ceiling"});
  }

  // Why no client has a certificate that was verified; empty: one may, or nobody knows.
  std::string why_no_certificate() const {
    if (!reading_.are_known({"tls.client_certificate", "listen"})) return {};
    if (settings_.tls.client_certificate == ClientCertificate::off)
      return "can never be there: nobody is asked for a certificate: tls.client_certificate is "
             "\"off\", and may be \"optional\" or \"required\"";
    if (std::ranges::none_of(settings_.listen, &Address::is_tls))
      return "can never be there: no address of listen has TLS (\"https://...\"), so nobody is "
             "asked for a certificate";
    return {};
  }

  // Where an identity wants a claim, the first that does.
  std::string origin_of_claim() const {
    const auto claim_in = [](const std::vector<IdentitySource>& sources) {
      return static_cast<std::size_t>(
          std::ranges::find(sources, IdentitySource::Kind::jwt, &IdentitySource::kind) -
          sources.begin());
    };
    const std::vector<IdentitySource>& all = settings_.admission.fairness.identity;
    if (const std::size_t i = claim_in(all); i < all.size())
      return reading_.origin_of_entry("fairness.identity", i);
    for (const ListenerSettings& listener : settings_.listeners)
      if (listener.identity && claim_in(*listener.identity) < listener.identity->size())
        return listener.origin;
    for (const auto& [route, origin] : reading_.routes.all())
      if (route.identity && claim_in(*route.identity) < route.identity->size()) return origin;
    return reading_.origin_of("fairness.identity");
  }

  // Of a key; where nobody has set it, of what asks for it.
  std::string place_of(const char* key, const std::string& asked_at) const {
    return reading_.origins.contains(key) ? reading_.origin_of(key) : asked_at;
  }

  // What [jwt] must have, where an identity wants a claim.
  void put_tokens_together(const std::vector<IdentitySource>& sources) {
    JwtSettings& jwt = settings_.jwt;
    for (const IdentitySource& source : sources)
      if (source.kind == IdentitySource::Kind::jwt) jwt.claims.push_back(source.name);
    if (jwt.claims.empty()) {
      if (!jwt.keys_file.empty())
        reading_.blame(
            "jwt.keys_file",
            "nothing in fairness.identity, nor in a listener's or route's, wants a claim: add "
            "\"jwt:sub\" to it",
            identities);
      return;
    }
    const std::string asked_at = origin_of_claim();
    if (jwt.claims.size() > jwt_claims_max)
      reading_.blame_at(
          asked_at, "fairness.identity",
          fmt::format("with those of listeners and routes it has {} claims; there may be {}",
                      jwt.claims.size(), jwt_claims_max));
    if (jwt.algorithms.empty())
      reading_.blame_at(
          place_of("jwt.algorithms", asked_at), "jwt.algorithms",
          "identity has \"jwt:CLAIM\": name what tokens are signed with, such as [\"RS256\"]",
          identities);
    if (jwt.keys_file.empty())
      return reading_.blame_at(place_of("jwt.keys_file", asked_at), "jwt.keys_file",
                               "identity has \"jwt:CLAIM\": name the file of the keys, PEM or JWKS",
                               identities);
    auto text = reading_.text_of(jwt.keys_file, {});
    if (!text)
      return reading_.blame("jwt.keys_file", fmt::format("{} {}", jwt.keys_file, text.error()));
    jwt.keys = std::make_shared<const std::string>(*text);
    reading_.texts.emplace_back(jwt.keys_file, std::move(*text));
  }

  // Those of clients.clients_file; where it is bad, none.
  void read_clients(ClientsSettings& clients, bool by_name) {
    const std::string& path = clients.clients_file;
    if (path.empty()) return;
    auto text = reading_.text_of(path, {}, clients_bytes_max);
    if (!text)
      return reading_.blame("clients.clients_file", fmt::format("{} {}", path, text.error()));
    reading_.texts.emplace_back(path, std::move(*text));
    auto known = read_known_clients(reading_.texts.back().second, by_name);
    if (!known) {
      for (DocumentMistake& wrong : known.error())
        reading_.mistake(fmt::format("{}:{}:{}", path, wrong.place.line, wrong.place.column),
                         std::move(wrong.text));
      return;
    }
    constexpr std::size_t told_max = 100;  // as of the other mistakes of the file
    std::size_t without_plan = 0;
    for (const KnownClient& client : known->clients) {
      if (client.plan.empty() || reading_.plans.has(client.plan) || !reading_.are_known({"plan"}))
        continue;
      if (++without_plan > told_max) continue;
      const std::string meant = nearest(client.plan, reading_.plans.names());
      reading_.mistake(
          fmt::format("{}:{}:{}", path, client.plan_place.line, client.plan_place.column),
          fmt::format("there is no [[plan]] {}{}", quote(client.plan),
                      meant.empty() ? "" : fmt::format("; did you mean {}?", quote(meant))));
    }
    if (without_plan > told_max)
      reading_.mistake(path, fmt::format("{} more clients of plans that are not there",
                                         without_plan - told_max));
    clients.known = std::make_shared<const KnownClients>(std::move(*known));
  }

  // Who is not known is somebody else where anybody is.
  void put_known_together(const std::vector<IdentitySource>& sources) {
    ClientsSettings& clients = settings_.clients;
    FairnessSettings& fairness = settings_.admission.fairness;
    const bool can_carry = std::ranges::any_of(sources, [](const IdentitySource& source) {
      return carries_key(source.kind) || source.kind == IdentitySource::Kind::jwt;
    });
    if (!clients.clients_file.empty() && !can_carry)
      reading_.blame(
          "clients.clients_file",
          "nothing in fairness.identity, nor in a route's, carries a key or a token: add "
          "\"bearer\" or "
          "\"header:X-Api-Key\" to it",
          identities);
    if (clients.known && clients.known->clients.size() > fairness.clients_max)
      reading_.blame("fairness.clients_max",
                     fmt::format("{} are fewer than clients.clients_file has, {}",
                                 fairness.clients_max, clients.known->clients.size()),
                     {"clients.clients_file"});
    using enum IdentitySource::Kind;
    const auto is_in_a_plan = [&](auto wanted) {
      return std::ranges::any_of(fairness.plans, [&](const PlanSettings& plan) {
        return count_of(plan, sources, wanted) > 0;
      });
    };
    const bool knows_any = !clients.clients_file.empty() || !settings_.jwt.claims.empty() ||
                           is_in_a_plan([](auto kind) { return carries_key(kind); });
    if (knows_any && !reading_.origins.contains("clients.unknown"))
      clients.unknown = UnknownClients::address;
    const bool names_certificates =
        is_in_a_plan([](auto kind) { return kind == tls || kind == tls_san; });
    fairness.unknown_max =
        knows_any || names_certificates || clients.unknown == UnknownClients::refuse
            ? clients.unknown_max
            : 0;
    fairness.network_max =
        is_in_a_plan([](auto kind) { return kind == address; }) ? fairness.clients_max : 0;
    check_places_of_quotas(sources);
  }

  // "refuse" is meant for strangers: not for everybody, nor for nobody.
  void check_unknown(const std::vector<IdentitySource>& sources) {
    if (settings_.clients.unknown != UnknownClients::refuse) return;
    if (!settings_.admission.fairness.is_on)
      return reading_.blame("clients.unknown",
                            "\"refuse\" needs fairness.identity, to tell who is known: without it "
                            "everybody is let in",
                            identities);
    const bool reads_certificates = settings_.tls.client_certificate != ClientCertificate::off &&
                                    std::ranges::any_of(sources, [](const IdentitySource& source) {
                                      return source.kind == IdentitySource::Kind::tls ||
                                             source.kind == IdentitySource::Kind::tls_san;
                                    });
    const bool may_know_any =
        !settings_.clients.clients_file.empty() || !settings_.jwt.claims.empty() ||
        reads_certificates ||
        std::ranges::any_of(settings_.admission.fairness.plans,
                            [](const PlanSettings& plan) { return !plan.clients.empty(); });
    if (!may_know_any)
      reading_.blame("clients.unknown",
                     "\"refuse\" lets nobody in: nothing says who is known; name "
                     "clients.clients_file, or a [[plan]]'s clients, or let identity have "
                     "\"jwt:CLAIM\", or \"tls\" with tls.client_certificate",
                     {"fairness.identity", "listener", "route", "plan", "clients.clients_file",
                      "tls.client_certificate"});
  }

  // Clients that the plan names by what is `wanted`.
  static std::size_t count_of(const PlanSettings& plan, const std::vector<IdentitySource>& sources,
                              auto wanted) {
    return static_cast<std::size_t>(
        std::ranges::count_if(plan.clients, [&](const std::string& text) {
          const auto client = read_plan_client(text, sources);
          return client && wanted(client->source.kind);
        }));
  }

  // Whoever is named has a quota of his own.
  void check_places_of_quotas(const std::vector<IdentitySource>& sources) {
    const ClientsSettings& clients = settings_.clients;
    std::set<std::string_view> plans;  // with a quota
    std::size_t named = 0;
    for (const PlanSettings& plan : settings_.admission.fairness.plans) {
      if (!plan.quota.is_any()) continue;
      plans.insert(plan.name);
      named +=
          count_of(plan, sources, [](auto kind) { return kind != IdentitySource::Kind::address; });
    }
    if (clients.known)
      named += static_cast<std::size_t>(std::ranges::count_if(
          clients.known->clients,
          [&](const KnownClient& client) { return plans.contains(client.plan); }));
    if (named <= clients.quota_clients_max) return;
    reading_.blame(
        "clients.quota_clients_max",
        fmt::format("{} are fewer than the clients that a plan, or clients.clients_file, gives a "
                    "quota, {}: each has one of its own",
                    clients.quota_clients_max, named),
        {"clients.clients_file"});
  }

  // What is counted by ids that change with each start is no quota.
  void check_quotas() {
    const Settings& all = settings_;
    const auto plan = std::ranges::find_if(all.admission.fairness.plans,
                                           [](const auto& each) { return each.quota.is_any(); });
    if (plan == all.admission.fairness.plans.end() || all.clients.secret != "off") return;
    reading_.blame("clients.secret",
                   fmt::format("\"off\" gives clients other ids with each start, and plan "
                               "{} has a quota, which is kept by ids: name a file",
                               quote(plan->name)));
  }

  // What is good, and cannot be meant so.
  void warn_of_plans() {
    const FairnessSettings& fairness = settings_.admission.fairness;
    for (std::size_t i = 0; i < fairness.plans.size(); ++i) {
      const PlanSettings& plan = fairness.plans[i];
      for (const std::string& text : in_vain(plan, {.is_plan = true}))
        warn(reading_.plans.origin_of(i), fmt::format("plan {}: {}", quote(plan.name), text));
    }
    for (const char* key : {"workers", "queue_size"})
      for (const std::string& text : in_vain(fairness.everybody, {.only = key}))
        warn(reading_.origin_of(fmt::format("fairness.{}", key)), "fairness." + text);
  }

  // A browser asks first, and sends no field that cors.headers does not name; of "*" it takes all
  // but Authorization (Fetch standard, section 4.9).
  void warn_of_cors(const std::vector<IdentitySource>& sources) {
    const CorsSettings& cors = settings_.cors;
    if (cors.origins.empty()) return;
    const auto lower = [](std::string text) {
      for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      return text;
    };
    const auto may_be_sent = [&](const std::string& field) {
      return std::ranges::any_of(cors.headers, [&](const std::string& allowed) {
        return lower(allowed) == field || (allowed == "*" && field != "authorization");
      });
    };
    std::set<std::string> told;
    for (const IdentitySource& source : sources) {
      using enum IdentitySource::Kind;
      const std::string field = source.kind == header                           ? lower(source.name)
                                : source.kind == bearer || source.kind == basic ? "authorization"
                                                                                : "";
      if (field.empty() || may_be_sent(field) || !told.insert(field).second) continue;
      warn(reading_.origin_of("cors.headers"),
           fmt::format("cors.headers: {} is none of them, and an identity looks there: no page of "
                       "cors.origins may send it",
                       field));
    }
  }

  struct Which {
    bool is_plan = false;
    std::string_view only = {};  // of the keys
  };
  // Everybody's terms, which a plan has where it says nothing, are told once.
  std::vector<std::string> in_vain(const PlanSettings& plan, const Which& which) const {
    const AdmissionSettings& admission = settings_.admission;
    const PlanSettings& everybody = admission.fairness.everybody;
    std::vector<std::string> texts;
    const auto check_share = [&](std::string_view key, std::uint32_t share, std::uint32_t usual,
                                 std::uint32_t whole, std::string_view whole_key) {
      if ((which.is_plan && share == usual) || (!which.is_plan && key != which.only)) return;
      if (share > whole)
        texts.push_back(fmt::format("{}: {} are more than {}, {}: it limits nobody", key, share,
                                    whole_key, whole));
    };
    check_share("workers", plan.workers, everybody.workers, admission.workers,
                admission.workers_are_auto ? "auto.workers_max" : "admission.workers");
    check_share("queue_size", plan.queue_size, everybody.queue_size, admission.queue_size,
                "admission.queue_size");
    if (which.is_plan) check_quota(plan.quota, texts);
    return texts;
  }

  void check_quota(const QuotaSettings& quota, std::vector<std::string>& texts) const {
    if (quota.month > 0 && quota.day > quota.month)
      texts.push_back(fmt::format(
          "quota_day: {} is more than quota_month, {}, which ends first: no day has so much",
          quota.day, quota.month));
    else if (quota.month > 0 && quota.day_soft > quota.month)
      texts.push_back(
          fmt::format("quota_day_soft: {} is more than quota_month, {}: nobody would "
                      "be warned",
                      quota.day_soft, quota.month));
    if (quota.unit != QuotaUnit::cost) return;
    const std::int64_t least = std::min(quota.day > 0 ? quota.day : quota_limit,
                                        quota.month > 0 ? quota.month : quota_limit);
    const char* const key = least == quota.day ? "quota_day" : "quota_month";
    std::vector<std::string> routes;
    for (const auto& [route, origin] : reading_.routes.all())
      if (route.rate_limited && route.cost.kind == CostSettings::Kind::fixed &&
          route.cost.fixed > least)
        routes.push_back(
            fmt::format("{} ({}, at {})", quote(name_of(route)), route.cost.fixed, origin));
    if (routes.empty()) return;
    texts.push_back(
        fmt::format("{}: {} is less than a request costs of the route {}{}: it is never served",
                    key, least, routes.front(),
                    routes.size() == 1 ? "" : fmt::format(", and of {} more", routes.size() - 1)));
  }

  void warn(const std::string& place, const std::string& text) {
    reading_.loaded.warnings.push_back({printable(place), printable(text)});
  }

  // Where it stands; empty: in none.
  static std::string_view field_of(const IdentitySource& source) {
    if (source.kind == IdentitySource::Kind::header) return source.name;
    return source.kind == IdentitySource::Kind::cookie ? "cookie" : "";
  }

  // What clients name themselves by may be a key of theirs.
  void check_logged_fields(std::vector<IdentitySource> sources) {
    if (!settings_.jwt.keys_file.empty()) sources.push_back(settings_.jwt.from);
    const std::vector<std::string>& fields = settings_.log.headers;
    for (std::size_t i = 0; i < fields.size(); ++i)
      if (std::ranges::any_of(sources, [&](const IdentitySource& source) {
            return plain_field_name(field_of(source)) == plain_field_name(fields[i]);
          }))
        reading_.blame_at(reading_.origin_of_entry("log.headers", i), "log.headers",
                          fmt::format("\"{}\" tells clients apart (identity): a log never "
                                      "holds what may be a key",
                                      fields[i]));
  }

  Reading& reading_;
  Settings& settings_;  // of it
};

}  // namespace

void put_clients_together(Reading& reading) { ClientsTogether(reading).put_all(); }

}  // namespace classgate::conf
