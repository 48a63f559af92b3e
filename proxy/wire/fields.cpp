#include "proxy/wire/fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <type_traits>

#include "conf/ascii.h"

namespace classgate::proxy::wire {
namespace {

using conf::lower_case;

// `known` is in lower case and as long as `name`.
FieldId match_slowly(std::string_view name, std::string_view known, FieldId id) {
  const auto is_one_of = [](char c) { return c == '_' || c == '-'; };
  bool is_misspelt = false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (lower_case(name[i]) == known[i]) continue;
    if (!is_one_of(name[i]) || !is_one_of(known[i])) return FieldId::other;
    is_misspelt = true;
  }
  return is_misspelt ? FieldId::misspelt : id;
}

// Whether two names of this size are the same but for bit 5, which is what tells the cases of a
// letter apart. (Other pairs that it tells apart have no member that may stand in a name and one
// that stands in a known one.) The last word may overlap the one before.
template <std::size_t size>
bool is_same_but_for_case(const char* name, const char* known) {
  using Word = std::conditional_t<(size >= 8), std::uint64_t,
                                  std::conditional_t<(size >= 4), std::uint32_t, std::uint16_t>>;
  constexpr Word case_bits = static_cast<Word>(0x2020202020202020);
  const auto differs = [&](std::size_t at) {
    Word one, two;
    std::memcpy(&one, name + at, sizeof one);
    std::memcpy(&two, known + at, sizeof two);
    return (one | case_bits) != (two | case_bits);
  };
  for (std::size_t at = 0; at + sizeof(Word) <= size; at += sizeof(Word))
    if (differs(at)) return false;
  return !differs(size - sizeof(Word));
}

// `known` is in lower case and as long as `name`. Most names differ in their first byte.
template <std::size_t size_with_nul>
FieldId match(std::string_view name, const char (&known)[size_with_nul], FieldId id) {
  if (name.size() != size_with_nul - 1) return FieldId::other;
  if ((name.front() | 0x20) != known[0]) return FieldId::other;
  if (is_same_but_for_case<size_with_nul - 1>(name.data(), known)) return id;
  return match_slowly(name, {known, size_with_nul - 1}, id);
}

}  // namespace

bool is_nominated(std::string_view name, const Head& head) {
  if (!head.nominates_fields) return false;
  bool nominated = false;
  for (const Field& field : head.fields)
    if (field.id == FieldId::connection)
      for_each_element(field.value, [&](std::string_view option) {
        nominated = nominated || equal_names(option, name);
      });
  return nominated;
}

bool equal_names(std::string_view a, std::string_view b) { return conf::equal_but_for_case(a, b); }

static FieldId common_field_id(std::string_view name) {
  switch (name.size()) {
    case 2: return match(name, "te", FieldId::te);
    case 3: return match(name, "via", FieldId::via);
    case 4:
      if (lower_case(name[0]) == 'd') return match(name, "date", FieldId::date);
      return match(name, "host", FieldId::host);
    case 6: return match(name, "expect", FieldId::expect);
    case 7: return match(name, "upgrade", FieldId::upgrade);
    case 9:
      if (lower_case(name[0]) == 'x') return match(name, "x-real-ip", FieldId::x_real_ip);
      return match(name, "forwarded", FieldId::forwarded);
    case 10:
      if (lower_case(name[0]) == 'k') return match(name, "keep-alive", FieldId::keep_alive);
      return match(name, "connection", FieldId::connection);
    case 12: return match(name, "x-request-id", FieldId::x_request_id);
    case 14: return match(name, "content-length", FieldId::content_length);
    case 15: return match(name, "x-forwarded-for", FieldId::x_forwarded_for);
    case 16:
      if (lower_case(name[0]) == 'p')
        return match(name, "proxy-connection", FieldId::proxy_connection);
      return match(name, "x-forwarded-host", FieldId::x_forwarded_host);
    case 17:
      if (lower_case(name[0]) == 't')
        return match(name, "transfer-encoding", FieldId::transfer_encoding);
      return match(name, "x-forwarded-proto", FieldId::x_forwarded_proto);
    case 21: return match(name, "x-client-cert-subject", FieldId::client_subject);
    default: return FieldId::other;
  }
}

namespace {

// What other proxies, CDNs and login gateways tell a service of the client, of who it is, and of
// the path that was really asked for. Whoever believes them believes anybody who says them: from a
// stranger they are dropped like X-Forwarded-*, which they are in all but name. (`Proxy` becomes
// HTTP_PROXY in a CGI program: CVE-2016-5385.) X-HTTP-Method-Override is none of them: it is the
// client's own request, and claims nothing of who it is.
constexpr std::array<std::string_view, 22> built_in_claims{"proxy",
                                                           "client-ip",
                                                           "remote-user",
                                                           "x-client-ip",
                                                           "x-remote-ip",
                                                           "x-remote-addr",
                                                           "x-remote-user",
                                                           "x-rewrite-url",
                                                           "x-original-url",
                                                           "true-client-ip",
                                                           "x-original-uri",
                                                           "x-original-host",
                                                           "cf-connecting-ip",
                                                           "fastly-client-ip",
                                                           "x-azure-clientip",
                                                           "x-azure-socketip",
                                                           "x-originating-ip",
                                                           "cf-connecting-ipv6",
                                                           "x-cluster-client-ip",
                                                           "x-authenticated-user",
                                                           "x-http-host-override",
                                                           "x-envoy-external-address"};
constexpr std::uint32_t claim_sizes = [] {
  std::uint32_t sizes = 0;
  for (const std::string_view claim : built_in_claims) sizes |= std::uint32_t{1} << claim.size();
  return sizes;
}();

FieldId claim_id(std::string_view name) {
  if (name.size() >= 32 || (claim_sizes >> name.size() & 1) == 0) return FieldId::other;
  for (const std::string_view claim : built_in_claims) {
    if (claim.size() != name.size() || (name.front() | 0x20) != claim.front()) continue;
    const FieldId id = match_slowly(name, claim, FieldId::x_forwarded_other);
    if (id != FieldId::other) return id;
  }
  return FieldId::other;
}

}  // namespace

