#pragma once

// What a setting may be: for each kind of value, how it is read, checked and printed. The table of
// conf/keys.cpp is made of these.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "conf/format.h"
#include "conf/keys.h"
#include "conf/network.h"
#include "conf/settings.h"
#include "conf/words.h"

namespace classgate::conf {

// Where a setting's value is kept; what it refers to lives in the Settings that it is given.
template <typename Value>
using FieldOf = Value& (*)(Settings&);
template <typename Value>
const Value& value_of(FieldOf<Value> access, const Settings& settings) {
  return access(const_cast<Settings&>(settings));  // it only says where
}

// A list as TOML has it, or one in plain text with commas.
std::optional<std::vector<std::string>> list_in(const RawValue& raw);

Key count_key(std::string name, std::uint32_t least, std::uint32_t most, std::string help,
              FieldOf<std::uint32_t> access);
Key number_key(std::string name, double least, double most, bool zero_too, std::string help,
               FieldOf<double> access);
Key duration_key(std::string name, milliseconds least, milliseconds most, std::string help,
                 FieldOf<milliseconds> access);
Key bytes_key(std::string name, Bytes least, Bytes most, std::string help, FieldOf<Bytes> access);
// A number, or the word, which sets `is_auto` and leaves the number for the reader to find.
Key or_auto(Key key, FieldOf<bool> is_auto, std::string word = "auto");
// One of the words, or an absolute path.
Key place_key(std::string name, std::string help, std::vector<std::string> words,
              FieldOf<std::string> access);
// The target of a request; may be empty.
Key path_key(std::string name, std::string help, FieldOf<std::string> access);
// A time zone that this system has.
Key zone_key(std::string name, std::string help, FieldOf<std::string> access);
// What shall be held of times, in the words of conf/target.h; may be empty.
Key target_key(std::string name, std::string help, FieldOf<std::string> access);
// A host name; may be empty.
Key name_key(std::string name, std::string help, FieldOf<std::string> access);
Key bool_key(std::string name, std::string help, FieldOf<bool> access);
struct AddressKinds {
  bool tls = false;
  bool unix_sockets = false;
  bool services = false;
  bool http2 = false;
};
Key addresses_key(std::string name, std::size_t least, AddressKinds kinds, std::string help,
                  FieldOf<std::vector<Address>> access);
// Where the ledger of several gateways may be.
Key redis_key(std::string name, std::string help, FieldOf<std::vector<RedisServer>> access);
Key networks_key(std::string name, std::string help, FieldOf<std::vector<Network>> access);
Key identity_key(std::string name, std::string help, FieldOf<std::vector<IdentitySource>> access);
Key token_place_key(std::string name, std::string help, FieldOf<IdentitySource> access);
Key algorithms_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
Key grpc_services_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// Texts that are compared as they are.
Key texts_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// 1 to 64 letters, digits and "._-:{}" (which a cluster of Redis has a meaning for).
Key short_text_key(std::string name, std::string help, FieldOf<std::string> access);
Key text_key(std::string name, std::size_t most, std::string help, FieldOf<std::string> access);
// Names of fields of requests, but those that the gateway reads and says itself.
Key fields_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// Names of fields that may be shown: none that holds a secret.
Key shown_fields_key(std::string name, std::size_t most, std::string help,
                     FieldOf<std::vector<std::string>> access);
// Origins of pages (RFC 6454), as browsers write them, or "*".
Key origins_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// Methods that pages may ask with, or "*".
Key page_methods_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// Names of fields; tokens (RFC 9110 section 5.6.2).
Key tokens_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access);
// What is spoken with clients: "http/1.1", and "h2" where that is to be spoken, too.
// Whether a list of protocols has "h2", and how such a list is written.
std::expected<bool, std::string> parse_protocols(const RawValue& raw);
std::string_view print_protocols(bool speaks_http2);
Key protocols_key(std::string name, std::string help, FieldOf<bool> speaks_http2);
Key mode_key(std::string name, std::string help, FieldOf<std::uint32_t> access);
// Whether they exist is found out when the socket is opened.
Key owner_key(std::string name, std::string help, FieldOf<std::string> access);

template <SaidInWords Value>
Key word_key(std::string name, std::string help, FieldOf<Value> access) {
  return {std::move(name), fmt::format("{}; {}", help, choices_of<Value>()),
          [=](Settings& settings, const RawValue& raw) -> std::expected<void, std::string> {
            const auto value = parse_word<Value>(raw);
            if (!value) return std::unexpected(value.error());
            access(settings) = *value;
            return {};
          },
          [=](const Settings& settings) {
            return fmt::format("\"{}\"", word_of(value_of(access, settings)));
          }};
}

}  // namespace classgate::conf
