#include "gateway/clients/credentials.h"

#include <algorithm>

#include "conf/ascii.h"
#include "conf/format.h"
#include "gateway/clients/base64.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using SourceKind = conf::IdentitySource::Kind;

// Some servers take '_' for '-' in a field's name (CGI has only '_').
enum class Likeness : std::uint8_t { other, nearly, same };

// Of names that are equally long.
Likeness likeness(std::string_view name, std::string_view wanted) {
  Likeness found = Likeness::same;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == wanted[i]) continue;
    const char a = conf::lower_case(name[i]), b = conf::lower_case(wanted[i]);
    if (a == b) continue;
    if ((a != '_' && a != '-') || (b != '_' && b != '-')) return Likeness::other;
    found = Likeness::nearly;
  }
  return found;
}

std::string_view value_of(const proxy::wire::Head& head, std::string_view name) {
  for (const proxy::wire::Field& field : head.fields)
    if (field.name.size() == name.size() && likeness(field.name, name) == Likeness::same)
      return field.value;
  return {};
}

bool is_field_ambiguous(const proxy::wire::Head& head, std::string_view name) {
  int count = 0;
  for (const proxy::wire::Field& field : head.fields) {
    if (field.name.size() != name.size()) continue;
    const Likeness found = likeness(field.name, name);
    if (found != Likeness::other) count += found == Likeness::same ? 1 : 2;
  }
  return count > 1;
}

// What follows the scheme in Authorization, in any case (RFC 9110 section 11.1, 11.4).
std::string_view credentials_of(const proxy::wire::Head& head, std::string_view scheme) {
  std::string_view value = value_of(head, "authorization");
  if (value.size() <= scheme.size() || value[scheme.size()] != ' ' ||
      !proxy::wire::equal_names(value.substr(0, scheme.size()), scheme))
    return {};
  value.remove_prefix(scheme.size());
  while (value.starts_with(' ')) value.remove_prefix(1);
  return value;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view space = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(space), text.size()));
  return text.substr(0, text.find_last_not_of(space) + 1);
}

// The next "name=value" of what is left, which becomes what follows it.
struct Pair {
  std::string_view name, value;
};
Pair take_pair(std::string_view& rest, char separator) {
  const std::string_view pair = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
  const std::size_t equals = std::min(pair.find('='), pair.size());
  return {pair.substr(0, equals), pair.substr(std::min(equals + 1, pair.size()))};
}

// RFC 6265 section 4.2.1; names are told apart by case.
template <typename Visit>
void each_cookie(const proxy::wire::Head& head, std::string_view name, Visit visit) {
  for (const proxy::wire::Field& field : head.fields) {
    if (!proxy::wire::equal_names(field.name, "cookie")) continue;
    for (std::string_view rest = field.value; !rest.empty();) {
      auto [own, value] = take_pair(rest, ';');
      if (trim(own) != name) continue;
      value = trim(value);
      if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"'))
        value = value.substr(1, value.size() - 2);
      visit(value);
    }
  }
}

int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

// One character of a form's text (URL Standard, application/x-www-form-urlencoded), taken off.
char take_form_character(std::string_view& text) {
  const char c = text.front();
  if (c == '%' && text.size() >= 3 && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0) {
    const int code = hex_digit(text[1]) * 16 + hex_digit(text[2]);
    text.remove_prefix(3);
    return static_cast<char>(code);
  }
  text.remove_prefix(1);
  return c == '+' ? ' ' : c;
}

bool is_form_of(std::string_view written, std::string_view name) {
  for (const char c : name)
    if (written.empty() || take_form_character(written) != c) return false;
  return written.empty();
}

template <typename Visit>
void each_parameter(const proxy::wire::Head& head, std::string_view name, Visit visit) {
  const std::size_t question = head.target.find('?');
  if (question == std::string_view::npos) return;
  std::string_view rest = head.target.substr(question + 1);
  rest = rest.substr(0, rest.find('#'));
  while (!rest.empty()) {
    const auto [own, value] = take_pair(rest, '&');
    if (is_form_of(own, name)) visit(value);
  }
}

}  // namespace

bool Credentials::is_ambiguous(const conf::IdentitySource& source) const {
  int count = 0;
  const auto note = [&count](std::string_view) { ++count; };
  switch (source.kind) {
    case SourceKind::header: return is_field_ambiguous(head_, source.name);
    case SourceKind::bearer:
    case SourceKind::basic: return is_field_ambiguous(head_, "authorization");
    case SourceKind::cookie: each_cookie(head_, source.name, note); break;
    case SourceKind::query: each_parameter(head_, source.name, note); break;
    case SourceKind::jwt:
    case SourceKind::tls:
    case SourceKind::tls_san:
    case SourceKind::address: break;
  }
  return count > 1;
}

