#pragma once

#include <sys/types.h>

#include <cstddef>

// recv(2) and send(2) without what glibc puts around them: both are cancellation points, which
// takes sixty instructions each time in a process that has threads, and nobody is cancelled here.
// The same results and errors; on i386 and s390x since Linux 4.3. Of no C++ name so that tests can
// stand in between. Sanitizers see only glibc's: their builds have those
// (socket_calls_sanitized.cpp).
extern "C" {
ssize_t classgate_recv(int fd, void* into, std::size_t size, int flags);
ssize_t classgate_send(int fd, const void* bytes, std::size_t size, int flags);
}
