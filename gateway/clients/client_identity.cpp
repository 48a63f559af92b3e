#include "gateway/clients/client_identity.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>
#include <utility>

#include "conf/sha256.h"
#include "gateway/clients/credentials.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using conf::IdentitySource;
using Kind = IdentitySource::Kind;

// An id outlives the program: these are for good.
std::string_view domain_of(Kind kind) {
  switch (kind) {
    case Kind::header: return "header:";
    case Kind::bearer: return "bearer";
    case Kind::basic: return "basic";
    case Kind::cookie: return "cookie:";
    case Kind::query: return "query:";
    case Kind::jwt: return "jwt:";
    case Kind::tls: return "tls";
    case Kind::tls_san: return "tls:san";
    case Kind::address: return "address";
  }
  return {};
}

constexpr std::string_view domain_of_names = "name";  // of clients.clients_file

std::chrono::sys_seconds current_second() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

// Where what it goes by stands.
const IdentitySource& place_of(const IdentitySource& source, const conf::JwtSettings& jwt) {
  return source.kind == Kind::jwt ? jwt.from : source;
}

// Names of fields are the same in any case.
bool is_same_place(const IdentitySource& a, const IdentitySource& b) {
  if (a.kind != b.kind) return false;
  return a.kind == Kind::header ? proxy::wire::equal_names(a.name, b.name) : a.name == b.name;
}

// The sources never meet: an API key that reads like an address is not that address, nor what
// another field says. FNV-1a: only the operator names fields.
HashKey key_in(const HashKey& key, std::string_view word, std::string_view field) {
  std::uint64_t domain = 1469598103934665603;
  // Names of fields are the same in any case; those of claims, cookies and parameters are not.
  const bool folds = word == domain_of(Kind::header);
  const auto take = [&](std::string_view text) {
    for (const char c : text)
      domain = (domain ^ static_cast<unsigned char>(folds && c >= 'A' && c <= 'Z' ? c + 32 : c)) *
               1099511628211;
  };
  take(word);
  take(field);
  return {key[0], key[1] ^ domain};
}

// 0 is nobody's.
std::uint64_t hash_in(const HashKey& key, std::string_view name) {
  return std::max<std::uint64_t>(SipHash::of(key, name), 1);
}

}  // namespace

std::shared_ptr<const QuotaNames> quota_names_of(const conf::Settings& settings,
                                                 const HashKey& key) {
  auto names = std::make_shared<QuotaNames>();
  std::set<std::string_view> plans;  // with a quota
  const std::vector<IdentitySource> sources = conf::identity_sources(settings);
  for (const conf::PlanSettings& plan : settings.admission.fairness.plans) {
    if (!plan.quota.is_any()) continue;
    plans.insert(plan.name);
    for (const std::string& text : plan.clients) {
      const auto client = conf::read_plan_client(text, sources);
      if (!client || client->source.kind == Kind::address) continue;
      const HashKey under = key_in(key, domain_of(client->source.kind), client->source.name);
      if (conf::carries_key(client->source.kind))
        ++names->keys;
      else
        names->ids.push_back(hash_in(under, client->name));
    }
  }
  if (const auto& known = settings.clients.known) {
    const HashKey under = key_in(key, domain_of_names, {});
    for (const conf::KnownClient& client : known->clients)
      if (plans.contains(client.plan)) names->ids.push_back(hash_in(under, client.name));
  }
  std::ranges::sort(names->ids);
  const auto twice = std::ranges::unique(names->ids);
  names->ids.erase(twice.begin(), twice.end());
  return names;
}

