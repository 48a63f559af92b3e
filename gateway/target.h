#pragma once

#include <string>

#include "proxy/wire/message.h"

namespace classgate::gateway {

// What a request asks for, in the one form in which it is judged and forwarded.
struct Target {
  std::string path;  // normal form (admission/path.h); "*" for OPTIONS *
  std::string text;  // what goes upstream: path and query
  std::string host;  // the authority of an absolute target, else Host (RFC 9112 section 3.2.2)
};

// False when the target means nothing: 400. Origin, absolute and asterisk form (RFC 9112 section
// 3.2). Any thread.
bool read_target(const proxy::wire::Head& head, Target& into);

}  // namespace classgate::gateway
