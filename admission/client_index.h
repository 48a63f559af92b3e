#pragma once

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "admission/fair_rank.h"
#include "admission/huge_pages.h"

namespace classgate::admission {

// From a client's identity to its number, for the ClientTable, who knows the whole identity of
// each.
//
// Open addressing with linear probing (Knuth, TAOCP 3, 6.4, algorithms L and R), four fifths full
// at most. An entry is the number in its low bits and above it as much of the identity as there is
// room for: a search reads a cache line of entries and then the right client, hardly ever another
// (one in 4,096 for each entry looked at among a million clients). Who is erased leaves no mark:
// those behind are moved up. Identities are hashes that nobody can steer. Numbers begin with 1.
class ClientIndex {
 public:
  // Empties it and makes room for so many; they will have numbers up to `count`.
  void clear(std::size_t count) {
    const std::size_t size = std::bit_ceil(count + count / 4 + 1);
    // Zeros that the kernel has still to give: a table that nobody is in takes no memory.
    Entries entries(static_cast<std::uint32_t*>(std::calloc(size, sizeof(std::uint32_t))));
    if (!entries) throw std::bad_alloc();
    ask_for_huge_pages(entries.get(), size * sizeof(std::uint32_t));
    entries_ = std::move(entries);
    size_ = size;
    number_bits_ = static_cast<unsigned>(std::bit_width(count));
  }

  // The number for which is_it(number) is true, or no_client.
  template <typename IsIt>
  ClientNumber find(std::uint64_t id, IsIt is_it) const {
    if (size_ == 0) return no_client;
    const std::uint32_t mark = mark_of(id);
    for (std::size_t place = home_of(id); entries_[place] != 0; place = after(place)) {
      const ClientNumber number = number_in(entries_[place]);
      if ((entries_[place] ^ number) == mark && is_it(number)) return number;
    }
    return no_client;
  }

  void insert(std::uint64_t id, ClientNumber number) {
    std::size_t place = home_of(id);
    while (entries_[place] != 0) place = after(place);
    entries_[place] = mark_of(id) | number;
  }

  // id_of(number) is the identity of a client that is in.
  template <typename IdOf>
  void erase(ClientNumber number, IdOf id_of) {
    std::size_t gap = home_of(id_of(number));
    while (number_in(entries_[gap]) != number) gap = after(gap);
    for (std::size_t place = after(gap); entries_[place] != 0; place = after(place)) {
      // It stays when its home lies behind the gap: then it was not pushed here by who has gone.
      const std::size_t home = home_of(id_of(number_in(entries_[place])));
      if (distance(home, place) < distance(gap, place)) continue;
      entries_[gap] = entries_[place];
      gap = place;
    }
    entries_[gap] = 0;
  }

 private:
  std::size_t last() const { return size_ - 1; }
  std::size_t home_of(std::uint64_t id) const { return id & last(); }
  std::size_t after(std::size_t place) const { return (place + 1) & last(); }
  std::size_t distance(std::size_t from, std::size_t to) const { return (to - from) & last(); }
  ClientNumber number_in(std::uint32_t entry) const {
    return entry & ((std::uint32_t{1} << number_bits_) - 1);
  }
  // The part of an identity that is not said by its home.
  std::uint32_t mark_of(std::uint64_t id) const {
    return static_cast<std::uint32_t>(id >> 32) >> number_bits_ << number_bits_;
  }

  struct Free {
    void operator()(std::uint32_t* entries) const { std::free(entries); }
  };
  using Entries = std::unique_ptr<std::uint32_t[], Free>;
  Entries entries_;       // 0: nobody
  std::size_t size_ = 0;  // of these: a power of two
  unsigned number_bits_ = 0;
};

}  // namespace classgate::admission
