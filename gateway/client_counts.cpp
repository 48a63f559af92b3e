#include "gateway/client_counts.h"

#include <string_view>

#include "conf/invariant.h"

namespace classgate::gateway {
namespace {

conf::IpAddress client_of(const conf::IpAddress& address) {
  return address.is_v4() ? address : address.as_client(64);
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
