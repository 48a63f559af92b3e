#pragma once

// Settings that are one of a few words: a table for each kind, read by the keys, by the tables of
// routes, and by whoever prints them.

#include <array>
#include <expected>
#include <string>
#include <string_view>
#include <variant>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/settings.h"

namespace classgate::conf {

template <typename Value>
struct Word {
  std::string_view text;
  Value value;
};

// Empty: no setting of words. In the order in which they are told.
template <typename Value>
inline constexpr std::array<Word<Value>, 0> words_of{};

template <>
inline constexpr auto words_of<Sandbox> = std::to_array<Word<Sandbox>>(
    {{"auto", Sandbox::automatic}, {"required", Sandbox::required}, {"off", Sandbox::off}});
template <>
inline constexpr auto words_of<RateLimitFields> =
    std::to_array<Word<RateLimitFields>>({{"off", RateLimitFields::off},
                                          {"refusals", RateLimitFields::refusals},
                                          {"all", RateLimitFields::all}});
template <>
inline constexpr auto words_of<RefusalBody> =
    std::to_array<Word<RefusalBody>>({{"problem", RefusalBody::problem},
                                      {"openai", RefusalBody::openai},
                                      {"text", RefusalBody::text}});
template <>
inline constexpr auto words_of<TlsVersion> =
    std::to_array<Word<TlsVersion>>({{"1.2", TlsVersion::tls12}, {"1.3", TlsVersion::tls13}});
template <>
inline constexpr auto words_of<ClientCertificate> =
    std::to_array<Word<ClientCertificate>>({{"off", ClientCertificate::off},
                                            {"optional", ClientCertificate::optional},
                                            {"required", ClientCertificate::required}});
template <>
inline constexpr auto words_of<OnClientAbort> = std::to_array<Word<OnClientAbort>>(
    {{"finish", OnClientAbort::finish}, {"cancel", OnClientAbort::cancel}});
template <>
inline constexpr auto words_of<Streams> = std::to_array<Word<Streams>>(
    {{"by_type", Streams::by_type}, {"chunked", Streams::chunked}, {"none", Streams::none}});
template <>
inline constexpr auto words_of<UnknownClients> =
    std::to_array<Word<UnknownClients>>({{"refuse", UnknownClients::refuse},
                                         {"shared", UnknownClients::shared},
                                         {"address", UnknownClients::address},
                                         {"own", UnknownClients::own}});
template <>
inline constexpr auto words_of<QuotaUnit> =
    std::to_array<Word<QuotaUnit>>({{"requests", QuotaUnit::requests}, {"cost", QuotaUnit::cost}});
template <>
inline constexpr auto words_of<Discipline> = std::to_array<Word<Discipline>>(
    {{"fifo", Discipline::fifo}, {"adaptive", Discipline::adaptive}});
template <>
inline constexpr auto words_of<LogLevel> =
    std::to_array<Word<LogLevel>>({{"debug", LogLevel::debug},
                                   {"info", LogLevel::info},
                                   {"warning", LogLevel::warning},
                                   {"error", LogLevel::error}});
template <>
inline constexpr auto words_of<LogFormat> =
    std::to_array<Word<LogFormat>>({{"text", LogFormat::text}, {"json", LogFormat::json}});

template <>
inline constexpr auto words_of<TokenFor> =
    std::to_array<Word<TokenFor>>({{"changes", TokenFor::changes},
                                   {"pages", TokenFor::pages},
                                   {"everything", TokenFor::everything}});

template <>
inline constexpr auto words_of<WhenAway> = std::to_array<Word<WhenAway>>(
    {{"share", WhenAway::share}, {"open", WhenAway::open}, {"closed", WhenAway::closed}});

template <typename Value>
concept SaidInWords = !words_of<Value>.empty();

template <SaidInWords Value>
constexpr std::string_view word_of(Value value) {
  for (const auto& [text, meant] : words_of<Value>)
    if (meant == value) return text;
  return {};
}

template <SaidInWords Value>
std::string choices_of() {
  std::string choices;
  for (const auto& [text, value] : words_of<Value>)
    choices += fmt::format("{}\"{}\"", choices.empty() ? "" : ", ", text);
  return choices;
}

template <SaidInWords Value>
std::expected<Value, std::string> parse_word(const RawValue& raw) {
  const auto* word = std::get_if<std::string>(&raw.value);
  if (word == nullptr) return std::unexpected("expected one of " + choices_of<Value>());
  for (const auto& [text, value] : words_of<Value>)
    if (*word == text) return value;
  return std::unexpected(fmt::format("\"{}\" is none of {}", *word, choices_of<Value>()));
}

}  // namespace classgate::conf
