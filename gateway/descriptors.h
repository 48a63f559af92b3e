#pragma once

namespace classgate::gateway {

// Raises the soft limit of file descriptors to the hard one (RLIMIT_NOFILE, setrlimit(2)): a shell
// or a container gives 1024 of many. Nothing here uses select(2), for which the soft limit is low.
void raise_descriptor_limit();

// Whoever starts us with standard input, output or error closed would have the next socket or pipe
// take that number, and a log written into it: /dev/null takes it first. To be called before any
// descriptor is opened; programs that we start have it too.
void fill_standard_descriptors();

}  // namespace classgate::gateway
