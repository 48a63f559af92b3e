#include "conf/reader.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>

#include "conf/document.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/key_kinds.h"
#include "conf/keys.h"
#include "conf/nearest.h"
#include "conf/other_tools.h"
#include "conf/printable.h"
#include "conf/processors.h"
#include "conf/reading.h"
#include "conf/routes.h"
#include "conf/table.h"
#include "conf/together.h"
#include "conf/units.h"
#include "conf/words.h"

namespace classgate::conf {
namespace {

constexpr std::size_t files_max = 256;  // in conf.d

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

// Reads the sources one after the other.
class Reader {
 public:
  std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources) {
    read(sources);
    for (const std::string& service : reading_.loaded.settings.grpc_routes)
      reading_.routes.add_of_service(service, "grpc_routes");
    put_together(reading_);
    read_shadow();
    if (!reading_.mistakes.empty()) return std::unexpected(std::move(reading_.mistakes));
    for (const Key& key : all_keys())
      reading_.loaded.values.push_back(
          {key.name, key.print(reading_.loaded.settings), reading_.origin_of(key.name)});
    reading_.loaded.routes = reading_.routes.all();
    reading_.loaded.settings.routes.clear();
    for (const auto& [route, origin] : reading_.loaded.routes)
      reading_.loaded.settings.routes.push_back(route);
    reading_.loaded.plans = reading_.plans.print(reading_.loaded.settings.admission.fairness,
                                                 identity_sources(reading_.loaded.settings));
    reading_.loaded.texts = std::make_shared<const Texts>(std::move(reading_.texts));
    return std::move(reading_.loaded);
  }

  std::expected<std::string, std::vector<Mistake>> control_socket(const Sources& sources) {
    read(sources);
    if (!is_control_known_) return std::unexpected(std::move(reading_.mistakes));
    return reading_.loaded.settings.ops.control;
  }

  std::string state_dir(const Sources& sources) {
    read(sources);
    return reading_.loaded.settings.state_dir;
  }

 private:
  void read(const Sources& sources) {
    reading_.given = sources.texts;
    reading_.loaded.settings.threads = std::min(usable_processors(), 64U);
    for (const RouteSettings& route : reading_.loaded.settings.routes)
      reading_.routes.add_built_in(route);
    main_path_ = sources.conf_path;
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
    if (reading_.given) {
      for (const auto& [path, text] : *reading_.given)
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
      is_control_known_ = reading_.is_all_read = false;
      reading_.mistake(folder, "cannot be read: " + error.message());
    }
    if (files.size() > files_max)
      reading_.mistake(folder,
                       fmt::format("holds {} files; {} are read at most", files.size(), files_max));
    std::ranges::sort(files);
    return files;
  }

  void read_conf(const std::string& path) {
    if (path.empty()) return;
    const auto text =
        reading_.text_of(path, path == main_path_ ? "(name another with --conf)"
                                                  : "(it is read because it lies in conf.d and "
                                                    "ends in .conf: mend it, or move it away)");
    if (!text) {
      is_control_known_ = reading_.is_all_read = false;
      return reading_.mistake(path, text.error());
    }
    reading_.texts.emplace_back(path, *text);
    Document document = read_document(*text, conf_form());
    if (!document.mistakes.empty()) is_control_known_ = reading_.is_all_read = false;
    reading_.routes.begin_file();
    std::vector<std::pair<Place, std::string>> found = take_strange_keys(document);
    for (const DocumentMistake& wrong : document.mistakes)
      found.push_back({wrong.place, wrong.text});
    const auto place_text = [&](Place place) {
      return fmt::format("{}:{}:{}", path, place.line, place.column);
    };
    for (const Entry& entry : document.entries) {
      if (auto wrong = try_apply(entry.key, entry.value, place_text(entry.place)))
        found.push_back({place_of_mistake(entry, *wrong), std::move(*wrong)});
      else if (!entry.entry_places.empty())
        reading_.entry_places[entry.key] = entry.entry_places;
    }
    const auto read_tables = [&](const char* list, auto add) {
      for (const TableEntry& entry : document.tables_of(list))
        for (auto& wrong : add(entry)) {
          reading_.unread.insert(list);
          found.push_back(std::move(wrong));
        }
    };
    read_tables("certificate",
                [&](const auto& table) { return add_certificate(table, place_text); });
    read_tables("listener", [&](const auto& table) { return add_listener(table, place_text); });
    read_tables("plan", [&](const auto& table) { return reading_.plans.add(table, place_text); });
    read_tables("route", [&](const auto& table) { return reading_.routes.add(table, place_text); });
    std::ranges::sort(found);
    for (auto& [place, text_of_mistake] : found)
      reading_.mistake(place_text(place), std::move(text_of_mistake));
  }

