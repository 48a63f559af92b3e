#include "conf/together.h"

#include <algorithm>
#include <string_view>

#include "conf/clients_together.h"
#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/printable.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

class Together {
 public:
  explicit Together(Reading& reading) : reading_(reading), settings_(reading.loaded.settings) {}

  void put_all() {
    Settings& all = settings_;
    if (!reading_.origins.contains("admission.queue_timeout"))
      all.admission.queue_timeout = all.admission.request_timeout;
    check_admission(all.admission);
    const Bytes largest_body = std::max(all.client.body_bytes, Bytes{1});
    if (!reading_.origins.contains("client.body_buffer"))
      all.client.body_buffer = std::min(all.client.body_buffer, largest_body);
    if (all.forecast.servers_min > all.forecast.servers_max)
      reading_.blame("forecast.servers_min", "is more than forecast.servers_max",
                     {"forecast.servers_max"});
    if (all.admission.queue_timeout > all.admission.request_timeout)
      reading_.blame("admission.queue_timeout",
                     "is longer than admission.request_timeout, which ends every wait",
                     {"admission.request_timeout"});
    if (all.client.target_bytes > all.client.header_bytes)
      reading_.blame(
          reading_.origins.contains("client.target_bytes") ? "client.target_bytes"
                                                           : "client.header_bytes",
          fmt::format("the header, of {} at most, has no room for client.target_bytes, {}",
                      print_bytes(all.client.header_bytes), print_bytes(all.client.target_bytes)),
          {"client.header_bytes", "client.target_bytes"});
    if (all.client.body_buffer > largest_body)
      reading_.blame("client.body_buffer", "is larger than client.body_bytes, the largest body",
                     {"client.body_bytes"});
    check_memory(all.client);
    if (all.client.proxy_protocol && all.client.trusted_proxies.empty())
      reading_.blame("client.proxy_protocol",
                     "needs client.trusted_proxies, to tell whom to believe",
                     {"client.trusted_proxies"});
    check_tls();
    check_operators();
    check_listeners();
    check_cors(all.cors);
    check_sharing();
    put_clients_together(reading_);
    const std::vector<Address>& nameservers = all.upstream.nameservers;
    for (std::size_t i = 0; i < nameservers.size(); ++i)
      if (const Address& server = nameservers[i];
          !IpAddress::parse(server.host) || server.port == 0)
        reading_.blame_at(
            reading_.origin_of_entry("upstream.nameservers", i), "upstream.nameservers",
            fmt::format("\"{}\" is not the address of a nameserver: write \"192.0.2.53:53\"",
                        server.text));
    const std::vector<Address>& servers = all.upstream.servers;
    for (std::size_t i = 0; i < servers.size(); ++i)
      if (const Address& server = servers[i]; server.is_unix || server.is_service)
        continue;
      else if (server.port == 0 || server.host == "*")
        reading_.blame_at(reading_.origin_of_entry("upstream.servers", i), "upstream.servers",
                          fmt::format("\"{}\" is not an address to connect to", server.text));
    if (all.upstream.check.grpc)
      for (std::size_t i = 0; i < servers.size(); ++i)
        if (!servers[i].is_http2 && !(servers[i].is_tls && all.upstream.offers_http2))
          reading_.blame_at(reading_.origin_of_entry("upstream.servers", i), "upstream.servers",
                            fmt::format("\"{}\" cannot be asked by upstream.check.grpc: write "
                                        "h2c://, or https:// with \"h2\" in upstream.protocols",
                                        servers[i].text));
  }

 private:
  // Room for whoever may connect, and for one request whose buffers are full.
  void check_memory(const ClientSettings& client) {
    constexpr Bytes each = KiB(1);
    const Bytes least{each.count * client.max_connections + client.header_bytes.count +
                      2 * client.body_buffer.count + client.response_buffer.count};
    if (client.memory < least)
      reading_.blame(
          "client.memory",
          fmt::format("{} has no room for client.max_connections, {} with {} each, and a request "
                      "with full buffers (header_bytes, body_buffer, response_buffer): at least "
                      "{} bytes are needed",
                      print_bytes(client.memory), client.max_connections, print_bytes(each),
                      least.count),
          {"client.max_connections", "client.header_bytes", "client.body_buffer",
           "client.body_bytes", "client.response_buffer"});
  }

