#include "gateway/client_identity.h"

#include <algorithm>
#include <charconv>
#include <random>

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

}  // namespace

HashKey make_hash_key() {
  std::random_device random;
  const auto word = [&] { return std::uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

ClientIdentities::ClientIdentities(const conf::Settings& settings, const HashKey& key)
    : settings_(settings.admission.fairness), key_(key) {
  if (!settings_.is_on) return;
  routes_ = settings.routes;
  const auto wants_tls = [](const Sources& sources) {
    return std::ranges::find(sources, Kind::tls, &IdentitySource::kind) != sources.end();
  };
  wants_tls_subject_ = wants_tls(settings_.identity);
  for (const conf::RouteSettings& route : routes_)
    wants_tls_subject_ = wants_tls_subject_ || (route.identity && wants_tls(*route.identity));
  for (std::size_t i = 0; i < settings_.plans.size(); ++i)
    for (const std::string& client : settings_.plans[i].clients) {
      const auto plan = static_cast<std::uint8_t>(i + 1);
      for (const Kind kind : {Kind::header, Kind::bearer, Kind::tls})
        plans_[hash(kind, client)] = plan;
      if (const auto address = conf::IpAddress::parse(client)) plans_[id_of(*address)] = plan;
    }
}

ClientIdentities::Identity ClientIdentities::of(const Facts& facts, std::size_t route) const {
  const Sources& sources = sources_of(route);
  if (sources.empty()) return {};
  for (const IdentitySource& source : sources) {
    std::string_view name;
    if (source.kind == Kind::address) break;
    if (source.kind == Kind::header) name = value_of(facts.head, source.header);
    if (source.kind == Kind::bearer) name = bearer_token(facts.head);
    if (source.kind == Kind::tls) name = facts.tls_subject;
    if (!name.empty()) return with_plan(hash(source.kind, name), &source);
  }
  return with_plan(id_of(facts.address), nullptr);
}

ClientIdentities::Attempt ClientIdentities::attempt_of(const proxy::wire::Head& head,
                                                       std::uint64_t client,
                                                       std::string_view path) const {
  Attempt attempt;
  std::string_view name;
  for (const proxy::wire::Field& field : head.fields) {
    using proxy::wire::equal_names;
    switch (field.name.size()) {
      case 12:  // the least telling
        if (name.empty() && equal_names(field.name, "x-request-id")) name = field.value;
        break;
      case 13:
        if (equal_names(field.name, "x-retry-count") && counts_beyond(field.value, 0))
          attempt.is_retry = true;
        break;
      case 15:
        if (equal_names(field.name, "idempotency-key")) name = field.value;
        break;
      case 21:
        if (equal_names(field.name, "x-envoy-attempt-count") && counts_beyond(field.value, 1))
          attempt.is_retry = true;
        break;
      default: break;
    }
  }
  if (name.empty()) return attempt;
  const HashKey key{key_[0] ^ client, key_[1] ^ SipHash::of(key_, path)};
  attempt.key = std::max<std::uint64_t>(SipHash::of(key, name), 1);
  return attempt;
}

// The kinds never meet: an API key that reads like an address is not that address. 0 is nobody's.
std::uint64_t ClientIdentities::hash(Kind kind, std::string_view name) const {
  const HashKey key{key_[0] + static_cast<std::uint64_t>(kind), key_[1]};
  return std::max<std::uint64_t>(SipHash::of(key, name), 1);
}

std::uint64_t ClientIdentities::id_of(conf::IpAddress address) const {
  if (!address.is_v4())
    std::fill(address.bytes.begin() + v6_client_bytes, address.bytes.end(), std::uint8_t{0});
  return hash(Kind::address,
              {reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
}

ClientIdentities::Identity ClientIdentities::with_plan(std::uint64_t id,
                                                       const conf::IdentitySource* source) const {
  if (plans_.empty()) return {id, 0, source};
  const auto found = plans_.find(id);
  return {id, found == plans_.end() ? std::uint8_t{0} : found->second, source};
}

}  // namespace classgate::gateway
