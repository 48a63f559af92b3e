#include "gateway/clients/jwt.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "gateway/clients/base64.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t depth_max = 8;
constexpr std::size_t members_max = 256;    // of all objects together
constexpr std::size_t elements_max = 1024;  // of all arrays together
constexpr std::size_t value_bytes_max = 256;
constexpr double time_max = 253'402'300'799;  // the end of the year 9999

// Of an object in JSON the members that have one of the names; what else there is must be JSON, and
// bounded. No name may be there twice, in any object: another reader might take the other one (RFC
// 7519 section 4).
class Members final : public nlohmann::json_sax<nlohmann::json> {
 public:
  struct Value {
    enum class Kind : std::uint8_t { none, number, text, texts, other };
    Kind kind = Kind::none;
    double number = 0;
    std::string text = {};
    std::vector<std::string> texts = {};
  };
  explicit Members(std::span<const std::string> names) : names_(names), values_(names.size()) {}

  bool read(std::string_view text) {
    // To the parser a NUL is the end, whatever follows it.
    return !text.contains('\0') && nlohmann::json::sax_parse(text.begin(), text.end(), this) &&
           is_object_;
  }
  const Value& operator[](std::size_t number) const { return values_[number]; }

  bool null() override { return take({.kind = Value::Kind::other}); }
  bool boolean(bool /*value*/) override { return take({.kind = Value::Kind::other}); }
  bool number_integer(number_integer_t value) override {
    return take({.kind = Value::Kind::number, .number = static_cast<double>(value)});
  }
  bool number_unsigned(number_unsigned_t value) override {
    return take({.kind = Value::Kind::number, .number = static_cast<double>(value)});
  }
  bool number_float(number_float_t value, const string_t& /*text*/) override {
    return take({.kind = Value::Kind::number, .number = value});
  }
  bool string(string_t& value) override { return take({.kind = Value::Kind::text, .text = value}); }
  bool binary(binary_t& /*value*/) override { return false; }
  bool start_object(std::size_t /*size*/) override {
    if (!starts_.empty() && !take({.kind = Value::Kind::other})) return false;
    if (starts_.empty() && arrays_ == 0) is_object_ = true;
    return enter(seen_.size());
  }
  bool end_object() override {
    seen_.resize(starts_.back());
    starts_.pop_back();
    return true;
  }
  bool start_array(std::size_t /*size*/) override {
    if (starts_.empty()) return false;  // no object
    const bool is_top = starts_.size() == 1;
    if (!take({.kind = is_top ? Value::Kind::texts : Value::Kind::other})) return false;
    if (is_top) array_of_ = now_;
    ++arrays_;
    return enter(seen_.size());
  }
  bool end_array() override {
    seen_.resize(starts_.back());
    starts_.pop_back();
    --arrays_;
    return true;
  }
  bool key(string_t& name) override {
    const std::size_t hash = std::hash<std::string_view>{}(name);
    const auto twins = std::span(seen_).subspan(starts_.back());
    if (++members_ > members_max || std::ranges::find(twins, hash) != twins.end()) return false;
    seen_.push_back(hash);
    if (starts_.size() == 1)
      now_ = static_cast<std::size_t>(std::ranges::find(names_, name) - names_.begin());
    return true;
  }
  bool parse_error(std::size_t /*at*/, const std::string& /*token*/,
                   const nlohmann::json::exception& /*error*/) override {
    return false;
  }

 private:
  bool enter(std::size_t start) {
    starts_.push_back(start);
    return starts_.size() <= depth_max;
  }
  bool take(Value value) {
    if (starts_.empty()) return false;  // it is all there is, and no object
    if (starts_.size() == 1) {
      if (now_ < values_.size()) values_[now_] = std::move(value);
      return true;
    }
    if (arrays_ > 0 && ++elements_ > elements_max) return false;
    if (starts_.size() == 2 && arrays_ == 1 && array_of_ < values_.size()) {
      Value& list = values_[array_of_];
      if (value.kind == Value::Kind::text && list.kind == Value::Kind::texts)
        list.texts.push_back(std::move(value.text));
      else
        list.kind = Value::Kind::other;
    }
    return true;
  }