  void check_admission(AdmissionSettings& admission) {
    const AutoSettings& autos = admission.autos;
    if (autos.workers_min > autos.workers_max)
      reading_.blame("auto.workers_min", "is more than auto.workers_max", {"auto.workers_max"});
    if (autos.rate_min > autos.rate_max)
      reading_.blame("auto.rate_min", "is more than auto.rate_max", {"auto.rate_max"});
    if (admission.workers_are_auto) admission.workers = autos.workers_max;
    if (admission.rate_is_auto) admission.rate = autos.rate_max;
    double reserved = 0;
    std::uint32_t reserves = 0;
    std::string last;
    for (std::size_t i = 0; i < priority_count; ++i) {
      const double share = admission.reserve.shares[i];
      reserved += share;
      reserves += share > 0 ? 1 : 0;
      if (share > 0) last = fmt::format("reserve.priority_{}", i + 1);
    }
    if (reserved > 1 + 1e-9) reading_.blame(last, "the shares are together more than 1");
    const std::uint64_t places =
        std::uint64_t{admission.workers_per_server} * settings_.upstream.servers.size();
    if (places > admission.workers && reading_.are_known({"admission.workers", "upstream.servers"}))
      reading_.loaded.warnings.push_back(
          {printable(reading_.origin_of("admission.workers_per_server")),
           fmt::format("admission.workers_per_server: {} for each of {} servers are more than "
                       "admission.workers, {}, which bounds them all together: write {} at least "
                       "there",
                       admission.workers_per_server, settings_.upstream.servers.size(),
                       admission.workers, places)});
    const std::uint32_t fewest = admission.workers_are_auto ? autos.workers_min : admission.workers;
    if (reserves > fewest)
      reading_.blame(admission.workers_are_auto ? "auto.workers_min" : "admission.workers",
                     fmt::format("{} cannot be shared out among {} reserves", fewest, reserves),
                     {"admission.workers", "auto.workers_min"});
  }

  // On one port clients would be answered by the operators' pages, and operators by the service,
  // whoever accepts first.
  void check_operators() {
    const auto is_any = [](const Address& address) {
      return address.host == "*" || address.host == "0.0.0.0" || address.host == "::";
    };
    const auto meet = [&](const Address& a, const Address& b) {
      if (a.is_unix || b.is_unix) return a.is_unix && b.is_unix && a.host == b.host;
      return a.port == b.port && a.port != 0 && (a.host == b.host || is_any(a) || is_any(b));
    };
    const std::vector<Address>& operators = settings_.ops.listen;
    for (std::size_t i = 0; i < operators.size(); ++i)
      for (const Address& clients : settings_.listen)
        if (meet(operators[i], clients))
          return reading_.blame_at(
              reading_.origins.contains("ops.listen") ? reading_.origin_of_entry("ops.listen", i)
                                                      : reading_.origin_of("listen"),
              "ops.listen",
              fmt::format("\"{}\" is where clients connect, listen = \"{}\": operators need an "
                          "address or a port of their own, such as \"127.0.0.1:{}\"",
                          operators[i].text, clients.text, clients.port == 9190 ? 9191 : 9190),
              {"listen"});
  }

  void check_tls() {
    TlsSettings& tls = settings_.tls;
    if (tls.certificate.empty() != tls.key.empty())
      reading_.blame(tls.key.empty() ? "tls.certificate" : "tls.key",
                     "tls.certificate and tls.key go together", {"tls.certificate", "tls.key"});
    else if (!tls.certificate.empty())
      tls.certificates.push_back({tls.certificate, tls.key, reading_.origin_of("tls.certificate")});
    std::ranges::move(reading_.certificates, std::back_inserter(tls.certificates));
    const auto secure = std::ranges::find_if(settings_.listen, &Address::is_tls);
    if (secure != settings_.listen.end() && tls.certificates.empty())
      reading_.blame_at(reading_.origin_of_entry(
                            "listen", static_cast<std::size_t>(secure - settings_.listen.begin())),
                        "listen",
                        fmt::format("\"{}\" needs tls.certificate and tls.key", secure->text),
                        {"tls.certificate", "tls.key", "certificate"});
    const auto for_operators = std::ranges::find_if(settings_.ops.listen, &Address::is_tls);
    if (for_operators != settings_.ops.listen.end() && tls.certificates.empty())
      reading_.blame("ops.listen",
                     fmt::format("\"{}\" needs tls.certificate and tls.key", for_operators->text),
                     {"tls.certificate", "tls.key", "certificate"});
    if (settings_.ops.token_for != TokenFor::changes && settings_.ops.token_file.empty())
      reading_.blame("ops.token_for", "needs ops.token_file, to tell whom to believe",
                     {"ops.token_file"});
    if (tls.client_certificate != ClientCertificate::off && tls.client_ca.empty())
      reading_.blame("tls.client_certificate", "needs tls.client_ca, to tell whom to trust",
                     {"tls.client_ca"});
    const UpstreamTlsSettings& upstream = settings_.upstream.tls;
    if (upstream.certificate.empty() != upstream.key.empty())
      reading_.blame(upstream.key.empty() ? "upstream.tls.certificate" : "upstream.tls.key",
                     "upstream.tls.certificate and upstream.tls.key go together",
                     {"upstream.tls.certificate", "upstream.tls.key"});
  }

