#pragma once

// What a route may say of streams and of clients that leave, by its words.

#include <array>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/settings.h"

namespace classgate::conf {

inline constexpr std::array<std::pair<std::string_view, Streams>, 3> streams_words{
    {{"none", Streams::none}, {"by_type", Streams::by_type}, {"chunked", Streams::chunked}}};
inline constexpr std::array<std::pair<std::string_view, OnClientAbort>, 2> on_client_abort_words{
    {{"finish", OnClientAbort::finish}, {"cancel", OnClientAbort::cancel}}};

constexpr std::string_view word_of(Streams streams) {
  return streams_words[static_cast<std::size_t>(streams)].first;
}
constexpr std::string_view word_of(OnClientAbort on_abort) {
  return on_client_abort_words[static_cast<std::size_t>(on_abort)].first;
}

// One of the words of such a table.
template <typename Value, std::size_t count>
std::expected<Value, std::string> parse_word(
    const RawValue& raw, const std::array<std::pair<std::string_view, Value>, count>& words) {
  const auto* text = std::get_if<std::string>(&raw.value);
  std::string choices;
  for (const auto& [word, value] : words) {
    if (text != nullptr && *text == word) return value;
    choices += fmt::format("{}\"{}\"", choices.empty() ? "" : ", ", word);
  }
  return std::unexpected("expected one of " + choices);
}

}  // namespace classgate::conf
