#include "proxy/net/ticket_keys.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace classgate::proxy::net {
namespace {

TicketKeys::Key random_key() {
  TicketKeys::Key key;
  if (RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) != 1 ||
      RAND_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) != 1 ||
      RAND_bytes(key.mac.data(), static_cast<int>(key.mac.size())) != 1)
    throw std::system_error(EIO, std::generic_category(), "no random numbers for ticket keys");
  return key;
}

}  // namespace

std::shared_ptr<const TicketKeys> TicketKeys::fresh() {
  const auto ring = std::make_shared<TicketKeys>();
  ring->keys_.push_back(random_key());
  return ring;
}

std::shared_ptr<const TicketKeys> TicketKeys::rotated() const {
  const auto ring = std::make_shared<TicketKeys>();
  ring->keys_.push_back(random_key());
  for (const Key& key : keys_)
    if (ring->keys_.size() < kept) ring->keys_.push_back(key);
  return ring;
}

TicketKeys::~TicketKeys() {
  for (Key& key : keys_) OPENSSL_cleanse(&key, sizeof key);
}

const TicketKeys::Key* TicketKeys::find(const unsigned char* name) const {
  const auto found = std::ranges::find_if(keys_, [&](const Key& key) {
    return std::memcmp(key.name.data(), name, key.name.size()) == 0;
  });
  return found == keys_.end() ? nullptr : &*found;
}

}  // namespace classgate::proxy::net
