#include "conf/identity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/known_clients.h"
#include "conf/nearest.h"
#include "conf/network.h"
#include "conf/secret_fields.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

using SourceKind = IdentitySource::Kind;

// The words of identity; those that end in ':' have a name behind it.
struct SourceWord {
  std::string_view text;
  SourceKind kind;
  bool has_name() const { return text.ends_with(':'); }
};
constexpr auto source_words = std::to_array<SourceWord>({{"header:", SourceKind::header},
                                                         {"bearer", SourceKind::bearer},
                                                         {"basic", SourceKind::basic},
                                                         {"cookie:", SourceKind::cookie},
                                                         {"query:", SourceKind::query},
                                                         {"jwt:", SourceKind::jwt},
                                                         {"tls:san", SourceKind::tls_san},
                                                         {"tls", SourceKind::tls},
                                                         {"address", SourceKind::address}});

std::string all_source_words() {
  std::string all;
  for (const SourceWord& word : source_words)
    all += fmt::format("{}\"{}{}\"", all.empty() ? "" : ", ", word.text,
                       !word.has_name()               ? ""
                       : word.kind == SourceKind::jwt ? "CLAIM"
                                                      : "NAME");
  return all;
}

// Some are URLs (RFC 7519 section 4.2).
bool is_claim_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::ranges::all_of(name, [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
  });
}

// "/24/56" behind "address"; one alone is that of IPv4.
bool read_prefixes(std::string_view text, IdentitySource& source) {
  int* into = &source.v4_prefix;
  int most = 32;
  for (int i = 0; i < 2 && !text.empty(); ++i) {
    if (!text.starts_with('/')) return false;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), *into);
    if (error != std::errc{} || *into < 1 || *into > most) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    into = &source.v6_prefix;
    most = 128;
  }
  return text.empty();
}

// Short words are near less.
bool is_nearly(std::string_view written, std::string_view word) {
  std::string low(written);
  for (char& c : low) c = lower_case(c);
  return edit_distance(low, word) <= (word.size() < 5 ? 1U : 2U) ||
         std::ranges::is_permutation(low, word);
}

// The source that its beginning is, or is nearly, up to a colon; empty: none.
std::string_view nearly_source_of(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {};
  const std::string_view written = text.substr(0, colon);
  std::string_view nearly;
  for (const SourceWord& word : source_words) {
    const std::string_view plain = word.text.substr(0, word.text.find(':'));
    if (written == plain) return plain;  // "bearer" is nearly "header", too
    if (nearly.empty() && is_nearly(written, plain)) nearly = plain;
  }
  return nearly;
}

// A word of letters, as "adress" or "adress/24".
bool is_like_source(std::string_view word) {
  constexpr std::size_t longest = 16;
  const std::size_t slash = std::min(word.find('/'), word.size());
  const auto is_letter = [](char c) { return lower_case(c) >= 'a' && lower_case(c) <= 'z'; };
  return word.size() <= longest && std::ranges::all_of(word.substr(0, slash), is_letter) &&
         word.substr(slash).find_first_not_of("/0123456789") == std::string_view::npos;
}

// As a message may show it: what follows a source, or its name, may be the key of a client, and so
// may what is like no source.
std::string shown_source(std::string_view word) {
  if (is_like_source(word)) return std::string(word);
  const std::string_view plain = nearly_source_of(word);
  if (plain.empty()) return "***";
  const auto known = std::ranges::find_if(source_words, [&](const SourceWord& one) {
    return one.text.substr(0, one.text.find(':')) == plain;
  });
  if (known->kind == SourceKind::jwt) return std::string(word);
  std::size_t colon = word.find(':');
  if (known->has_name()) colon = word.find(':', colon + 1);
  if (colon >= word.size() - 1) return std::string(word);
  return std::string(word.substr(0, colon + 1)) + "***";
}

std::expected<IdentitySource, std::string> parse_source(std::string_view word) {
  for (const SourceWord& known : source_words) {
    if (!word.starts_with(known.text)) continue;
    IdentitySource source{.kind = known.kind};
    const std::string_view rest = word.substr(known.text.size());
    if (known.has_name()) {
      if (known.kind == SourceKind::jwt ? !is_claim_name(rest) : !is_field_name(rest)) break;
      source.name = rest;
    } else if (known.kind == SourceKind::address && rest.starts_with('/')) {
      source.says_prefix = true;
      if (read_prefixes(rest, source)) return source;
      return std::unexpected(
          fmt::format("\"{}\": expected prefix lengths, of IPv4 from 1 to 32 and of IPv6 from 1 to "
                      "128, such as "
                      "\"address/24/56\"",
                      word));
    } else if (!rest.empty()) {
      continue;
    }
    return source;
  }
  return std::unexpected(
      fmt::format("\"{}\" is none of {}", shown_source(word), all_source_words()));
}

}  // namespace

