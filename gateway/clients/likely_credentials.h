#pragma once

#include <string>
#include <string_view>

namespace classgate::gateway {

// Text that a log is about to tell, with "***" for what looks like a credential, whatever the field
// is called in which it came: a signed or encrypted token in compact form (RFC 7515 section 3.1,
// RFC 7516 section 3.1), a key of ours ("cgk_..."), and the whole of what follows "Bearer", or
// "Basic" before a user and a password. `room` holds it, if anything had to go. O(n); any thread.
std::string_view without_credentials(std::string_view text, std::string& room);

}  // namespace classgate::gateway
