#pragma once

#include <cstddef>
#include <cstdint>

namespace classgate::history {

// How a request ended, as the books have it.
enum class End : std::uint8_t { served, failed, refused, abandoned };
inline constexpr std::size_t end_count = 4;

// One request that has ended: what is counted of it. Plain, and small: a loop writes one for each.
struct Use {
  static constexpr std::uint8_t no_reason = 255;
  static constexpr std::uint32_t none = UINT32_MAX;  // it did not wait, or was not at the service

  std::uint64_t client = 0;         // its id; 0: nobody wants to know
  std::int64_t at_ns = 0;           // when it ended, on the loop's clock
  std::uint64_t bytes_in = 0;       // of its body
  std::uint64_t bytes_out = 0;      // of the body of its answer
  std::uint32_t wait_us = none;     // for a worker, of one that came to ask for one
  std::uint32_t service_us = none;  // at the service
  std::uint32_t cost = 0;           // of one that went in
  std::uint16_t route = 0;          // by number: UsageNames
  std::uint16_t plan = 0;           // likewise
  std::uint16_t status = 0;         // 0: nobody was there to answer
  std::uint8_t priority = 0;        // 0: it has none
  std::uint8_t reason = no_reason;  // index_of() it
  End end = End::served;
};
static_assert(sizeof(Use) <= 56);

}  // namespace classgate::history
