#include "gateway/logged_fields.h"

#include <algorithm>
#include <charconv>

#include "conf/ascii.h"
#include "gateway/clients/credentials.h"
#include "gateway/clients/likely_credentials.h"
#include "proxy/wire/fields.h"

namespace classgate::gateway {
namespace {

using proxy::wire::equal_names;

constexpr std::size_t kept_bytes_max = 8 * 1024;

// How much of the text's beginning is one of these characters, plain or in percent code; 0: it is
// another.
std::size_t size_of_one(std::string_view text, std::string_view chars) {
  if (text.empty()) return 0;
  if (text.front() != '%') return chars.contains(text.front()) ? 1 : 0;
  unsigned code = 0;
  const std::string_view digits = text.substr(1, 2);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
  const bool is_code = error == std::errc{} && digits.size() == 2 && end == digits.end();
  return is_code && chars.contains(static_cast<char>(code)) ? 3 : 0;
}

// The parameter that services may take this name for: "key" of "key[]", "key[0][a]" and "[key]",
// as forms write lists; and of "??key" and "+key".
std::string_view base_of(std::string_view name) {
  while (const std::size_t size = size_of_one(name, "?[ +")) name.remove_prefix(size);
  for (std::size_t i = 0; i < name.size(); ++i)
    if (size_of_one(name.substr(i), "[]") > 0) return name.substr(0, i);
  return name;
}

}  // namespace

LoggedFields::LoggedFields(const conf::LogSettings& settings,
                           const std::vector<conf::IdentitySource>& sources)
    : value_bytes_max_(settings.header_bytes.count) {
  for (const conf::IdentitySource& source : sources) {
    if (source.kind == conf::IdentitySource::Kind::query) secret_parameters_.push_back(source.name);
    if (source.kind == conf::IdentitySource::Kind::header)
      user_agent_is_secret_ = user_agent_is_secret_ || equal_names(source.name, "user-agent");
  }
  for (const std::string& field : settings.headers) {
    std::string key = "header." + field;
    for (char& c : key) c = conf::lower_case(c);
    names_.push_back({field, std::move(key)});
  }
}

std::string_view LoggedFields::masked(std::string_view query, std::string& room) const {
  std::string without;  // empty where there is no credential
  const std::string_view told = without_credentials(without_keys(query, room), without);
  if (told.data() != without.data()) return told;
  room = std::move(without);
  return room;
}

std::string_view LoggedFields::without_keys(std::string_view query, std::string& room) const {
  if (secret_parameters_.empty()) return query;
  room.clear();
  while (!query.empty()) {
    // Some services take ';' for '&': then what follows one is another parameter.
    const std::string_view pair = query.substr(0, query.find_first_of("&;"));
    const std::string_view name = pair.substr(0, pair.find('='));
    const std::string_view base = base_of(name);
    const bool is_secret =
        name.size() < pair.size() && std::ranges::any_of(
                                         secret_parameters_,
                                         [&](const auto& one) {
                                           return is_nearly_parameter(name, one) ||
                                                  is_nearly_parameter(base, one);
                                         });
    room += is_secret ? name : pair;
    if (is_secret) room += "=***";
    query.remove_prefix(pair.size());
    if (query.empty()) break;
    room += query.front();
    query.remove_prefix(1);
  }
  return room;
}

void NotedFields::note(const proxy::wire::Head& head, const LoggedFields& wanted) {
  clear();
  for (const proxy::wire::Field& field : head.fields) {
    if (field.id != proxy::wire::FieldId::other) continue;
    if (field.name.size() == 10 && user_agent_.size == 0 && equal_names(field.name, "user-agent"))
      user_agent_ = wanted.user_agent_is_secret() ? keep("***") : keep_cut(field.value, wanted);
    if (field.name.size() == 11 && traceparent_.size == 0 && equal_names(field.name, "traceparent"))
      traceparent_ = keep_cut(field.value, wanted);
  }
  for (const LoggedFields::Name& name : wanted.names()) {
    const auto found = std::ranges::find_if(head.fields, [&](const proxy::wire::Field& field) {
      return equal_names(field.name, name.field);
    });
    if (found == head.fields.end()) continue;
    const Part key = keep(name.key);
    if (!named_) named_ = std::make_unique<Named>();
    named_->parts[named_->count++] = {key, keep_without_secrets(found->value, wanted)};
  }
}

void NotedFields::clear() {
  text_.clear();
  if (text_.capacity() > kept_bytes_max) text_.shrink_to_fit();
  traceparent_ = user_agent_ = {};
  if (named_) named_->count = 0;
}

std::span<const LoggedField> NotedFields::named() {
  if (!named_) return {};
  for (std::size_t i = 0; i < named_->count; ++i) {
    const auto& [key, value] = named_->parts[i];
    named_->views[i] = {view(key), view(value)};
  }
  return {named_->views.data(), named_->count};
}

// A value may be an address with a query of its own (Referer).
NotedFields::Part NotedFields::keep_without_secrets(std::string_view value,
                                                    const LoggedFields& wanted) {
  const std::size_t question = value.substr(0, wanted.value_bytes_max()).find('?');
  if (question == std::string_view::npos) return keep_cut(value, wanted);
  const Part before = keep_cut(value.substr(0, question + 1), wanted);
  std::string room;
  const Part after = keep(wanted.masked(value.substr(question + 1), room));
  const auto most = static_cast<std::uint32_t>(wanted.value_bytes_max());
  return {before.begin, std::min(before.size + after.size, most)};
}

// Cut last: half a token looks like none.
NotedFields::Part NotedFields::keep_cut(std::string_view value, const LoggedFields& wanted) {
  std::string room;
  return keep(without_credentials(value, room).substr(0, wanted.value_bytes_max()));
}

NotedFields::Part NotedFields::keep(std::string_view text) {
  const auto begin = static_cast<std::uint32_t>(text_.size());
  text_ += text;
  return {begin, static_cast<std::uint32_t>(text.size())};
}

}  // namespace classgate::gateway