std::expected<std::vector<IdentitySource>, std::string> parse_identity(
    const std::vector<std::string>& words) {
  std::vector<IdentitySource> identity;
  if (words.size() > 8) return std::unexpected(std::string("expected 8 sources at most"));
  for (const std::string& word : words) {
    auto source = parse_source(word);
    if (!source) return std::unexpected(std::move(source.error()));
    const bool stands_twice = std::ranges::any_of(identity, [&](const IdentitySource& known) {
      return known == *source ||
             (known.kind == SourceKind::address && source->kind == SourceKind::address);
    });
    if (stands_twice) return std::unexpected(fmt::format("\"{}\" stands here twice", word));
    // Every request has an address.
    if (!identity.empty() && identity.back().kind == SourceKind::address)
      return std::unexpected(
          fmt::format("\"{}\" would never be asked for behind \"address\": write that last", word));
    identity.push_back(std::move(*source));
  }
  return identity;
}

std::expected<std::vector<IdentitySource>, std::string> parse_identity_list(const RawValue& raw) {
  const auto* words = std::get_if<std::vector<std::string>>(&raw.value);
  if (words != nullptr) return parse_identity(*words);
  return std::unexpected(std::string("expected a list, such as [\"bearer\"]"));
}

std::expected<IdentitySource, std::string> parse_token_place(const std::string& word) {
  const auto source = parse_source(word);
  const bool is_place =
      source && (source->kind == SourceKind::bearer || source->kind == SourceKind::header ||
                 source->kind == SourceKind::cookie);
  if (!is_place)
    return std::unexpected(
        fmt::format("\"{}\" is none of \"bearer\", \"header:NAME\", \"cookie:NAME\"", word));
  if (source->kind == SourceKind::header && plain_field_name(source->name) == "authorization")
    return std::unexpected(std::string("for Authorization write \"bearer\""));
  return *source;
}

void add_sources(std::vector<IdentitySource>& to, const std::vector<IdentitySource>& more) {
  for (const IdentitySource& source : more)
    if (std::ranges::find(to, source) == to.end()) to.push_back(source);
}

void inherit_prefix(std::vector<IdentitySource>& identity,
                    const std::vector<IdentitySource>& from) {
  const auto general = std::ranges::find(from, SourceKind::address, &IdentitySource::kind);
  if (general == from.end()) return;
  for (IdentitySource& source : identity)
    if (source.kind == SourceKind::address && !source.says_prefix) {
      source.v4_prefix = general->v4_prefix;
      source.v6_prefix = general->v6_prefix;
    }
}

std::vector<IdentitySource> identity_sources(const Settings& settings) {
  std::vector<IdentitySource> sources = settings.admission.fairness.identity;
  for (const ListenerSettings& listener : settings.listeners)
    if (listener.identity) add_sources(sources, *listener.identity);
  for (const RouteSettings& route : settings.routes)
    if (route.identity) add_sources(sources, *route.identity);
  return sources;
}

