#pragma once

#include <cstdint>
#include <new>

namespace classgate::proxy::net {

// What OpenSSL holds, counted at its own allocations: nothing has to be guessed from its versions.
// Each thread counts what it allocated less what it freed; a session learns what it holds from the
// differences.
std::int64_t tls_memory_of_thread();

// Adds to `held` what OpenSSL has allocated on this thread while it lives.
class TlsMemoryNote {
 public:
  explicit TlsMemoryNote(std::int64_t& held) : held_(held), before_(tls_memory_of_thread()) {}
  ~TlsMemoryNote() { held_ += tls_memory_of_thread() - before_; }
  TlsMemoryNote(const TlsMemoryNote&) = delete;
  TlsMemoryNote& operator=(const TlsMemoryNote&) = delete;

 private:
  std::int64_t& held_;
  const std::int64_t before_;
};

// For what fails only when there is no memory. What is left out of a context or a session without a
// word might be the check of a name, or the list of ciphers.
inline void must(bool is_done) {
  if (!is_done) throw std::bad_alloc();
}

}  // namespace classgate::proxy::net
