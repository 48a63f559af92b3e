#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

// Faults at the socket layer. The calls that the gateway's loops make in this program go through
// faults.cpp (the linker's --wrap); while an Injection lives, its plan says what becomes of each.
// The threads of the tests, with their clients and upstreams, are left alone.

namespace classgate::gateway::test {

enum class Call : std::uint8_t { receive, send, accept, connect, open_socket };
inline constexpr std::size_t call_count = 5;

// One of: the call fails; or it moves no more than `most` bytes; or it is left alone.
struct Fault {
  int error = 0;
  std::size_t most = SIZE_MAX;
};

// Which call it is: the `number`-th of its kind since the injection began, when so many bytes have
// gone through calls of that kind. What a fault promises comes true: after EAGAIN, and after less
// than was there, epoll tells once more that the socket is ready.
struct Moment {
  Call call;
  std::uint64_t number;
  std::uint64_t bytes;
};

class Injection {
 public:
  // `plan` is called on the loops' threads, one at a time.
  explicit Injection(std::function<Fault(const Moment&)> plan);
  ~Injection();
  Injection(const Injection&) = delete;
  Injection& operator=(const Injection&) = delete;

  std::uint64_t injected() const;        // faults so far
  std::uint64_t bytes(Call call) const;  // that have gone through calls of that kind
};

}  // namespace classgate::gateway::test