FieldId field_id(std::string_view name) {
  FieldId id = common_field_id(name);
  if (id == FieldId::other) id = claim_id(name);
  constexpr std::size_t prefix_size = std::string_view("x-forwarded-").size();
  if (id != FieldId::other || name.size() <= prefix_size) return id;
  return match(name.substr(0, prefix_size), "x-forwarded-", FieldId::x_forwarded_other);
}

FieldNames::FieldNames(const std::vector<std::string>& names) : names_(names) {
  for (std::string& name : names_) std::ranges::transform(name, name.begin(), lower_case);
}

FieldId FieldNames::id_of(std::string_view name) const {
  for (const std::string& known : names_) {
    if (known.size() != name.size()) continue;
    const FieldId id = match_slowly(name, known, FieldId::x_forwarded_other);
    if (id != FieldId::other) return id;
  }
  return FieldId::other;
}

bool may_be_trailer(std::string_view name) {
  constexpr std::array never{"accept-ranges",
                             "age",
                             "amz-sdk-request",
                             "authorization",
                             "cache-control",
                             "content-encoding",
                             "content-range",
                             "content-type",
                             "cookie",
                             "expires",
                             "grpc-previous-rpc-attempts",
                             "grpc-timeout",
                             "idempotency-key",
                             "if-match",
                             "if-modified-since",
                             "if-none-match",
                             "if-range",
                             "if-unmodified-since",
                             "location",
                             "max-forwards",
                             "pragma",
                             "prefer",
                             "proxy-authenticate",
                             "proxy-authorization",
                             "range",
                             "retry-after",
                             "set-cookie",
                             "trailer",
                             "vary",
                             "www-authenticate",
                             "x-envoy-attempt-count",
                             "x-request-timeout",
                             "x-retry-count",
                             "x-stainless-read-timeout",
                             "x-stainless-retry-count",
                             "x-stainless-timeout"};
  return field_id(name) == FieldId::other &&
         std::ranges::none_of(never,
                              [&](std::string_view known) { return equal_names(name, known); });
}

bool names_websocket(const Head& head) {
  if (!head.has(set_of(FieldId::upgrade))) return false;
  bool says_upgrade = false;
  int protocols = 0;
  for (const Field& field : head.fields) {
    if (field.id == FieldId::connection)
      for_each_element(field.value, [&](std::string_view option) {
        says_upgrade = says_upgrade || equal_names(option, "upgrade");
      });
    // Several would leave the choice to the service.
    if (field.id == FieldId::upgrade) protocols += equal_names(field.value, "websocket") ? 1 : 2;
  }
  return says_upgrade && protocols == 1;
}

bool has_been_through(const Head& head, std::string_view name) {
  if (!head.has(set_of(FieldId::via))) return false;
  constexpr std::string_view blanks = " \t";
  bool is_named = false;
  for (const Field& field : head.fields) {
    if (field.id != FieldId::via) continue;
    for_each_element(field.value, [&](std::string_view hop) {  // protocol, received-by, comment
      hop.remove_prefix(std::min(hop.find_first_of(blanks), hop.size()));
      hop.remove_prefix(std::min(hop.find_first_not_of(blanks), hop.size()));
      is_named = is_named || equal_names(hop.substr(0, hop.find_first_of(blanks)), name);
    });
  }
  return is_named;
}

std::optional<std::uint32_t> max_forwards(const Head& head) {
  if (head.method != "TRACE" && head.method != "OPTIONS") return std::nullopt;
  for (const Field& field : head.fields) {
    if (!equal_names(field.name, "max-forwards")) continue;
    std::uint32_t number = 0;
    const char* const end = field.value.data() + field.value.size();
    const auto [rest, error] = std::from_chars(field.value.data(), end, number);
    if (error != std::errc{} || rest != end) return std::nullopt;
    return number;
  }
  return std::nullopt;
}

void set_max_forwards(Head& head, std::string_view number) {
  for (Field& field : head.fields) {
    if (!equal_names(field.name, "max-forwards")) continue;
    field.value = number;
    field.is_plain = false;
    return;
  }
}

bool is_hop_by_hop(const Field& field, const Head& head) {
  return (set_of(field.id) & hop_by_hop) != 0 ||
         (head.nominates_fields && is_nominated(field.name, head));
}

}  // namespace classgate::proxy::wire
