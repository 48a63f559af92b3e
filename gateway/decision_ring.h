#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "gateway/exchange_record.h"

namespace classgate::gateway {

// A text that is kept where it stands, cut at its room.
template <std::size_t Size>
class KeptText {
 public:
  static_assert(Size < 256);
  void operator=(std::string_view text) {
    size_ = static_cast<std::uint8_t>(text.copy(text_.data(), Size));
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, Size> text_;
  std::uint8_t size_ = 0;
};

// What was decided of a request that was refused, failed or left, and what that rested on. Plain
// values, so that keeping one asks for no memory.
struct Decision : ExchangeFacts {
  static constexpr std::size_t id_max = 128;
  KeptText<id_max> id;
  KeptText<16> client;
  KeptText<48> address;
  KeptText<16> method;
  KeptText<96> path;
  KeptText<64> route;
  KeptText<32> plan;
  KeptText<64> name;  // of a client of clients.clients_file
  KeptText<64> upstream;
  admission::Time ended{};
  struct InForce {  // of the conf, then
    std::uint64_t generation = 0;
    double rate = 0;
    double burst = 0;
    std::uint32_t workers = 0;
    std::uint32_t queue_size = 0;
    admission::Duration queue_timeout{};
  } limits;

  void note(const ExchangeRecord& record, admission::Time now);
};

// What is found of one id: the newest of them, the newest first, and how many more are kept.
struct Decisions {
  std::vector<Decision> told;
  std::uint64_t more = 0;
};

// The last decisions of one loop (its part of ops.why_max), for `classgate why`. It grows by
// blocks, up to its size, and then the oldest gives its place; without memory for a block it stays
// as it is. On the loop.
class DecisionRing {
 public:
  // Keeps as many as fit of the newest. May throw std::bad_alloc, and then nothing has changed.
  void resize(std::size_t most);
  std::size_t size() const { return size_; }
  // Where the next one goes; null: none is kept.
  Decision* next();
  // Those with this id; `most` are told: who is trusted may give all requests one id.
  Decisions find(std::string_view id, std::size_t most) const;

 private:
  static constexpr std::size_t block_size = 64;
  using Block = std::array<Decision, block_size>;
  const Decision& at(std::size_t place) const {
    return (*blocks_[place / block_size])[place % block_size];
  }

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t most_ = 0;
  std::size_t size_ = 0;
  std::size_t newest_ = 0;  // its place, when there is one
};

}  // namespace classgate::gateway