namespace {

// Names of fields and of sources are the same in any case; those of claims, cookies and parameters
// are not.
bool begins_alike(std::string_view text, std::string_view word) {
  return equal_but_for_case(text.substr(0, word.size()), word);
}

// What follows "WORD:" in it, where it begins so.
std::optional<std::string> after_word(std::string_view text, std::string_view word) {
  if (text.size() <= word.size() || text[word.size()] != ':' || !begins_alike(text, word))
    return std::nullopt;
  return std::string(text.substr(word.size() + 1));
}

// What follows the words of that source in it, which is no address.
std::optional<std::string> after_source(std::string_view text, const IdentitySource& source) {
  const std::string word = word_of(source);
  auto after = after_word(text, word);
  const std::string_view name = text.substr(0, word.size());
  if (source.kind != SourceKind::header && !name.ends_with(source.name)) return std::nullopt;
  return after;
}

// It names a source itself: one that no identity has, or it would have been taken for that.
bool begins_with_source(std::string_view text) {
  return std::ranges::any_of(source_words, [&](const SourceWord& word) {
    const std::string_view plain =
        word.text.ends_with(':') ? word.text.substr(0, word.text.size() - 1) : word.text;
    return after_word(text, plain).has_value();
  });
}

// The source that a client of a plan is named by, as identity would have it ("bearer",
// "header:X-Api-Key"), and nothing of what follows; empty: it begins with none.
std::string source_said(std::string_view text) {
  for (const SourceWord& word : source_words) {
    const std::string_view plain =
        word.has_name() ? word.text.substr(0, word.text.size() - 1) : word.text;
    const auto after = after_word(text, plain);
    if (!after) continue;
    if (!word.has_name()) return std::string(plain);
    const std::string_view name = std::string_view(*after).substr(0, after->find(':'));
    if (name.size() == after->size() || !is_field_name(name)) return {};
    return fmt::format("{}:{}", plain, name);
  }
  return {};
}

// Numbers and dots as of IPv4, or hexadecimal digits and colons as of IPv6, or these and a prefix.
bool is_like_network(std::string_view text) {
  const std::string_view address = text.substr(0, text.find('/'));
  const std::string_view prefix = text.substr(std::min(address.size() + 1, text.size()));
  constexpr std::string_view digits = "0123456789";
  const auto only_has = [](std::string_view part, std::string_view chars) {
    return part.find_first_not_of(chars) == std::string_view::npos;
  };
  if (address.empty() || !only_has(prefix, digits)) return false;
  const auto dots = std::ranges::count(address, '.'), colons = std::ranges::count(address, ':');
  if (only_has(address, "0123456789.")) return dots >= 3 || (dots > 0 && !prefix.empty());
  return colons >= 2 && only_has(address, "0123456789abcdefABCDEF:.");
}

// An address is all that its client may be known by: of IPv6 a /64, or as identity says.
std::expected<PlanClient, std::string> plan_network(const std::string& text,
                                                    const std::vector<IdentitySource>& sources) {
  auto network = parse_network(text);
  if (!network || network->is_excluded)
    return std::unexpected(
        std::string("is no address and no network, such as \"10.0.0.0/8\" or \"2001:db8::/32\""));
  std::optional<IdentitySource> widest;
  for (const IdentitySource& source : sources) {
    if (source.kind != SourceKind::address) continue;
    if (!widest) widest = source;
    widest->v4_prefix = std::min(widest->v4_prefix, source.v4_prefix);
    widest->v6_prefix = std::min(widest->v6_prefix, source.v6_prefix);
  }
  const IdentitySource client = widest.value_or(IdentitySource());
  const bool is_v4 = network->address.is_v4();
  const int most = is_v4 ? v4_prefix_bits + client.v4_prefix : client.v6_prefix;
  if (network->is_unix()) return PlanClient{.source = {}, .network = *network};
  if (network->prefix == 128) {
    const IpAddress alone = network->address.as_client(most);
    if (alone == alone.masked(most)) network->prefix = std::min(network->prefix, most);
    network->address = alone;
    if (network->prefix == 128) return PlanClient{.source = {}, .network = *network};
  }
  if (network->prefix > most)
    return std::unexpected(fmt::format("can't be told from its neighbours: here a client is a /{}",
                                       is_v4 ? most - v4_prefix_bits : most));
  return PlanClient{.source = {}, .network = *network};
}

// Why no request can have this value of this source; empty: one can.
std::string_view why_never(const IdentitySource& source, std::string_view value) {
  constexpr std::string_view blanks = " \t";
  const auto is_control = [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 127; };
  constexpr std::size_t claim_bytes_max = 256;  // gateway/clients/jwt.cpp
  switch (source.kind) {
    case SourceKind::basic:
      if (value.contains(':')) return "a user's name ends at the first colon";
      break;
    case SourceKind::cookie:
      if (value.contains(';')) return "a cookie ends at its semicolon";
      [[fallthrough]];
    case SourceKind::header:
    case SourceKind::bearer:
      if (std::ranges::any_of(value, is_control)) return "no field has such a character";
      if (blanks.contains(value.front()) || blanks.contains(value.back()))
        return "no value of a field begins or ends with a blank";
      break;
    case SourceKind::jwt:
      if (value.size() > claim_bytes_max) return "a token's claims have 256 bytes at most";
      break;
    default: break;
  }
  return {};
}

std::expected<PlanClient, std::string> plan_client(const IdentitySource& source, std::string name) {
  if (name.empty()) return std::unexpected(std::string("names nobody: nothing follows the colon"));
  if (const std::string_view why = why_never(source, name); !why.empty())
    return std::unexpected(fmt::format("can never be there: {}", why));
  if (source.kind == SourceKind::tls_san) name = plain_alternative_name(name);
  if (!carries_key(source.kind)) return PlanClient{.source = source, .name = std::move(name)};
  if (!begins_alike(name, key_hash_prefix))
    return PlanClient{.source = source, .key = sha256(name)};
  const auto hash = sha256_in(std::string_view(name).substr(key_hash_prefix.size()));
  if (!hash || !name.starts_with(key_hash_prefix))
    return std::unexpected(
        std::string("expected sha256: and 64 hexadecimal digits, the hash of a key"));
  if (*hash == sha256(""))
    return std::unexpected(std::string("can never be there: its hash is that of nothing"));
  return PlanClient{.source = source, .key = *hash};
}

// A key that stands without its source is what it looks like: a mistake, if that is something else.
std::expected<PlanClient, std::string> plan_key_alone(const IdentitySource& source,
                                                      const std::string& text) {
  const std::string else_key =
      fmt::format("; if it is a key, write its source before it, \"{}:KEY\"", word_of(source));
  if (const std::string_view meant = nearly_source_of(text); !meant.empty())
    return std::unexpected(fmt::format("begins nearly as \"{}:\" does{}", meant, else_key));
  if (is_like_network(text))
    return std::unexpected(fmt::format(
        "looks like an address or a network, and is none (such as \"address:10.0.0.0/8\"){}",
        else_key));
  return plan_client(source, text);
}

}  // namespace

