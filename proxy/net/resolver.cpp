#include "proxy/net/resolver.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace classgate::proxy::net {

struct Resolver::Query {
  Resolver& resolver;
  std::string host;
  std::uint16_t port;
  OnAnswer on_answer;
  bool is_for_v4 = true;  // evdns says no type with an error
};

Resolver::Resolver(Loop& loop, const std::vector<conf::Address>& nameservers)
    : base_(evdns_base_new(loop.base(), 0)) {
  if (!base_) throw std::runtime_error("libevent: cannot look names up");
  // Without a nameserver look_up() says so.
  if (nameservers.empty())
    evdns_base_resolv_conf_parse(base_.get(), DNS_OPTIONS_ALL, "/etc/resolv.conf");
  for (const conf::Address& server : nameservers)
    evdns_base_nameserver_ip_add(base_.get(), server.text.c_str());
}

Resolver::~Resolver() = default;

void Resolver::look_up(const std::string& host, std::uint16_t port, OnAnswer on_answer) {
  queries_.push_back(std::make_unique<Query>(*this, host, port, std::move(on_answer)));
  Query& query = *queries_.back();
  if (evdns_base_resolve_ipv4(base_.get(), host.c_str(), 0, on_result, &query) == nullptr)
    conclude(query, std::unexpected(std::string("no nameserver can be asked")));
}

// A name without IPv4 addresses is asked for IPv6 ones.
void Resolver::on_result(int error, char, int count, int ttl, void* addresses, void* told) {
  Query& query = *static_cast<Query*>(told);
  Resolver& self = query.resolver;
  const bool was_v4 = query.is_for_v4;
  const bool has_none = (error == DNS_ERR_NONE && count == 0) || error == DNS_ERR_NODATA;
  if (has_none && was_v4) {
    query.is_for_v4 = false;
    if (evdns_base_resolve_ipv6(self.base_.get(), query.host.c_str(), 0, on_result, told) !=
        nullptr)
      return;
  }
  if (error != DNS_ERR_NONE || count == 0)
    return self.conclude(
        query,
        std::unexpected(std::string(has_none ? "it has no address" : evdns_err_to_string(error))));
  Answer answer{.addresses = {}, .time_to_live = std::chrono::seconds(std::max(ttl, 0))};
  const auto* bytes = static_cast<const std::uint8_t*>(addresses);
  for (int i = 0; i < count; ++i) {
    conf::IpAddress ip;
    if (was_v4)
      ip = conf::IpAddress::from_v4(bytes + 4 * i);
    else
      std::copy_n(bytes + 16 * i, 16, ip.bytes.begin());
    answer.addresses.push_back(socket_address(ip, query.port));
  }
  tidy(answer.addresses);
  self.conclude(query, std::move(answer));
}

void Resolver::conclude(Query& query, std::expected<Answer, std::string> answer) {
  const OnAnswer on_answer = std::move(query.on_answer);
  std::erase_if(queries_, [&](const auto& known) { return known.get() == &query; });
  on_answer(std::move(answer));
}

std::expected<std::vector<SocketAddress>, std::string> resolve_all(
    const conf::Address& address, const std::vector<conf::Address>& nameservers) {
  if (nameservers.empty() || address.is_unix || conf::IpAddress::parse(address.host) ||
      Resolver::is_in_hosts_file(address.host))
    return resolve_all(address);
  Loop loop;
  Resolver resolver(loop, nameservers);
  std::expected<Resolver::Answer, std::string> answer;
  resolver.look_up(address.host, address.port, [&](auto result) {
    answer = std::move(result);
    loop.stop();
  });
  loop.run();
  if (!answer) return std::unexpected("cannot look up \"" + address.text + "\": " + answer.error());
  return std::move(answer->addresses);
}

bool Resolver::is_in_hosts_file(const std::string& host) {
  std::ifstream file("/etc/hosts");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    words >> word;  // the address
    while (words >> word)
      if (word == host) return true;
  }
  return false;
}

}  // namespace classgate::proxy::net
