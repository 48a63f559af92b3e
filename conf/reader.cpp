#include "conf/reader.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <set>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/keys.h"
#include "conf/known_clients.h"
#include "conf/nearest.h"
#include "conf/plans.h"
#include "conf/printable.h"
#include "conf/processors.h"
#include "conf/refusals.h"
#include "conf/routes.h"
#include "conf/secret_fields.h"
#include "conf/table.h"
#include "conf/text_file.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

constexpr std::size_t files_max = 256;  // in conf.d

// What tells clients apart, wherever it stands: for mistakes that hang on it.
constexpr auto identities = {"fairness.identity", "listener", "route"};

std::vector<std::string> key_names() {
  std::vector<std::string> names;
  for (const Key& key : all_keys()) names.push_back(key.name);
  return names;
}

// Kubernetes (and Docker before it) tells a pod of every Service near it: one named "classgate", or
// "classgate-" and more, as CLASSGATE_SERVICE_HOST, CLASSGATE_PORT_80_TCP_ADDR and the like. None
// of that is meant for the conf. No key of ours ends so.
bool is_service_link(std::string_view name, std::string_view value) {
  const auto ends_like = [&](std::string_view end) { return name.ends_with(end); };
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  };
  const auto is_url = [&] {
    const std::string_view scheme = value.substr(0, std::min(value.find("://"), value.size()));
    return scheme == "tcp" || scheme == "udp" || scheme == "sctp";
  };
  if (ends_like("_SERVICE_HOST")) return true;
  if (name.contains("_SERVICE_PORT")) return is_number(value);  // and _SERVICE_PORT_NAME
  const std::size_t port = name.rfind("_PORT_");                // _PORT_80_TCP, _PORT_80_TCP_ADDR
  if (port == std::string_view::npos) return ends_like("_PORT") && is_url();
  std::string_view rest = name.substr(port + std::string_view("_PORT_").size());
  const std::size_t digits = std::min(rest.find('_'), rest.size());
  if (!is_number(rest.substr(0, digits))) return ends_like("_PORT") && is_url();
  rest.remove_prefix(digits);
  for (const std::string_view protocol : {"_TCP", "_UDP", "_SCTP"}) {
    if (!rest.starts_with(protocol)) continue;
    const std::string_view fact = rest.substr(protocol.size());
    return fact.empty() ? is_url() : fact == "_PROTO" || fact == "_PORT" || fact == "_ADDR";
  }
  return false;
}

