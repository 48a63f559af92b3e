// Hints for addresses as other programs write them: `listen`, ops.listen, upstream.servers.

#include <algorithm>
#include <array>
#include <utility>

#include "conf/format.h"
#include "conf/line_words.h"
#include "conf/other_tools.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

std::string as_address(std::string_view text) {
  const auto address = text.contains('@') ? parse_address("") : parse_address(text);
  return address ? std::string(text) : std::string();
}

struct Scheme {
  std::string_view name;
  bool is_http2 = false;
  bool is_tls = false;
};
constexpr auto schemes = std::to_array<Scheme>({{"grpc", true, false},
                                                {"grpcs", true, true},
                                                {"h2", true, true},
                                                {"h2c", true, false},
                                                {"http2", true, false},
                                                {"tcp", false, false},
                                                {"http", false, false},
                                                {"https", false, true},
                                                {"ssl", false, true},
                                                {"tls", false, true},
                                                {"ws", false, false},
                                                {"wss", false, true}});

// What is not spoken at all.
constexpr auto unspoken =
    std::to_array<std::pair<std::string_view, std::string_view>>({{"ajp", "AJP"},
                                                                  {"fastcgi", "FastCGI"},
                                                                  {"fcgi", "FastCGI"},
                                                                  {"h3", "HTTP/3"},
                                                                  {"http3", "HTTP/3"},
                                                                  {"quic", "HTTP/3"},
                                                                  {"scgi", "SCGI"},
                                                                  {"udp", "UDP"},
                                                                  {"uwsgi", "uwsgi"}});

std::string_view unspoken_protocol(std::string_view scheme) {
  const auto* const found =
      std::ranges::find(unspoken, scheme, &std::pair<std::string_view, std::string_view>::first);
  return found == unspoken.end() ? std::string_view() : found->second;
}

// "grpc://model:9000" and the like: what is before "://", and the rest up to a path.
struct WithScheme {
  std::string_view scheme, host_and_port, path;
};
WithScheme split_scheme(std::string_view text) {
  const std::size_t colon = text.find("://");
  const bool has_one = colon != std::string_view::npos;
  const std::string_view rest = has_one ? text.substr(colon + 3) : text;
  const std::string_view host = up_to_any_of(rest, "/");
  return {has_one ? text.substr(0, colon) : std::string_view(), host, rest.substr(host.size())};
}

constexpr std::string_view one_by_one =
    "each address stands in quotes of its own: write [\"HOST:PORT\", \"HOST:PORT\"]";
constexpr std::string_view with_protocols = "protocols = [\"h2\", \"http/1.1\"]";

// Of a server whose address is more than an address ("HOST:PORT weight=5").
struct ServerWord {
  std::string_view name;
  std::string_view here;
};
constexpr auto server_words = std::to_array<ServerWord>({
    {"backup", "there are no backup servers: all that are up serve"},
    {"check", "what is checked is said by path in [upstream.check]"},
    {"down", "a server that is not to be asked is left out"},
    {"fail_timeout", "for how long one is passed over is upstream.eject_time"},
    {"inter", "how often they are checked is upstream.check.interval"},
    {"max_conns", "how many requests one takes is upstream.requests_per_server, for each of them"},
    {"max_fails", "failures in a row are counted by upstream.eject_after"},
    {"maxconn", "how many requests one takes is upstream.requests_per_server, for each of them"},
    {"proto", "HTTP/2 is said by h2c:// before the address"},
    {"ssl", "TLS is said by https:// before the address"},
    {"weight", "there are no weights: each request goes to the server that has the fewest"},
});

bool is_number_of_port(std::string_view text) {
  return !text.empty() && text.size() <= 5 &&
         text.find_first_not_of("0123456789") == std::string_view::npos;
}

// A path of the file system, also as in http+unix://%2Frun%2Fx.sock.
std::string hint_for_socket(std::string_view text) {
  std::string path;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view three = text.substr(i, 3);
    const bool is_slash = three == "%2F" || three == "%2f";
    path += is_slash ? '/' : text[i];
    i += is_slash ? 2 : 0;
  }
  const std::string address = "unix:" + path;
  return as_address(address).empty() ? std::string() : fmt::format("write \"{}\"", address);
}

// Not of nginx's or HAProxy's, where options follow; "{{ model }}" has blanks, too.
bool is_one_form(std::size_t words, std::string_view text) {
  return words == 1 || text.find_first_of("${") != std::string_view::npos;
}