ClientIdentities::ClientIdentities(const conf::Settings& settings, const admission::Ids& ids,
                                   const HashKey& key)
    : settings_(settings.admission.fairness),
      listeners_(settings.listeners),
      unknown_(settings.clients.unknown),
      known_(settings.clients.known),
      key_(key),
      address_key_(key_in(key, domain_of(Kind::address), {})),
      shared_id_(hash("unknown", {}, {})) {
  if (!settings_.is_on) return;
  for (const IdentitySource& source : conf::identity_sources(settings)) {
    wants_tls_subject_ = wants_tls_subject_ || source.kind == Kind::tls;
    wants_tls_san_ = wants_tls_san_ || source.kind == Kind::tls_san;
  }
  for (const conf::RouteSettings& route : settings.routes)
    if (route.identity)
      *route_sources_.find_or_add(ids.route(conf::name_of(route))) = *route.identity;
  jwt_ = settings.jwt;
  if (jwt_.keys)
    if (auto keys = JwtKeys::read(jwt_)) {  // else check_jwt() has told
      verifier_.emplace(jwt_, std::move(*keys));
      std::string terms = *jwt_.keys + '\n' + jwt_.iss + '\n';
      for (const auto* list : {&jwt_.algorithms, &jwt_.aud, &jwt_.claims})
        for (const std::string& text : *list) terms += std::to_string(text.size()) + ':' + text;
      terms += std::to_string(jwt_.leeway.count()) + ' ' + std::to_string(jwt_.tokens_max) + ' ' +
               std::to_string(jwt_.checks_max);
      token_terms_ = hash("terms", {}, terms);
      jwt_.keys = nullptr;
    }
  if (known_) add_known(*known_, ids);
  const Sources all = conf::identity_sources(settings);
  NumbersByKey numbers;
  for (conf::PlanSettings& plan : settings_.plans) {
    for (const std::string& text : plan.clients)
      if (const auto client = conf::read_plan_client(text, all))  // else the reader has refused it
        add_plan_client(*client, ids.plan(plan.name), numbers);
    plan.clients.clear();  // keys, which nobody needs any more
  }
  std::ranges::sort(blocks_, {}, &Block::first);
  ring_.emplace(std::exchange(keys_, {}), std::exchange(holders_, {}), make_hash_key());
}

void ClientIdentities::add_known(const conf::KnownClients& known, const admission::Ids& ids) {
  holders_.reserve(known.clients.size());
  for (const conf::KnownClient& client : known.clients) {
    const auto plan = client.plan.empty() ? admission::PlanId{} : ids.plan(client.plan);
    holders_.push_back({.id = id_of_name(client.name),
                        .number = static_cast<std::uint32_t>(holders_.size()),
                        .plan = slot_of(plan),
                        .is_always_valid = client.is_always_valid()});
    for (const std::string& claim : jwt_.claims)
      add_named({.kind = Kind::jwt, .name = claim}, client.name, holders_.back());
  }
  keys_ = known.keys;
}

std::uint16_t ClientIdentities::slot_of(admission::PlanId plan) {
  if (plan.slot >= plans_.size()) plans_.resize(plan.slot + std::size_t{1});
  plans_[plan.slot] = plan;
  return static_cast<std::uint16_t>(plan.slot);  // one conf has no more than a hundred
}

void ClientIdentities::add_plan_client(const conf::PlanClient& client, admission::PlanId plan,
                                       NumbersByKey& numbers) {
  if (client.source.kind == Kind::address) {
    blocks_.push_back({client.network.first(), client.network.last(), plan});
  } else if (client.source.kind == Kind::jwt) {
    add_named(client.source, client.name,
              {.id = hash(client.source, client.name),
               .number = KeyHolder::nobody,
               .plan = slot_of(plan),
               .is_of_plans = true});
  } else if (client.source.kind == Kind::tls || client.source.kind == Kind::tls_san) {
    certificates_[hash(client.source, client.name)] = plan;
  } else {
    const auto [known, is_new] =
        numbers.emplace(client.key, static_cast<std::uint32_t>(holders_.size()));
    if (is_new) {
      keys_.push_back({client.key, known->second});
      holders_.push_back(
          {.number = static_cast<std::uint32_t>(plan_places_.size()), .is_of_plans = true});
      plan_places_.emplace_back();
    }
    plan_places_[holders_[known->second].number].push_back({client.source, plan});
  }
}

// The first one stays: a file's client before a plan's.
void ClientIdentities::add_named(const IdentitySource& source, std::string_view name,
                                 const KeyHolder& holder) {
  named_.emplace(hash(source, name), holder);
}

struct ClientIdentities::Token {
  std::string_view text = {};
  bool is_looked_at = false;
  bool has_three_parts = false;
  TokenLook look = TokenLook::none;
  std::optional<TokenFault> fault = std::nullopt;
  TokenCache::Ids ids{};  // of its claims; 0: it has not that one
};

ClientIdentities::Identity ClientIdentities::of(const Facts& facts,
                                                admission::RouteId route) const {
  const Sources& sources = sources_of(route, facts.listener);
  if (sources.empty()) return {};
  Token token;
  Identity identity = told_by(sources, facts, token);
  identity.token_look = token.look;
  return identity;
}

