#include "gateway/ops/operator_tokens.h"

#include <algorithm>
#include <string_view>

#include "conf/format.h"
#include "conf/text_file.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t tokens_max = 100;
constexpr std::size_t token_least = 16;  // characters; fewer could be guessed
constexpr std::size_t token_most = 256;

std::string_view token_text_of(std::string_view line) {
  constexpr std::string_view blank = " \t\r";
  const std::size_t begin = line.find_first_not_of(blank);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(blank) - begin + 1);
}

bool is_token(std::string_view text) {
  return text.size() >= token_least && text.size() <= token_most &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

}  // namespace

std::expected<OperatorTokens, std::string> read_operator_tokens(const std::string& path) {
  OperatorTokens tokens;
  if (path.empty()) return tokens;
  const auto text = conf::read_text_file(path);
  if (!text) return std::unexpected(text.error() + " (ops.token_file)");
  std::string_view rest = conf::without_byte_order_mark(*text);
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = token_text_of(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    // What stands there is not told: it may be most of a token.
    if (!is_token(line))
      return std::unexpected(
          fmt::format("{}:{}: a token is {} to {} printable characters without a space "
                      "(ops.token_file)",
                      path, number, token_least, token_most));
    tokens.push_back(conf::sha256(line));
  }
  if (tokens.empty())
    return std::unexpected(path +
                           ": it has no token: `openssl rand -hex 24` makes one "
                           "(ops.token_file)");
  if (tokens.size() > tokens_max)
    return std::unexpected(
        fmt::format("{}: {} tokens are the most (ops.token_file)", path, tokens_max));
  return tokens;
}

}  // namespace classgate::gateway
