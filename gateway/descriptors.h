#pragma once

namespace classgate::gateway {

// Raises the soft limit of file descriptors to the hard one (RLIMIT_NOFILE, setrlimit(2)): a shell
// or a container gives 1024 of many. Nothing here uses select(2), for which the soft limit is low.
void raise_descriptor_limit();

}  // namespace classgate::gateway