bool Credentials::is_withheld(const conf::IdentitySource& source) const {
  switch (source.kind) {
    case SourceKind::header: return proxy::wire::is_nominated(source.name, head_);
    case SourceKind::bearer:
    case SourceKind::basic: return proxy::wire::is_nominated("authorization", head_);
    case SourceKind::cookie: return proxy::wire::is_nominated("cookie", head_);
    case SourceKind::query:
    case SourceKind::jwt:
    case SourceKind::tls:
    case SourceKind::tls_san:
    case SourceKind::address: break;
  }
  return false;
}

std::string_view Credentials::value(const conf::IdentitySource& source) {
  std::string_view found;
  const auto take = [&found](std::string_view value) { found = value; };
  switch (source.kind) {
    case SourceKind::header: return value_of(head_, source.name);
    case SourceKind::bearer: return credentials_of(head_, "bearer");  // RFC 6750 section 2.1
    case SourceKind::basic: return basic_user(credentials_of(head_, "basic"));
    case SourceKind::cookie: each_cookie(head_, source.name, take); return found;
    case SourceKind::query: each_parameter(head_, source.name, take); return decoded(found);
    case SourceKind::jwt:
    case SourceKind::tls:
    case SourceKind::tls_san:
    case SourceKind::address: break;
  }
  return {};
}

// The user of "user:password" in base64 (RFC 7617 section 2; RFC 4648 section 4).
std::string_view Credentials::basic_user(std::string_view text) {
  std::size_t size = 0;
  bool has_colon = false;
  each_base64_byte(text, base64, [&](char byte) {
    has_colon = byte == ':';
    if (has_colon || size == room_.size()) return false;
    room_[size++] = byte;
    return true;
  });
  return has_colon ? std::string_view(room_.data(), size) : std::string_view();
}

std::string_view Credentials::decoded(std::string_view text) {
  if (text.find_first_of("%+") == std::string_view::npos) return text;
  std::size_t size = 0;
  while (!text.empty()) {
    if (size == room_.size()) return {};
    room_[size++] = take_form_character(text);
  }
  return {room_.data(), size};
}

bool is_nearly_parameter(std::string_view written, std::string_view name) {
  for (const char c : name)
    if (written.empty() || conf::lower_case(take_form_character(written)) != conf::lower_case(c))
      return false;
  return written.empty();
}

std::string challenge_of(const std::vector<conf::IdentitySource>& sources,
                         const conf::IdentitySource& token_place, bool has_bad_token) {
  std::vector<std::string> challenges;
  // RFC 6750 section 3.1.
  constexpr std::string_view why =
      ", error=\"invalid_token\", error_description=\"The token is not valid here, or has "
      "expired\"";
  const auto add = [&](const conf::IdentitySource& place, std::string_view error) {
    std::string challenge;
    switch (place.kind) {
      case SourceKind::bearer: challenge = "Bearer realm=\"classgate\""; break;
      case SourceKind::basic: challenge = "Basic realm=\"classgate\", charset=\"UTF-8\""; break;
      case SourceKind::header:
        challenge = fmt::format("ApiKey realm=\"classgate\", header=\"{}\"", place.name);
        break;
      case SourceKind::cookie:
        challenge = fmt::format("ApiKey realm=\"classgate\", cookie=\"{}\"", place.name);
        break;
      case SourceKind::query:
        challenge = fmt::format("ApiKey realm=\"classgate\", query=\"{}\"", place.name);
        break;
      case SourceKind::tls:
      case SourceKind::tls_san: challenge = "Certificate realm=\"classgate\""; break;
      case SourceKind::jwt:
      case SourceKind::address: return;
    }
    const auto same = std::ranges::find_if(
        challenges, [&](const std::string& known) { return known.starts_with(challenge); });
    if (same == challenges.end())
      challenges.push_back(challenge + std::string(error));
    else if (same->size() == challenge.size())
      *same += error;
  };
  for (const conf::IdentitySource& source : sources) {
    const bool is_token = source.kind == SourceKind::jwt;
    add(is_token ? token_place : source, is_token && has_bad_token ? why : "");
  }
  if (challenges.empty()) return "Address realm=\"classgate\"";
  return fmt::format("{}", fmt::join(challenges, ", "));
}

}  // namespace classgate::gateway
