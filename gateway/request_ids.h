#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace classgate::gateway {

// The X-Request-Id of requests that bring none: 32 hex digits, unique to this process and loop.
// Half of it is this loop's alone, the other half counts, mixed with a secret so that an id tells
// neither the next one nor how many there were; no number comes twice. Of one loop.
class RequestIds {
 public:
  RequestIds();
  void append(std::string& out);

 private:
  const std::array<char, 16> id_of_loop_;  // in hex
  const std::uint64_t secret_;
  std::uint64_t count_ = 0;
};

}  // namespace classgate::gateway
