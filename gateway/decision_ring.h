#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gateway/exchange_record.h"
#include "proxy/wire/writer.h"

namespace classgate::gateway {

// What was decided of a request that was refused, failed or left, and what that rested on: as it is
// told to who asks. "-": a text that there was not.
struct Decision : ExchangeFacts {
  struct InForce {  // of the conf, then
    std::uint64_t generation = 0;
    double rate = 0;
    double burst = 0;
    std::uint32_t workers = 0;
    std::uint32_t queue_size = 0;
    admission::Duration queue_timeout{};
  };

  static constexpr std::size_t id_max = 128;
  std::string id;
  std::string client;
  std::string address;
  std::string method;
  std::string path;
  std::string route;
  std::string plan;
  std::string name;  // of a client of clients.clients_file
  std::string upstream;
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
// as it is. Under a flood all are refusals, and few are ever asked for: keeping one only copies
// what there is, numbers as they stand and short texts one behind the other; it is looked for, and
// made a Decision, when somebody asks. On the loop.
class DecisionRing {
 public:
  // What there is of one that is kept, beside its facts. Empty: "-".
  struct Origin {
    std::string_view id{};
    std::string_view address{};
    std::string_view method{};
    std::string_view path{};
    std::string_view name{};
    std::string_view upstream{};
    std::uint64_t client = 0;            // the id that its pseudonym is made of
    const std::string* route = nullptr;  // outlives the ring; null: it had none
    const std::string* plan = nullptr;   // likewise
  };

  // Keeps as many as fit of the newest. May throw std::bad_alloc, and then nothing has changed.
  void resize(std::size_t most);
  // What those rest on that are kept from now on.
  void set_in_force(const Decision::InForce& limits) { in_force_ = limits; }
  std::size_t size() const { return std::max(size_before_, position()); }
  std::size_t most() const { return most_; }
  void keep(const ExchangeFacts& facts, const Origin& origin) {
    if (next_ == end_ && !turn()) return;
    new (next_++) Slot(facts, origin, in_force_);
    // The ring is larger than the processor's caches: until the next one, its place is brought in.
    for (std::size_t line = 0; line < usual_bytes; line += cache_line)
      __builtin_prefetch(reinterpret_cast<const std::byte*>(next_) + line, 1);
  }
  // Those with this id; `most` are told: who is trusted may give all requests one id.
  Decisions find(std::string_view id, std::size_t most) const;

 private:
  // The texts of an Origin, in their order, and what is kept of each at the most.
  static constexpr std::array<std::uint8_t, 6> text_most{Decision::id_max, 48, 16, 96, 64, 64};

  struct Slot {
    Slot(const ExchangeFacts& of, const Origin& origin, const Decision::InForce& in_force)
        : facts(of),
          limits(in_force),
          client(origin.client),
          route(origin.route),
          plan(origin.plan) {
      char* end = texts.data();
      put(0, origin.id, end);
      put(1, origin.address, end);
      put(2, origin.method, end);
      put(3, origin.path, end);
      put(4, origin.name, end);
      put(5, origin.upstream, end);
    }
    [[gnu::always_inline]] void put(std::size_t place, std::string_view text, char*& end) {
      const std::size_t size = std::min<std::size_t>(text.size(), text_most[place]);
      sizes[place] = static_cast<std::uint8_t>(size);
      if (size == 0) return;
      proxy::wire::copy_short(end, text.data(), size);
      end += size;
    }
    std::string_view id() const { return {texts.data(), sizes[0]}; }
    Decision told() const;

    ExchangeFacts facts;
    Decision::InForce limits;
    std::uint64_t client;
    const std::string* route;
    const std::string* plan;
    std::array<std::uint8_t, text_most.size()> sizes;
    std::array<char, 128 + 48 + 16 + 96 + 64 + 64> texts;  // as much of it as there is text
  };
  static_assert(std::is_trivially_destructible_v<Slot> && std::is_trivially_copyable_v<Slot>);

  static constexpr std::size_t cache_line = 64;
  static constexpr std::size_t usual_bytes = offsetof(Slot, texts) + 2 * cache_line;  // of one
  static constexpr std::size_t block_size = 64;
  // Room for some, in which as many have been made as were kept so far: making one that is then
  // written over would be dearer than keeping it.
  struct Block {
    Slot* at(std::size_t place) { return reinterpret_cast<Slot*>(room.data()) + place; }
    alignas(Slot) std::array<std::byte, block_size * sizeof(Slot)> room;
  };

  // How many have been kept since the ring last began at its first place.
  std::size_t position() const {
    return blocks_.empty()
               ? 0
               : block_ * block_size + static_cast<std::size_t>(next_ - blocks_[block_]->at(0));
  }
  const Slot& by_age(std::size_t age) const {
    const std::size_t place = (position() + size() - 1 - age) % size();
    return *std::launder(blocks_[place / block_size]->at(place % block_size));
  }
  // To the next block, a new one if there is to be more, or to the first. False: there is none.
  bool turn();

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t most_ = 0;
  std::size_t block_ = 0;        // that is being filled, if there is one
  std::size_t size_before_ = 0;  // when the last block was left
  Slot* next_ = nullptr;         // of it, where the next one goes,
  Slot* end_ = nullptr;          // unless all are full
  Decision::InForce in_force_;
};

}  // namespace classgate::gateway
