#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

#include "proxy/net/mailbox.h"

namespace classgate::gateway {

// Threads of errands that have not returned, those that were given up included: they may still use
// anything of the process, which must then end by _exit(2).
inline std::atomic<std::size_t> errands_out{0};

// Work that may wait for a disk or a name, on a thread of its own, so that its owner's loop never
// does. One at a time; its outcome is told on the loop. An errand that is given up goes on until
// what it waits for comes, and its outcome is dropped. Of those, a few may be out at once.
template <typename Outcome>
class Errand {
 public:
  static constexpr std::size_t given_up_max = 4;

  Errand(proxy::net::Loop& loop, std::function<void(Outcome)> on_outcome)
      : on_outcome_(std::move(on_outcome)),
        mailbox_(loop, [this](Letter& letter) { read(letter); }) {
    mailbox_.reserve(given_up_max + 2);  // on the errand's thread nobody could catch what is thrown
  }
  ~Errand() { give_up(); }

  bool is_under_way() const { return link_ != nullptr; }

  // `work` throws nothing. False when none can begin: too many that were given up still hang, or
  // there is no thread or memory to be had.
  bool begin(std::function<Outcome()> work) {
    if (errands_out > given_up_max) return false;
    try {
      link_ = std::make_shared<Link>(this);
    } catch (const std::bad_alloc&) {
      return false;
    }
    ++errands_out;
    try {
      std::thread([link = link_, work = std::move(work)] {
        ::pthread_setname_np(::pthread_self(), "errand");
        Outcome outcome = work();
        {
          const std::lock_guard lock(link->mutex);
          if (link->owner != nullptr) link->owner->mailbox_.send(Letter{link, std::move(outcome)});
        }
        --errands_out;
      }).detach();
    } catch (const std::exception&) {  // std::system_error, std::bad_alloc
      --errands_out;
      link_.reset();
      return false;
    }
    return true;
  }

  void give_up() {
    const auto link = std::exchange(link_, nullptr);
    if (!link) return;
    const std::lock_guard lock(link->mutex);
    link->owner = nullptr;
  }

 private:
  struct Link {
    explicit Link(Errand* who) : owner(who) {}
    std::mutex mutex;
    Errand* owner;  // null: nobody wants to hear of it any more
  };
  struct Letter {
    std::shared_ptr<Link> link;
    Outcome outcome;
  };

  void read(Letter& letter) {
    if (letter.link != link_) return;  // given up while it was in the box
    link_.reset();
    on_outcome_(std::move(letter.outcome));
  }

  const std::function<void(Outcome)> on_outcome_;
  std::shared_ptr<Link> link_;  // null: nothing is under way
  proxy::net::Mailbox<Letter> mailbox_;
};

}  // namespace classgate::gateway
