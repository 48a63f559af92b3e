#include "conf/key_kinds.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <utility>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/identity.h"
#include "conf/other_tools.h"
#include "conf/secret_fields.h"
#include "conf/target.h"
#include "conf/time_zone.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

template <typename Given, typename Bound>
std::string out_of_range(const Given& given, const Bound& least, const Bound& most) {
  return fmt::format("{} is out of range: {} to {}", given, least, most);
}

// Behind "expected a number without quotes": the number that is in the quotes, also of "10r/s".
std::string number_in_quotes(const std::string* text) {
  const auto number = text == nullptr ? std::nullopt : rate_meant(*text);
  return number ? ": write " + print_number(*number) : std::string();
}

}  // namespace

Key count_key(std::string name, std::uint32_t least, std::uint32_t most, std::string help,
              FieldOf<std::uint32_t> access) {
  return {std::move(name), fmt::format("{}; {} to {}", help, least, most),
          [=](Settings& settings, const RawValue& raw) -> Read {
            std::int64_t number = 0;
            if (const auto* integer = std::get_if<std::int64_t>(&raw.value)) {
              number = *integer;
            } else {
              const auto* text = std::get_if<std::string>(&raw.value);
              if (text == nullptr || !raw.is_text)
                return std::unexpected("expected a whole number without quotes" +
                                       number_in_quotes(text));
              const char* end = text->data() + text->size();
              const auto [stop, error] = std::from_chars(text->data(), end, number);
              if (stop != end || error == std::errc::invalid_argument)
                return std::unexpected(fmt::format("\"{}\" is not a whole number", *text));
              // Also "-0": it would be shown as it was written.
              if (error != std::errc{} || (number == 0 && text->starts_with('-')))
                return std::unexpected(out_of_range(*text, least, most));
            }
            if (number < least || number > most)
              return std::unexpected(out_of_range(number, least, most));
            access(settings) = static_cast<std::uint32_t>(number);
            return {};
          },
          [=](const Settings& settings) { return std::to_string(value_of(access, settings)); }};
}

Key number_key(std::string name, double least, double most, bool zero_too, std::string help,
               FieldOf<double> access) {
  const std::string or_zero = zero_too ? ", or 0 for no limit" : "";
  return {std::move(name),
          fmt::format("{}; {} to {}{}", help, least, most, zero_too ? ", or 0" : ""),
          [=](Settings& settings, const RawValue& raw) -> Read {
            double number = 0;
            if (const auto* integer = std::get_if<std::int64_t>(&raw.value)) {
              number = static_cast<double>(*integer);
            } else if (const auto* real = std::get_if<double>(&raw.value)) {
              number = *real;
            } else {
              const auto* text = std::get_if<std::string>(&raw.value);
              if (text == nullptr || !raw.is_text)
                return std::unexpected("expected a number without quotes" + number_in_quotes(text));
              const char* end = text->data() + text->size();
              const auto [stop, error] = std::from_chars(text->data(), end, number);
              if (stop != end || error == std::errc::invalid_argument)
                return std::unexpected(fmt::format("\"{}\" is not a number", *text));
              if (error != std::errc{})
                return std::unexpected(out_of_range(*text, least, most) + or_zero);
            }
            const bool is_fine = std::isfinite(number) && !std::signbit(number) &&
                                 ((number >= least && number <= most) || (zero_too && number == 0));
            if (!is_fine) return std::unexpected(out_of_range(number, least, most) + or_zero);
            access(settings) = number;
            return {};
          },
          [=](const Settings& settings) { return fmt::format("{}", value_of(access, settings)); }};
}

Key duration_key(std::string name, milliseconds least, milliseconds most, std::string help,
                 FieldOf<milliseconds> access) {
  return {std::move(name),
          fmt::format("{}; {} to {}", help, print_duration(least), print_duration(most)),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr)
              return std::unexpected(
                  std::string("expected a duration in quotes with its unit, such as \"30s\""));
            const auto duration = parse_duration(*text);
            if (!duration) return std::unexpected(duration.error());
            if (*duration < least || *duration > most)
              return std::unexpected(fmt::format("\"{}\" is out of range: {} to {}", *text,
                                                 print_duration(least), print_duration(most)));
            access(settings) = *duration;
            return {};
          },
          [=](const Settings& settings) {
            return '"' + print_duration(value_of(access, settings)) + '"';
          }};
}

Key bytes_key(std::string name, Bytes least, Bytes most, std::string help, FieldOf<Bytes> access) {
  return {std::move(name), fmt::format("{}; {} to {}", help, print_bytes(least), print_bytes(most)),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr)
              return std::unexpected(
                  std::string("expected a size in quotes with its unit, such as \"64KiB\""));
            const auto bytes = parse_bytes(*text);
            if (!bytes) return std::unexpected(bytes.error());
            if (*bytes < least || *bytes > most)
              return std::unexpected(fmt::format("\"{}\" is out of range: {} to {}", *text,
                                                 print_bytes(least), print_bytes(most)));
            access(settings) = *bytes;
            return {};
          },
          [=](const Settings& settings) {
            return '"' + print_bytes(value_of(access, settings)) + '"';
          }};
}

