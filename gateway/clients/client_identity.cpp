#include "gateway/clients/client_identity.h"

#include <algorithm>
#include <charconv>
#include <random>

#include "conf/fairness.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using conf::IdentitySource;
using Kind = IdentitySource::Kind;

constexpr int v6_client_bytes = 8;  // a /64: what one household or host is given

std::string_view value_of(const proxy::wire::Head& head, std::string_view name) {
  for (const proxy::wire::Field& field : head.fields)
    if (proxy::wire::equal_names(field.name, name)) return field.value;
  return {};
}

// Some servers take '_' for '-' in a field's name (CGI has only '_').
bool is_nearly(std::string_view name, std::string_view wanted) {
  return std::ranges::equal(name, wanted, [](char a, char b) {
    const auto plain = [](char c) {
      return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    };
    return plain(a) == plain(b);
  });
}

// There twice, or so that we do not read it and the service may.
bool is_doubled(const proxy::wire::Head& head, std::string_view name) {
  int count = 0;
  for (const proxy::wire::Field& field : head.fields)
    if (field.name.size() == name.size() && is_nearly(field.name, name))
      count += proxy::wire::equal_names(field.name, name) ? 1 : 2;
  return count > 1;
}

// RFC 6750 section 2.1; the scheme in any case (RFC 9110 section 11.1).
std::string_view bearer_token(const proxy::wire::Head& head) {
  constexpr std::string_view scheme = "bearer ";
  std::string_view value = value_of(head, "authorization");
  if (value.size() <= scheme.size() ||
      !proxy::wire::equal_names(value.substr(0, scheme.size()), scheme))
    return {};
  value.remove_prefix(scheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return value;
}

// Digits only; a number that is too large to read is large.
bool counts_beyond(std::string_view text, std::uint64_t limit) {
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return false;
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc::result_out_of_range || number > limit;
}

// "attempt=2; max=3", as the AWS libraries write it.
std::string_view attempt_in(std::string_view parameters) {
  constexpr std::string_view start = "attempt=";
  const std::size_t at = parameters.find(start);
  if (at == std::string_view::npos || (at > 0 && parameters[at - 1] != ' ')) return {};
  parameters.remove_prefix(at + start.size());
  return parameters.substr(0, parameters.find(';'));
}

bool says_retry(const proxy::wire::Field& field) {
  using proxy::wire::equal_names;
  switch (field.name.size()) {
    case 13: return equal_names(field.name, "x-retry-count") && counts_beyond(field.value, 0);
    case 15:
      return equal_names(field.name, "amz-sdk-request") &&
             counts_beyond(attempt_in(field.value), 1);
    case 21:
      return equal_names(field.name, "x-envoy-attempt-count") && counts_beyond(field.value, 1);
    case 23:
      return equal_names(field.name, "x-stainless-retry-count") && counts_beyond(field.value, 0);
    case 26:
      return equal_names(field.name, "grpc-previous-rpc-attempts") && counts_beyond(field.value, 0);
    default: return false;
  }
}

std::string_view word_of(Kind kind) {
  switch (kind) {
    case Kind::header: return "header:";
    case Kind::bearer: return "bearer";
    case Kind::tls: return "tls";
    case Kind::address: return "address";
  }
  return {};
}

}  // namespace

HashKey make_hash_key() {
  std::random_device random;
  const auto word = [&] { return std::uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

ClientIdentities::ClientIdentities(const conf::Settings& settings, const admission::Ids& ids,
                                   const HashKey& key)
    : settings_(settings.admission.fairness), key_(key) {
  if (!settings_.is_on) return;
  const auto wants_tls = [](const Sources& sources) {
    return std::ranges::find(sources, Kind::tls, &IdentitySource::kind) != sources.end();
  };
  wants_tls_subject_ = wants_tls(settings_.identity);
  for (const conf::RouteSettings& route : settings.routes) {
    if (!route.identity) continue;
    wants_tls_subject_ = wants_tls_subject_ || wants_tls(*route.identity);
    *route_sources_.find_or_add(ids.route(conf::name_of(route))) = *route.identity;
  }
  for (const conf::PlanSettings& settings_of : settings_.plans)
    for (const std::string& client : settings_of.clients) {
      const admission::PlanId plan = ids.plan(settings_of.name);
      const auto named = conf::read_plan_client(client, conf::identity_sources(settings));
      if (!named) continue;  // the reader has refused it
      if (named->source.kind != Kind::address)
        plans_[hash(named->source, named->name)] = plan;
      else if (const auto address = conf::IpAddress::parse(named->name))
        plans_[id_of(*address)] = plan;
    }
}

ClientIdentities::Identity ClientIdentities::of(const Facts& facts,
                                                admission::RouteId route) const {
  const Sources& sources = sources_of(route);
  if (sources.empty()) return {};
  for (const IdentitySource& source : sources) {
    if (source.kind == Kind::header && is_doubled(facts.head, source.header))
      return {.is_ambiguous = true};
    if (source.kind == Kind::bearer && is_doubled(facts.head, "authorization"))
      return {.is_ambiguous = true};
  }
  for (const IdentitySource& source : sources) {
    std::string_view name;
    if (source.kind == Kind::address) break;
    if (source.kind == Kind::header) name = value_of(facts.head, source.header);
    if (source.kind == Kind::bearer) name = bearer_token(facts.head);
    if (source.kind == Kind::tls) name = facts.tls_subject;
    if (!name.empty()) return with_plan(hash(source, name), &source);
  }
  return with_plan(id_of(facts.address), nullptr);
}

ClientIdentities::Attempt ClientIdentities::attempt_of(const proxy::wire::Head& head,
                                                       std::uint64_t client,
                                                       std::string_view path) const {
  using proxy::wire::equal_names;
  Attempt attempt;
  std::string_view name;
  for (const proxy::wire::Field& field : head.fields) {
    attempt.is_retry = attempt.is_retry || says_retry(field);
    if (field.name.size() == 15 && equal_names(field.name, "idempotency-key")) name = field.value;
  }
  if (name.empty()) return attempt;
  const HashKey key{key_[0] ^ client, key_[1] ^ SipHash::of(key_, path)};
  attempt.key = std::max<std::uint64_t>(SipHash::of(key, name), 1);
  return attempt;
}

// The sources never meet: an API key that reads like an address is not that address, nor what
// another field says. 0 is nobody's. An id outlives the program: the words are for good.
std::uint64_t ClientIdentities::hash(const IdentitySource& source, std::string_view name) const {
  std::uint64_t domain = 1469598103934665603;  // FNV-1a; only the operator names fields
  const auto take = [&domain](std::string_view word) {
    for (const char c : word)
      domain =
          (domain ^ static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c + 32 : c)) * 1099511628211;
  };
  take(word_of(source.kind));
  take(source.header);
  return std::max<std::uint64_t>(SipHash::of({key_[0], key_[1] ^ domain}, name), 1);
}

std::uint64_t ClientIdentities::id_of(conf::IpAddress address) const {
  if (!address.is_v4())
    std::fill(address.bytes.begin() + v6_client_bytes, address.bytes.end(), std::uint8_t{0});
  return hash(IdentitySource{},
              {reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
}

ClientIdentities::Identity ClientIdentities::with_plan(std::uint64_t id,
                                                       const conf::IdentitySource* source) const {
  if (plans_.empty()) return {id, {}, source};
  const auto found = plans_.find(id);
  return {id, found == plans_.end() ? admission::PlanId{} : found->second, source};
}

}  // namespace classgate::gateway
