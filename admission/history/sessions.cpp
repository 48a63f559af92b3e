#include "admission/history/sessions.h"

#include <algorithm>
#include <utility>

#include "conf/invariant.h"

namespace classgate::history {
namespace {

// Ids are hashes, but nobody promises that of their low bits (Fibonacci hashing, Knuth 6.4).
std::size_t mixed_id(std::uint64_t id) {
  return static_cast<std::size_t>(id * 0x9e3779b97f4a7c15U >> 32);
}

}  // namespace

Sessions::Sessions(std::size_t clients_max, std::int64_t gap_seconds, OnEnd on_end,
                   WasKnown was_known)
    : clients_max_(clients_max),
      on_end_(std::move(on_end)),
      was_known_(std::move(was_known)),
      borders_{Border{now_seconds}, Border{60},   Border{300},
               Border{900},         Border{3600}, Border{gap_seconds}} {
  CLASSGATE_INVARIANT(clients_max > 0 && clients_max < nobody && gap_seconds > 0);
}

bool Sessions::add(std::uint64_t client, std::int64_t at) {
  advance(at);
  const std::size_t slot = slots_.empty() ? 0 : slot_of(client);
  const bool is_known = !slots_.empty() && slots_[slot] != nobody;
  std::uint32_t place = is_known ? slots_[slot] : nobody;
  bool is_open = false;
  if (is_known && clients_[place].last == now_ - epoch_) {
    ++clients_[place].requests;
    return false;
  }
  if (is_known) {
    is_open = is_inside(session_border(), clients_[place]);
    detach(place);
  } else {
    place = take_place();
    clients_[place] = {.id = client};
    put(client, place);
  }
  Client& here = clients_[place];
  here.last = static_cast<std::uint32_t>(now_ - epoch_);
  if (!is_open) {
    here.begun = here.last;
    here.requests = 0;
    ++(is_known || (was_known_ && was_known_(client)) ? returning_ : newcomers_);
  }
  ++here.requests;
  append(place);
  return true;
}

void Sessions::advance(std::int64_t now) {
  if (epoch_ == 0) epoch_ = now_ = now;
  if (now <= now_) return;
  now_ = now;
  for (Border& border : borders_)
    while (border.first != nobody && !is_inside(border, clients_[border.first])) {
      const Client& left = clients_[border.first];
      border.first = left.after;
      --border.inside;
      if (&border == &session_border()) end_session(left);
    }
}

bool Sessions::forget(std::uint64_t client) {
  if (slots_.empty()) return false;
  const std::uint32_t place = slots_[slot_of(client)];
  if (place == nobody) return false;
  if (is_inside(session_border(), clients_[place])) ++ended_;
  detach(place);
  take_out(client);
  free_.push_back(place);
  return true;
}

std::vector<Sessions::Session> Sessions::open(std::size_t most) const {
  std::vector<Session> sessions;
  const Border& border = borders_[index_of(Window::session)];
  for (std::uint32_t place = newest_; place != nobody && sessions.size() < most;
       place = clients_[place].before) {
    if (!is_inside(border, clients_[place])) break;
    sessions.push_back(session_of(clients_[place]));
  }
  return sessions;
}

void Sessions::for_each(const std::function<void(std::uint64_t)>& visit) const {
  for (std::uint32_t place = oldest_; place != nobody; place = clients_[place].after)
    visit(clients_[place].id);
}

// The longest silent gives way.
std::uint32_t Sessions::take_place() {
  if (!free_.empty()) {
    const std::uint32_t place = free_.back();
    free_.pop_back();
    return place;
  }
  if (places_ < clients_max_) {
    if (2 * (places_ + 1) > slots_.size()) grow();
    clients_.emplace_back();
    return static_cast<std::uint32_t>(places_++);
  }
  const std::uint32_t place = oldest_;
  const Client& oldest = clients_[place];
  if (is_inside(session_border(), oldest)) {
    ++gave_way_;
    end_session(oldest);
  }
  take_out(oldest.id);
  detach(place);
  return place;
}

void Sessions::detach(std::uint32_t place) {
  const Client& client = clients_[place];
  for (Border& border : borders_) {
    if (!is_inside(border, client)) continue;
    --border.inside;
    if (border.first == place) border.first = client.after;
  }
  (client.before == nobody ? oldest_ : clients_[client.before].after) = client.after;
  (client.after == nobody ? newest_ : clients_[client.after].before) = client.before;
}

// It is inside of all windows.
void Sessions::append(std::uint32_t place) {
  Client& client = clients_[place];
  client.before = newest_;
  client.after = nobody;
  (newest_ == nobody ? oldest_ : clients_[newest_].after) = place;
  newest_ = place;
  for (Border& border : borders_) {
    ++border.inside;
    if (border.first == nobody) border.first = place;
  }
}

void Sessions::end_session(const Client& client) {
  ++ended_;
  if (on_end_) on_end_(session_of(client));
}

Sessions::Session Sessions::session_of(const Client& client) const {
  return {client.id, epoch_ + client.begun, epoch_ + client.last, client.requests};
}

// ---- Where a client stands ---------------------------------------------------------------------

// Its slot, or the empty one in which it would be.
std::size_t Sessions::slot_of(std::uint64_t id) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = mixed_id(id) & mask;
  while (slots_[slot] != nobody && clients_[slots_[slot]].id != id) slot = (slot + 1) & mask;
  return slot;
}

void Sessions::put(std::uint64_t id, std::uint32_t place) { slots_[slot_of(id)] = place; }

// Those behind it move up, so that no search ends too early (Knuth 6.4, algorithm R).
void Sessions::take_out(std::uint64_t id) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = slot_of(id);
  for (std::size_t next = (hole + 1) & mask; slots_[next] != nobody; next = (next + 1) & mask) {
    const std::size_t home = mixed_id(clients_[slots_[next]].id) & mask;
    if (((next - home) & mask) < ((next - hole) & mask)) continue;
    slots_[hole] = slots_[next];
    hole = next;
  }
  slots_[hole] = nobody;
}

void Sessions::grow() {
  slots_.assign(std::max<std::size_t>(2 * slots_.size(), 64), nobody);
  for (std::uint32_t place = oldest_; place != nobody; place = clients_[place].after)
    put(clients_[place].id, place);
}

}  // namespace classgate::history
