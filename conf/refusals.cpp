#include "conf/refusals.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "conf/format.h"
#include "conf/nearest.h"

namespace classgate::conf {
namespace {

// What is refused before anybody knows its route: connections, and heads that could not be read.
constexpr auto before_the_route = std::to_array<Reason>(
    {Reason::too_many_connections, Reason::client_connections, Reason::header_too_large,
     Reason::target_too_long, Reason::unknown_coding, Reason::unknown_method,
     Reason::method_refused, Reason::version_refused});

// "queue_full=429", with or without blanks.
std::expected<std::pair<Reason, int>, std::string> parse_status(std::string_view text) {
  const auto bare = [](std::string_view part) {
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    return part;
  };
  const std::size_t equals = text.find('=');
  const std::string_view word = bare(text.substr(0, equals));
  const std::string_view number =
      equals == std::string_view::npos ? "" : bare(text.substr(equals + 1));
  const auto reason = reason_from_word(word);
  if (!reason) {
    std::vector<std::string> words;
    for (const ReasonText& known : reason_texts) words.emplace_back(known.word);
    const std::string meant = nearest(std::string(word), words);
    return std::unexpected(fmt::format("\"{}\" is no reason{}", word,
                                       meant.empty() ? "" : "; did you mean " + meant + "?"));
  }
  if (std::ranges::find(before_the_route, *reason) != before_the_route.end())
    return std::unexpected(
        fmt::format("\"{}\" is told before the route is known: write status.{}", word, word));
  int status = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), status);
  if (error != std::errc{} || end != number.data() + number.size() || status < 400 || status > 599)
    return std::unexpected(
        fmt::format("\"{}\": expected REASON=STATUS, the status 400 to 599", text));
  return std::pair{*reason, status};
}

}  // namespace

std::expected<RouteStatuses, std::string> parse_statuses(const RawValue& raw) {
  const auto* list = std::get_if<std::vector<std::string>>(&raw.value);
  if (list == nullptr)
    return std::unexpected(std::string("expected a list, such as [\"queue_full=429\"]"));
  RouteStatuses statuses;
  for (const std::string& text : *list) {
    const auto status = parse_status(text);
    if (!status) return std::unexpected(status.error());
    if (std::ranges::find(statuses, status->first, &std::pair<Reason, int>::first) !=
        statuses.end())
      return std::unexpected(fmt::format("\"{}\" stands here twice", word_of(status->first)));
    statuses.push_back(*status);
  }
  return statuses;
}

std::string print_statuses(const RouteStatuses& statuses) {
  std::string list;
  for (const auto& [reason, status] : statuses)
    list += fmt::format("{}\"{}={}\"", list.empty() ? "" : ", ", word_of(reason), status);
  return "[" + list + "]";
}

}  // namespace classgate::conf