ClientIdentities::Identity ClientIdentities::told_by(const Sources& sources, const Facts& facts,
                                                     Token& token) const {
  Credentials credentials(facts.head);
  for (const IdentitySource& source : sources)
    if (credentials.is_ambiguous(place_of(source, jwt_))) return {.is_ambiguous = true};
  for (const IdentitySource& source : sources) {
    if (source.kind == Kind::address) break;
    if (source.kind == Kind::tls || source.kind == Kind::tls_san) {
      const std::string_view name = source.kind == Kind::tls ? facts.tls_subject : facts.tls_san;
      if (!name.empty()) return by_certificate(source, name);
    } else if (source.kind == Kind::jwt) {
      if (!token.is_looked_at) {
        const std::string_view text = credentials.value(jwt_.from);
        if (!text.empty() && credentials.is_withheld(jwt_.from)) return {.is_ambiguous = true};
        look_at(token, text, facts);
      }
      if (const auto found = by_token(source, token, facts, sources)) return *found;
    } else if (const std::string_view key = credentials.value(source); !key.empty()) {
      if (credentials.is_withheld(source)) return {.is_ambiguous = true};
      return by_key(source, key, facts, sources);
    }
  }
  Identity identity = by_address(facts, sources);
  identity.token_fault = token.fault;
  return identity;
}

// What it says is kept as hashes: the same that a plan's or a file's clients have.
void ClientIdentities::look_at(Token& token, std::string_view text, const Facts& facts) const {
  token.is_looked_at = true;
  token.text = text;
  if (text.empty() || !verifier_) return;
  const std::int64_t now = current_second().time_since_epoch().count();
  SipHash::Wide key{};
  if (facts.tokens != nullptr && text.size() <= jwt_.token_bytes.count) {
    facts.tokens->serve(token_terms_, jwt_);
    key = facts.tokens->key_of(text);
    if (const TokenCache::Ids* const known = facts.tokens->find(key, now)) {
      token.ids = *known;
      token.look = TokenLook::remembered;
      return;
    }
  }
  const auto claims =
      verifier_->verify(text, now, facts.tokens, id_of(facts.address, IdentitySource()));
  if (!claims) {
    token.has_three_parts = JwtVerifier::has_three_parts(text);
    token.fault = claims.error();
    return;
  }
  token.look = TokenLook::verified;
  for (std::size_t i = 0; i < jwt_.claims.size() && i < token.ids.size(); ++i)
    if (!claims->values[i].empty())
      token.ids[i] = hash({.kind = Kind::jwt, .name = jwt_.claims[i]}, claims->values[i]);
  if (facts.tokens != nullptr) facts.tokens->put(key, claims->ends, now, token.ids);
}

// None: the next source tells. What does not even look like a token may be a key, and some keys
// have two dots.
std::optional<ClientIdentities::Identity> ClientIdentities::by_token(const IdentitySource& source,
                                                                     const Token& token,
                                                                     const Facts& facts,
                                                                     const Sources& sources) const {
  if (token.fault) {
    if (!token.has_three_parts || ring_->find(token.text) != nullptr) return std::nullopt;
    Identity unknown = by_address(facts, sources);
    unknown.token_fault = token.fault;
    return unknown;
  }
  const auto claim = std::ranges::find(jwt_.claims, source.name);
  const std::uint64_t id = token.ids[static_cast<std::size_t>(claim - jwt_.claims.begin())];
  if (id == 0) return std::nullopt;
  const auto found = named_.find(id);
  if (found == named_.end()) return Identity{.id = id, .source = &source, .is_known = true};
  const KeyHolder& holder = found->second;
  if (!holder.is_of_plans && !are_valid_now(holder)) {
    Identity unknown = by_address(facts, sources);
    unknown.not_valid = client_of(holder);
    return unknown;
  }
  return Identity{.id = holder.id,
                  .plan = plans_[holder.plan],
                  .source = &source,
                  .client = client_of(holder),
                  .is_known = true};
}

bool ClientIdentities::are_valid_now(const KeyHolder& holder) const {
  return holder.is_always_valid || known_->clients[holder.number].is_valid(current_second());
}

ClientIdentities::Identity ClientIdentities::by_key(const IdentitySource& source,
                                                    std::string_view key, const Facts& facts,
                                                    const Sources& sources) const {
  KeyLook look = KeyLook::unknown;
  const conf::KnownClient* not_valid = nullptr;
  if (const KeyHolder* const holder = ring_->find(key)) {
    if (holder->is_of_plans) {
      for (const PlanPlace& place : plan_places_[holder->number])
        if (is_same_place(place.source, source))
          return {.id = hash(source, key),
                  .plan = place.plan,
                  .source = &source,
                  .is_known = true,
                  .key_look = KeyLook::known};
    } else if (are_valid_now(*holder)) {
      return {.id = holder->id,
              .plan = plans_[holder->plan],
              .source = &source,
              .client = client_of(*holder),
              .is_known = true,
              .key_look = KeyLook::known};
    } else {
      look = KeyLook::not_valid;
      not_valid = client_of(*holder);
    }
  }
  // Whose network is a plan's is known by that, whatever else he says that nobody knows.
  Identity unknown = unknown_ == conf::UnknownClients::own && block_of(facts.address) == nullptr
                         ? Identity{.id = hash(source, key), .source = &source}
                         : by_address(facts, sources);
  unknown.key_look = look;
  unknown.not_valid = not_valid;
  return unknown;
}

