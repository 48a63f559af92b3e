#include "conf/other_tools.h"

#include <algorithm>
#include <array>
#include <vector>

#include "conf/format.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

struct Directive {
  std::string_view name;
  std::string_view whose;
  std::string_view here;  // the rest of the sentence "nginx's NAME ..."
};

// A test sees to it that every key of ours that is named here exists.
constexpr auto directives = std::to_array<Directive>({
    // clang-format off
    {"accept_mutex", "nginx", "has no counterpart here: every loop accepts"},
    {"access_log", "nginx", "is log.access here"},
    {"balance", "HAProxy", "has no counterpart here: each request goes to the server that has the fewest"},
    {"bind", "HAProxy", "is listen here, such as listen = [\"*:8080\"]"},
    {"circuit_breakers", "Envoy", "are admission.workers (max_requests) and admission.queue_size (max_pending_requests) here"},
    {"client_body_buffer_size", "nginx", "is client.body_buffer here"},
    {"client_body_timeout", "nginx", "is client.body_timeout with client.body_rate_min here"},
    {"client_header_buffer_size", "nginx", "is client.header_bytes here"},
    {"client_header_timeout", "nginx", "is client.header_timeout here"},
    {"client_max_body_size", "nginx", "is client.body_bytes here"},
    {"default_backend", "HAProxy", "is upstream.servers here: there is one service"},
    {"error_log", "nginx", "is log.error with log.level here"},
    {"error_page", "nginx", "is client.refusal_body and [status] here"},
    {"fail_timeout", "nginx", "is upstream.eject_time here"},
    {"fullconn", "HAProxy", "has no counterpart here: admission.workers = \"auto\" follows what the service can do"},
    {"grpc_pass", "nginx", "is a server with h2c:// in upstream.servers here"},
    {"health_check", "nginx", "is upstream.check.path here"},
    {"health_checks", "Envoy", "are upstream.check.path and its interval here"},
    {"http-check", "HAProxy", "is upstream.check.path here"},
    {"http-request", "HAProxy", "is a [[route]] (its priority, rate, cost) or a [[plan]] here"},
    {"httpchk", "HAProxy", "is upstream.check.path here"},
    {"ip_hash", "nginx", "has no counterpart here: each request goes to the server that has the fewest"},
    {"keepalive", "nginx", "is upstream.idle_connections here"},
    {"keepalive_requests", "nginx", "is client.requests_per_connection here"},
    {"keepalive_timeout", "nginx", "is client.idle_timeout here"},
    {"large_client_header_buffers", "nginx", "is client.header_bytes here"},
    {"lb_policy", "Envoy", "has no counterpart here: each request goes to the server that has the fewest"},
    {"least_conn", "nginx", "has no counterpart here: each request goes to the server that has the fewest"},
    {"limit_conn", "nginx", "is admission.workers here, for each client fairness.workers; what goes beyond waits"},
    {"limit_conn_status", "nginx", "is [status] here"},
    {"limit_conn_zone", "nginx", "is fairness.identity here"},
    {"limit_rate", "nginx", "has no counterpart here"},
    {"limit_req", "nginx", "is admission.rate and admission.burst here, for each client fairness.rate and fairness.burst"},
    {"limit_req_status", "nginx", "is status.rate_limited here, for each client status.client_rate"},
    {"limit_req_zone", "nginx", "is admission.rate here, for each client fairness.rate with fairness.identity"},
    {"load_assignment", "Envoy", "is upstream.servers here"},
    {"local_ratelimit", "Envoy", "is admission.rate and admission.burst here"},
    {"log_format", "nginx", "is log.format here"},
    {"max_conns", "nginx", "is upstream.requests_per_server here"},
    {"max_fails", "nginx", "is upstream.eject_after here"},
    {"max_pending_requests", "Envoy", "is admission.queue_size here"},
    {"max_request_headers_kb", "Envoy", "is client.header_bytes here"},
    {"max_requests", "Envoy", "is admission.workers here"},
    {"max_requests_per_connection", "Envoy", "is client.requests_per_connection here"},
    {"max_retries", "Envoy", "is upstream.retry_budget here"},
    {"max_tokens", "Envoy", "is admission.burst here"},
    {"maxconn", "HAProxy", "is admission.workers here, of each server upstream.requests_per_server, of connections client.max_connections"},
    {"maxqueue", "HAProxy", "is admission.queue_size here"},
    {"minconn", "HAProxy", "has no counterpart here: admission.workers = \"auto\" follows what the service can do"},
    {"nbthread", "HAProxy", "is threads here"},
    {"option", "HAProxy", "has no counterpart here, but \"option httpchk\": that is upstream.check.path"},
    {"outlier_detection", "Envoy", "is upstream.eject_after, upstream.eject_time and upstream.eject_errors here"},
    {"proxy_buffer_size", "nginx", "is upstream.header_bytes here"},
    {"proxy_buffering", "nginx", "has no counterpart here: client.response_buffer says how much of an answer is held"},
    {"proxy_buffers", "nginx", "is client.response_buffer here"},
    {"proxy_cache", "nginx", "has no counterpart here: nothing is cached"},
    {"proxy_connect_timeout", "nginx", "is upstream.connect_timeout here"},
    {"proxy_http_version", "nginx", "has no counterpart here: h2c:// before a server is HTTP/2"},
    {"proxy_next_upstream", "nginx", "is upstream.retry_budget here"},
    {"proxy_pass", "nginx", "is upstream.servers here, such as servers = [\"127.0.0.1:9000\"] in [upstream]"},
    {"proxy_read_timeout", "nginx", "is admission.request_timeout here, of streams upstream.stream_idle_timeout"},
    {"proxy_request_buffering", "nginx", "has no counterpart here: client.body_buffer says how much is read first"},
    {"proxy_send_timeout", "nginx", "is admission.request_timeout here"},
    {"proxy_set_header", "nginx", "has no counterpart here: X-Forwarded-For and its like are always set"},
    {"proxy_ssl_verify", "nginx", "is upstream.tls.verify here"},
    {"queue", "nginx", "is admission.queue_size and admission.queue_timeout here"},
    {"real_ip_header", "nginx", "is client.trusted_proxies here"},
    {"requests_per_unit", "Envoy", "is admission.rate here, in requests a second"},
    {"retries", "HAProxy", "is upstream.retry_budget here"},
    {"return", "nginx", "has no counterpart here: everything goes to the service"},
    {"rewrite", "nginx", "has no counterpart here: targets go on as they came"},
    {"root", "nginx", "has no counterpart here: no files are served"},
    {"send_timeout", "nginx", "is client.send_timeout here"},
    {"server-template", "HAProxy", "is upstream.servers here: a name stands for all its addresses"},
    {"server_name", "nginx", "has no counterpart here: every Host is answered"},
    {"set_real_ip_from", "nginx", "is client.trusted_proxies here"},
    {"ssl_certificate", "nginx", "is tls.certificate here"},
    {"ssl_certificate_key", "nginx", "is tls.key here"},
    {"ssl_client_certificate", "nginx", "is tls.client_ca here"},
    {"ssl_protocols", "nginx", "is tls.min_version here"},
    {"ssl_verify_client", "nginx", "is tls.client_certificate here"},
    {"stats", "HAProxy", "is ops.listen here, with a page, /metrics and an API"},
    {"stick", "HAProxy", "is fairness.identity here"},
    {"stick-table", "HAProxy", "is fairness.identity with fairness.rate here"},
    {"tokens_per_fill", "Envoy", "is admission.rate here, in requests a second"},
    {"upstream_rq_timeout", "Envoy", "is admission.request_timeout here"},
    {"use_backend", "HAProxy", "has no counterpart here: there is one service, upstream.servers"},
    {"user", "nginx", "has no counterpart here: the unit or the container says as whom classgate runs"},
    {"weight", "nginx", "has no counterpart here: each request goes to the server that has the fewest"},
    {"worker_connections", "nginx", "is client.max_connections here"},
    {"worker_processes", "nginx", "is threads here"},
    {"worker_rlimit_nofile", "nginx", "has no counterpart here: the limit is raised to the hard one at the start"},
    // clang-format on
});

