#pragma once

#include "proxy/servers.h"

namespace classgate::proxy {

// Servers by number or name, looked up here and now.
inline std::expected<std::unique_ptr<Servers>, std::string> look_up_servers(
    const std::vector<conf::Address>& addresses) {
  conf::UpstreamSettings settings;
  settings.servers = addresses;
  const auto names = Servers::look_up(settings);
  for (const Servers::Name& name : names)
    if (!name.endpoints) return std::unexpected(name.mistake());
  return Servers::make(addresses, nullptr, names);
}

}  // namespace classgate::proxy