std::string plain_alternative_name(std::string_view name) {
  std::string plain(name);
  if (!name.contains(':') && !name.contains('@'))
    for (char& c : plain) c = lower_case(c);
  return plain;
}

std::string PlanClient::text() const {
  const std::string word = word_of(source) + ':';
  if (carries_key(source.kind)) return fmt::format("{}{}{}", word, key_hash_prefix, hex_of(key));
  if (source.kind != SourceKind::address) return word + name;
  return "address:" + network.text;
}

std::expected<PlanClient, std::string> read_plan_client(
    const std::string& text, const std::vector<IdentitySource>& sources) {
  const bool is_address = parse_network(text).has_value();
  if (const auto address = after_word(text, "address")) return plan_network(*address, sources);
  std::vector<IdentitySource> named;
  // Of "jwt:a" and "jwt:a:b" the longer one, as "tls:san:NAME" is no subject "san:NAME".
  const IdentitySource* longest = nullptr;
  std::string name;
  for (const IdentitySource& source : sources) {
    if (source.kind == SourceKind::address) continue;
    if (source.kind == SourceKind::tls && after_word(text, "tls:san")) continue;
    named.push_back(source);
    auto after = after_source(text, source);
    if (!after || (longest != nullptr && after->size() >= name.size())) continue;
    longest = &source;
    name = std::move(*after);
  }
  if (longest != nullptr) return plan_client(*longest, std::move(name));
  if (named.empty() && is_address) return plan_network(text, sources);
  if (named.size() == 1 && !is_address && !text.empty() && !begins_with_source(text))
    return plan_key_alone(named.front(), text);
  if (const std::string source = source_said(text); !source.empty())
    return std::unexpected(fmt::format(
        "is named by \"{0}\", which no identity asks for: add it, identity = [\"{0}\", ...] in "
        "[fairness]{1}",
        source, named.empty() ? "" : ", or name the client by " + print_identity(named)));
  return std::unexpected(std::string(
      "says not what it is: write \"header:NAME:KEY\", \"bearer:TOKEN\", "
      "\"basic:USER\", \"cookie:NAME:KEY\", \"query:NAME:KEY\", \"jwt:CLAIM:VALUE\", "
      "\"tls:SUBJECT\", \"tls:san:NAME\" (one that an identity has) or \"address:192.0.2.7\""));
}

std::string word_of(const IdentitySource& source) {
  const auto known = std::ranges::find(source_words, source.kind, &SourceWord::kind);
  std::string word = std::string(known->text) + source.name;
  const IdentitySource usual;
  if (source.says_prefix || source.v4_prefix != usual.v4_prefix ||
      source.v6_prefix != usual.v6_prefix)
    word += fmt::format("/{}/{}", source.v4_prefix, source.v6_prefix);
  return word;
}

std::string print_identity(const std::vector<IdentitySource>& identity) {
  std::string out;
  for (const IdentitySource& source : identity)
    out += (out.empty() ? "" : ", ") + quote(word_of(source));
  return "[" + out + "]";
}

}  // namespace classgate::conf