// HAProxy's "timeout WHAT", the second word.
constexpr auto timeouts = std::to_array<Directive>({
    {"check", "HAProxy", "is upstream.check.timeout here"},
    {"client", "HAProxy", "is client.body_timeout and client.send_timeout here"},
    {"connect", "HAProxy", "is upstream.connect_timeout here"},
    {"http-keep-alive", "HAProxy", "is client.idle_timeout here"},
    {"http-request", "HAProxy", "is client.header_timeout here"},
    {"queue", "HAProxy", "is admission.queue_timeout here"},
    {"server", "HAProxy", "is admission.request_timeout here"},
    {"tunnel", "HAProxy", "is client.idle_timeout here"},
});

// What holds others: in nginx with a brace behind it, in HAProxy at the begin of a line, in Envoy
// with a colon. The words after "nginx's SECTION ".
constexpr auto sections = std::to_array<Directive>({
    {"backend", "HAProxy", "is [upstream] here: write servers = [\"HOST:PORT\"] there"},
    {"cluster", "Envoy", "is [upstream] here: write servers = [\"HOST:PORT\"] there"},
    {"clusters", "Envoy", "are [upstream] here: write servers = [\"HOST:PORT\"] there"},
    {"defaults", "HAProxy",
     "have no table here: each key has a default of its own (classgate --keys)"},
    {"events", "nginx", "has no table here: threads and client.max_connections are its settings"},
    {"frontend", "HAProxy", "is listen here: write listen = [\"*:8080\"] at the top"},
    {"global", "HAProxy",
     "has no table here: threads, log.error and client.max_connections are its settings"},
    {"http", "nginx",
     "has no table here: write listen = [\"*:8080\"] at the top, and the service in [upstream]"},
    {"if", "nginx",
     "has no counterpart here: what depends on a request is a [[route]] or a [[plan]]"},
    {"listeners", "Envoy", "are listen here: write listen = [\"*:8080\"] at the top"},
    {"location", "nginx", "is a [[route]] here, with path = \"/v1/*\" and priority = 3"},
    {"map", "nginx", "has no counterpart here: what depends on who asks is a [[plan]]"},
    {"server", "nginx",
     "has no table here: write listen = [\"*:8080\"] at the top, and the service in [upstream]"},
    {"static_resources", "Envoy",
     "has no table here: write listen = [\"*:8080\"] at the top, and the service in [upstream]"},
    {"stream", "nginx", "has no counterpart here: only HTTP is spoken"},
    {"upstream", "nginx", "is [upstream] here: write servers = [\"HOST:PORT\"] there"},
});

