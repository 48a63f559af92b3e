#include "gateway/clients/base64.h"

namespace classgate::gateway {

bool read_base64url(std::string_view text, std::string& into) {
  into.clear();
  into.reserve(text.size() * 3 / 4);
  return each_base64_byte(text, base64url, [&into](char byte) {
    into += byte;
    return true;
  });
}

}  // namespace classgate::gateway
