#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace classgate::history {

// Who is active, and since when: a session is one client's activity with no gap longer than `gap`;
// a client is active in a window when a request of it has ended within it. Exact for up to
// `clients_max` clients, those that were here last: beyond them the longest silent gives way, its
// session ends, and it is new when it comes again (gave_way() tells how many sessions ended so). 32
// bytes a client and up to 8 of its place; every operation is O(1), moving the time on O(what it
// ends).
//
// Clients stand in one list, the longest silent first. Each window has a border in it, the first
// client that is inside, and a count of those behind it; time moves borders only. Seconds of Unix
// time; one that goes back is taken to stand still. A value; one thread.
class Sessions {
 public:
  // `now`: a few seconds, because only the end of a request is seen.
  enum class Window : std::uint8_t { now, minute, five, quarter, hour, session };
  static constexpr std::size_t window_count = 6;
  static constexpr std::int64_t now_seconds = 10;

  struct Session {
    std::uint64_t client = 0;
    std::int64_t begun = 0;  // Unix time, of its first request's end
    std::int64_t last = 0;
    std::uint64_t requests = 0;
  };
  using OnEnd = std::function<void(const Session&)>;

  // Whether a client that is not remembered here was here before this process.
  using WasKnown = std::function<bool(std::uint64_t client)>;

  Sessions(std::size_t clients_max, std::int64_t gap_seconds, OnEnd on_end = {},
           WasKnown was_known = {});

  // A request of this client has ended. False: one did so in the same second already.
  bool add(std::uint64_t client, std::int64_t at);
  // Time has come; sessions end.
  void advance(std::int64_t now);
  // True when it was known. Its session is not told as ended.
  bool forget(std::uint64_t client);

  std::uint64_t active(Window window) const { return borders_[index_of(window)].inside; }
  // Since the start. begun() - ended() are open.
  std::uint64_t begun() const { return newcomers_ + returning_; }
  std::uint64_t ended() const { return ended_; }
  std::uint64_t newcomers() const { return newcomers_; }  // sessions of clients not known before
  std::uint64_t returning() const { return returning_; }  // of those who were
  std::uint64_t gave_way() const { return gave_way_; }
  std::size_t known() const { return places_ - free_.size(); }
  // Those that are open, the one that was active last first; up to `most`.
  std::vector<Session> open(std::size_t most) const;
  void for_each(const std::function<void(std::uint64_t client)>& visit) const;

 private:
  static constexpr std::uint32_t nobody = UINT32_MAX;
  struct Client {
    std::uint64_t id = 0;
    std::uint32_t begun = 0;  // seconds since epoch_
    std::uint32_t last = 0;
    std::uint32_t requests = 0;
    std::uint32_t before = nobody;
    std::uint32_t after = nobody;
  };
  struct Border {
    std::int64_t seconds = 0;
    std::uint64_t inside = 0;
    std::uint32_t first = nobody;
  };
  static std::size_t index_of(Window window) { return static_cast<std::size_t>(window); }
  bool is_inside(const Border& border, const Client& client) const {
    return client.last + border.seconds >= now_ - epoch_;
  }
  Border& session_border() { return borders_[index_of(Window::session)]; }
  std::uint32_t take_place();
  void detach(std::uint32_t place);
  void append(std::uint32_t place);
  void end_session(const Client& client);
  Session session_of(const Client& client) const;
  std::size_t slot_of(std::uint64_t id) const;
  void put(std::uint64_t id, std::uint32_t place);
  void take_out(std::uint64_t id);
  void grow();

  const std::size_t clients_max_;
  const OnEnd on_end_;
  const WasKnown was_known_;
  std::deque<Client> clients_;  // does not move what it has when it grows
  std::size_t places_ = 0;      // of them that have been taken so far
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> slots_;  // by hash: their places, with linear probing
  std::array<Border, window_count> borders_;
  std::uint32_t oldest_ = nobody;
  std::uint32_t newest_ = nobody;
  std::int64_t epoch_ = 0;
  std::int64_t now_ = 0;
  std::uint64_t newcomers_ = 0;
  std::uint64_t returning_ = 0;
  std::uint64_t ended_ = 0;
  std::uint64_t gave_way_ = 0;
};

}  // namespace classgate::history