  std::span<const std::string> names_;
  std::vector<Value> values_;
  bool is_object_ = false;
  std::size_t now_ = 0;       // the member of the outermost object that is read
  std::size_t array_of_ = 0;  // the one whose list is read
  std::size_t arrays_ = 0;    // that are open
  std::size_t members_ = 0;
  std::size_t elements_ = 0;
  std::vector<std::size_t> seen_;    // hashes of the names of the objects that are open
  std::vector<std::size_t> starts_;  // where in them those of each object or list begin
};

using MemberKind = Members::Value::Kind;

// Seconds, which may have a fraction (RFC 7519 section 2, NumericDate). Null: it is none.
std::optional<double> time_in(const Members::Value& value) {
  if (value.kind != MemberKind::number || !(value.number >= 0 && value.number <= time_max))
    return std::nullopt;
  return value.number;
}

bool is_text_or_none(const Members::Value& value) {
  return value.kind == MemberKind::none || value.kind == MemberKind::text;
}

// The members that always count, in the order of names_.
enum : std::size_t { exp_member, nbf_member, iat_member, iss_member, aud_member, first_claim };

}  // namespace

struct JwtVerifier::Header {
  std::size_t algorithm = 0;  // in conf::jwt_algorithms
  std::string kid;
  bool has_kid = false;
};

JwtVerifier::JwtVerifier(const conf::JwtSettings& settings, std::shared_ptr<const JwtKeys> keys)
    : settings_(settings), keys_(std::move(keys)), names_{"exp", "nbf", "iat", "iss", "aud"} {
  settings_.keys = nullptr;  // nobody needs the text any more
  for (const std::string& claim : settings.claims) {
    const auto found = std::ranges::find(names_, claim);
    claims_.push_back(static_cast<std::size_t>(found - names_.begin()));
    if (found == names_.end()) names_.push_back(claim);
  }
}

bool JwtVerifier::has_three_parts(std::string_view token) {
  const std::size_t first = token.find('.');
  if (first == std::string_view::npos) return false;
  const std::size_t second = token.find('.', first + 1);
  return second != std::string_view::npos && token.find('.', second + 1) == std::string_view::npos;
}

std::expected<JwtVerifier::Header, TokenFault> JwtVerifier::read_header(
    std::string_view part) const {
  static const std::array<std::string, 4> names{"alg", "kid", "crit", "b64"};
  std::string text;
  Members members(names);
  if (!read_base64url(part, text) || !members.read(text))
    return std::unexpected(TokenFault::malformed);
  const auto& algorithm = members[0];
  const auto& kid = members[1];
  // "crit" names what must be understood, and none of it is (RFC 7515 section 4.1.11).
  if (algorithm.kind != MemberKind::text || !is_text_or_none(kid) ||
      members[2].kind != MemberKind::none || members[3].kind != MemberKind::none)
    return std::unexpected(TokenFault::malformed);
  if (std::ranges::find(settings_.algorithms, algorithm.text) == settings_.algorithms.end())
    return std::unexpected(TokenFault::algorithm);
  const auto found = std::ranges::find(conf::jwt_algorithms, algorithm.text);
  return Header{.algorithm = static_cast<std::size_t>(found - conf::jwt_algorithms.begin()),
                .kid = kid.text,
                .has_kid = kid.kind == MemberKind::text};
}

bool JwtVerifier::may_have_signed(const JwtKeys::Key& key, const Header& header,
                                  std::size_t signature_bytes) const {
  return key.algorithm == header.algorithm && key.signature_bytes == signature_bytes &&
         (!key.has_kid || !header.has_kid || key.kid == header.kid);
}

