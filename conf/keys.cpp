#include "conf/keys.h"

#include <algorithm>

#include "conf/format.h"
#include "conf/key_kinds.h"

namespace classgate::conf {
namespace {

Key status_key(const ReasonText& text) {
  const std::size_t index = index_of(text.reason);
  Key key = count_key("status." + std::string(text.word), 400, 599,
                      fmt::format("HTTP status of the refusal: {}", text.title),
                      [](Settings&) -> std::uint32_t& {
                        static thread_local std::uint32_t checked;
                        return checked;
                      });
  const auto check = key.read;
  key.read = [=](Settings& settings, const RawValue& raw) -> std::expected<void, std::string> {
    if (auto result = check(settings, raw); !result) return result;
    int status = 0;
    if (const auto* integer = std::get_if<std::int64_t>(&raw.value))
      status = static_cast<int>(*integer);
    else
      status = std::stoi(std::get<std::string>(raw.value));
    settings.statuses[index] = status;
    return {};
  };
  key.print = [=](const Settings& settings) { return std::to_string(settings.statuses[index]); };
  return key;
}

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// The table is long and flat on purpose: one line for each setting.
#define FIELD(member) [](Settings& s) -> auto& { return s.member; }
std::vector<Key> make_keys() {
  constexpr milliseconds ms1{1};
  // clang-format off
  std::vector<Key> keys{
      addresses_key("listen", 1, {.tls = true, .unix_sockets = true}, "addresses on which clients are accepted, https:// before those with TLS, or unix:/path", FIELD(listen)),
      protocols_key("protocols", "what is spoken with clients, \"http/1.1\" and \"h2\"", FIELD(speaks_http2)),
      grpc_services_key("grpc_routes", "services of gRPC whose usual routes are added, such as \"inference.GRPCInferenceService\"", FIELD(grpc_routes)),
      mode_key("socket_mode", "permissions of the Unix sockets in listen, in octal digits", FIELD(socket_mode)),
      owner_key("socket_owner", "who they belong to, USER, USER:GROUP or :GROUP; empty: as the process", FIELD(socket_owner)),
      count_key("threads", 1, 64, "event loops", FIELD(threads)),
      duration_key("drain_timeout", ms1, hours(24), "longest time from SIGTERM to the end", FIELD(drain_timeout)),
      duration_key("handover_grace", ms1, hours(1), "after a successor has taken over, how long a kept connection may still ask", FIELD(handover_grace)),
      duration_key("drain_grace", ms1, hours(1), "after SIGTERM, how long a connection that has asked nothing yet may do so", FIELD(drain_grace)),
      word_key<Sandbox>("sandbox", "whether the kernel keeps the loops from what they never do", FIELD(sandbox)),
      place_key("state_dir", "folder in which history is kept; \"auto\": the one of systemd's STATE_DIRECTORY, or /var/lib/classgate", {"auto"}, FIELD(state_dir)),
      bool_key("core_dumps", "whether a crash may leave a core dump, which would hold private keys", FIELD(core_dumps)),

      count_key("client.max_connections", 1, 1'000'000, "client connections at once", FIELD(client.max_connections)),
      bytes_key("client.memory", MiB(1), Bytes{1ULL << 40}, "memory held for all clients together", FIELD(client.memory)),
      bytes_key("client.header_bytes", KiB(1), MiB(1), "request line and fields together", FIELD(client.header_bytes)),
      count_key("client.header_count", 4, 10'000, "fields in one request", FIELD(client.header_count)),
      bytes_key("client.target_bytes", Bytes{64}, MiB(1), "request target", FIELD(client.target_bytes)),
      bytes_key("client.body_bytes", Bytes{0}, Bytes{1ULL << 40}, "request body", FIELD(client.body_bytes)),
      bytes_key("client.body_buffer", Bytes{1}, MiB(16), "request body held before a worker is asked for", FIELD(client.body_buffer)),
      bytes_key("client.response_buffer", KiB(1), MiB(64), "response held for a client that reads slowly", FIELD(client.response_buffer)),
      duration_key("client.header_timeout", ms1, hours(1), "from the first byte of a request to the end of its header", FIELD(client.header_timeout)),
      duration_key("client.body_timeout", ms1, hours(1), "window in which body_rate_min is measured", FIELD(client.body_timeout)),
      bytes_key("client.body_rate_min", Bytes{0}, MiB(1), "bytes a second that an upload must bring", FIELD(client.body_rate_min)),
      bytes_key("client.stream_rate_min", Bytes{0}, MiB(1024), "bytes a second that an upload must bring which holds a worker that others wait for", FIELD(client.stream_rate_min)),
      duration_key("client.send_timeout", ms1, hours(1), "window in which a reader must take something", FIELD(client.send_timeout)),
      duration_key("client.idle_timeout", ms1, hours(24), "between requests on a kept connection", FIELD(client.idle_timeout)),
      duration_key("client.linger_timeout", ms1, minutes(1), "reading on after an early answer, before closing", FIELD(client.linger_timeout)),
      duration_key("client.linger_max", ms1, hours(1), "the same while something comes in each linger_timeout", FIELD(client.linger_max)),
      bytes_key("client.linger_bytes", Bytes{0}, Bytes{1ULL << 40}, "bytes read on for after an early answer", FIELD(client.linger_bytes)),
      count_key("client.connections_per_address", 0, 1'000'000, "connections of one client address; 0: no limit", FIELD(client.connections_per_address)),
      count_key("client.requests_per_connection", 0, 1'000'000'000, "requests on one connection, which is closed then; 0: no limit", FIELD(client.requests_per_connection)),
      count_key("client.streams_per_connection", 1, 10'000, "requests at once on one HTTP/2 connection", FIELD(client.streams_per_connection)),
      count_key("client.misuse_burst", 10, 1'000'000, "frames at once that help nobody, on one HTTP/2 connection", FIELD(client.misuse_burst)),
      number_key("client.misuse_rate", 0.1, 1e6, false, "frames a second that help nobody, on one HTTP/2 connection", FIELD(client.misuse_rate)),
      networks_key("client.trusted_proxies", "addresses and networks whose word about the client is believed", FIELD(client.trusted_proxies)),
      bool_key("client.proxy_protocol", "trusted proxies begin each connection with a PROXY header", FIELD(client.proxy_protocol)),
      fields_key("client.strip", "further fields that only trusted_proxies may send on to the service", FIELD(client.strip)),
      bool_key("client.strict_paths", "whether a path that a service might read another way is refused", FIELD(client.strict_paths)),
      bool_key("client.server_timing", "whether answers say in Server-Timing how long they waited and worked", FIELD(client.server_timing)),
      word_key<RateLimitFields>("client.rate_limit_fields", "which answers say in RateLimit and RateLimit-Policy what is left of the tokens", FIELD(client.rate_limit_fields)),
      word_key<RefusalBody>("client.refusal_body", "how a refusal is written", FIELD(client.refusal_body)),

      place_key("tls.certificate", "PEM certificate chain of the https:// listeners; empty: none", {""}, FIELD(tls.certificate)),
      place_key("tls.key", "its PEM private key; empty: none", {""}, FIELD(tls.key)),
      word_key<TlsVersion>("tls.min_version", "oldest version that is spoken with clients", FIELD(tls.min_version)),
      word_key<ClientCertificate>("tls.client_certificate", "whether clients are asked for a certificate", FIELD(tls.client_certificate)),
      place_key("tls.client_ca", "PEM certificates of those who sign client certificates", {""}, FIELD(tls.client_ca)),
      duration_key("tls.ticket_rotation", seconds(1), hours(24 * 7), "age at which the key for session tickets is replaced", FIELD(tls.ticket_rotation)),

      addresses_key("upstream.servers", 1, {.tls = true, .unix_sockets = true, .services = true, .http2 = true}, "addresses of the service: HOST:PORT, https://HOST:PORT, h2c://HOST:PORT, unix:/path or http+srv://NAME", FIELD(upstream.servers)),
      duration_key("upstream.connect_timeout", ms1, minutes(10), "longest time to connect", FIELD(upstream.connect_timeout)),
      duration_key("upstream.idle_timeout", ms1, hours(24), "an unused connection is closed after this", FIELD(upstream.idle_timeout)),
      count_key("upstream.idle_connections", 0, 100'000, "unused connections kept, over all threads", FIELD(upstream.idle_connections)),
      bytes_key("upstream.header_bytes", KiB(1), MiB(1), "status line and fields of a response together", FIELD(upstream.header_bytes)),
      duration_key("upstream.probe_interval", milliseconds(100), hours(1), "how often an unreachable server is tried", FIELD(upstream.probe_interval)),
      word_key<OnClientAbort>("upstream.on_client_abort", "what becomes of a request whose client has left", FIELD(upstream.on_client_abort)),
      word_key<Streams>("upstream.streams", "which answers are streams, whose time is not bounded by request_timeout", FIELD(upstream.streams)),
      duration_key("upstream.stream_idle_timeout", ms1, hours(24), "longest silence of the service in a stream", FIELD(upstream.stream_idle_timeout)),
      duration_key("upstream.stream_time_max", ms1, hours(24), "from a stream's head to its end", FIELD(upstream.stream_time_max)),
      word_key<OnClientAbort>("upstream.on_stream_abort", "what becomes of a stream whose client has left", FIELD(upstream.on_stream_abort)),
      duration_key("upstream.repeat_window", milliseconds(0), hours(1), "for how long after a request timeout the same request of the same client is refused; 0: it is not", FIELD(upstream.repeat_window)),
      count_key("upstream.requests_per_server", 0, 100'000, "requests in one server at once; 0: no limit", FIELD(upstream.requests_per_server)),
      count_key("upstream.eject_after", 0, 1'000'000, "failures in a row after which a server is passed over; 0: never", FIELD(upstream.eject_after)),
      duration_key("upstream.eject_time", ms1, hours(1), "for how long, the first time; then twice as long", FIELD(upstream.eject_time)),
      number_key("upstream.eject_errors", 0, 1, false, "share of 5xx among 20 answers from which a server is failing, and passed over; 0: never", FIELD(upstream.eject_errors)),
      duration_key("upstream.hold", milliseconds(0), hours(1), "for how long requests wait for a server when none is up; 0: refused at once", FIELD(upstream.hold)),
      number_key("upstream.retry_budget", 0, 1, false, "requests that may be sent a second time, as a share of all", FIELD(upstream.retry_budget)),
      addresses_key("upstream.nameservers", 0, {}, "who looks the names in servers up again; empty: /etc/resolv.conf", FIELD(upstream.nameservers)),
      duration_key("upstream.resolve_interval", seconds(1), hours(24), "age at which a name in servers is looked up again, if it has not aged before", FIELD(upstream.resolve_interval)),
      duration_key("upstream.resolve_timeout", ms1, minutes(10), "in which the nameservers must tell the addresses of a name", FIELD(upstream.resolve_timeout)),
      duration_key("upstream.unasked_pause", milliseconds(0), hours(1), "for how long no connection is used twice to a server that spoke without being asked", FIELD(upstream.unasked_pause)),
      bool_key("upstream.websocket", "whether a client may switch to WebSocket, through a worker of its own", FIELD(upstream.websocket)),
      protocols_key("upstream.protocols", "what is offered to https:// servers by ALPN, \"http/1.1\" and \"h2\"", FIELD(upstream.offers_http2)),
      count_key("upstream.streams_per_connection", 1, 10'000, "HTTP/2: requests at once on one connection", FIELD(upstream.streams_per_connection)),
      count_key("upstream.connections", 0, 10'000, "HTTP/2: connections of one thread to one server; 0: as many as its requests need", FIELD(upstream.connections)),
      duration_key("upstream.ping_interval", milliseconds(0), hours(1), "HTTP/2: silence of a connection with requests after which the server is asked whether it is there; 0: it is not", FIELD(upstream.ping_interval)),
      duration_key("upstream.ping_timeout", ms1, minutes(10), "HTTP/2: in which it must answer that", FIELD(upstream.ping_timeout)),
      bool_key("upstream.check.grpc", "whether servers are asked as gRPC has it, grpc.health.v1.Health/Check, instead of upstream.check.path", FIELD(upstream.check.grpc)),
      path_key("upstream.check.path", "path that a server must answer with 200 to 399; empty: no checks", FIELD(upstream.check.path)),
      duration_key("upstream.check.interval", milliseconds(10), hours(1), "between two checks of a server", FIELD(upstream.check.interval)),
      duration_key("upstream.check.timeout", ms1, hours(1), "in which it must answer", FIELD(upstream.check.timeout)),
      count_key("upstream.check.rise", 1, 1000, "successes in a row that bring a server back", FIELD(upstream.check.rise)),
      count_key("upstream.check.fall", 1, 1000, "failures in a row that take it out", FIELD(upstream.check.fall)),
      bool_key("upstream.tls.verify", "whether an https:// server must prove who it is", FIELD(upstream.tls.verify)),
      place_key("upstream.tls.ca_file", "PEM certificates that a server's is verified with; empty: the system's", {""}, FIELD(upstream.tls.ca_file)),
      name_key("upstream.tls.server_name", "name that a server must prove and is asked for; empty: its host in servers", FIELD(upstream.tls.server_name)),
      place_key("upstream.tls.certificate", "PEM certificate chain shown to servers; empty: none", {""}, FIELD(upstream.tls.certificate)),
      place_key("upstream.tls.key", "its PEM private key", {""}, FIELD(upstream.tls.key)),

      or_auto(count_key("admission.workers", 1, 100'000, "requests in the upstream at once", FIELD(admission.workers)), FIELD(admission.workers_are_auto)),
      count_key("admission.workers_per_server", 0, 100'000, "workers for each server that is up, all together no more than admission.workers; 0: as many as that, whatever is up", FIELD(admission.workers_per_server)),
      count_key("admission.queue_size", 0, 1'000'000, "requests that may wait", FIELD(admission.queue_size)),
      bytes_key("admission.queue_bytes", Bytes{0}, Bytes{1ULL << 40}, "bodies held by waiting requests, all together", FIELD(admission.queue_bytes)),
      or_auto(number_key("admission.rate", 0.001, 1e6, true, "requests a second; 0: no limit", FIELD(admission.rate)), FIELD(admission.rate_is_auto)),
      number_key("admission.burst", 1, 1e6, false, "requests that may come at once", FIELD(admission.burst)),
      duration_key("admission.request_timeout", ms1, hours(24), "from the end of the request header to the answer", FIELD(admission.request_timeout)),
      duration_key("admission.queue_timeout", ms1, hours(24), "longest wait for a worker; default: request_timeout", FIELD(admission.queue_timeout)),
      duration_key("admission.retry_after_spread", milliseconds{0}, hours(24), "over how long the refused are told to come back, one after the other; 0s: all at the earliest", FIELD(admission.retry_after_spread)),
      word_key<Discipline>("admission.discipline", "who of a priority goes in, and whether those who have waited for too long are shed", FIELD(admission.discipline)),
      duration_key("admission.target_wait", ms1, minutes(1), "wait that the adaptive discipline keeps to", FIELD(admission.target_wait)),
      place_key("admission.shadow_conf", "another conf whose admission is tried in the shadow of this one; empty: none", {""}, FIELD(admission.shadow_conf)),

      count_key("auto.workers_min", 1, 100'000, "fewest workers that \"auto\" may choose", FIELD(admission.autos.workers_min)),
      count_key("auto.workers_max", 1, 100'000, "most workers that \"auto\" may choose", FIELD(admission.autos.workers_max)),
      number_key("auto.rate_min", 0.001, 1e6, false, "lowest rate that \"auto\" may choose", FIELD(admission.autos.rate_min)),
      number_key("auto.rate_max", 0.001, 1e6, false, "highest rate that \"auto\" may choose", FIELD(admission.autos.rate_max)),

      number_key("reserve.priority_1", 0, 1, false, "share of the workers reserved for priority 1", FIELD(admission.reserve.shares[0])),
      number_key("reserve.priority_2", 0, 1, false, "share of the workers reserved for priority 2", FIELD(admission.reserve.shares[1])),
      number_key("reserve.priority_3", 0, 1, false, "share of the workers reserved for priority 3", FIELD(admission.reserve.shares[2])),
      number_key("reserve.priority_4", 0, 1, false, "share of the workers reserved for priority 4", FIELD(admission.reserve.shares[3])),
      number_key("reserve.priority_5", 0, 1, false, "share of the workers reserved for priority 5", FIELD(admission.reserve.shares[4])),
      duration_key("reserve.lend_time", ms1, hours(1), "a priority whose requests take this long leaves reserved workers to those who use them", FIELD(admission.reserve.lend_time)),

      bool_key("deadlines.from_client", "whether Prefer: wait=, grpc-timeout, X-Request-Timeout and X-Stainless-Timeout are believed", FIELD(admission.deadlines.from_client)),
      bool_key("deadlines.refuse_early", "whether what cannot be answered in time is refused at once", FIELD(admission.deadlines.refuse_early)),

      bool_key("observe.rate", "rate_limited, client_rate and route_rate are counted, not said", FIELD(admission.observe.rate)),
      bool_key("observe.deadlines", "would_miss_deadline is counted, not said", FIELD(admission.observe.deadlines)),
      bool_key("observe.shedding", "shed is counted, not said", FIELD(admission.observe.shedding)),
      bool_key("observe.pattern", "client_pattern is counted, not said", FIELD(admission.observe.pattern)),

      identity_key("fairness.identity", "who a client is, the first that a request has of: header:NAME, bearer, basic, cookie:NAME, query:NAME, jwt:CLAIM, tls, tls:san, address; empty: nobody is told apart", FIELD(admission.fairness.identity)),
      count_key("fairness.clients_max", 100, 10'000'000, "clients that are remembered", FIELD(admission.fairness.clients_max)),
      or_auto(number_key("fairness.rate", 0.001, 1e6, true, "requests a second of one client; 0: no limit", FIELD(admission.fairness.everybody.rate)), FIELD(admission.fairness.pattern.is_on), "pattern"),
      number_key("fairness.burst", 1, 1e6, false, "requests of one client that may come at once", FIELD(admission.fairness.everybody.burst)),
      count_key("fairness.workers", 0, 100'000, "workers that one client may have at once; 0: no limit", FIELD(admission.fairness.everybody.workers)),
      count_key("fairness.queue_size", 0, 1'000'000, "requests of one client that may wait; 0: no limit", FIELD(admission.fairness.everybody.queue_size)),
      number_key("fairness.pattern_newcomer", 0.001, 1e6, false, "with rate = \"pattern\", while the service is short: requests a second that a client is allowed of whom no day is known yet, if its plan has no rate", FIELD(admission.fairness.pattern.newcomer)),
      number_key("fairness.pattern_floor", 0.001, 1e6, false, "requests a second that a client is allowed at least, at hours that are unusual for it", FIELD(admission.fairness.pattern.floor)),
      number_key("fairness.pattern_ceiling", 0.001, 1e6, false, "requests a second that a client is allowed at most, however usual more is", FIELD(admission.fairness.pattern.ceiling)),
      number_key("fairness.pattern_headroom", 1, 100, false, "what a client is allowed, as a multiple of what is usual for it", FIELD(admission.fairness.pattern.headroom)),
      number_key("fairness.pattern_growth", 1, 10, false, "what an hour may teach, as a multiple of what was usual for it until then: how much what is usual grows in a day", FIELD(admission.fairness.pattern.growth)),
      duration_key("fairness.pattern_learning", milliseconds(0), hours(24 * 7), "for which it only learns to begin with, and allows everything; 0s: all are newcomers", FIELD(admission.fairness.pattern.learning)),
      count_key("fairness.pattern_clients_max", 100, 1'000'000, "clients whose usual use is remembered", FIELD(admission.fairness.pattern.clients_max)),
      number_key("fairness.reserve", 0, 0.9, false, "share of a bucket of many clients that is kept for those that ask for no more than an equal part", FIELD(admission.fairness.reserve)),
      number_key("fairness.retry_budget", 0, 1, false, "a client's retries, as a share of its requests; more do not wait for a worker; 1: no limit", FIELD(admission.fairness.retry_budget)),
      duration_key("fairness.retry_window", milliseconds(0), hours(24), "within which the same Idempotency-Key of one client is a retry; 0s: never", FIELD(admission.fairness.retry_window)),

      place_key("clients.secret", "file with the key of the clients' ids, made when there is none", {"off"}, FIELD(clients.secret)),
      place_key("clients.clients_file", "file of the known clients, a line for each; empty: none", {""}, FIELD(clients.clients_file)),
      word_key<UnknownClients>("clients.unknown", "who a client is that is not known", FIELD(clients.unknown)),
      count_key("clients.unknown_max", 100, 10'000'000, "unknown clients that are remembered, beside those that are known", FIELD(clients.unknown_max)),
      place_key("clients.quota_file", "file in which it is kept what clients have had of their quotas, made when there is none", {}, FIELD(clients.quota_file)),
      count_key("clients.quota_clients_max", 100, 10'000'000, "clients whose quotas are counted each for itself", FIELD(clients.quota_clients_max)),
      zone_key("clients.time_zone", "whose days and months those of quotas are, as in \"Europe/Berlin\"", FIELD(clients.time_zone)),

      place_key("jwt.keys_file", "file of the keys that signed tokens are checked with, PEM or JWKS; empty: none", {""}, FIELD(jwt.keys_file)),
      algorithms_key("jwt.algorithms", "that tokens may be signed with: HS256, RS256, ES256, EdDSA", FIELD(jwt.algorithms)),
      token_place_key("jwt.from", "where the token stands: bearer, header:NAME or cookie:NAME", FIELD(jwt.from)),
      text_key("jwt.iss", 256, "issuer that a token must have; empty: any", FIELD(jwt.iss)),
      texts_key("jwt.aud", "audiences of which a token must have one; empty: it may have none", FIELD(jwt.aud)),
      duration_key("jwt.leeway", milliseconds(0), minutes(5), "by which exp and nbf of a token may be missed", FIELD(jwt.leeway)),
      bytes_key("jwt.token_bytes", Bytes{256}, KiB(64), "of a token at most", FIELD(jwt.token_bytes)),
      count_key("jwt.tokens_max", 64, 1'000'000, "verified tokens that each loop remembers until they end", FIELD(jwt.tokens_max)),
      count_key("jwt.checks_max", 1, 1'000'000, "signatures that each loop checks in a second; who comes beyond is not known, or hears 503 token_checks", FIELD(jwt.checks_max)),

      word_key<LogLevel>("log.level", "least weight of a line", FIELD(log.level)),
      word_key<LogFormat>("log.format", "of both logs", FIELD(log.format)),
      place_key("log.error", "where the gateway's own messages go", {"stderr", "stdout", "syslog"}, FIELD(log.error)),
      place_key("log.access", "where one line for each request goes", {"off", "stdout", "stderr", "syslog"}, FIELD(log.access)),
      count_key("log.lines_max", 1, 1'000'000, "of the gateway's own messages in a second; half of them are kept for warnings and errors, a quarter for errors", FIELD(log.lines_max)),
      number_key("log.sample", 0, 1, false, "share of the accepted requests that get a line; refusals and failures always do", FIELD(log.sample)),
      count_key("log.access_lines_max", 1, 10'000'000, "access lines in a second; more are dropped and counted, refusals rolled up", FIELD(log.access_lines_max)),
      count_key("log.refusals_max", 1, 10'000'000, "lines of refusals in a second; more are rolled up by client and reason", FIELD(log.refusals_max)),
      bytes_key("log.buffer", KiB(64), MiB(256), "lines waiting for the writer; more are dropped and counted", FIELD(log.buffer)),
      bool_key("log.query", "whether lines tell the query of a target", FIELD(log.query)),
      shown_fields_key("log.headers", log_headers_max, "fields of requests that lines tell; none that holds a secret", FIELD(log.headers)),
      bytes_key("log.header_bytes", Bytes{16}, KiB(1), "of the value of each, User-Agent and traceparent too", FIELD(log.header_bytes)),

      origins_key("cors.origins", "of pages that may ask from elsewhere and read what they are answered; empty: CORS is the service's business", FIELD(cors.origins)),
      page_methods_key("cors.methods", "with which they may ask", FIELD(cors.methods)),
      tokens_key("cors.headers", "fields that they may send", FIELD(cors.headers)),
      bool_key("cors.credentials", "whether browsers send cookies, certificates and passwords along", FIELD(cors.credentials)),
      duration_key("cors.max_age", milliseconds(0), hours(24), "for so long a browser need not ask again whether it may", FIELD(cors.max_age)),

      addresses_key("ops.listen", 0, {.tls = true}, "addresses for operators and monitoring, https:// before those with TLS; may be empty", FIELD(ops.listen)),
      place_key("ops.control", "the control socket; \"off\" or an absolute path", {"off"}, FIELD(ops.control)),
      bool_key("ops.health_on_main", "/queue/health also where clients are accepted", FIELD(ops.health_on_main)),
      duration_key("ops.health_cache", milliseconds(0), seconds(10), "for so long /queue/health shows clients the same numbers", FIELD(ops.health_cache)),
      count_key("ops.client_metrics", 0, 1000, "clients that /metrics tells of, those that have most; 0: none", FIELD(ops.client_metrics)),
      count_key("ops.why_max", 0, 1'000'000, "refusals and failures that are kept for `classgate why`; 0: none", FIELD(ops.why_max)),
      count_key("ops.why_found_max", 1, 1000, "records and lines of one id that `classgate why` tells, the newest", FIELD(ops.why_found_max)),
      count_key("ops.max_connections", 1, 10'000, "operators' connections at once; the longest silent gives way", FIELD(ops.max_connections)),
      count_key("ops.connections_per_address", 1, 10'000, "of these from one address; likewise", FIELD(ops.connections_per_address)),
      place_key("ops.token_file", "file of operators' tokens, a line for each; empty: nothing is changed over ops.listen", {""}, FIELD(ops.token_file)),
      word_key<TokenFor>("ops.token_for", "what needs a token", FIELD(ops.token_for)),
      texts_key("ops.hosts", "names that browsers may call the page by, beside addresses and localhost", FIELD(ops.hosts)),
      duration_key("ops.session_time", minutes(1), hours(24 * 7), "from logging in to the page until it must be done anew", FIELD(ops.session_time)),
      count_key("ops.viewers_max", 0, 10'000, "who watch the page at once; 0: nobody", FIELD(ops.viewers_max)),
      count_key("ops.conf_history", 0, 1000, "confs that were in force and are kept in state_dir, the newest; 0: none", FIELD(ops.conf_history)),
      duration_key("ops.timeout", ms1, hours(1), "for an operator's request and its answer, and between two", FIELD(ops.timeout)),
      duration_key("ops.reload_timeout", ms1, hours(1), "in which a reload must have read, looked up and opened all that it needs", FIELD(ops.reload_timeout)),
      duration_key("ops.upgrade_timeout", ms1, hours(1), "in which a new program must be ready (SIGUSR2)", FIELD(ops.upgrade_timeout)),

      bool_key("history.keep", "whether it is counted who uses how much; false: nothing is counted or kept", FIELD(history.keep)),
      duration_key("history.retention", hours(1), hours(87'600), "for so long hours are kept; minutes for a week at most, seconds for an hour", FIELD(history.retention)),
      bytes_key("history.bytes_max", MiB(4), MiB(65'536), "size of the file; beyond it the oldest is deleted", FIELD(history.bytes_max)),
      duration_key("history.session_gap", seconds(10), hours(24), "a longer silence of a client ends its session", FIELD(history.session_gap)),
      count_key("history.clients_max", 100, 1'000'000, "clients whose sessions are remembered; the longest silent gives way", FIELD(history.clients_max)),
      count_key("history.top_clients", 1, 1000, "clients of an hour that are kept each for itself, those that have most; a minute has a quarter of them", FIELD(history.top_clients)),
      bool_key("forecast.keep", "the demand of two weeks is kept, and it is forecast how it goes on", FIELD(forecast.keep)),
      place_key("forecast.file", "file in which it is kept over a restart, made when there is none; auto: demand in state_dir", {"auto", "off"}, FIELD(forecast.file)),
      target_key("forecast.target", "that there shall be workers for, as \"wait p95 <= 100ms for priority 3\"; empty: nobody says how many are needed", FIELD(forecast.target)),
      duration_key("forecast.lead_time", seconds(0), hours(1), "from the decision to start a server until it serves", FIELD(forecast.lead_time)),
      count_key("forecast.workers_per_server", 0, 100'000, "requests that a server takes at once; 0: admission.workers / the servers in upstream.servers", FIELD(forecast.workers_per_server)),
      count_key("forecast.servers_min", 1, 10'000, "servers that are said to be needed at least", FIELD(forecast.servers_min)),
      count_key("forecast.servers_max", 1, 10'000, "servers that are said to be needed at most", FIELD(forecast.servers_max)),
      number_key("forecast.fall", 0.001, 1, false, "share of the servers needed by which their number falls in a minute at most", FIELD(forecast.fall)),
      place_key("forecast.hook", "program that is run when another number of servers is needed; empty: none", {""}, FIELD(forecast.hook)),
      duration_key("forecast.hook_timeout", milliseconds(100), minutes(10), "then it is killed", FIELD(forecast.hook_timeout)),

      redis_key("sharing.redis", "who keeps the ledger of several gateways that have the workers together, each a redis://HOST:PORT/DATABASE, rediss:// with TLS or redis+unix:/path; empty: this one is alone", FIELD(sharing.redis)),
      place_key("sharing.password_file", "file whose first line is the password for these; empty: none", {""}, FIELD(sharing.password_file)),
      place_key("sharing.ca_file", "PEM certificates that theirs are verified with, for rediss://; empty: the system's", {""}, FIELD(sharing.ca_file)),
      short_text_key("sharing.prefix", "what the keys begin with: gateways with the same share with each other", FIELD(sharing.prefix)),
      short_text_key("sharing.name", "what operators know this gateway by; \"auto\": the name of the host", FIELD(sharing.name)),
      duration_key("sharing.period", milliseconds(10), seconds(10), "between two exchanges with the ledger", FIELD(sharing.period)),
      duration_key("sharing.lease", milliseconds(100), minutes(2), "for so long what the ledger gave counts", FIELD(sharing.lease)),
      duration_key("sharing.away_max", seconds(1), hours(24 * 7), "for so long the others leave a silent gateway its part", FIELD(sharing.away_max)),
      word_key<WhenAway>("sharing.when_away", "what goes on when nothing is heard of the ledger", FIELD(sharing.when_away)),
      count_key("sharing.members_max", 2, 256, "gateways that the ledger knows at once", FIELD(sharing.members_max)),
  };
  // clang-format on
  for (Key& key : keys)
    key.needs_restart = key.name == "threads" || key.name == "sandbox" ||
                        key.name == "core_dumps" || key.name == "clients.secret" ||
                        key.name == "clients.quota_file" || key.name == "state_dir" ||
                        key.name.starts_with("history.") || key.name == "forecast.file" ||
                        key.name.starts_with("sharing.");
  std::ranges::find(keys, "threads", &Key::name)->default_text = "the processors it may use";
  for (const ReasonText& text : reason_texts) keys.push_back(status_key(text));
  return keys;
}
#undef FIELD

}  // namespace

const std::vector<Key>& all_keys() {
  static const std::vector<Key> keys = make_keys();
  return keys;
}

const Key* find_key(std::string_view name) {
  const auto found = std::ranges::find(all_keys(), name, &Key::name);
  return found == all_keys().end() ? nullptr : &*found;
}

std::string environment_name(std::string_view key) {
  std::string name = "CLASSGATE_";
  for (const char c : key)
    name += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return name;
}

}  // namespace classgate::conf