Key or_auto(Key key, FieldOf<bool> is_auto, std::string word) {
  const auto read_number = key.read;
  const auto print_number = key.print;
  key.help += ", or " + quote(word);
  key.read = [=](Settings& settings, const RawValue& raw) -> Read {
    const auto* text = std::get_if<std::string>(&raw.value);
    is_auto(settings) = text != nullptr && *text == word;
    return is_auto(settings) ? Read{} : read_number(settings, raw);
  };
  key.print = [=](const Settings& settings) -> std::string {
    return value_of(is_auto, settings) ? quote(word) : print_number(settings);
  };
  return key;
}

Key place_key(std::string name, std::string help, std::vector<std::string> words,
              FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            const bool is_word = text != nullptr && std::ranges::find(words, *text) != words.end();
            if (text == nullptr || (!is_word && !text->starts_with('/')))
              return std::unexpected(words.empty()
                                         ? std::string("expected an absolute path")
                                         : fmt::format("expected \"{}\" or an absolute path",
                                                       fmt::join(words, "\", \"")));
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

// The target of a request; may be empty.
Key path_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            const auto is_fine = [](char c) { return c > ' ' && c <= '~' && c != '#'; };
            if (text == nullptr || text->size() > 1024 || !std::ranges::all_of(*text, is_fine) ||
                (!text->empty() && !text->starts_with('/')))
              return std::unexpected(
                  std::string("expected a path that begins with '/', such as \"/health\""));
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) {
            return quote(without_query_values(value_of(access, settings)));
          }};
}

Key target_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr || text->size() > 256)
              return std::unexpected(std::string("expected text in quotes, 256 bytes at most"));
            if (!text->empty())
              if (const auto target = parse_time_target(*text); !target)
                return std::unexpected(target.error());
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

Key zone_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr)
              return std::unexpected(
                  std::string("expected a time zone in quotes, such as \"Europe/Berlin\""));
            if (const auto zone = TimeZone::load(*text); !zone)
              return std::unexpected(zone.error());
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

// A host name; may be empty.
Key name_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr || text->size() > 253 ||
                text->find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789-._:") != std::string::npos)
              return std::unexpected(std::string("expected a host name"));
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

namespace {

// Of the environment, the command line or an order, where a word has no quotes.
std::string why_no_boolean(std::string_view text) {
  const auto is_one_of = [text](std::initializer_list<std::string_view> words) {
    return std::ranges::any_of(
        words, [text](std::string_view word) { return equal_but_for_case(text, word); });
  };
  const char* const meant = is_one_of({"true", "yes", "on", "1"})    ? "true"
                            : is_one_of({"false", "no", "off", "0"}) ? "false"
                                                                     : "true or false";
  return fmt::format("\"{}\" is neither true nor false: write {}", text, meant);
}

}  // namespace

Key bool_key(std::string name, std::string help, FieldOf<bool> access) {
  return {std::move(name), help + "; true, false",
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* boolean = std::get_if<bool>(&raw.value);
            const auto* text = std::get_if<std::string>(&raw.value);
            const bool is_word = text && raw.is_text && (*text == "true" || *text == "false");
            if (boolean == nullptr && text && raw.is_text && !is_word)
              return std::unexpected(why_no_boolean(*text));
            if (boolean == nullptr && !is_word)
              return std::unexpected(std::string("expected true or false, without quotes"));
            access(settings) = boolean ? *boolean : *text == "true";
            return {};
          },
          [=](const Settings& settings) {
            return std::string(value_of(access, settings) ? "true" : "false");
          }};
}

namespace {

using HintFor = std::string (*)(std::string_view);

// Where it is how another program writes addresses, what to write.
std::string why_no_address(const std::string& text, const std::string& why, HintFor hint_for) {
  const std::string hint = hint_for == nullptr ? std::string() : hint_for(text);
  return hint.empty() ? why : fmt::format("\"{}\" is no address here: {}", text, hint);
}

// One address without the brackets of a list.
std::string why_no_list(const RawValue& raw, HintFor hint_for) {
  const auto* const text = std::get_if<std::string>(&raw.value);
  std::string hint = text == nullptr ? std::string() : hint_for(*text);
  if (text != nullptr && !text->contains('@') && parse_address(*text))
    return fmt::format("expected a list: write [\"{}\"]", *text);
  return "expected a list, such as [\"127.0.0.1:8080\"]" +
         (hint.empty() ? std::string() : fmt::format("; in it, {}", hint));
}

}  // namespace