  // Of a key that could not be read, and is left as it was.
  Place place_of_mistake(const Entry& entry, const std::string& why) const {
    const Key* const key = find_key(entry.key);
    if (key == nullptr) return entry.place;
    Settings scratch = reading_.loaded.settings;
    return conf::place_of_mistake(entry, why, [&](const Entry& some) {
      const auto read = key->read(scratch, some.value);
      return read ? std::string() : fmt::format("{}: {}", entry.key, read.error());
    });
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
    if (wrong.empty()) reading_.certificates.push_back(std::move(pair));
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
        field("identity", &ListenerSettings::identity, parse_identity_list),
        field("refusal_body", &ListenerSettings::refusal_body, parse_word<RefusalBody>),
        field("protocols", &ListenerSettings::speaks_http2, parse_protocols)};
    std::vector<std::pair<Place, std::string>> wrong;
    ListenerSettings listener;
    listener.origin = place_text(entry.place);
    for (const Entry& one : entry.entries)
      if (auto why = wrong_in_entry(fields, listener, one, "listener ", " in [[listener]]"))
        wrong.push_back(std::move(*why));
    auto& all = reading_.loaded.settings.listeners;
    const auto twin = std::ranges::find(all, listener.address, &ListenerSettings::address);
    if (wrong.empty() && (listener.address.empty() ||
                          (!listener.identity && !listener.refusal_body && !listener.speaks_http2)))
      wrong.push_back(
          {entry.place, "[[listener]] needs address and identity, refusal_body or protocols"});
    if (wrong.empty() && twin != all.end())
      wrong.push_back({entry.place, fmt::format("listener {} stands already at {}",
                                                quote(listener.address), twin->origin)});
    if (wrong.empty()) all.push_back(std::move(listener));
    return wrong;
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
          reading_.mistake(place, fmt::format("\"{}\" is no UTF-8 text", value));
        else
          for (const std::string& wrong : reading_.routes.add_text(value, place))
            reading_.mistake(place, wrong);
      } else if (const auto found = names.find(name); found != names.end()) {
        apply_variable(found->second, value, place);
      } else if (!is_service_link(name, value)) {
        constexpr std::size_t prefix =
            std::string_view("CLASSGATE_").size();  // makes nothing alike
        std::vector<std::string> known{"ROUTE"};
        for (const auto& [variable, key] : names) known.push_back(variable.substr(prefix));
        const std::string meant = nearest(std::string_view(name).substr(prefix), known);
        reading_.mistake(
            place, "unknown variable" + (meant.empty()
                                             ? std::string()
                                             : fmt::format("; did you mean CLASSGATE_{}?", meant)));
      }
    }
    if (port != nullptr && !has_listen) use_port(*port);
  }

  // One that is set to nothing (VARIABLE=, or ${VARIABLE} of something that nobody has set) and
  // means nothing so: its default is what to write.
  void apply_variable(const std::string& name, const std::string& value, const std::string& place) {
    auto wrong = try_apply(name, {value, true}, place);
    if (!wrong) return;
    if (!value.empty()) return reading_.mistake(place, std::move(*wrong));
    std::string usual = find_key(name)->print(Settings());
    std::erase_if(usual, [](char c) { return c == '"' || c == '[' || c == ']'; });
    reading_.mistake(place,
                     fmt::format("{}: the variable is empty: unset it, or write a value, such "
                                 "as {}",
                                 name, usual));
  }

  // Another port for the first address that has one, and for those that share it; all else stays.
  void use_port(const std::string& port) {
    constexpr std::size_t digits_max = 5;
    if (port.empty())
      return reading_.mistake("environment PORT",
                              "is empty: unset it, or write a port, such as PORT=8080");
    if (port.size() > digits_max || port.find_first_not_of("0123456789") != std::string::npos)
      return reading_.mistake("environment PORT", fmt::format("\"{}\" is not a port", port));
    std::vector<std::string> addresses;
    std::optional<std::uint16_t> changed;
    for (const Address& address : reading_.loaded.settings.listen) {
      addresses.push_back(address.text);
      if (address.is_unix || address.port != changed.value_or(address.port)) continue;
      changed = address.port;
      std::string& text = addresses.back();
      text.replace(text.rfind(':') + 1, std::string::npos, port);
      if (text != address.text) reading_.moved_by_port[address.text] = text;
    }
    RawValue value;
    value.value = std::move(addresses);
    apply("listen", value, "environment PORT");
  }

  std::optional<std::string> try_apply(const std::string& name, const RawValue& value,
                                       const std::string& place) {
    const Key* key = find_key(name);
    if (PlanList::is_key(name) && value.is_text) {
      const auto result = reading_.plans.set(name, std::get<std::string>(value.value));
      if (result) return std::nullopt;
      return result.error();
    }
    if (key == nullptr) {
      if (name.starts_with("ops.")) is_control_known_ = false;  // which may be what was meant
      if (std::string why = why_in_no_text(name); value.is_text && !why.empty()) return why;
      const std::string meant = nearest(name, key_names());
      if (!meant.empty()) reading_.unread.insert(meant);
      const std::string hint = hint_for_name(name);
      if (meant.empty() && hint.empty() && !is_key_form(name))
        return fmt::format("unknown key {}{}", shown_key(name), why_not_shown);
      return fmt::format("unknown key {}{}", meant.empty() ? shown_key(name) : name,
                         !hint.empty()   ? "; " + hint
                         : meant.empty() ? ""
                                         : fmt::format("; did you mean {}?", meant));
    }
    reading_.unread.insert(name);
    if (const auto* text = std::get_if<std::string>(&value.value);
        text != nullptr && !is_utf8_text(*text))
      return fmt::format("{}: \"{}\" is no UTF-8 text", name, *text);
    const bool is_control = name == "ops.control";
    if (is_control) is_control_known_ = false;
    if (auto result = key->read(reading_.loaded.settings, value); !result)
      return fmt::format("{}: {}", name, result.error());
    if (is_control) is_control_known_ = true;
    reading_.unread.erase(name);
    reading_.origins[name] = place;
    reading_.entry_places.erase(name);
    return std::nullopt;
  }

  // Of a key in a [[table]], which only the conf can say; empty: it is none.
  static std::string why_in_no_text(std::string_view name) {
    for (const std::string& list : conf_form().lists)
      if (name == list || name.starts_with(list + '.'))
        return name.starts_with("plan")
                   ? fmt::format("{}: write plan.NAME.KEY, such as plan.gold.rate", name)
                   : fmt::format(
                         "{0}: what a [[{1}]] says is changed in the conf: write it in the "
                         "[[{1}]] there, and reload",
                         name, list);
    return {};
  }

  void apply(const std::string& name, const RawValue& value, const std::string& place) {
    if (auto wrong = try_apply(name, value, place)) reading_.mistake(place, std::move(*wrong));
  }

  // The other conf is read as if it were the only one; of it only who may go in counts.
  void read_shadow() {
    AdmissionSettings& admission = reading_.loaded.settings.admission;
    if (admission.shadow_conf.empty()) return;
    if (is_shadow_) return reading_.blame("admission.shadow_conf", "a shadow has none of its own");
    Reader reader;
    reader.is_shadow_ = true;
    auto shadow = reader.load({admission.shadow_conf, {}, {}, {}, reading_.given});
    if (shadow) std::ranges::copy(*shadow->texts, std::back_inserter(reading_.texts));
    if (shadow)
      admission.shadow = std::make_shared<const AdmissionSettings>(shadow->settings.admission);
    else
      std::ranges::move(shadow.error(), std::back_inserter(reading_.mistakes));
  }

  Reading reading_;
  std::string main_path_;
  bool is_shadow_ = false;
  bool is_control_known_ = true;  // what was read of ops.control, the last time that it was named
};

}  // namespace

std::expected<Loaded, std::vector<Mistake>> load(const Sources& sources) {
  return Reader().load(sources);
}

std::expected<std::string, std::vector<Mistake>> control_socket(const Sources& sources) {
  return Reader().control_socket(sources);
}

std::string state_dir(const Sources& sources) { return Reader().state_dir(sources); }

}  // namespace classgate::conf
