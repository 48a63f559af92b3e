#include "conf/other_tools.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

#include "conf/format.h"
#include "conf/line_words.h"

namespace classgate::conf {
namespace {

struct Directive {
  std::string_view name;
  std::string_view whose;  // empty: what many call it
  std::string_view here;   // the rest of the sentence "nginx's NAME ..."
};

// A test sees to it that every key of ours that is named here exists.
constexpr auto directives = std::to_array<Directive>({
    // clang-format off
    {"accept_mutex", "nginx", "has no counterpart here: every loop accepts"},
    {"access_log", "nginx", "is log.access here"},
    {"allowed_fails", "LiteLLM", "is upstream.eject_after here"},
    {"amount", "Traefik", "is admission.workers here, for each client fairness.workers"},
    {"api_base", "LiteLLM", "is upstream.servers here, without a path: that is the request's"},
    {"auth", "", "is [clients] with clients_file here, or [jwt]"},
    {"average", "Traefik", "is admission.rate here, in requests a second, for each client fairness.rate"},
    {"balance", "HAProxy", "has no counterpart here: each request goes to the server that has the fewest"},
    {"bind", "HAProxy", "is listen here, such as listen = [\"*:8080\"]"},
    {"circuit_breakers", "Envoy", "are admission.workers (max_requests) and admission.queue_size (max_pending_requests) here"},
    {"client_body_buffer_size", "nginx", "is client.body_buffer here"},
    {"client_body_timeout", "nginx", "is client.body_timeout with client.body_rate_min here"},
    {"client_header_buffer_size", "nginx", "is client.header_bytes here"},
    {"client_header_timeout", "nginx", "is client.header_timeout here"},
    {"client_max_body_size", "nginx", "is client.body_bytes here"},
    {"concurrency", "", "is admission.workers here, for each client fairness.workers"},
    {"cooldown_time", "LiteLLM", "is upstream.eject_time here"},
    {"default_backend", "HAProxy", "is upstream.servers here: there is one service"},
    {"encode", "Caddy", "has no counterpart here: bodies go on as they came"},
    {"entryPoints", "Traefik", "is listen here, such as listen = [\"*:8080\"]"},
    {"error_log", "nginx", "is log.error with log.level here"},
    {"error_page", "nginx", "is client.refusal_body and [status] here"},
    {"fail_timeout", "nginx", "is upstream.eject_time here"},
    {"file_server", "Caddy", "has no counterpart here: no files are served"},
    {"fullconn", "HAProxy", "has no counterpart here: admission.workers = \"auto\" follows what the service can do"},
    {"general_settings", "LiteLLM", "have no table here: clients and their keys are in clients_file (classgate key new)"},
    {"grpc_pass", "nginx", "is a server with h2c:// in upstream.servers here"},
    {"handle", "Caddy", "is a [[route]] here, with path = \"/v1/*\" and priority = 3"},
    {"health_check", "nginx", "is upstream.check.path here"},
    {"health_checks", "Envoy", "are upstream.check.path and its interval here"},
    {"health_interval", "Caddy", "is upstream.check.interval here"},
    {"health_timeout", "Caddy", "is upstream.check.timeout here"},
    {"health_uri", "Caddy", "is upstream.check.path here"},
    {"http-check", "HAProxy", "is upstream.check.path here"},
    {"http-request", "HAProxy", "is a [[route]] (its priority, rate, cost) or a [[plan]] here"},
    {"httpchk", "HAProxy", "is upstream.check.path here"},
    {"inflight", "", "is admission.workers here, for each client fairness.workers"},
    {"inFlightReq", "Traefik", "is admission.workers here, for each client fairness.workers; what goes beyond waits"},
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
    {"limits", "", "are keys of [admission] here: workers, queue_size, rate, burst"},
    {"litellm_params", "LiteLLM", "have no table here: the service is upstream.servers, limits are in [admission]"},
    {"litellm_settings", "LiteLLM", "have no table here: each key has a default of its own (classgate --keys)"},
    {"load_assignment", "Envoy", "is upstream.servers here"},
    {"loadBalancer", "Traefik", "is upstream.servers here, such as servers = [\"127.0.0.1:9000\"] in [upstream]"},
    {"local_ratelimit", "Envoy", "is admission.rate and admission.burst here"},
    {"log_format", "nginx", "is log.format here"},
    {"logging", "", "is [log] here: error, level, access, format"},
    {"master_key", "LiteLLM", "is clients_file here (classgate key new), of operators ops.token_file"},
    {"max_budget", "LiteLLM", "is quota_month of a [[plan]] here, in requests or tokens"},
    {"max_concurrency", "", "is admission.workers here, for each client fairness.workers"},
    {"max_concurrent", "", "is admission.workers here, for each client fairness.workers"},
    {"max_concurrent_requests", "", "is admission.workers here, for each client fairness.workers"},
    {"max_conns", "nginx", "is upstream.requests_per_server here"},
    {"max_fails", "nginx", "is upstream.eject_after here"},
    {"max_inflight", "", "is admission.workers here, of each server upstream.requests_per_server"},
    {"max_parallel_requests", "LiteLLM", "is admission.workers here, for each client fairness.workers"},
    {"max_pending_requests", "Envoy", "is admission.queue_size here"},
    {"max_queue", "", "is admission.queue_size here"},
    {"max_queue_size", "", "is admission.queue_size here"},
    {"max_request_headers_kb", "Envoy", "is client.header_bytes here"},
    {"max_requests", "Envoy", "is admission.workers here"},
    {"max_requests_per_connection", "Envoy", "is client.requests_per_connection here"},
    {"max_retries", "Envoy", "is upstream.retry_budget here"},
    {"max_tokens", "Envoy", "is admission.burst here"},
    {"maxconn", "HAProxy", "is admission.workers here, of each server upstream.requests_per_server, of connections client.max_connections"},
    {"maxqueue", "HAProxy", "is admission.queue_size here"},
    {"metrics", "", "are at /metrics of ops.listen here"},
    {"middlewares", "Traefik", "have no table here: rates, workers and the queue are keys of [admission]"},
    {"minconn", "HAProxy", "has no counterpart here: admission.workers = \"auto\" follows what the service can do"},
    {"mode", "HAProxy", "has no counterpart here: only HTTP is spoken"},
    {"model_list", "LiteLLM", "is [upstream] here: write servers = [\"HOST:PORT\"] there; all have the same model"},
    {"nbthread", "HAProxy", "is threads here"},
    {"num_retries", "LiteLLM", "is upstream.retry_budget here"},
    {"option", "HAProxy", "has no counterpart here, but \"option httpchk\": that is upstream.check.path"},
    {"outlier_detection", "Envoy", "is upstream.eject_after, upstream.eject_time and upstream.eject_errors here"},
    {"port", "", "is said by listen here, such as listen = [\"*:8080\"]"},
    {"port_value", "Envoy", "is said by listen and upstream.servers here, as HOST:PORT"},
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
    {"queue_length", "", "is admission.queue_size here"},
    {"rate_limit", "", "is admission.rate and admission.burst here, for each client fairness.rate and fairness.burst"},
    {"rateLimit", "Traefik", "is admission.rate and admission.burst here, for each client fairness.rate and fairness.burst"},
    {"ratelimit", "", "is admission.rate and admission.burst here, for each client fairness.rate and fairness.burst"},
    {"real_ip_header", "nginx", "is client.trusted_proxies here"},
    {"requests_per_second", "", "is admission.rate here, for each client fairness.rate"},
    {"requests_per_unit", "Envoy", "is admission.rate here, in requests a second"},
    {"responseHeaderTimeout", "Traefik", "is admission.request_timeout here"},
    {"retries", "HAProxy", "is upstream.retry_budget here"},
    {"return", "nginx", "has no counterpart here: everything goes to the service"},
    {"reverse_proxy", "Caddy", "is upstream.servers here, such as servers = [\"127.0.0.1:9000\"] in [upstream]"},
    {"rewrite", "nginx", "has no counterpart here: targets go on as they came"},
    {"root", "nginx", "has no counterpart here: no files are served"},
    {"router_settings", "LiteLLM", "have no table here: each request goes to the server that has the fewest"},
    {"routing_strategy", "LiteLLM", "has no counterpart here: each request goes to the server that has the fewest"},
    {"rpm", "", "is admission.rate here, in requests a second, for each client fairness.rate"},
    {"rps", "", "is admission.rate here, for each client fairness.rate"},
    {"send_timeout", "nginx", "is client.send_timeout here"},
    {"server-template", "HAProxy", "is upstream.servers here: a name stands for all its addresses"},
    {"server_name", "nginx", "has no counterpart here: every Host is answered"},
    {"set_real_ip_from", "nginx", "is client.trusted_proxies here"},
    {"socket_address", "Envoy", "is said by listen and upstream.servers here, as HOST:PORT"},
    {"sourceCriterion", "Traefik", "is fairness.identity here"},
    {"ssl_certificate", "nginx", "is tls.certificate here"},
    {"ssl_certificate_key", "nginx", "is tls.key here"},
    {"ssl_client_certificate", "nginx", "is tls.client_ca here"},
    {"ssl_protocols", "nginx", "is tls.min_version here"},
    {"ssl_verify_client", "nginx", "is tls.client_certificate here"},
    {"stats", "HAProxy", "is ops.listen here, with a page, /metrics and an API"},
    {"stick", "HAProxy", "is fairness.identity here"},
    {"stick-table", "HAProxy", "is fairness.identity with fairness.rate here"},
    {"timeout", "", "is admission.request_timeout here, of the wait alone admission.queue_timeout, of the connect upstream.connect_timeout"},
    {"timeouts", "", "are keys of [admission], [client] and [upstream] here (classgate --keys)"},
    {"tokens_per_fill", "Envoy", "is admission.rate here, in requests a second"},
    {"tpm", "", "is rate of a [[plan]] here, in tokens a second, where cost of a [[route]] counts them"},
    {"upstream_rq_timeout", "Envoy", "is admission.request_timeout here"},
    {"url", "", "is an entry of upstream.servers here, as HOST:PORT"},
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

// Whose table has the name of nginx's section, and others in it.
constexpr std::string_view here_of_traefiks_http =
    "has no table here: a router is a [[route]], and the service is [upstream]";

template <typename Directives>
std::string told_of(const Directives& known, std::string_view name, std::string_view prefix = {}) {
  const auto found = std::ranges::find(known, name, &Directive::name);
  if (found == known.end()) return {};
  if (found->whose.empty()) return fmt::format("{} {}", name, found->here);
  return fmt::format("{}'s {}{} {}", found->whose, prefix, name, found->here);
}

}  // namespace

std::string hint_for_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) name.remove_prefix(dot + 1);
  std::string hint = told_of(directives, name);
  return hint.empty() ? told_of(sections, name) : hint;
}

std::string hint_for_table(std::string_view name, std::string_view inside) {
  const bool is_of_traefik = inside == "routers" || inside == "services" || inside == "middlewares";
  if (name == "http" && is_of_traefik)
    return fmt::format("Traefik's {} {}", name, here_of_traefiks_http);
  return hint_for_name(name);
}

std::string hint_for_line(std::string_view line) {
  line = up_to_any_of(line, "#");
  std::vector<std::string_view> words = blank_separated(line);
  const bool is_entry = words.size() > 1 && words[0] == "-";  // of a list in YAML
  if (is_entry) words.erase(words.begin());
  if (words.empty()) return {};
  if (words[0].starts_with("//") || words[0].starts_with(';')) return "a comment begins with #";
  if (words[0].starts_with('<')) return "a table has no <...>: write [NAME] above its keys";
  if (words[0] == "export" || words[0].starts_with("CLASSGATE_"))
    return "this is for the environment: write the key, such as listen = [\"*:8080\"]";
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
  if (name == "listen" && words.size() > 1 && !is_yaml) {
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
  std::string hint = told_of(directives, name);
  if (!hint.empty() || !is_entry) return hint;
  return is_yaml ? "lists of tables are written as [[NAME]], with KEY = VALUE below it"
                 : "a list stands in brackets: write KEY = [\"...\", \"...\"]";
}

std::optional<double> rate_meant(std::string_view text) {
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || !std::isfinite(number)) return std::nullopt;
  std::string_view unit(stop, static_cast<std::size_t>(text.data() + text.size() - stop));
  for (const std::string_view what : {"requests", "req", "r"})
    if (unit.starts_with(what)) {
      unit.remove_prefix(what.size());
      break;
    }
  constexpr auto units = std::to_array<std::pair<std::string_view, double>>({{"", 1},
                                                                             {"/s", 1},
                                                                             {"/sec", 1},
                                                                             {"/second", 1},
                                                                             {"/m", 60},
                                                                             {"/min", 60},
                                                                             {"/minute", 60},
                                                                             {"/h", 3600},
                                                                             {"/hour", 3600}});
  const auto* const found =
      std::ranges::find(units, unit, &std::pair<std::string_view, double>::first);
  if (found == units.end()) return std::nullopt;
  return number / found->second;
}

std::vector<std::string> all_hints() {
  std::vector<std::string> all;
  for (const Directive& one : directives) all.push_back(told_of(directives, one.name));
  for (const Directive& one : timeouts) all.push_back(told_of(timeouts, one.name, "timeout "));
  for (const Directive& one : sections) all.push_back(told_of(sections, one.name));
  all.push_back(hint_for_table("http", "routers"));
  std::ranges::move(all_address_hints(), std::back_inserter(all));
  return all;
}

}  // namespace classgate::conf
