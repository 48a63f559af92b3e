#pragma once

#include <string>

namespace classgate::gateway {

// "cgk_" and 160 bits of the kernel's randomness, as 32 letters and digits that nobody takes for
// one another. Throws std::system_error where the kernel has none.
std::string make_key();

// `classgate key new NAME`: prints a key on standard output and, for the file, its line. Returns
// the exit status.
int print_new_key(const std::string& name);

}  // namespace classgate::gateway