Key addresses_key(std::string name, std::size_t least, AddressKinds kinds, std::string help,
                  FieldOf<std::vector<Address>> access) {
  const HintFor hint_for = kinds.http2            ? hint_for_server
                           : name == "ops.listen" ? hint_for_operators
                                                  : hint_for_listener;
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto texts = list_in(raw);
            if (!texts) return std::unexpected(why_no_list(raw, hint_for));
            if (texts->size() < least || texts->size() > 64)
              return std::unexpected(fmt::format("expected {} to 64 addresses", least));
            std::vector<Address> addresses;
            for (const std::string& text : *texts) {
              const auto address = parse_address(text);
              if (!address) return std::unexpected(why_no_address(text, address.error(), hint_for));
              if ((address->is_tls && !kinds.tls) || (address->is_unix && !kinds.unix_sockets) ||
                  (address->is_service && !kinds.services) || (address->is_http2 && !kinds.http2))
                return std::unexpected(
                    why_no_address(text, fmt::format("\"{}\": expected HOST:PORT here", text),
                                   kinds.tls ? hint_for : nullptr));
              if ((address->port != 0 || address->is_unix || address->is_service) &&
                  std::ranges::find(addresses, *address) != addresses.end())
                return std::unexpected(fmt::format("\"{}\" stands here twice", text));
              addresses.push_back(*address);
            }
            access(settings) = std::move(addresses);
            return {};
          },
          [=](const Settings& settings) {
            std::string out;
            for (const Address& address : value_of(access, settings))
              out += (out.empty() ? "" : ", ") + quote(address.text);
            return "[" + out + "]";
          }};
}

Key networks_key(std::string name, std::string help, FieldOf<std::vector<Network>> access) {
  constexpr std::size_t most = 1024;
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto texts = list_in(raw);
            if (!texts)
              return std::unexpected(std::string("expected a list, such as [\"10.0.0.0/8\"]"));
            if (texts->size() > most)
              return std::unexpected(fmt::format("expected {} networks at most", most));
            std::vector<Network> networks;
            for (const std::string& text : *texts) {
              auto network = parse_network(text);
              if (!network) return std::unexpected(network.error());
              const bool stands_twice = std::ranges::any_of(networks, [&](const Network& known) {
                return known.address == network->address && known.prefix == network->prefix;
              });
              if (stands_twice)
                return std::unexpected(fmt::format("\"{}\" stands here twice", text));
              networks.push_back(std::move(*network));
            }
            access(settings) = std::move(networks);
            return {};
          },
          [=](const Settings& settings) {
            std::string out;
            for (const Network& network : value_of(access, settings))
              out += (out.empty() ? "" : ", ") + quote(network.text);
            return "[" + out + "]";
          }};
}

Key identity_key(std::string name, std::string help, FieldOf<std::vector<IdentitySource>> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto words = list_in(raw);
            if (!words)
              return std::unexpected(
                  std::string("expected a list, such as [\"header:X-Api-Key\", \"address\"]"));
            auto identity = parse_identity(*words);
            if (!identity) return std::unexpected(identity.error());
            access(settings) = std::move(*identity);
            return {};
          },
          [=](const Settings& settings) { return print_identity(value_of(access, settings)); }};
}

Key text_key(std::string name, std::size_t most, std::string help, FieldOf<std::string> access) {
  return {
      std::move(name), std::move(help),
      [=](Settings& settings, const RawValue& raw) -> Read {
        const auto* text = std::get_if<std::string>(&raw.value);
        if (text == nullptr || text->size() > most)
          return std::unexpected(fmt::format("expected text in quotes, {} bytes at most", most));
        access(settings) = *text;
        return {};
      },
      [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

Key token_place_key(std::string name, std::string help, FieldOf<IdentitySource> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            if (text == nullptr) return std::unexpected(std::string("expected text in quotes"));
            auto place = parse_token_place(*text);
            if (!place) return std::unexpected(place.error());
            access(settings) = std::move(*place);
            return {};
          },
          [=](const Settings& settings) { return quote(word_of(value_of(access, settings))); }};
}

Key mode_key(std::string name, std::string help, FieldOf<std::uint32_t> access) {
  return {
      std::move(name), std::move(help),
      [=](Settings& settings, const RawValue& raw) -> Read {
        const auto* text = std::get_if<std::string>(&raw.value);
        std::uint32_t mode = 0;
        if (text == nullptr || text->size() < 3 || text->size() > 4 ||
            std::from_chars(text->data(), text->data() + text->size(), mode, 8).ptr !=
                text->data() + text->size() ||
            mode > 0777)
          return std::unexpected(std::string("expected permissions in quotes, such as \"0660\""));
        access(settings) = mode;
        return {};
      },
      [=](const Settings& settings) {
        return fmt::format("\"{:04o}\"", value_of(access, settings));
      }};
}

// Whether they exist is found out when the socket is opened.
Key owner_key(std::string name, std::string help, FieldOf<std::string> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto* text = std::get_if<std::string>(&raw.value);
            const auto is_fine = [](char c) { return c > ' ' && c < 0x7f && c != '/'; };
            if (text == nullptr || text->size() > 128 || !std::ranges::all_of(*text, is_fine) ||
                std::ranges::count(*text, ':') > 1)
              return std::unexpected(std::string("expected USER, USER:GROUP or :GROUP"));
            access(settings) = *text;
            return {};
          },
          [=](const Settings& settings) { return quote(value_of(access, settings)); }};
}

}  // namespace classgate::conf