// Collects settings and mistakes while the sources are read one after the other.
class Reader {
 public:
  std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources) {
    read(sources);
    check_together();
    read_shadow();
    if (!mistakes_.empty()) return std::unexpected(std::move(mistakes_));
    for (const Key& key : all_keys())
      loaded_.values.push_back({key.name, key.print(loaded_.settings), origin_of(key.name)});
    loaded_.routes = routes_.all();
    loaded_.settings.routes.clear();
    for (const auto& [route, origin] : loaded_.routes) loaded_.settings.routes.push_back(route);
    loaded_.plans =
        plans_.print(loaded_.settings.admission.fairness, identity_sources(loaded_.settings));
    loaded_.texts = std::make_shared<const Texts>(std::move(texts_));
    return std::move(loaded_);
  }

  std::expected<std::string, std::vector<Mistake>> control_socket(const Sources& sources) {
    read(sources);
    if (!is_control_known_) return std::unexpected(std::move(mistakes_));
    return loaded_.settings.ops.control;
  }

 private:
  void read(const Sources& sources) {
    given_ = sources.texts;
    loaded_.settings.threads = std::min(usable_processors(), 64U);
    for (const RouteSettings& route : loaded_.settings.routes) routes_.add_built_in(route);
    read_conf(sources.conf_path);
    if (!is_shadow_)
      for (const std::string& path : files_beside(sources.conf_path)) read_conf(path);
    read_environment(sources.environment);
    for (const Override& given : sources.command_line)
      apply(given.key, {given.value, true}, "command line --" + given.flag);
    for (const Override& given : sources.run_time)
      apply(given.key, {given.value, true}, "set at run time");
  }

  std::vector<std::string> files_beside(const std::string& conf_path) {
    if (conf_path.empty()) return {};
    const std::filesystem::path folder = std::filesystem::path(conf_path).parent_path() / "conf.d";
    std::vector<std::string> files;
    if (given_) {
      for (const auto& [path, text] : *given_)
        if (std::filesystem::path(path).parent_path() == folder) files.push_back(path);
      return files;
    }
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error))
      if (entry->path().extension() == ".conf" &&
          !entry->path().filename().string().starts_with('.'))
        files.push_back(entry->path());
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory) {
      is_control_known_ = is_all_read_ = false;
      mistake(folder, "cannot be read: " + error.message());
    }
    if (files.size() > files_max)
      mistake(folder, fmt::format("holds {} files; {} are read at most", files.size(), files_max));
    std::ranges::sort(files);
    return files;
  }

  std::expected<std::string, std::string> text_of(
      const std::string& path, std::string_view hint = "(name another with --conf)",
      std::size_t bytes_max = conf_bytes_max) const {
    if (given_)
      for (const auto& [known, text] : *given_)
        if (known == path) return text;
    return read_text_file(path, hint, FileKind::regular, bytes_max);
  }

  // Those of clients.clients_file; where it is bad, none.
  void read_clients(ClientsSettings& clients, bool by_name) {
    const std::string& path = clients.clients_file;
    if (path.empty()) return;
    auto text = text_of(path, {}, clients_bytes_max);
    if (!text) return blame("clients.clients_file", fmt::format("{} {}", path, text.error()));
    texts_.emplace_back(path, std::move(*text));
    auto known = read_known_clients(texts_.back().second, by_name);
    if (!known) {
      for (DocumentMistake& wrong : known.error())
        mistake(fmt::format("{}:{}:{}", path, wrong.place.line, wrong.place.column),
                std::move(wrong.text));
      return;
    }
    for (const KnownClient& client : known->clients) {
      if (client.plan.empty() || plans_.has(client.plan) || !are_known({"plan"})) continue;
      const std::string meant = nearest(client.plan, plans_.names());
      mistake(fmt::format("{}:{}:{}", path, client.plan_place.line, client.plan_place.column),
              fmt::format("there is no [[plan]] {}{}", quote(client.plan),
                          meant.empty() ? "" : fmt::format("; did you mean {}?", quote(meant))));
    }
    clients.known = std::make_shared<const KnownClients>(std::move(*known));
  }

  void read_conf(const std::string& path) {
    if (path.empty()) return;
    const auto text = text_of(path);
    if (!text) {
      is_control_known_ = is_all_read_ = false;
      return mistake(path, text.error());
    }
    texts_.emplace_back(path, *text);
    Document document = read_document(*text, conf_form());
    if (!document.mistakes.empty()) is_control_known_ = is_all_read_ = false;
    routes_.begin_file();
    std::vector<std::pair<Place, std::string>> found = take_strange_keys(document);
    for (const DocumentMistake& wrong : document.mistakes)
      found.push_back({wrong.place, wrong.text});
    const auto place_text = [&](Place place) {
      return fmt::format("{}:{}:{}", path, place.line, place.column);
    };
    for (const Entry& entry : document.entries)
      if (auto wrong = try_apply(entry.key, entry.value, place_text(entry.place)))
        found.push_back({entry.place, std::move(*wrong)});
    const auto read_tables = [&](const char* list, auto add) {
      for (const TableEntry& entry : document.tables_of(list))
        for (auto& wrong : add(entry)) {
          unread_.insert(list);
          found.push_back(std::move(wrong));
        }
    };
    read_tables("certificate",
                [&](const auto& table) { return add_certificate(table, place_text); });
    read_tables("listener", [&](const auto& table) { return add_listener(table, place_text); });
    read_tables("plan", [&](const auto& table) { return plans_.add(table, place_text); });
    read_tables("route", [&](const auto& table) { return routes_.add(table, place_text); });
    std::ranges::sort(found);
    for (auto& [place, text_of_mistake] : found)
      mistake(place_text(place), std::move(text_of_mistake));
  }

  // Keys of [[tables]] that have no form of one; says so of each.
  static std::vector<std::pair<Place, std::string>> take_strange_keys(Document& document) {
    std::vector<std::pair<Place, std::string>> wrong;
    for (auto& [list, tables] : document.lists)
      for (TableEntry& table : tables)
        std::erase_if(table.entries, [&](const Entry& entry) {
          if (is_key_form(entry.key)) return false;
          wrong.push_back({entry.place, fmt::format("unknown key {} in [[{}]]{}",
                                                    shown_key(entry.key), list, why_not_shown)});
          return true;
        });
    return wrong;
  }

  // A [[certificate]] table; says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add_certificate(
      const TableEntry& entry, const RouteList::PlaceText& place_text) {
    std::vector<std::pair<Place, std::string>> wrong;
    CertificateSettings pair;
    pair.origin = place_text(entry.place);
    for (const Entry& field : entry.entries) {
      std::string* const into = field.key == "certificate" ? &pair.certificate
                                : field.key == "key"       ? &pair.key
                                                           : nullptr;
      const auto* text = std::get_if<std::string>(&field.value.value);
      if (into == nullptr)
        wrong.push_back({field.place, fmt::format("unknown key {} in [[certificate]]; it has "
                                                  "certificate and key",
                                                  field.key)});
      else if (text == nullptr || !text->starts_with('/'))
        wrong.push_back(
            {field.place, fmt::format("certificate {}: expected an absolute path", field.key)});
      else
        *into = *text;
    }
    if (wrong.empty() && (pair.certificate.empty() || pair.key.empty()))
      wrong.push_back({entry.place, "[[certificate]] needs both certificate and key"});
    if (wrong.empty()) certificates_.push_back(std::move(pair));
    return wrong;
  }

  // A [[listener]] table; says what is wrong with it.
  std::vector<std::pair<Place, std::string>> add_listener(const TableEntry& entry,
                                                          const RouteList::PlaceText& place_text) {
    static const std::vector<Field<ListenerSettings>> fields{
        field("address", &ListenerSettings::address,
              text_value("an address of listen in quotes",
                         [](const std::string& text) -> std::expected<std::string, std::string> {
                           return text;
                         })),
        field("identity", &ListenerSettings::identity, parse_identity_list)};
    std::vector<std::pair<Place, std::string>> wrong;
    ListenerSettings listener;
    listener.origin = place_text(entry.place);
    bool has_identity = false;
    for (const Entry& one : entry.entries) {
      if (std::string why = read_entry(fields, listener, one, "listener ", " in [[listener]]");
          !why.empty())
        wrong.push_back({one.place, std::move(why)});
      has_identity = has_identity || one.key == "identity";
    }
    auto& all = loaded_.settings.listeners;
    const auto twin = std::ranges::find(all, listener.address, &ListenerSettings::address);
    if (wrong.empty() && (listener.address.empty() || !has_identity))
      wrong.push_back({entry.place, "[[listener]] needs both address and identity"});
    if (wrong.empty() && twin != all.end())
      wrong.push_back({entry.place, fmt::format("listener {} stands already at {}",
                                                quote(listener.address), twin->origin)});
    if (wrong.empty()) all.push_back(std::move(listener));
    return wrong;
  }

  // Each is one of `listen`, from wherever that came.
  void check_listeners() {
    const std::vector<Address>& listen = loaded_.settings.listen;
    if (!are_known({"listen"})) return;
    for (ListenerSettings& listener : loaded_.settings.listeners) {
      const auto found = std::ranges::find(listen, listener.address, &Address::text);
      if (found != listen.end()) {
        listener.port = found->port;
        continue;
      }
      std::vector<std::string> texts;
      for (const Address& address : listen) texts.push_back(address.text);
      const std::string meant = nearest(listener.address, texts);
      mistake(listener.origin,
              fmt::format("listener {} is none of listen{}", quote(listener.address),
                          meant.empty() ? "" : fmt::format("; did you mean {}?", quote(meant))));
    }
  }

  void read_environment(const std::vector<std::pair<std::string, std::string>>& variables) {
    std::map<std::string, std::string> names;  // variable -> key
    for (const Key& key : all_keys()) names[environment_name(key.name)] = key.name;
    bool has_listen = false;
    const std::string* port = nullptr;
    for (const auto& [name, value] : variables) {
      const std::string place = "environment " + name;
      if (name == "PORT") port = &value;
      if (!name.starts_with("CLASSGATE_")) continue;
      has_listen = has_listen || name == "CLASSGATE_LISTEN";
      if (name == "CLASSGATE_ROUTE") {
        if (!is_utf8_text(value))
          mistake(place, fmt::format("\"{}\" is no UTF-8 text", value));
        else
          for (const std::string& wrong : routes_.add_text(value, place)) mistake(place, wrong);
      } else if (const auto found = names.find(name); found != names.end()) {
        apply(found->second, {value, true}, place);
      } else if (!is_service_link(name, value)) {
        constexpr std::size_t prefix =
            std::string_view("CLASSGATE_").size();  // makes nothing alike
        std::vector<std::string> known{"ROUTE"};
        for (const auto& [variable, key] : names) known.push_back(variable.substr(prefix));
        const std::string meant = nearest(std::string_view(name).substr(prefix), known);
        mistake(place, "unknown variable" +
                           (meant.empty() ? std::string()
                                          : fmt::format("; did you mean CLASSGATE_{}?", meant)));
      }
    }
    if (port != nullptr && !has_listen) use_port(*port);
  }

  // Another port for the first address that has one, and for those that share it; all else stays.
  void use_port(const std::string& port) {
    constexpr std::size_t digits_max = 5;
    if (port.empty() || port.size() > digits_max ||
        port.find_first_not_of("0123456789") != std::string::npos)
      return mistake("environment PORT", fmt::format("\"{}\" is not a port", port));
    std::vector<std::string> addresses;
    std::optional<std::uint16_t> changed;
    for (const Address& address : loaded_.settings.listen) {
      addresses.push_back(address.text);
      if (address.is_unix || address.port != changed.value_or(address.port)) continue;
      changed = address.port;
      std::string& text = addresses.back();
      text.replace(text.rfind(':') + 1, std::string::npos, port);
    }
    RawValue value;
    value.value = std::move(addresses);
    apply("listen", value, "environment PORT");
  }

  std::optional<std::string> try_apply(const std::string& name, const RawValue& value,
                                       const std::string& place) {
    const Key* key = find_key(name);
    if (PlanList::is_key(name) && value.is_text) {
      const auto result = plans_.set(name, std::get<std::string>(value.value));
      if (result) return std::nullopt;
      return result.error();
    }
    if (key == nullptr) {
      if (name.starts_with("ops.")) is_control_known_ = false;  // which may be what was meant
      const std::string meant = nearest(name, key_names());
      if (!meant.empty()) unread_.insert(meant);
      if (meant.empty() && !is_key_form(name))
        return fmt::format("unknown key {}{}", shown_key(name), why_not_shown);
      return fmt::format("unknown key {}{}", name,
                         meant.empty() ? "" : fmt::format("; did you mean {}?", meant));
    }
    unread_.insert(name);
    if (const auto* text = std::get_if<std::string>(&value.value);
        text != nullptr && !is_utf8_text(*text))
      return fmt::format("{}: \"{}\" is no UTF-8 text", name, *text);
    const bool is_control = name == "ops.control";
    if (is_control) is_control_known_ = false;
    if (auto result = key->read(loaded_.settings, value); !result)
      return fmt::format("{}: {}", name, result.error());
    if (is_control) is_control_known_ = true;
    unread_.erase(name);
    origins_[name] = place;
    return std::nullopt;
  }

  void apply(const std::string& name, const RawValue& value, const std::string& place) {
    if (auto wrong = try_apply(name, value, place)) mistake(place, std::move(*wrong));
  }

  // Room for whoever may connect, and for one request whose buffers are full.
  void check_memory(const ClientSettings& client) {
    constexpr Bytes each = KiB(1);
    const Bytes least{each.count * client.max_connections + client.header_bytes.count +
                      2 * client.body_buffer.count + client.response_buffer.count};
    if (client.memory < least)
      blame("client.memory",
            fmt::format("{} has no room for client.max_connections, {} with {} each, and a request "
                        "with full buffers (header_bytes, body_buffer, response_buffer): at least "
                        "{} bytes are needed",
                        print_bytes(client.memory), client.max_connections, print_bytes(each),
                        least.count),
            {"client.max_connections", "client.header_bytes", "client.body_buffer",
             "client.body_bytes", "client.response_buffer"});
  }

  // What only makes sense, or none, together with something else.
  void check_together() {
    Settings& all = loaded_.settings;
    if (!origins_.contains("admission.queue_timeout"))
      all.admission.queue_timeout = all.admission.request_timeout;
    check_admission(all.admission);
    const Bytes largest_body = std::max(all.client.body_bytes, Bytes{1});
    if (!origins_.contains("client.body_buffer"))
      all.client.body_buffer = std::min(all.client.body_buffer, largest_body);
    if (all.admission.queue_timeout > all.admission.request_timeout)
      blame("admission.queue_timeout",
            "is longer than admission.request_timeout, which ends every wait",
            {"admission.request_timeout"});
    if (all.client.target_bytes > all.client.header_bytes)
      blame(
          origins_.contains("client.target_bytes") ? "client.target_bytes" : "client.header_bytes",
          fmt::format("the header, of {} at most, has no room for client.target_bytes, {}",
                      print_bytes(all.client.header_bytes), print_bytes(all.client.target_bytes)),
          {"client.header_bytes", "client.target_bytes"});
    if (all.client.body_buffer > largest_body)
      blame("client.body_buffer", "is larger than client.body_bytes, the largest body",
            {"client.body_bytes"});
    check_memory(all.client);
    if (all.client.proxy_protocol && all.client.trusted_proxies.empty())
      blame("client.proxy_protocol", "needs client.trusted_proxies, to tell whom to believe",
            {"client.trusted_proxies"});
    check_tls();
    check_listeners();
    check_cors(all.cors);
    put_clients_together();
    for (const Address& server : all.upstream.nameservers)
      if (!IpAddress::parse(server.host) || server.port == 0)
        blame("upstream.nameservers",
              fmt::format("\"{}\" is not the address of a nameserver: write \"192.0.2.53:53\"",
                          server.text));
    for (const Address& server : all.upstream.servers)
      if (server.is_unix || server.is_service)
        continue;
      else if (server.port == 0 || server.host == "*")
        blame("upstream.servers",
              fmt::format("\"{}\" is not an address to connect to", server.text));
  }

  // The other conf is read as if it were the only one; of it only who may go in counts.
  void read_shadow() {
    AdmissionSettings& admission = loaded_.settings.admission;
    if (admission.shadow_conf.empty()) return;
    if (is_shadow_) return blame("admission.shadow_conf", "a shadow has none of its own");
    Reader reader;
    reader.is_shadow_ = true;
    auto shadow = reader.load({admission.shadow_conf, {}, {}, {}, given_});
    if (shadow) std::ranges::copy(*shadow->texts, std::back_inserter(texts_));
    if (shadow)
      admission.shadow = std::make_shared<const AdmissionSettings>(shadow->settings.admission);
    else
      std::ranges::move(shadow.error(), std::back_inserter(mistakes_));
  }

  void check_admission(AdmissionSettings& admission) {
    const AutoSettings& autos = admission.autos;
    if (autos.workers_min > autos.workers_max)
      blame("auto.workers_min", "is more than auto.workers_max", {"auto.workers_max"});
    if (autos.rate_min > autos.rate_max)
      blame("auto.rate_min", "is more than auto.rate_max", {"auto.rate_max"});
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
    if (reserved > 1 + 1e-9) blame(last, "the shares are together more than 1");
    const std::uint32_t fewest = admission.workers_are_auto ? autos.workers_min : admission.workers;
    if (reserves > fewest)
      blame(admission.workers_are_auto ? "auto.workers_min" : "admission.workers",
            fmt::format("{} cannot be shared out among {} reserves", fewest, reserves),
            {"admission.workers", "auto.workers_min"});
  }

  // What admission must know of the routes, and the plans on everybody's terms.
  void put_clients_together() {
    AdmissionSettings& admission = loaded_.settings.admission;
    FairnessSettings& fairness = admission.fairness;
    bool has_rates = false;
    std::vector<IdentitySource> sources = fairness.identity;
    fairness.is_on = !fairness.identity.empty();
    for (const ListenerSettings& listener : loaded_.settings.listeners) {
      fairness.is_on = fairness.is_on || !listener.identity.empty();
      add_sources(sources, listener.identity);
    }
    for (const auto& [route, origin] : routes_.all()) {
      fairness.is_on = fairness.is_on || (route.identity && !route.identity->empty());
      if (route.identity) add_sources(sources, *route.identity);
      has_rates = has_rates || route.rate > 0;
      admission.route_rates.push_back({name_of(route), route.rate, route.burst});
    }
    if (!has_rates) admission.route_rates.clear();
    ClientsSettings& clients = loaded_.settings.clients;
    put_tokens_together(sources);
    read_clients(clients, !loaded_.settings.jwt.claims.empty() || !are_known(identities));
    std::vector<KnownClients::Key> keys;
    if (clients.known && !plans_.names().empty()) keys = clients.known->keys;
    std::ranges::sort(keys, {}, &KnownClients::Key::hash);
    const auto place_of_key = [&](const Sha256& key) -> std::optional<std::string> {
      const auto found = std::ranges::lower_bound(keys, key, {}, &KnownClients::Key::hash);
      if (found == keys.end() || found->hash != key) return std::nullopt;
      return fmt::format("{}:{}", clients.clients_file, found->line);
    };
    for (auto& [place, text] : plans_.finish(fairness, sources, place_of_key))
      if (are_known(identities)) mistake(place, std::move(text));
    put_known_together(sources);
    check_quotas();
    check_logged_fields(sources);
    if (fairness.is_on) return;
    for (const char* key : {"fairness.rate", "fairness.workers", "fairness.queue_size"})
      if (const auto given = origins_.find(key); given != origins_.end())
        if (find_key(key)->print(loaded_.settings) != "0")
          blame(key, "needs fairness.identity, to tell clients", identities);
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
        blame(key, "\"*\" is all of them: write it alone, or leave it out");
    if (!cors.credentials) return;
    if (says_all(cors.origins))
      blame("cors.origins",
            "\"*\" does not go with cors.credentials: name the origins that may have them",
            {"cors.credentials"});
    for (const auto& [key, list] :
         {std::pair("cors.methods", &cors.methods), std::pair("cors.headers", &cors.headers)})
      if (says_all(*list))
        blame(key, "\"*\" means nothing with cors.credentials", {"cors.credentials"});
  }

  // What [jwt] must have, where an identity wants a claim.
  void put_tokens_together(const std::vector<IdentitySource>& sources) {
    JwtSettings& jwt = loaded_.settings.jwt;
    for (const IdentitySource& source : sources)
      if (source.kind == IdentitySource::Kind::jwt) jwt.claims.push_back(source.name);
    if (jwt.claims.empty()) {
      if (!jwt.keys_file.empty())
        blame("jwt.keys_file",
              "nothing in fairness.identity, nor in a listener's or route's, wants a claim: add "
              "\"jwt:sub\" to it",
              identities);
      return;
    }
    if (jwt.claims.size() > jwt_claims_max)
      blame("fairness.identity",
            fmt::format("with those of listeners and routes it has {} claims; there may be {}",
                        jwt.claims.size(), jwt_claims_max));
    if (jwt.algorithms.empty())
      blame("jwt.algorithms",
            "identity has \"jwt:CLAIM\": name what tokens are signed with, such as [\"RS256\"]",
            identities);
    if (jwt.keys_file.empty())
      return blame("jwt.keys_file",
                   "identity has \"jwt:CLAIM\": name the file of the keys, PEM or JWKS",
                   identities);
    auto text = text_of(jwt.keys_file, {});
    if (!text) return blame("jwt.keys_file", fmt::format("{} {}", jwt.keys_file, text.error()));
    jwt.keys = std::make_shared<const std::string>(*text);
    texts_.emplace_back(jwt.keys_file, std::move(*text));
  }

  // What is counted by ids that change with each start is no quota.
  void check_quotas() {
    const Settings& all = loaded_.settings;
    const auto plan = std::ranges::find_if(all.admission.fairness.plans,
                                           [](const auto& each) { return each.quota.is_any(); });
    if (plan == all.admission.fairness.plans.end() || all.clients.secret != "off") return;
    blame("clients.secret", fmt::format("\"off\" gives clients other ids with each start, and plan "
                                        "{} has a quota, which is kept by ids: name a file",
                                        quote(plan->name)));
  }

  // Where it stands; empty: in none.
  static std::string_view field_of(const IdentitySource& source) {
    if (source.kind == IdentitySource::Kind::header) return source.name;
    return source.kind == IdentitySource::Kind::cookie ? "cookie" : "";
  }

  // What clients name themselves by may be a key of theirs.
  void check_logged_fields(std::vector<IdentitySource> sources) {
    if (!loaded_.settings.jwt.keys_file.empty()) sources.push_back(loaded_.settings.jwt.from);
    for (const std::string& field : loaded_.settings.log.headers)
      if (std::ranges::any_of(sources, [&](const IdentitySource& source) {
            return plain_field_name(field_of(source)) == plain_field_name(field);
          }))
        blame("log.headers", fmt::format("\"{}\" tells clients apart (identity): a log never "
                                         "holds what may be a key",
                                         field));
  }

  // Who is not known is somebody else where anybody is.
  void put_known_together(const std::vector<IdentitySource>& sources) {
    ClientsSettings& clients = loaded_.settings.clients;
    FairnessSettings& fairness = loaded_.settings.admission.fairness;
    const bool can_carry = std::ranges::any_of(sources, [](const IdentitySource& source) {
      return carries_key(source.kind) || source.kind == IdentitySource::Kind::jwt;
    });
    if (!clients.clients_file.empty() && !can_carry)
      blame("clients.clients_file",
            "nothing in fairness.identity, nor in a route's, carries a key or a token: add "
            "\"bearer\" or "
            "\"header:X-Api-Key\" to it",
            identities);
    if (clients.known && clients.known->clients.size() > fairness.clients_max)
      blame("fairness.clients_max",
            fmt::format("{} are fewer than clients.clients_file has, {}", fairness.clients_max,
                        clients.known->clients.size()),
            {"clients.clients_file"});
    const bool knows_any = !clients.clients_file.empty() || !loaded_.settings.jwt.claims.empty() ||
                           std::ranges::any_of(fairness.plans, [&](const PlanSettings& plan) {
                             return has_key(plan, sources);
                           });
    if (knows_any && !origins_.contains("clients.unknown"))
      clients.unknown = UnknownClients::address;
    fairness.unknown_max =
        knows_any || clients.unknown == UnknownClients::refuse ? clients.unknown_max : 0;
  }

  static bool has_key(const PlanSettings& plan, const std::vector<IdentitySource>& sources) {
    return std::ranges::any_of(plan.clients, [&](const std::string& text) {
      const auto client = read_plan_client(text, sources);
      return client && carries_key(client->source.kind);
    });
  }

  void check_tls() {
    TlsSettings& tls = loaded_.settings.tls;
    if (tls.certificate.empty() != tls.key.empty())
      blame(tls.key.empty() ? "tls.certificate" : "tls.key",
            "tls.certificate and tls.key go together", {"tls.certificate", "tls.key"});
    else if (!tls.certificate.empty())
      tls.certificates.push_back({tls.certificate, tls.key, origin_of("tls.certificate")});
    std::ranges::move(certificates_, std::back_inserter(tls.certificates));
    for (const Address& address : loaded_.settings.listen)
      if (address.is_tls && tls.certificates.empty()) {
        blame("listen", fmt::format("\"{}\" needs tls.certificate and tls.key", address.text),
              {"tls.certificate", "tls.key", "certificate"});
        break;
      }
    if (tls.client_certificate != ClientCertificate::off && tls.client_ca.empty())
      blame("tls.client_certificate", "needs tls.client_ca, to tell whom to trust",
            {"tls.client_ca"});
    const UpstreamTlsSettings& upstream = loaded_.settings.upstream.tls;
    if (upstream.certificate.empty() != upstream.key.empty())
      blame(upstream.key.empty() ? "upstream.tls.certificate" : "upstream.tls.key",
            "upstream.tls.certificate and upstream.tls.key go together",
            {"upstream.tls.certificate", "upstream.tls.key"});
  }

  // What could not be read is told as such, and nothing that hangs on it: whatever is said of its
  // default would be a second mistake, made up. Lists of tables have the names of their lists.
  using Keys = std::initializer_list<const char*>;
  bool are_known(Keys keys) const {
    return is_all_read_ &&
           std::ranges::none_of(keys, [&](const char* key) { return unread_.contains(key); });
  }

  // A mistake of this key, by what the others say.
  void blame(const std::string& key, const std::string& text, Keys others = {}) {
    if (unread_.contains(key) || (others.size() > 0 && !are_known(others))) return;
    mistake(origin_of(key), key + ": " + text);
  }

  std::string origin_of(const std::string& key) const {
    const auto found = origins_.find(key);
    return found == origins_.end() ? "default" : found->second;
  }

  void mistake(std::string place, std::string text) {
    mistakes_.push_back({printable(place), printable(text)});
  }

  Loaded loaded_;
  std::shared_ptr<const Texts> given_;  // null: read the files
  Texts texts_;
  bool is_shadow_ = false;
  bool is_control_known_ = true;  // what was read of ops.control, the last time that it was named
  std::set<std::string, std::less<>> unread_;  // keys that were bad the last time, and [[lists]]
  bool is_all_read_ = true;                    // not where a file, a line or a table could not be
  RouteList routes_;
  PlanList plans_;
  std::vector<CertificateSettings> certificates_;
  std::map<std::string, std::string> origins_;
  std::vector<Mistake> mistakes_;
};

}  // namespace

std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources) {
  return Reader().load(sources);
}

std::expected<std::string, std::vector<Mistake>> control_socket(const Sources& sources) {
  return Reader().control_socket(sources);
}

}  // namespace classgate::conf
