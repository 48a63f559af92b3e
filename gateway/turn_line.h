#pragma once

#include <cstddef>
#include <list>

#include "proxy/net/loop.h"

namespace classgate::gateway {

// Who has sent more than is done for one client in one turn of the loop waits here for the next.
// They are called in the order in which they came, `most_in_a_turn` of them in a turn: whoever has
// only just come is served before all that the others have in store. On the loop.
class TurnLine final : private proxy::net::Deferred {
 public:
  class Member {
   public:
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    // Is no member any more, unless it joins again. Must not throw.
    virtual void on_turn() noexcept = 0;

   protected:
    Member() = default;
    ~Member() { leave_line(); }
    void leave_line() {
      if (line_ != nullptr) line_->leave(*this);
    }

   private:
    friend class TurnLine;
    TurnLine* line_ = nullptr;  // where it waits
    std::list<Member*>::iterator place_;
  };

  static constexpr std::size_t most_in_a_turn = 16;

  explicit TurnLine(proxy::net::Loop& loop) : loop_(loop) {}
  ~TurnLine();
  TurnLine(const TurnLine&) = delete;
  TurnLine& operator=(const TurnLine&) = delete;

  // At the end, unless it waits already. Throws std::bad_alloc.
  void join(Member& member);

 private:
  void leave(Member& member);
  void on_next_turn() override;

  proxy::net::Loop& loop_;
  std::list<Member*> line_;
};

}  // namespace classgate::gateway
