#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gateway/exchange_record.h"
#include "proxy/wire/writer.h"

namespace classgate::gateway {

// A text that is kept where it stands, cut at its room.
template <std::size_t Size>
class KeptText {
 public:
  static_assert(Size < 256);
  explicit KeptText(std::string_view text)
      : size_(static_cast<std::uint8_t>(std::min(text.size(), Size))) {
    proxy::wire::copy_short(text_.data(), text.data(), size_);
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, Size> text_;  // as much of it as there is text
  std::uint8_t size_;
};

// What was decided of a request that was refused, failed or left, and what that rested on. Plain
// values, so that keeping one asks for no memory.
struct Decision : ExchangeFacts {
  struct InForce {  // of the conf, then
    std::uint64_t generation = 0;
    double rate = 0;
    double burst = 0;
    std::uint32_t workers = 0;
    std::uint32_t queue_size = 0;
    admission::Duration queue_timeout{};
  };
  Decision(const ExchangeFacts& facts, const ExchangeTexts& texts, const InForce& in_force);

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
  InForce limits;
};

// What is found of one id: the newest of them, the newest first, and how many more are kept.
struct Decisions {
  std::vector<Decision> told;
  std::uint64_t more = 0;
};

// Of so many for all loops, those of one: together they are no more, and where there are more loops
// than that, some keep none.
constexpr std::size_t part_of(std::size_t all, std::size_t loops, std::size_t loop) {
  return all / loops + (loop < all % loops ? 1 : 0);
}

// The last decisions of one loop (its part of ops.why_max), for `classgate why`. It grows by
// blocks, up to its size, and then the oldest gives its place; without memory for a block it stays
// as it is. On the loop.
class DecisionRing {
 public:
  // Keeps as many as fit of the newest. May throw std::bad_alloc, and then nothing has changed.
  void resize(std::size_t most);
  std::size_t size() const { return size_; }
  std::size_t most() const { return most_; }
  void keep(const ExchangeFacts& facts, const ExchangeTexts& texts,
            const Decision::InForce& in_force);
  // Those with this id; `most` are told: who is trusted may give all requests one id.
  Decisions find(std::string_view id, std::size_t most) const;

 private:
  static constexpr std::size_t block_size = 64;
  // Room for some, in which as many have been made as were kept so far: making one that is then
  // written over would be dearer than keeping it.
  class Block {
   public:
    static_assert(std::is_trivially_destructible_v<Decision> &&
                  std::is_trivially_copyable_v<Decision>);
    void* room(std::size_t place) { return room_.data() + place * sizeof(Decision); }
    const Decision& at(std::size_t place) const {
      return *std::launder(
          reinterpret_cast<const Decision*>(room_.data() + place * sizeof(Decision)));
    }

   private:
    alignas(Decision) std::array<std::byte, block_size * sizeof(Decision)> room_;
  };
  const Decision& at(std::size_t place) const {
    return blocks_[place / block_size]->at(place % block_size);
  }
  // Where the next one goes; null: nowhere.
  void* next();

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t most_ = 0;
  std::size_t size_ = 0;
  std::size_t newest_ = 0;  // its place, when there is one
};

}  // namespace classgate::gateway