std::expected<JwtVerifier::Claims, TokenFault> JwtVerifier::read_claims(std::string_view part,
                                                                        std::int64_t now) const {
  std::string text;
  Members members(names_);
  if (!read_base64url(part, text) || !members.read(text))
    return std::unexpected(TokenFault::malformed);
  const auto ends = time_in(members[exp_member]);
  const auto begins = time_in(members[nbf_member]);
  const bool has_begin = members[nbf_member].kind != MemberKind::none;
  const auto& issuer = members[iss_member];
  const auto& audience = members[aud_member];
  // Who may use it for ever is nobody that one could get rid of: exp must be there.
  if (members[exp_member].kind == MemberKind::none)
    return std::unexpected(TokenFault::missing_claim);
  if (!ends || (has_begin && !begins) ||
      (members[iat_member].kind != MemberKind::none && !time_in(members[iat_member])) ||
      !is_text_or_none(issuer) ||
      (!is_text_or_none(audience) && audience.kind != MemberKind::texts))
    return std::unexpected(TokenFault::malformed);
  const auto leeway = std::chrono::duration<double>(settings_.leeway).count();
  Claims claims;
  claims.ends = static_cast<std::int64_t>(std::floor(*ends + leeway));
  if (now >= claims.ends) return std::unexpected(TokenFault::expired);
  if (begins && static_cast<double>(now) < *begins - leeway)
    return std::unexpected(TokenFault::not_yet);
  if (!settings_.iss.empty() && (issuer.kind != MemberKind::text || issuer.text != settings_.iss))
    return std::unexpected(TokenFault::issuer);
  // Who is not named is not meant (RFC 7519 section 4.1.3).
  const auto is_ours = [&](const std::string& name) {
    return std::ranges::find(settings_.aud, name) != settings_.aud.end();
  };
  const bool is_meant = audience.kind == MemberKind::none ? settings_.aud.empty()
                        : audience.kind == MemberKind::text
                            ? is_ours(audience.text)
                            : std::ranges::any_of(audience.texts, is_ours);
  if (!is_meant) return std::unexpected(TokenFault::audience);
  for (std::size_t i = 0; i < claims_.size() && i < claims.values.size(); ++i) {
    const auto& value = members[claims_[i]];
    if (!is_text_or_none(value) || value.text.size() > value_bytes_max)
      return std::unexpected(TokenFault::malformed);
    claims.values[i] = value.text;
  }
  return claims;
}

std::expected<JwtVerifier::Claims, TokenFault> JwtVerifier::verify(std::string_view token,
                                                                   std::int64_t now,
                                                                   TokenCache* checks,
                                                                   std::uint64_t sender) const {
  if (token.size() > settings_.token_bytes.count) return std::unexpected(TokenFault::too_large);
  if (!has_three_parts(token)) return std::unexpected(TokenFault::malformed);
  if (checks == nullptr) return look_into(token, now, nullptr, sender);
  // Who has nothing left is not even read: that would cost more than all that came before.
  if (!checks->may_look(sender, now)) return std::unexpected(TokenFault::too_many);
  auto claims = look_into(token, now, checks, sender);
  if (!claims && claims.error() != TokenFault::too_many)
    checks->note_bad(sender, now,
                     claims.error() == TokenFault::signature ? TokenCache::Cost::signature
                                                             : TokenCache::Cost::reading);
  return claims;
}

std::expected<JwtVerifier::Claims, TokenFault> JwtVerifier::look_into(std::string_view token,
                                                                      std::int64_t now,
                                                                      TokenCache* checks,
                                                                      std::uint64_t sender) const {
  const std::size_t first = token.find('.');
  const std::size_t last = token.rfind('.');
  const auto header = read_header(token.substr(0, first));
  if (!header) return std::unexpected(header.error());
  const std::string_view signature = token.substr(last + 1);
  const std::size_t signature_bytes = signature.size() * 6 / 8;
  const auto may_have_signed = [&](const JwtKeys::Key& key) {
    return this->may_have_signed(key, *header, signature_bytes);
  };
  const auto& keys = keys_->keys();
  if (std::ranges::none_of(keys, may_have_signed)) return std::unexpected(TokenFault::unknown_key);
  auto claims = read_claims(token.substr(first + 1, last - first - 1), now);
  if (!claims) return claims;
  if (std::string bytes; !read_base64url(signature, bytes))
    return std::unexpected(TokenFault::malformed);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!may_have_signed(keys[i])) continue;
    if (checks != nullptr && !checks->may_check(sender, now))
      return std::unexpected(TokenFault::too_many);
    if (keys_->is_signed(i, token)) return claims;
  }
  return std::unexpected(TokenFault::signature);
}

std::vector<std::string> check_jwt(const conf::JwtSettings& settings) {
  if (!settings.keys) return {};
  auto keys = JwtKeys::read(settings);
  return keys ? std::vector<std::string>() : std::move(keys.error());
}

}  // namespace classgate::gateway
