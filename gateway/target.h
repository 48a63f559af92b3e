#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "proxy/wire/message.h"

namespace classgate::gateway {

// What a request asks for, in the one form in which it is judged and forwarded.
struct Target {
  std::string text;           // what goes upstream: path and query
  std::size_t path_size = 0;  // of the text, without the query
  // The authority of an absolute target, else Host (RFC 9112 section 3.2.2). Views into the head.
  std::string_view host;

  // Normal form (proxy/wire/path.h); "*" for OPTIONS *.
  std::string_view path() const { return {text.data(), path_size}; }
  // Without its '?'.
  std::string_view query() const {
    return std::string_view(text).substr(std::min(path_size + 1, text.size()));
  }
};

// False when the target means nothing: 400. Origin, absolute and asterisk form (RFC 9112 section
// 3.2). With `is_strict` also when the path could be read another way (proxy/wire/path.h). Any
// thread.
bool read_target(const proxy::wire::Head& head, bool is_strict, Target& into);

}  // namespace classgate::gateway