// What both kinds have: variables, ranges, brackets that are not closed.
// `variable` is where the environment says it.
std::string hint_for_form(std::string_view text, std::string_view variable) {
  if (text.find_first_of("${") != std::string_view::npos)
    return fmt::format(
        "a conf has no variables: write the address, or leave the key out and set {} in the "
        "environment",
        variable);
  if (text.starts_with('/')) return hint_for_socket(text);
  const auto [scheme, host_and_port, path] = split_scheme(text);
  if (scheme == "http+unix") return hint_for_socket(host_and_port);
  if (host_and_port.starts_with('[') && !host_and_port.contains(']'))
    return "the bracket is not closed: write \"[ADDRESS]:PORT\", such as \"[::1]:9000\"";
  const std::size_t colon = host_and_port.rfind(':');
  const std::string_view port =
      colon == std::string_view::npos ? std::string_view() : host_and_port.substr(colon + 1);
  const std::size_t dash = port.find('-');
  if (dash != std::string_view::npos && is_number_of_port(port.substr(0, dash)) &&
      is_number_of_port(port.substr(dash + 1)))
    return "there are no ranges of ports: write each address in quotes of its own";
  return {};
}

// An address that lacks only its port; `host` is what stands before it.
std::string hint_for_port(std::string_view scheme, std::string_view host) {
  // A bare word may be anything.
  const bool is_host =
      !scheme.empty() || host == "localhost" || host.find_first_of(".*]") != std::string_view::npos;
  if (!is_host || host.starts_with('_') || as_address(fmt::format("{}:1", host)).empty()) return {};
  const bool is_tls = scheme == "https" || scheme == "wss";
  const bool is_usual = is_tls || scheme == "http" || scheme == "ws";
  const std::string_view port = is_tls ? "443" : is_usual ? "80" : "PORT";
  return fmt::format("its port is missing: write \"{}{}:{}\"", is_tls ? "https://" : "", host,
                     port);
}

// For an address to listen on; `host` is for those that say none.
std::string hint_to_listen(std::string_view text, std::string_view host,
                           std::string_view variable) {
  // HAProxy's families. Of others what stands before the '@' may be a password.
  for (const std::string_view family : {"ipv4@", "ipv6@"})
    if (text.starts_with(family) && !as_address(text.substr(family.size())).empty())
      return fmt::format("write \"{}\"", text.substr(family.size()));
  if (text.starts_with("unix@/")) return hint_for_socket(text.substr(5));
  if (text.contains('@')) return {};
  const auto words = blank_separated(text);
  if (words.empty()) return {};
  if (words[0].contains(',')) return std::string(one_by_one);
  if (is_one_form(words.size(), text))
    if (std::string hint = hint_for_form(text, variable); !hint.empty()) return hint;
  std::string_view where = words[0];
  if (where.starts_with("tcp/")) where.remove_prefix(4);  // Caddy's networks
  const bool is_udp = where.starts_with("udp/");
  const auto [scheme, host_and_port, path] = split_scheme(where);
  if (const std::string_view protocol = is_udp ? "UDP" : unspoken_protocol(scheme);
      !protocol.empty())
    return fmt::format("{} is not spoken: write \"*:8080\", or \"https://*:8443\" with TLS",
                       protocol);
  if (scheme == "fd")
    return "a socket of systemd is not named here: where classgate.socket is enabled it is taken";
  const auto* const known = std::ranges::find(schemes, scheme, &Scheme::name);
  bool is_tls = known != schemes.end() && known->is_tls;
  bool is_http2 = known != schemes.end() && known->is_http2;
  if (!scheme.empty() && known == schemes.end()) return {};
  bool has_proxy_protocol = false, is_quic = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    is_tls = is_tls || words[i] == "ssl";
    is_http2 = is_http2 || words[i] == "http2" || words[i].contains("h2");
    is_quic = is_quic || words[i] == "quic";
    has_proxy_protocol =
        has_proxy_protocol || words[i] == "proxy_protocol" || words[i] == "accept-proxy";
  }
  std::string_view bare = scheme.empty() ? where : host_and_port;
  std::string address(bare);
  if (is_number_of_port(bare))
    address = fmt::format("{}:{}", host, bare);
  else if (bare.starts_with(':'))
    address = fmt::format("{}{}", host, bare);
  if (as_address(address).empty()) return path.empty() ? hint_for_port(scheme, bare) : "";
  if (is_tls) address = "https://" + address;
  std::string hint = fmt::format("write \"{}\"", address);
  if (is_tls && scheme != "https") hint += ", with certificate and key in [tls]";
  if (is_http2) hint += fmt::format("{} {} at the top", is_tls ? ", and" : " and", with_protocols);
  if (has_proxy_protocol) hint += "; for PROXY headers proxy_protocol = true in [client]";
  if (is_quic) hint += "; HTTP/3 (QUIC) is not spoken";
  if (!path.empty() && path != "/") hint += "; a path is said by a [[route]]";
  return hint;
}

