#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace classgate::gateway {

// The name by which a client goes in every log, page and metric: "c_4f7a91c2". It is the upper half
// of the client's id (clients/client_identity.h), a keyed hash: the same over restarts, upgrades
// and gateways that have the same key ([clients] secret), and nothing that leads back to an API
// key or token for whoever has not.
//
// Half an id may be two clients': among 1,000 clients some two print alike with a chance of one in
// 8,600, among 10,000 of 1 in 86, among 100,000 of two in three. Then a reader sees two clients as
// one; admission, which goes by the whole id, does not. "-": no client, id 0.
//
// Needs no memory: for a line of a log and a page alike. Any thread.
class Pseudonym {
 public:
  explicit Pseudonym(std::uint64_t id);
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 10> text_{'-'};
  std::uint8_t size_ = 1;
};

// The half of an id that is in such a name; none: it is none.
std::optional<std::uint32_t> half_in(std::string_view pseudonym);

inline std::string pseudonym_of(std::uint64_t id) { return std::string(Pseudonym(id).view()); }

}  // namespace classgate::gateway
