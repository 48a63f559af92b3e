#include "gateway/clients/sip_hash.h"

#include <random>

namespace classgate::gateway {

HashKey make_hash_key() {
  std::random_device random;
  const auto word = [&] { return std::uint64_t{random()} << 32 | random(); };
  return {word(), word()};
}

}  // namespace classgate::gateway
