#include "gateway/client_counts.h"

#include <algorithm>
#include <string_view>

#include "conf/invariant.h"

namespace classgate::gateway {
namespace {

conf::IpAddress client_of(conf::IpAddress address) {
  if (!address.is_v4()) std::fill(address.bytes.begin() + 8, address.bytes.end(), std::uint8_t{0});
  return address;
}

}  // namespace

std::size_t ClientCounts::Hash::operator()(const conf::IpAddress& address) const {
  return SipHash::of(key,
                     {reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size()});
}

bool ClientCounts::enter(const conf::IpAddress& address, std::uint32_t most) {
  const std::lock_guard lock(mutex_);
  std::uint32_t& count = counts_[client_of(address)];
  if (count >= most) return false;
  ++count;
  return true;
}

void ClientCounts::leave(const conf::IpAddress& address) {
  const std::lock_guard lock(mutex_);
  const auto found = counts_.find(client_of(address));
  CLASSGATE_INVARIANT(found != counts_.end());
  if (--found->second == 0) counts_.erase(found);
}

}  // namespace classgate::gateway