std::vector<std::string_view> blank_separated(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    words.push_back(text.substr(0, text.find_first_of(blanks)));
    text.remove_prefix(words.back().size());
  }
}

std::string_view up_to_any_of(std::string_view text, std::string_view ends) {
  return text.substr(0, text.find_first_of(ends));
}

template <typename Directives>
std::string told_of(const Directives& known, std::string_view name, std::string_view prefix = {}) {
  const auto found = std::ranges::find(known, name, &Directive::name);
  if (found == known.end()) return {};
  return fmt::format("{}'s {}{} {}", found->whose, prefix, name, found->here);
}

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
                                                {"tls", false, true}});

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

constexpr std::string_view with_protocols = "protocols = [\"h2\", \"http/1.1\"]";

// Of a server whose address is more than an address ("HOST:PORT weight=5").
constexpr auto server_words = std::to_array<Directive>({
    {"backup", "", "there are no backup servers: all that are up serve"},
    {"check", "", "what is checked is said by path in [upstream.check]"},
    {"down", "", "a server that is not to be asked is left out"},
    {"fail_timeout", "", "for how long one is passed over is upstream.eject_time"},
    {"inter", "", "how often they are checked is upstream.check.interval"},
    {"max_conns", "",
     "how many requests one takes is upstream.requests_per_server, for each of them"},
    {"max_fails", "", "failures in a row are counted by upstream.eject_after"},
    {"maxconn", "",
     "how many requests one takes is upstream.requests_per_server, for each of them"},
    {"proto", "", "HTTP/2 is said by h2c:// before the address"},
    {"ssl", "", "TLS is said by https:// before the address"},
    {"weight", "", "there are no weights: each request goes to the server that has the fewest"},
});

// For an address to listen on; `host` is for those that say none.
std::string hint_to_listen(std::string_view text, std::string_view host) {
  if (text.contains('@')) return {};
  const auto words = blank_separated(text);
  if (words.empty()) return {};
  std::string_view where = words[0];
  const auto [scheme, host_and_port, path] = split_scheme(where);
  const auto* const known = std::ranges::find(schemes, scheme, &Scheme::name);
  bool is_tls = known != schemes.end() && known->is_tls;
  bool is_http2 = known != schemes.end() && known->is_http2;
  if (!scheme.empty() && known == schemes.end()) return {};
  bool has_proxy_protocol = false;
  for (std::size_t i = 1; i < words.size(); ++i) {
    is_tls = is_tls || words[i] == "ssl";
    is_http2 = is_http2 || words[i] == "http2" || words[i].contains("h2");
    has_proxy_protocol =
        has_proxy_protocol || words[i] == "proxy_protocol" || words[i] == "accept-proxy";
  }
  std::string_view bare = scheme.empty() ? where : host_and_port;
  const bool is_port = !bare.empty() && bare.size() <= 5 &&
                       bare.find_first_not_of("0123456789") == std::string_view::npos;
  std::string address(bare);
  if (is_port)
    address = fmt::format("{}:{}", host, bare);
  else if (bare.starts_with(':'))
    address = fmt::format("{}{}", host, bare);
  if (as_address(address).empty()) return {};
  if (is_tls) address = "https://" + address;
  std::string hint = fmt::format("write \"{}\"", address);
  if (is_tls && scheme != "https") hint += ", with certificate and key in [tls]";
  if (is_http2) hint += fmt::format("{} {} at the top", is_tls ? ", and" : " and", with_protocols);
  if (has_proxy_protocol) hint += "; for PROXY headers proxy_protocol = true in [client]";
  if (!path.empty() && path != "/") hint += "; a path is said by a [[route]]";
  return hint;
}

}  // namespace

