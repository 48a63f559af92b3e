#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

namespace classgate::proxy::net {

// The keys that session tickets are sealed with (RFC 5077 section 4, RFC 8446 section 4.6.1): the
// newest seals, those before it still open. A ring is never changed; rotating makes another one,
// and a key that has left the ring is wiped with the last session that began under it.
class TicketKeys {
 public:
  struct Key {
    std::array<unsigned char, 16> name;
    std::array<unsigned char, 32> cipher;
    std::array<unsigned char, 32> mac;
  };
  static std::shared_ptr<const TicketKeys> fresh();
  std::shared_ptr<const TicketKeys> rotated() const;
  ~TicketKeys();

  const Key& newest() const { return keys_.front(); }
  // Null when no key has this name.
  const Key* find(const unsigned char* name) const;

 private:
  static constexpr std::size_t kept = 3;
  std::vector<Key> keys_;
};

}  // namespace classgate::proxy::net
