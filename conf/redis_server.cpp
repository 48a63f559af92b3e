#include "conf/redis_server.h"

#include <algorithm>
#include <charconv>

#include "conf/format.h"
#include "conf/key_kinds.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

constexpr std::size_t socket_path_max = 107;  // sockaddr_un
constexpr std::uint32_t database_max = 1'000'000;
constexpr std::size_t servers_max = 8;

template <typename Number>
bool read_whole(std::string_view text, Number most, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size() &&
         number <= most;
}

}  // namespace

std::expected<RedisServer, std::string> parse_redis_server(std::string_view text) {
  const auto wrong = [whole = text](std::string_view why) {
    return std::unexpected(
        fmt::format("\"{}\" {}: write redis://HOST:PORT, rediss://HOST:PORT with TLS, or "
                    "redis+unix:/path",
                    without_user(whole), why));
  };
  RedisServer server;
  server.text = text;
  if (text.starts_with("redis+unix:")) {
    text.remove_prefix(std::string_view("redis+unix:").size());
    if (!text.starts_with('/') || text.size() > socket_path_max)
      return wrong("has no absolute path of at most 107 bytes");
    server.is_unix = true;
    server.host = text;
    return server;
  }
  server.is_tls = text.starts_with("rediss://");
  if (!server.is_tls && !text.starts_with("redis://")) return wrong("is no Redis");
  text.remove_prefix(text.find("//") + 2);
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = text.substr(0, at);
    if (user.contains(':'))
      return wrong("has a password, which belongs into the file of sharing.password_file");
    server.user = user;
    text.remove_prefix(at + 1);
  }
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    const std::string_view database = text.substr(slash + 1);
    if (!database.empty() && !read_whole(database, database_max, server.database))
      return wrong("has no number of a database after its '/'");
    text = text.substr(0, slash);
  }
  const std::size_t colon = text.ends_with(']') ? std::string_view::npos : text.rfind(':');
  if (colon != std::string_view::npos) {
    if (!read_whole<std::uint16_t>(text.substr(colon + 1), 65535, server.port) || server.port == 0)
      return wrong("has no port from 1 to 65535");
    text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']'))
    text = text.substr(1, text.size() - 2);
  else if (text.contains(':'))
    return wrong("has an IPv6 address without brackets");
  if (text.empty() || text.find_first_of(" \t/[]*") != std::string_view::npos)
    return wrong("has no usable host");
  server.host = text;
  return server;
}

Key redis_key(std::string name, std::string help, FieldOf<std::vector<RedisServer>> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> std::expected<void, std::string> {
            const auto texts = list_in(raw);
            if (!texts)
              return std::unexpected(
                  std::string("expected a list, such as [\"redis://redis.example:6379\"]"));
            if (texts->size() > servers_max)
              return std::unexpected(fmt::format("expected {} at most", servers_max));
            std::vector<RedisServer> servers;
            for (const std::string& text : *texts) {
              auto server = parse_redis_server(text);
              if (!server) return std::unexpected(server.error());
              if (std::ranges::find(servers, *server) != servers.end())
                return std::unexpected(fmt::format("\"{}\" stands here twice", text));
              servers.push_back(std::move(*server));
            }
            access(settings) = std::move(servers);
            return {};
          },
          [=](const Settings& settings) {
            std::string out;
            for (const RedisServer& server : value_of(access, settings))
              out += (out.empty() ? "" : ", ") + quote(server.text);
            return "[" + out + "]";
          }};
}

Key short_text_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> std::expected<void, std::string> {
            const auto* text = std::get_if<std::string>(&raw.value);
            const auto may_be = [](char c) {
              return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     std::string_view("._-:{}").contains(c);
            };
            if (text == nullptr || text->empty() || text->size() > 64 ||
                !std::ranges::all_of(*text, may_be))
              return std::unexpected(
                  std::string("expected text in quotes, 1 to 64 letters, digits and \"._-:{}\""));
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

}  // namespace classgate::conf
