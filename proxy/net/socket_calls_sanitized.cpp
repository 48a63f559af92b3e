#include <sys/socket.h>

#include "proxy/net/socket_calls.h"

ssize_t classgate_recv(int fd, void* into, std::size_t size, int flags) {
  return ::recv(fd, into, size, flags);
}

ssize_t classgate_send(int fd, const void* bytes, std::size_t size, int flags) {
  return ::send(fd, bytes, size, flags);
}
