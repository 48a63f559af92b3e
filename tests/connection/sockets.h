#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "proxy/net/handles.h"

// Sockets of the loopback interface that never wait, for those who play clients and the service.

namespace classgate::connection_test {

using proxy::net::Fd;

// All throw when the kernel has none.
Fd open_socket();
Fd listen_on_loopback();  // on a port of the kernel's choice
std::uint16_t port_of(const Fd& fd);
void connect_to_loopback(const Fd& fd, std::uint16_t port);
// None when nobody has come.
Fd accept_one(const Fd& listener);
// Also at the end of every script, so that thousands of them leave no port behind.
void reset(Fd& fd);
// What can be read now, at most so much; false when the other side has ended.
bool read_all(const Fd& fd, std::string& into, std::size_t most = static_cast<std::size_t>(-1));

}  // namespace classgate::connection_test
