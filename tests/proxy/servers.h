#pragma once

#include "proxy/servers.h"

namespace classgate::proxy {

// Servers by number or name, looked up here and now.
inline std::expected<std::unique_ptr<Servers>, std::string> look_up_servers(
    const std::vector<conf::Address>& addresses) {
  const auto names = Servers::look_up(addresses);
  if (!names) return std::unexpected(names.error());
  return Servers::make(addresses, nullptr, *names);
}

}  // namespace classgate::proxy
