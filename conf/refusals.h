#pragma once

// How refusals are written and which statuses they have, where a route has a say in it.

#include <array>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "conf/document.h"
#include "conf/settings.h"

namespace classgate::conf {

inline constexpr std::array<std::pair<std::string_view, RefusalBody>, 3> refusal_bodies{
    {{"problem", RefusalBody::problem},
     {"openai", RefusalBody::openai},
     {"text", RefusalBody::text}}};
constexpr std::string_view word_of(RefusalBody body) {
  return refusal_bodies[static_cast<std::size_t>(body)].first;
}

std::expected<RefusalBody, std::string> parse_refusal_body(const RawValue& raw);
// A list of "REASON=STATUS", each reason once, the status 400 to 599.
std::expected<RouteStatuses, std::string> parse_statuses(const RawValue& raw);
std::string print_statuses(const RouteStatuses& statuses);  // as TOML

}  // namespace classgate::conf
