#include "proxy/net/tls_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>

#include <cstdlib>

namespace classgate::proxy::net {
namespace {

thread_local std::int64_t held_by_thread = 0;

// With the allocator's own few bytes.
std::int64_t size_of(void* memory) {
  return memory == nullptr ? 0 : static_cast<std::int64_t>(::malloc_usable_size(memory)) + 8;
}

// For 0 bytes null, as OpenSSL's own functions have it (CRYPTO_malloc(3)).
void* allocate(std::size_t size, const char*, int) {
  void* const memory = size == 0 ? nullptr : std::malloc(size);
  held_by_thread += size_of(memory);
  return memory;
}

void release(void* memory, const char*, int) {
  held_by_thread -= size_of(memory);
  std::free(memory);
}

void* reallocate(void* memory, std::size_t size, const char* file, int line) {
  if (size == 0) {
    release(memory, file, line);
    return nullptr;
  }
  const std::int64_t before = size_of(memory);
  void* const other = std::realloc(memory, size);
  if (other != nullptr) held_by_thread += size_of(other) - before;
  return other;
}

// Set before main(): OpenSSL accepts other functions only before its first allocation.
[[maybe_unused]] const int are_set = CRYPTO_set_mem_functions(allocate, reallocate, release);

}  // namespace

std::int64_t tls_memory_of_thread() { return held_by_thread; }

}  // namespace classgate::proxy::net