std::string hint_for_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) name.remove_prefix(dot + 1);
  std::string hint = told_of(directives, name);
  return hint.empty() ? told_of(sections, name) : hint;
}

std::string hint_for_line(std::string_view line) {
  line = up_to_any_of(line, "#");
  std::vector<std::string_view> words = blank_separated(line);
  if (!words.empty() && words[0] == "-") words.erase(words.begin());  // of a list in YAML
  if (words.empty()) return {};
  const bool is_assignment =
      words[0].contains('=') || (words.size() > 1 && words[1].starts_with('='));
  if (is_assignment) return {};
  if (words[0].starts_with('}'))
    return "a table has no braces: it ends where the next one begins; take the } out";
  const std::string_view last = words.back();
  std::string_view name = up_to_any_of(words[0], ";{:");
  const bool is_block = last.ends_with('{') || line.contains(" { ");
  const bool is_statement = last.ends_with(';');
  const bool is_yaml = words[0].ends_with(':');
  if (is_block) {
    std::string hint = told_of(sections, name);
    return hint.empty() ? "a table has no braces: write [NAME] above its keys" : hint;
  }
  if (name == "timeout" && words.size() > 1) {
    std::string hint = told_of(timeouts, words[1], "timeout ");
    if (!hint.empty()) return hint;
  }
  if (name == "server" && words.size() > 1)
    return fmt::format("{} server is an entry of upstream.servers here{}",
                       is_statement ? "nginx's" : "HAProxy's",
                       words.size() > 2 ? ": only its HOST:PORT" : "");
  if (name == "option" && words.size() > 1)
    if (std::string hint = told_of(directives, words[1]); !hint.empty()) return hint;
  if (name == "listen" && words.size() > 1) {
    std::string hint = hint_for_listener(up_to_any_of(line.substr(line.find("listen") + 6), ";"));
    if (!hint.empty()) return hint;
    return is_statement ? "write listen = [\"HOST:PORT\"] at the top"
                        : "HAProxy's listen is listen and [upstream] here: write listen = "
                          "[\"*:8080\"] at the top, and the service in [upstream]";
  }
  // HAProxy's heads of sections stand alone or with a name; those of nginx have a brace.
  if (words.size() <= 2 && !is_statement) {
    const auto found = std::ranges::find(sections, name, &Directive::name);
    const std::string_view whose = is_yaml ? "Envoy" : "HAProxy";
    if (found != sections.end() && found->whose == whose) return told_of(sections, name);
  }
  return told_of(directives, name);
}

std::string hint_for_listener(std::string_view text) { return hint_to_listen(text, "*"); }

std::string hint_for_operators(std::string_view text) { return hint_to_listen(text, "127.0.0.1"); }

std::string hint_for_server(std::string_view text) {
  if (text.contains('@')) return {};
  while (text.ends_with(';') || text.ends_with(' ')) text.remove_suffix(1);
  std::vector<std::string_view> words = blank_separated(text);
  if (words.empty()) return {};
  // "server one 127.0.0.1:9000 maxconn 25", as nginx and HAProxy have it.
  if (words.size() > 1 && words[0] == "server") words.erase(words.begin());
  if (words.size() > 1 && as_address(words[0]).empty() && !as_address(words[1]).empty())
    words.erase(words.begin());
  const auto [scheme, host_and_port, path] = split_scheme(words[0]);
  const auto* const known = std::ranges::find(schemes, scheme, &Scheme::name);
  if (!scheme.empty() && known == schemes.end()) return {};
  if (as_address(host_and_port).empty()) return {};
  std::string hint;
  if (scheme.empty() || scheme == "tcp" || scheme == "http")
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
            std::ranges::find(server_words, up_to_any_of(words[i], "="), &Directive::name);
        word != server_words.end())
      hint += fmt::format("; {}", word->here);
  return hint;
}

std::vector<std::string> all_hints() {
  std::vector<std::string> all;
  for (const Directive& one : directives) all.push_back(told_of(directives, one.name));
  for (const Directive& one : timeouts) all.push_back(told_of(timeouts, one.name, "timeout "));
  for (const Directive& one : sections) all.push_back(told_of(sections, one.name));
  for (const Directive& one : server_words) all.emplace_back(one.here);
  return all;
}

}  // namespace classgate::conf