  // Each is one of `listen`, from wherever that came.
  void check_listeners() {
    const std::vector<Address>& listen = settings_.listen;
    if (!reading_.are_known({"listen"})) return;
    for (ListenerSettings& listener : settings_.listeners) {
      const auto found = std::ranges::find(listen, listener.address, &Address::text);
      if (found != listen.end()) {
        listener.port = found->port;
        continue;
      }
      if (const auto moved = reading_.moved_by_port.find(listener.address);
          moved != reading_.moved_by_port.end()) {
        reading_.mistake(
            listener.origin,
            fmt::format("listener {} is none of listen any more: the environment's PORT, which "
                        "goes before the conf, has made it {}. Unset PORT, or set "
                        "CLASSGATE_LISTEN, before which PORT gives way, or write {} here",
                        quote(listener.address), quote(moved->second), quote(moved->second)));
        continue;
      }
      std::vector<std::string> texts;
      for (const Address& address : listen) texts.push_back(address.text);
      const std::string meant = nearest(listener.address, texts);
      reading_.mistake(
          listener.origin,
          fmt::format("listener {} is none of listen{}", quote(listener.address),
                      meant.empty() ? "" : fmt::format("; did you mean {}?", quote(meant))));
    }
  }

  void check_sharing() {
    const SharingSettings& sharing = settings_.sharing;
    if (!sharing.is_on()) return;
    // One answer that is lost must not cost the lease, four fifths of which count.
    // And what is further apart than an eighth of it looks like a clock that was set.
    if (sharing.lease < sharing.period * 10)
      reading_.blame(
          "sharing.lease",
          "is less than ten times sharing.period: an answer that comes late would end it",
          {"sharing.period"});
    if (settings_.admission.workers_are_auto)
      reading_.blame(
          "admission.workers",
          "\"auto\" does not go with sharing.redis: each gateway would search for itself. "
          "Write the number for all together",
          {"sharing.redis"});
    for (std::size_t i = 0; i < sharing.redis.size(); ++i)
      if (!sharing.redis[i].user.empty() && sharing.password_file.empty())
        reading_.blame_at(reading_.origin_of_entry("sharing.redis", i), "sharing.redis",
                          fmt::format("\"{}\" has a user, and sharing.password_file no password",
                                      sharing.redis[i].text));
  }

  // With credentials "*" would lend every page on earth the cookies of its visitor; browsers take
  // the word for nothing then (Fetch standard, section 3.3.5).
  void check_cors(const CorsSettings& cors) {
    const auto says_all = [](const std::vector<std::string>& list) {
      return std::ranges::find(list, "*") != list.end();
    };
    // Authorization, which "*" leaves out, stands beside it in headers.
    for (const auto& [key, list] :
         {std::pair("cors.origins", &cors.origins), std::pair("cors.methods", &cors.methods)})
      if (says_all(*list) && list->size() > 1)
        reading_.blame(key, "\"*\" is all of them: write it alone, or leave it out");
    if (!cors.credentials) return;
    if (says_all(cors.origins))
      reading_.blame("cors.origins",
                     "\"*\" does not go with cors.credentials: name the origins that may have them",
                     {"cors.credentials"});
    for (const auto& [key, list] :
         {std::pair("cors.methods", &cors.methods), std::pair("cors.headers", &cors.headers)})
      if (says_all(*list))
        reading_.blame(key, "\"*\" means nothing with cors.credentials", {"cors.credentials"});
  }

  Reading& reading_;
  Settings& settings_;  // of it
};

}  // namespace

void put_together(Reading& reading) { Together(reading).put_all(); }

}  // namespace classgate::conf
