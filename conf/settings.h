#pragma once

// Every setting of the gateway, as plain values with their defaults and units. Start here to see
// what can be configured; conf/classgate.conf is the same list for operators. Settings are read
// once (conf/reader.h), then never change: a reload makes a new value. Longer than other files,
// because it is one list: whoever looks for a setting looks here.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/network.h"
#include "conf/reason.h"

namespace classgate::conf {

using std::chrono::milliseconds;

// A count of bytes; its own type so that it is never mistaken for a count of anything else.
struct Bytes {
  std::uint64_t count = 0;
  auto operator<=>(const Bytes&) const = default;
};
constexpr Bytes KiB(std::uint64_t n) { return {n * 1024}; }
constexpr Bytes MiB(std::uint64_t n) { return {n * 1024 * 1024}; }

// "127.0.0.1:8080", "[::1]:8080", "*:8080" or "host.example:8080", split but not resolved; with
// "https://" before it for TLS, "h2c://" for HTTP/2 without TLS. Or "unix:/path". Or
// "http+srv://_classify._tcp.example", "https+srv://...": a service, whose hosts and ports DNS
// tells (SRV records, RFC 2782).
struct Address {
  std::string host;        // without brackets; "*" means every address of this machine; or the path
  std::uint16_t port = 0;  // 0 of a service
  std::string text;        // as written, for messages
  bool is_tls = false;
  bool is_unix = false;
  bool is_service = false;
  bool is_http2 = false;  // by prior knowledge
  bool operator==(const Address&) const = default;
  // To be looked up: neither a path nor a number, which for IPv6 may have a zone (RFC 4007 section
  // 11: "fe80::1%eth0").
  bool is_name() const;
  // As SNI, certificates and Host have it: without the dot at the end of a whole name (RFC 6066
  // section 3), and without the zone, which means something on this machine only. Of a service its
  // domain, without "_classify._tcp.": whoever lies in DNS tells other hosts, not another domain
  // (RFC 9525 section 6.2).
  std::string bare_host() const;
};

// Which answers are streams: time counts anew with each piece of them.
enum class Streams : std::uint8_t {
  none,
  by_type,  // without a length, of a type that is made to be streamed (gateway/answer_terms.h)
  chunked,  // all without a length
};
enum class OnClientAbort : std::uint8_t {
  finish,  // the upstream computes on: the worker stays taken until it is done
  cancel,  // the upstream stops when its connection closes: close it, free the worker
};

// Which answers say in RateLimit and RateLimit-Policy what is left of a client's tokens.
enum class RateLimitFields : std::uint8_t { off, refusals, all };

// How a refusal is written: as application/problem+json, the same with the `error` object that
// OpenAI's clients read as application/json, or one line of text.
enum class RefusalBody : std::uint8_t { problem, openai, text };

// [client]: what one client connection may cost.
struct ClientSettings {
  std::uint32_t max_connections = 10000;  // all client connections; also held under RLIMIT_NOFILE
  Bytes memory = MiB(128);                // held for all clients together
  Bytes header_bytes = KiB(32);           // request line and fields together
  std::uint32_t header_count = 100;       // fields in one request
  Bytes target_bytes = KiB(8);            // request target
  Bytes body_bytes = MiB(10);             // request body, all of it
  Bytes body_buffer = KiB(64);            // request body held before a worker is asked for
  Bytes response_buffer = KiB(256);       // response held for a client that reads slowly
  milliseconds header_timeout{10'000};    // first byte of a request to the end of its header
  milliseconds body_timeout{10'000};      // window in which body_rate_min is measured
  Bytes body_rate_min{500};               // bytes a second that an upload must bring
  Bytes stream_rate_min = KiB(16);        // of an upload that holds a worker others wait for
  milliseconds send_timeout{30'000};      // window in which a reader must take something
  milliseconds idle_timeout{75'000};      // between requests on a kept connection
  milliseconds linger_timeout{2'000};     // reading on after an early answer, before closing
  milliseconds linger_max{30'000};        // as long as something comes in each linger_timeout
  Bytes linger_bytes = MiB(64);           // and as much
  // Of one client, as a part of max_connections; fewer where descriptors allow fewer in all. 0
  // means no limit.
  std::uint32_t connections_per_address = 5000;
  std::uint32_t requests_per_connection = 10'000;  // then the client has to connect anew; 0: none
  std::uint32_t streams_per_connection = 100;      // HTTP/2: requests at once
  std::uint32_t misuse_burst = 500;                // HTTP/2: frames that help nobody, in a moment
  double misuse_rate = 20;                         // and of these in a second, in the long run
  std::vector<Network> trusted_proxies;            // whose word about the client is believed
  bool proxy_protocol = false;     // these begin each connection with a PROXY header
  std::vector<std::string> strip;  // names of fields that only these may send on
  bool strict_paths = false;       // 400 for a path that could be read in two ways
  bool server_timing = false;      // answers say how long they waited and worked
  RateLimitFields rate_limit_fields = RateLimitFields::refusals;
  RefusalBody refusal_body = RefusalBody::problem;
};

enum class TlsVersion : std::uint8_t { tls12, tls13 };
enum class ClientCertificate : std::uint8_t { off, optional, required };

// A PEM chain and its key.
struct CertificateSettings {
  std::string certificate;
  std::string key;
  std::string origin;  // where it was named, for messages
  bool operator==(const CertificateSettings&) const = default;
};

// [tls]: listeners with "https://". tls.certificate and tls.key are the first pair, shown to
// whoever asks for a name that none of the others, [[certificate]], is for.
struct TlsSettings {
  std::string certificate;
  std::string key;
  std::vector<CertificateSettings> certificates;  // all of them; put together by the reader
  TlsVersion min_version = TlsVersion::tls12;
  ClientCertificate client_certificate = ClientCertificate::off;
  std::string client_ca;                                // who signs client certificates
  milliseconds ticket_rotation{std::chrono::hours(8)};  // a ticket opens for three times that
  bool operator==(const TlsSettings&) const = default;
};

// [upstream.tls]: servers with "https://".
struct UpstreamTlsSettings {
  bool verify = true;
  std::string ca_file;      // empty: the system's
  std::string server_name;  // empty: the host in upstream.servers
  std::string certificate;  // shown to the server; empty: none
  std::string key;
  bool operator==(const UpstreamTlsSettings&) const = default;
};

// [upstream.check]: asking each server how it is.
struct CheckSettings {
  std::string path;   // empty: no checks, but for grpc
  bool grpc = false;  // grpc.health.v1.Health/Check instead of `path`
  bool is_on() const { return grpc || !path.empty(); }
  milliseconds interval{5'000};
  milliseconds timeout{2'000};
  std::uint32_t rise = 2;  // successes in a row that bring a server back
  std::uint32_t fall = 3;  // failures in a row that take it out
  bool operator==(const CheckSettings&) const = default;
};

// [upstream]: the service in front of which the gateway stands.
struct UpstreamSettings {
  std::vector<Address> servers{{"127.0.0.1", 9000, "127.0.0.1:9000"}};
  milliseconds connect_timeout{2'000};
  milliseconds idle_timeout{30'000};    // an unused connection is closed after this
  std::uint32_t idle_connections = 50;  // unused connections kept, over all threads
  Bytes header_bytes = KiB(64);         // response status line and fields together
  milliseconds probe_interval{1'000};   // how often an unreachable server is tried again
  OnClientAbort on_client_abort = OnClientAbort::finish;
  Streams streams = Streams::by_type;
  milliseconds stream_idle_timeout{60'000};  // longest silence in one
  milliseconds stream_time_max{600'000};     // from its head to its end
  OnClientAbort on_stream_abort = OnClientAbort::cancel;
  milliseconds repeat_window{0};          // after a 504 its repeats are refused; 0: they are not
  std::uint32_t requests_per_server = 0;  // at once; 0 means no limit
  std::uint32_t eject_after = 5;          // failures in a row; 0 means never
  milliseconds eject_time{5'000};         // the first time, then twice as long
  double eject_errors = 0.5;              // share of 5xx from which it is failing; 0 means never
  milliseconds hold{10'000};              // requests wait while no server is up; 0: refused at once
  double retry_budget = 0.2;              // second attempts, as a share of the requests
  std::vector<Address> nameservers;       // empty: /etc/resolv.conf
  milliseconds resolve_interval{30'000};  // names are looked up again at least as often
  milliseconds resolve_timeout{5'000};    // for a name, with all attempts
  bool websocket = false;                 // Upgrade: websocket goes on, and holds its worker
  milliseconds unasked_pause{10'000};     // without reuse, of a server that spoke unasked; 0: none
  bool offers_http2 = false;              // to https:// servers, by ALPN: `protocols` has "h2"
  std::uint32_t streams_per_connection = 100;  // HTTP/2: requests at once
  std::uint32_t connections = 0;     // HTTP/2: of one loop to one server; 0: as many as it takes
  milliseconds ping_interval{0};     // HTTP/2: of silence under requests, then PING; 0: none
  milliseconds ping_timeout{5'000};  // in which it must be answered
  CheckSettings check;
  UpstreamTlsSettings tls;
  bool operator==(const UpstreamSettings&) const = default;
};

// [deadlines]: when an answer comes too late to be of use.
struct DeadlineSettings {
  bool from_client = false;  // what clients say of their patience is believed
  bool refuse_early = true;  // what can't be answered in time hears so at once
  bool operator==(const DeadlineSettings&) const = default;
};

// [reserve]: workers that others may borrow but must give back first.
struct ReserveSettings {
  std::array<double, 5> shares{};  // of the workers, by priority
  milliseconds lend_time{1'000};   // who takes longer for a request leaves what is in use
  bool operator==(const ReserveSettings&) const = default;
};

// [auto]: between what the gateway may choose.
struct AutoSettings {
  std::uint32_t workers_min = 2;
  std::uint32_t workers_max = 500;
  double rate_min = 10;
  double rate_max = 10'000;
  bool operator==(const AutoSettings&) const = default;
};

// [observe]: rules whose refusals are counted and logged, not made.
struct ObserveSettings {
  bool rate = false;       // rate_limited
  bool deadlines = false;  // would_miss_deadline, deadline
  bool shedding = false;   // shed
  bool pattern = false;    // client_pattern
  bool operator==(const ObserveSettings&) const = default;
};

// What the kernel keeps the threads that serve clients from (gateway/sandbox.h).
enum class Sandbox : std::uint8_t {
  off,
  automatic,  // as much as this kernel can
  required,   // no start without all of it
};

enum class Discipline : std::uint8_t {
  fifo,      // a priority's waiters go in as they came
  adaptive,  // while they wait for too long: the newest first, the oldest are shed
};

// Who a client is: the first of these that a request has.
struct IdentitySource {
  enum class Kind : std::uint8_t {
    header,
    bearer,
    basic,
    cookie,
    query,
    jwt,
    tls,
    tls_san,
    address
  };
  Kind kind = Kind::address;
  std::string name = {};  // of the header, cookie, parameter or claim
  // Of an address: the bits by which a client is known.
  int v4_prefix = 32;
  int v6_prefix = 64;
  bool says_prefix = false;  // the conf does, and not what it inherits from
  bool operator==(const IdentitySource& other) const {
    return kind == other.kind && name == other.name && v4_prefix == other.v4_prefix &&
           v6_prefix == other.v6_prefix;
  }
};
// What anybody can say of itself: who is believed must be known by it. (A certificate and a token
// are verified.)
constexpr bool carries_key(IdentitySource::Kind kind) {
  using enum IdentitySource::Kind;
  return kind != tls && kind != tls_san && kind != address && kind != jwt;
}

enum class QuotaUnit : std::uint8_t { requests, cost };

// What a client of a plan may have in a day and a month of the calendar (clients.time_zone). 0: as
// much as it wants; from the soft ones on its answers warn.
struct QuotaSettings {
  std::int64_t day = 0;
  std::int64_t month = 0;
  std::int64_t day_soft = 0;
  std::int64_t month_soft = 0;
  QuotaUnit unit = QuotaUnit::requests;
  bool is_any() const { return day > 0 || month > 0 || day_soft > 0 || month_soft > 0; }
  bool operator==(const QuotaSettings&) const = default;
};
inline constexpr std::int64_t quota_limit = 1'000'000'000'000;

// What one client may take. [fairness] for everybody, [[plan]] for those it names.
struct PlanSettings {
  std::string name;
  double rate = 0;               // requests a second; 0 means no limit
  double burst = 20;             // requests that may come at once
  std::uint32_t workers = 0;     // at once; 0 means no limit
  std::uint32_t queue_size = 0;  // requests that may wait; 0 means no limit
  std::uint32_t weight = 1;      // its share of the turns, against those of the others
  // Inside the priority of a route its requests go before those of worse ones: 1 (first) .. 5.
  std::uint32_t priority = 3;
  QuotaSettings quota = {};
  std::vector<std::string> clients;  // as they name themselves
  bool operator==(const PlanSettings&) const = default;
};

// Who a client is that is not known: whose key or address is in no plan and no file, and who has no
// certificate that was verified.
enum class UnknownClients : std::uint8_t {
  refuse,   // nobody: 401 unknown_client
  shared,   // all of them are one client
  address,  // its address is its name, whatever it says
  own,      // what it says is its name
};

struct KnownClients;  // conf/known_clients.h

// [clients]: who is known, and by which id.
struct ClientsSettings {
  // Where the key of the ids is kept, or "off": one of this process.
  std::string secret = "/var/lib/classgate/clients.secret";
  std::string clients_file;  // empty: none
  UnknownClients unknown =
      UnknownClients::own;             // the reader's default: address, where any is known
  std::uint32_t unknown_max = 10'000;  // that are remembered, where any is known
  // Where what clients have had of their quotas is kept over restarts.
  std::string quota_file = "/var/lib/classgate/quotas.db";
  std::uint32_t quota_clients_max = 100'000;            // counted each for itself
  std::string time_zone = "UTC";                        // whose days and months are those of quotas
  std::shared_ptr<const KnownClients> known = nullptr;  // what is said in the file
  bool operator==(const ClientsSettings&) const = default;
};

// [jwt]: signed tokens (RFC 7519) that say who a client is, where an identity has "jwt:CLAIM".
struct JwtSettings {
  std::string keys_file;                // PEM or JWKS; empty: none
  std::vector<std::string> algorithms;  // of jwt_algorithms; others are never taken
  IdentitySource from{.kind = IdentitySource::Kind::bearer};  // or a header, or a cookie
  std::string iss;                                            // empty: not looked at
  std::vector<std::string> aud;       // a token that has some must have one of these
  milliseconds leeway{0};             // of exp and nbf
  Bytes token_bytes = KiB(8);         // of a token at most
  std::uint32_t tokens_max = 10'000;  // verified ones that each loop remembers
  std::uint32_t checks_max = 1000;    // signatures that each loop checks in a second
  std::shared_ptr<const std::string> keys = nullptr;  // what keys_file says; read by the reader
  std::vector<std::string> claims;  // that an identity has, each once; put together by the reader
  bool operator==(const JwtSettings&) const = default;
};
inline constexpr std::array<std::string_view, 4> jwt_algorithms{"HS256", "RS256", "ES256", "EdDSA"};
inline constexpr std::size_t jwt_claims_max = 4;

// fairness.rate = "pattern": what a client is allowed follows its own usual use
// (admission/usage_week.h). Rates are in requests, or what they cost, a second.
struct PatternSettings {
  bool is_on = false;
  double newcomer = 1;                 // to whom nothing is known of yet
  double floor = 0.2;                  // at least
  double ceiling = 1000;               // at most
  double headroom = 1.5;               // times what is usual
  double growth = 1.25;                // times what was usual: what a day may teach
  milliseconds learning{86'400'000};   // in which, to begin with, everything is allowed
  std::uint32_t clients_max = 10'000;  // whose week is remembered
  bool operator==(const PatternSettings&) const = default;
};

// [fairness]: who is asking, and what one client may take of the whole.
struct FairnessSettings {
  std::vector<IdentitySource> identity{{}};  // by address; empty: nobody is told apart
  std::uint32_t clients_max = 100'000;       // that are remembered
  PlanSettings everybody;
  PatternSettings pattern;
  double retry_budget = 0.2;  // a client's retries, as a share of its requests; 1: no limit
  milliseconds retry_window{300'000};  // within which the same Idempotency-Key is a retry
  // Of every bucket of many clients, kept for those that ask for no more than an equal part.
  double reserve = 0.25;
  std::vector<PlanSettings> plans;
  bool is_on = false;  // somebody wants to know, here or in a route; put together by the reader
  // Of the clients that are remembered, these may be unknown, beside clients_max who are not. 0:
  // nobody is known, and clients_max is for all. Put together by the reader.
  std::uint32_t unknown_max = 0;
  // Likewise these may be known only by an address in a plan's network, beside the others. 0: no
  // plan has one.
  std::uint32_t network_max = 0;
  bool operator==(const FairnessSettings&) const = default;
};

// A route's own limit.
struct RouteRate {
  std::string path;  // as the conf writes it: name_of() of the route
  double rate = 0;
  double burst = 0;
  bool operator==(const RouteRate&) const = default;
};

// [admission]: who may go in.
struct AdmissionSettings {
  std::uint32_t workers = 50;               // requests in the upstream at once; if auto, at most
  std::uint32_t workers_per_server = 0;     // as many for each server that is up; 0: workers says
  std::uint32_t queue_size = 1000;          // requests that may wait
  Bytes queue_bytes = MiB(64);              // bodies held by waiting requests, all together
  double rate = 100;                        // requests a second; 0 means no limit; if auto, at most
  double burst = 200;                       // requests that may come at once
  milliseconds request_timeout{30'000};     // from the end of the request header to the answer
  milliseconds queue_timeout{30'000};       // longest wait for a worker
  milliseconds retry_after_spread{30'000};  // over which the refused are told to come back
  bool workers_are_auto = false;            // follow what the upstream can do
  bool rate_is_auto = false;                // follows what the upstream does
  Discipline discipline = Discipline::fifo;
  milliseconds target_wait{100};  // of the adaptive discipline
  DeadlineSettings deadlines;
  ReserveSettings reserve;
  AutoSettings autos;
  ObserveSettings observe;
  std::string shadow_conf;  // another conf whose admission is tried beside this; empty: none
  std::shared_ptr<const AdmissionSettings> shadow = nullptr;  // what is said there
  FairnessSettings fairness;
  std::vector<RouteRate> route_rates;  // empty when none has one; put together by the reader
  bool operator==(const AdmissionSettings&) const = default;
};

// What a request costs: tokens, and its part of its client's share.
struct CostSettings {
  enum class Kind : std::uint8_t {
    fixed,
    header,  // a number that the client, or a proxy before us, says
    body,    // one for each `unit` of the body that is begun
    items,   // of the largest JSON array in the body, or of those that have a name
  };
  Kind kind = Kind::fixed;
  std::uint32_t fixed = 1;  // also where nothing better is known
  std::string header;
  Bytes unit{};
  std::string array = {};  // of items: the key that it is the value of; empty: any
  bool operator==(const CostSettings&) const = default;
};
inline constexpr std::uint32_t cost_limit = 1'000'000;

using RouteStatuses = std::vector<std::pair<Reason, int>>;

// [[route]]: a path rule. Exact, or a prefix when the path is written with a trailing '*'.
struct RouteSettings {
  std::string path;  // normalised, without the '*'
  bool is_prefix = false;
  int priority = 5;  // 1 (served first) .. 5 (served last)
  bool rate_limited = true;
  std::optional<Bytes> body_bytes = std::nullopt;  // largest request body; none: client.body_bytes
  std::optional<milliseconds> deadline = std::nullopt;  // when the answer is of no use any more
  double rate = 0;    // of this route alone, beside all others; 0 means no limit
  double burst = 20;  // its requests that may come at once
  std::optional<std::vector<IdentitySource>> identity = std::nullopt;  // none: fairness.identity
  CostSettings cost = {};
  std::uint32_t cost_max = 1000;      // what says more costs this
  std::uint32_t cost_per_worker = 0;  // takes a worker for each of these begun; 0: one in all
  // Of the workers, for one client's requests at once on routes that say so: what goes beyond has
  // the worst priority. 1 means no limit.
  double client_share = 1;
  std::optional<RefusalBody> refusal_body = std::nullopt;  // none: client.refusal_body
  RouteStatuses statuses = {};                             // in place of [status]
  std::optional<Streams> streams = std::nullopt;           // none: upstream.streams
  // None: upstream.on_client_abort, and upstream.on_stream_abort for streams.
  std::optional<OnClientAbort> on_client_abort = std::nullopt;
  bool operator==(const RouteSettings&) const = default;
};
// The path as the conf writes it.
inline std::string name_of(const RouteSettings& route) {
  return route.is_prefix ? route.path + '*' : route.path;
}
inline constexpr int priority_best = 1;
inline constexpr int priority_worst = 5;
inline constexpr std::size_t priority_count = 5;

enum class LogLevel : std::uint8_t { debug, info, warning, error };
enum class LogFormat : std::uint8_t { text, json };

// [log]
struct LogSettings {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  std::string error = "stderr";            // "stderr", "stdout", "syslog" or a file
  std::string access = "stdout";           // "off", "stderr", "stdout", "syslog" or a file
  std::uint32_t lines_max = 100;           // of the gateway's own messages in a second
  double sample = 1;                       // share of the accepted requests that get a line, 0 to 1
  std::uint32_t access_lines_max = 10000;  // access lines in a second, over all loops
  Bytes buffer = MiB(1);  // lines waiting for the writer; more are dropped and counted
  // Lines of refusals in a second, over all loops; more are rolled up.
  std::uint32_t refusals_max = 1000;
  bool query = false;                // the part of the target behind '?'
  std::vector<std::string> headers;  // fields of requests that a line tells
  Bytes header_bytes{256};           // of each at most
};
inline constexpr std::size_t log_headers_max = 16;  // names in LogSettings::headers

// [cors]: which pages of other origins may read answers (Fetch standard, section 3.3).
struct CorsSettings {
  std::vector<std::string> origins;  // "https://app.example"; "*": every one; empty: CORS is off
  std::vector<std::string> methods{"GET", "POST"};
  std::vector<std::string> headers{"content-type", "authorization"};
  bool credentials = false;
  milliseconds max_age{600'000};  // for so long a browser asks no more
  bool operator==(const CorsSettings&) const = default;
};

// What over ops.listen needs one of the tokens of ops.token_file.
enum class TokenFor : std::uint8_t {
  changes,     // whatever changes something
  pages,       // also the page and the API
  everything,  // also probes, /metrics and /queue/health
};

// [ops]: what operators and their monitoring may ask.
struct OpsSettings {
  std::vector<Address> listen{{"127.0.0.1", 9190, "127.0.0.1:9190"}};  // may be empty
  std::string control = "/run/classgate/control.sock";                 // "off" or a path
  bool health_on_main = true;                  // /queue/health also where clients are accepted
  milliseconds health_cache{100};              // for so long a stranger is shown the same numbers
  std::uint32_t max_connections = 64;          // operators' connections at once
  std::uint32_t connections_per_address = 16;  // of these from one address
  milliseconds timeout{10'000};                // for one request and its answer; between two
  milliseconds reload_timeout{30'000};         // in which all that a reload needs must be read
  milliseconds upgrade_timeout{10'000};        // in which a new program must be ready (SIGUSR2)
  std::uint32_t why_max = 10'000;              // refusals and failures that are kept; 0: none
  std::uint32_t why_found_max = 20;            // of one id that are told
  std::uint32_t client_metrics = 0;            // clients that /metrics names; 0: none
  std::string token_file;                      // empty: nothing is changed over ops.listen
  TokenFor token_for = TokenFor::changes;      // what needs one of its tokens
  std::vector<std::string> hosts;              // names that the page may be called by
  milliseconds session_time{8 * 3'600'000};    // from a log-in to its end
  std::uint32_t viewers_max = 100;             // who watch the page at once
  std::uint32_t conf_history = 50;             // confs that are kept in state_dir; 0: none
};

// [history]: who used how much, kept over restarts in history.db of state_dir
// (classgate-history(5)).
struct HistorySettings {
  bool keep = true;                                    // false: nothing is counted
  milliseconds retention{std::chrono::hours(17'520)};  // then an hour is forgotten
  Bytes bytes_max = MiB(256);                          // of the file; the oldest goes first
  milliseconds session_gap{1'800'000};  // a longer silence of a client ends its session
  std::uint32_t clients_max = 100'000;  // whose sessions are remembered
  std::uint32_t top_clients = 64;       // of an hour that are kept each for itself
  bool operator==(const HistorySettings&) const = default;
};

// [forecast]: how demand goes on, and what that takes.
struct ForecastSettings {
  bool keep = true;           // the demand of two weeks; false: there is no forecast
  std::string file = "auto";  // where, over a restart: demand in state_dir; "off": it is not
  std::string target =
      "wait p95 <= 100ms for priority 3";  // that there shall be workers for; empty
  milliseconds lead_time{60'000};          // from the decision to start a server until it serves
  std::uint32_t workers_per_server = 0;    // 0: admission.workers / the servers there are
  std::uint32_t servers_min = 1;           // that are said to be needed
  std::uint32_t servers_max = 100;         // likewise
  double fall = 0.1;                  // share of the servers needed by which they fall a minute
  std::string hook;                   // program that is told of servers needed; empty: none
  milliseconds hook_timeout{10'000};  // then it is killed
};

// One Redis that may keep the ledger of [sharing]: "redis://host:6379/0", "rediss://user@host:6380"
// with TLS, "redis+unix:/path" for a socket of this machine.
struct RedisServer {
  std::string host;  // without brackets; or the path
  std::uint16_t port = 6379;
  bool is_tls = false;
  bool is_unix = false;
  std::string user;  // of ACLs; empty: the default one
  std::uint32_t database = 0;
  std::string text;  // as written
  bool operator==(const RedisServer&) const = default;
};

// What a gateway does that has heard nothing of the others for as long as its lease is.
enum class WhenAway : std::uint8_t {
  share,  // its part of the workers, which the others leave it: the sum of all still holds
  open,   // all workers of its conf, as if it were alone
  closed  // begins nothing
};

// [sharing]: several gateways before one service have its workers together.
struct SharingSettings {
  std::vector<RedisServer> redis;    // of one group; empty: this gateway is alone
  std::string password_file;         // empty: none
  std::string ca_file;               // for rediss://; empty: the system's
  std::string prefix = "classgate";  // of the keys: who has the same shares with each other
  std::string name = "auto";         // of this gateway, for operators; "auto": the host's
  milliseconds period{50};           // between two exchanges
  milliseconds lease{1'000};         // of what it has been given
  milliseconds away_max{3'600'000};  // for so long it may go on with its part alone
  WhenAway when_away = WhenAway::share;
  std::uint32_t members_max = 64;  // gateways, and those that others still remember
  bool is_on() const { return !redis.empty(); }
  bool operator==(const SharingSettings&) const = default;
};

// [[listener]]: what is other for one address of `listen`.
struct ListenerSettings {
  std::string address;     // as `listen` has it
  std::uint16_t port = 0;  // of it
  // None: as for all.
  std::optional<std::vector<IdentitySource>> identity = std::nullopt;  // fairness.identity
  std::optional<RefusalBody> refusal_body = std::nullopt;              // client.refusal_body
  std::optional<bool> speaks_http2 = std::nullopt;                     // protocols
  std::string origin;                                                  // where the conf says it
  bool operator==(const ListenerSettings&) const = default;
};

// HTTP status for each reason, settable in [status]; indexed by index_of(reason).
using StatusTable = std::array<int, reason_count>;
constexpr StatusTable default_statuses() {
  StatusTable table{};
  for (const ReasonText& text : reason_texts) table[index_of(text.reason)] = text.default_status;
  return table;
}

struct Settings {
  std::vector<Address> listen{{"127.0.0.1", 8080, "127.0.0.1:8080"}};
  std::vector<ListenerSettings> listeners;  // those of them that have something of their own
  bool speaks_http2 = false;                // with clients, beside HTTP/1.1: `protocols` has "h2"
  std::uint32_t threads = 1;           // event loops; the reader's default: usable_processors()
  milliseconds drain_timeout{30'000};  // from SIGTERM to the end, at most
  milliseconds handover_grace{
      500};                         // a kept connection may ask once more: a drain with a successor
  milliseconds drain_grace{1'000};  // a connection that never asked may still do so: a drain
  std::uint32_t socket_mode = 0666;  // of Unix sockets in `listen`
  std::string socket_owner;          // "USER", "USER:GROUP" or ":GROUP"; empty: as the process
  Sandbox sandbox = Sandbox::automatic;
  bool core_dumps = false;  // they would hold private keys
  ClientSettings client;
  TlsSettings tls;
  UpstreamSettings upstream;
  AdmissionSettings admission;
  ClientsSettings clients;
  JwtSettings jwt;
  std::vector<RouteSettings> routes{
      {.path = "/health", .priority = 1, .rate_limited = false, .client_share = 0.2},
      {.path = "/status", .priority = 1, .rate_limited = false, .client_share = 0.2},
      {.path = "/v1/classify", .priority = 3},
      {.path = "/v1/classify/batch", .priority = 4},
  };
  std::vector<std::string> grpc_routes;  // services whose usual routes are added to `routes`
  LogSettings log;
  CorsSettings cors;
  OpsSettings ops;
  // Where what outlives the process is kept; "auto": where systemd says (STATE_DIRECTORY), or
  // /var/lib/classgate.
  std::string state_dir = "auto";
  HistorySettings history;
  ForecastSettings forecast;
  SharingSettings sharing;
  StatusTable statuses = default_statuses();
};

}  // namespace classgate::conf