// Of a server that is named as a service in DNS is elsewhere.
std::string hint_for_service(std::string_view scheme, std::string_view host) {
  const bool is_tls = scheme.contains("https");
  const std::string service = fmt::format("{}://{}", is_tls ? "https+srv" : "http+srv", host);
  if (as_address(service).empty()) return {};
  return fmt::format("a service in DNS is written \"{}\"{}", service,
                     is_tls ? "" : ", with TLS https+srv://");
}

}  // namespace

std::string hint_for_listener(std::string_view text) {
  return hint_to_listen(text, "*", "CLASSGATE_LISTEN");
}

std::string hint_for_operators(std::string_view text) {
  return hint_to_listen(text, "127.0.0.1", "CLASSGATE_OPS_LISTEN");
}

std::string hint_for_server(std::string_view text) {
  if (text.contains('@')) return {};
  while (text.ends_with(';') || text.ends_with(' ')) text.remove_suffix(1);
  std::vector<std::string_view> words = blank_separated(text);
  if (words.empty()) return {};
  if (words[0].contains(',')) return std::string(one_by_one);
  if (is_one_form(words.size(), text))
    if (std::string hint = hint_for_form(text, "CLASSGATE_UPSTREAM_SERVERS"); !hint.empty())
      return hint;
  // "server one 127.0.0.1:9000 maxconn 25", as nginx and HAProxy have it.
  if (words.size() > 1 && words[0] == "server") words.erase(words.begin());
  if (words.size() > 1 && as_address(words[0]).empty() && !as_address(words[1]).empty())
    words.erase(words.begin());
  const auto [scheme, host_and_port, path] = split_scheme(words[0]);
  if (const std::string_view protocol = unspoken_protocol(scheme); !protocol.empty())
    return fmt::format(
        "{} is not spoken with servers: write the HOST:PORT where the service speaks HTTP",
        protocol);
  if (scheme.contains("srv") || (scheme.empty() && host_and_port.starts_with('_')))
    return hint_for_service(scheme, host_and_port);
  if (scheme == "dns" && !as_address(path.empty() ? host_and_port : path.substr(1)).empty())
    return fmt::format("write \"{}\": a name stands for all its addresses",
                       path.empty() ? host_and_port : path.substr(1));
  const auto* const known = std::ranges::find(schemes, scheme, &Scheme::name);
  if (!scheme.empty() && known == schemes.end()) return {};
  const std::string_view port =
      host_and_port.starts_with(':') ? host_and_port.substr(1) : host_and_port;
  if (is_number_of_port(port))
    return fmt::format("its host is missing: write \"HOST:{0}\", on this machine \"127.0.0.1:{0}\"",
                       port);
  if (as_address(host_and_port).empty())
    return words.size() == 1 && path.empty() ? hint_for_port(scheme, host_and_port) : "";
  std::string hint;
  if (scheme.empty() || scheme == "tcp" || scheme == "http" || scheme == "ws")
    hint = fmt::format("write \"{}\"", host_and_port);
  else if (scheme == "h2")
    hint = fmt::format(
        "without TLS write \"h2c://{0}\", with TLS \"https://{0}\" and in [upstream] {1}",
        host_and_port, with_protocols);
  else if (known->is_tls)
    hint = fmt::format(
        "write \"https://{}\"{}", host_and_port,
        known->is_http2 ? fmt::format(", and in [upstream] {}", with_protocols) : std::string());
  else
    hint = fmt::format("write \"h2c://{}\"", host_and_port);
  if (!path.empty())
    hint += path == "/" ? "; no path follows" : "; the path is that of the request";
  for (std::size_t i = 1; i < words.size(); ++i)
    if (const auto* const word =
            std::ranges::find(server_words, up_to_any_of(words[i], "="), &ServerWord::name);
        word != server_words.end())
      hint += fmt::format("; {}", word->here);
  return hint;
}

std::vector<std::string> all_address_hints() {
  std::vector<std::string> all;
  for (const ServerWord& one : server_words) all.emplace_back(one.here);
  return all;
}

}  // namespace classgate::conf
