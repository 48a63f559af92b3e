#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/message.h"

namespace classgate::proxy::wire {

// ASCII, case-insensitive (RFC 9110 section 5.1).
bool equal_names(std::string_view a, std::string_view b);

FieldId field_id(std::string_view name);

// Names of fields that are told apart by nothing but case, and '_' for '-', which some servers take
// for it. Immutable; any thread.
class FieldNames {
 public:
  FieldNames() = default;
  explicit FieldNames(const std::vector<std::string>& names);
  bool is_empty() const { return names_.empty(); }
  // `other` when the name is none of these, `misspelt` when it has a '_' where one of these has a
  // '-', or the other way round; else x_forwarded_other: what only a trusted sender may say.
  FieldId id_of(std::string_view name) const;

 private:
  std::vector<std::string> names_;  // in lower case
};

// Whether a field may come after the body: not when it would change framing, routing,
// authentication, or how the message is to be read (RFC 9110 section 6.5.1).
bool may_be_trailer(std::string_view name);

// Calls `visit` with each non-empty element of a comma-separated list (RFC 9110 section 5.6.1).
template <typename Visit>
void for_each_element(std::string_view list, Visit visit) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view element = list.substr(0, comma);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
    while (!element.empty() && (element.front() == ' ' || element.front() == '\t'))
      element.remove_prefix(1);
    while (!element.empty() && (element.back() == ' ' || element.back() == '\t'))
      element.remove_suffix(1);
    if (!element.empty()) visit(element);
  }
}

// Whether a head asks for, or agrees to, the WebSocket protocol (RFC 6455 section 4).
bool names_websocket(const Head& head);

// Whether a proxy of this name has forwarded the message (RFC 9110 section 7.6.3): one of its Via
// fields has it as received-by.
bool has_been_through(const Head& head, std::string_view name);

// How often a TRACE or OPTIONS may still be passed on (RFC 9110 section 7.6.2); nothing when it
// does not say, or says it in a way that is no number, or its method is another.
std::optional<std::uint32_t> max_forwards(const Head& head);
// The same with that many.
void set_max_forwards(Head& head, std::string_view number);

inline constexpr FieldSet hop_by_hop =
    set_of(FieldId::misspelt, FieldId::connection, FieldId::keep_alive, FieldId::proxy_connection,
           FieldId::te, FieldId::transfer_encoding, FieldId::upgrade);

// Whether a field belongs to one connection only and must not be forwarded (RFC 9110 section
// 7.6.1): the standard ones, and those that the message's Connection fields name.
bool is_hop_by_hop(const Field& field, const Head& head);
// Whether the message's Connection fields name it.
bool is_nominated(std::string_view name, const Head& head);

}  // namespace classgate::proxy::wire
