#include "gateway/ops/query.h"

#include <algorithm>
#include <charconv>

namespace classgate::gateway {
namespace {

bool decode(std::string_view text, std::string& into) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      into += text[i] == '+' ? ' ' : text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (error != std::errc{} || digits.size() != 2 || end != digits.data() + 2) return false;
    into += static_cast<char>(byte);
    i += 2;
  }
  return true;
}

}  // namespace

std::optional<Query> Query::read(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty()) continue;
    const std::size_t equals = std::min(part.find('='), part.size());
    auto& [name, value] = query.all_.emplace_back();
    if (!decode(part.substr(0, equals), name) ||
        !decode(part.substr(std::min(equals + 1, part.size())), value))
      return std::nullopt;
  }
  return query;
}

std::string_view Query::value(std::string_view name) const {
  const auto found = std::ranges::find(all_, name, &std::pair<std::string, std::string>::first);
  return found == all_.end() ? std::string_view() : std::string_view(found->second);
}

}  // namespace classgate::gateway
