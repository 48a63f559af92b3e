#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace classgate::proxy::wire {

// Which streams of one connection its client has begun lately, and which of these it has ended
// itself: nghttp2 forgets a stream with its end, and then takes what comes for it for something
// that was on its way when we reset it. That is so only of those that the client has not ended.
// Bounded; of those before the last `most` nobody knows. One thread.
class BegunStreams {
 public:
  static constexpr std::size_t most = 64;
  enum class Past : std::uint8_t {
    unknown,          // or not ended, or by us: what comes may have been on its way
    ended_by_client,  // RFC 9113 section 5.1: STREAM_CLOSED
    never_begun,      // a later one was begun (section 5.1.1): PROTOCOL_ERROR
  };

  // HEADERS have come; a number that is not above all others begins nothing.
  void begin(std::int32_t id) {
    if (!is_above_all(id)) return;
    if (begun_.size() == most) begun_.erase(begun_.begin());
    begun_.push_back(as_begun(id));
  }
  void end_by_client(std::int32_t id) {
    if (const auto found = find(id); found != begun_.end()) *found = as_ended(id);
  }
  // Of one that is no stream now.
  Past past_of(std::int32_t id) const {
    if (is_above_all(id)) return Past::unknown;
    const auto found = std::ranges::lower_bound(begun_, as_ended(id));
    if (*found == as_ended(id)) return Past::ended_by_client;
    if (*found == as_begun(id)) return Past::unknown;
    const bool is_forgotten = begun_.size() == most && found == begun_.begin();
    return is_forgotten ? Past::unknown : Past::never_begun;
  }
  std::size_t held_bytes() const { return begun_.capacity() * sizeof(begun_[0]); }

 private:
  // A client's numbers are odd: the last bit is free to say that it is over.
  static std::uint32_t as_begun(std::int32_t id) { return static_cast<std::uint32_t>(id) | 1; }
  static std::uint32_t as_ended(std::int32_t id) { return as_begun(id) - 1; }
  bool is_above_all(std::int32_t id) const {
    return begun_.empty() || as_begun(id) > (begun_.back() | 1);
  }
  std::vector<std::uint32_t>::iterator find(std::int32_t id) {
    const auto found = std::ranges::lower_bound(begun_, as_ended(id));
    return found != begun_.end() && (*found | 1) == as_begun(id) ? found : begun_.end();
  }

  std::vector<std::uint32_t> begun_;  // in their order
};

}  // namespace classgate::proxy::wire