ClientIdentities::Identity ClientIdentities::by_certificate(const IdentitySource& source,
                                                            std::string_view subject) const {
  const std::uint64_t id = source.kind == Kind::tls_san
                               ? hash(source, conf::plain_alternative_name(subject))
                               : hash(source, subject);
  const auto found = certificates_.find(id);
  const admission::PlanId plan = found == certificates_.end() ? admission::PlanId{} : found->second;
  return {.id = id, .plan = plan, .source = &source, .is_known = true};
}

ClientIdentities::Identity ClientIdentities::by_address(const Facts& facts,
                                                        const Sources& sources) const {
  if (const Block* const block = block_of(facts.address))
    return {.id = id_by_address(facts, sources),
            .plan = block->plan,
            .is_known = true,
            .is_of_network = true};
  switch (unknown_) {
    case conf::UnknownClients::refuse: return {.is_refused = true};
    case conf::UnknownClients::shared: return {.id = shared_id_, .is_of_all_unknown = true};
    case conf::UnknownClients::address:
    case conf::UnknownClients::own: break;
  }
  return {.id = id_by_address(facts, sources)};
}

std::uint64_t ClientIdentities::id_by_address(const Facts& facts, const Sources& sources) const {
  const IdentitySource& source = address_in(sources);
  const auto make = [&] { return id_of(facts.address, source); };
  if (facts.addresses == nullptr) return make();
  // Of one key, prefixes lie apart; keys are random.
  const int prefixes = source.v4_prefix * 256 + source.v6_prefix;
  return facts.addresses->find_or(facts.address,
                                  address_key_[0] + static_cast<std::uint64_t>(prefixes), make);
}

const ClientIdentities::Block* ClientIdentities::block_of(const conf::IpAddress& address) const {
  if (blocks_.empty()) return nullptr;
  const conf::IpAddress::Order order = address.order();
  const auto behind = std::ranges::upper_bound(blocks_, order, {}, &Block::first);
  if (behind == blocks_.begin()) return nullptr;
  const Block& block = *std::prev(behind);
  return order <= block.last ? &block : nullptr;
}

std::string_view ClientIdentities::name_of(std::uint64_t id) const {
  if (!known_) return {};
  std::call_once(names_are_made_, [this] {
    names_.reserve(known_->clients.size());
    for (const conf::KnownClient& client : known_->clients)
      names_.emplace_back(id_of_name(client.name), static_cast<std::uint32_t>(names_.size()));
    std::ranges::sort(names_);
  });
  const auto found =
      std::ranges::lower_bound(names_, id, {}, [](const auto& one) { return one.first; });
  return found != names_.end() && found->first == id ? known_->clients[found->second].name
                                                     : std::string_view();
}

// Where the sources of a route or listener have none it is everybody's.
const IdentitySource& ClientIdentities::address_in(const Sources& sources) const {
  static const IdentitySource usual;
  for (const Sources* const list : {&sources, &settings_.identity})
    if (const auto found = std::ranges::find(*list, Kind::address, &IdentitySource::kind);
        found != list->end())
      return *found;
  return usual;
}

std::uint64_t ClientIdentities::hash(std::string_view word, std::string_view field,
                                     std::string_view name) const {
  return hash_in(key_in(key_, word, field), name);
}

std::uint64_t ClientIdentities::hash(const IdentitySource& source, std::string_view name) const {
  return hash(domain_of(source.kind), source.name, name);
}

std::uint64_t ClientIdentities::id_of_name(std::string_view name) const {
  return hash(domain_of_names, {}, name);
}

std::uint64_t ClientIdentities::id_of(const conf::IpAddress& address,
                                      const IdentitySource& source) const {
  const conf::IpAddress known = address.as_client(
      address.is_v4() ? conf::v4_prefix_bits + source.v4_prefix : source.v6_prefix);
  return hash_in(address_key_,
                 {reinterpret_cast<const char*>(known.bytes.data()), known.bytes.size()});
}

}  // namespace classgate::gateway
