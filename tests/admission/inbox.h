#pragma once

#include <deque>
#include <mutex>
#include <optional>

#include "admission/gate.h"

namespace classgate::admission {

struct Letter {
  Ticket ticket;
  std::variant<Permit, Rejection> news;
};

// The mailbox of one loop: news is put in on any thread and taken out by the loop.
class Inbox final : public Waiters {
 public:
  void on_granted(Ticket ticket, std::uint32_t, Permit permit) override {
    put({ticket, std::move(permit)});
  }
  void on_shed(Ticket ticket, std::uint32_t, const Rejection& rejection) override {
    put({ticket, rejection});
  }

  std::optional<Letter> take() {
    const std::lock_guard lock(mutex_);
    if (letters_.empty()) return std::nullopt;
    std::optional<Letter> letter(std::move(letters_.front()));
    letters_.pop_front();
    return letter;
  }

 private:
  void put(Letter letter) {
    const std::lock_guard lock(mutex_);
    letters_.push_back(std::move(letter));
  }
  std::mutex mutex_;
  std::deque<Letter> letters_;
};

}  // namespace classgate::admission
