#include "gateway/ops/status_watch.h"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/ops/control_question.h"
#include "gateway/ops/terminal.h"
#include "gateway/ops/watch_page.h"

namespace classgate::gateway {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int no_classgate = 2;
constexpr std::chrono::milliseconds watch_interval{1000};
constexpr std::chrono::milliseconds first_interval{300};  // until there are rates
constexpr std::chrono::milliseconds answer_limit{5000};

int say_trouble(const std::string& text) {
  conf::print(stderr, fmt::format("classgate: {}\n", text));
  return no_classgate;
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// What was heard, and how the history took it. A page has no room for where it was asked.
class Listener {
 public:
  explicit Listener(const std::string& path) : prefix_(path + ": ") {}
  void hear(ControlResult result, Clock::time_point now) {
    const double seconds = heard_at_ ? seconds_between(*heard_at_, now) : 0;
    heard_at_ = now;
    if (!result) {
      const std::string& why = result.error();
      return history_.add_trouble(why.starts_with(prefix_) ? why.substr(prefix_.size()) : why,
                                  seconds);
    }
    try {
      history_.add(result->body, seconds);
      status_ = result->status == 200 ? 0 : 1;
    } catch (const nlohmann::json::exception&) {
      history_.add_trouble("what answers is no classgate, or an older one", seconds);
    }
  }
  const WatchHistory& history() const { return history_; }
  int status() const { return status_; }

 private:
  std::string prefix_;
  WatchHistory history_;
  std::optional<Clock::time_point> heard_at_;
  int status_ = 0;
};

int watch_in_lines(const std::string& path, const std::string& target, bool as_json) {
  Listener listener(path);
  for (bool is_first = true, was_there = true;; is_first = false) {
    ControlResult result = ask_control(path, "GET", target, {}, answer_limit);
    if (is_first && !result) return say_trouble(result.error());
    const std::string body = result ? result->body : "";
    listener.hear(std::move(result), Clock::now());
    const WatchHistory& history = listener.history();
    const bool is_there = history.trouble().empty();
    if (is_first && !is_there) return say_trouble(history.trouble());
    if (!is_there && was_there) say_trouble(history.trouble() + "; asking again every second");
    if (is_there && !was_there) conf::print(stderr, "classgate: it answers again\n");
    was_there = is_there;
    if (is_there && as_json) conf::print(stdout, body);
    if (is_there && !as_json && !is_first) conf::print(stdout, watch_line(history));
    if (std::fflush(stdout) != 0)
      return say_trouble(std::string("standard output: ") + std::strerror(errno));
    std::this_thread::sleep_for(is_first ? first_interval : watch_interval);
  }
}

// The page on a terminal: what is waited for is a key, a signal, an answer, or the next second.
class Watch {
 public:
  Watch(std::string path, std::string target, Listener listener)
      : path_(std::move(path)), target_(std::move(target)), listener_(std::move(listener)) {
    view_.in_utf8 = Terminal::writes_utf8();
  }
  // Returns the exit status, or below zero the signal that is to end the process.
  int run() {
    for (Clock::time_point now = Clock::now();; now = Clock::now()) {
      if (!view_.is_paused && !question_ && now >= next_at_) ask(now);
      if (question_ && now >= asked_at_ + answer_limit)
        close(std::unexpected(path_ + ": no answer, though somebody listens"), now);
      if (is_dirty_ && !draw()) return no_classgate;
      wait(now);
      if (const int signal = terminal_.take_signals(); signal != 0) return -signal;
      if (!take_keys()) return listener_.status();
    }
  }

 private:
  void ask(Clock::time_point now) {
    asked_at_ = now;
    auto begun = ControlQuestion::begin(path_, "GET", shows_clients_ ? with_clients() : target_);
    if (begun)
      question_.emplace(std::move(*begun));
    else
      close(std::unexpected(begun.error()), now);
  }
  std::string with_clients() const {
    return target_.contains('?') ? target_ : target_ + "?clients=50";
  }
  void close(ControlResult result, Clock::time_point now) {
    question_.reset();
    listener_.hear(std::move(result), now);
    next_at_ = asked_at_ + (listener_.history().has_rates() ? watch_interval : first_interval);
    if (!listener_.history().trouble().empty()) next_at_ = asked_at_ + watch_interval;
    is_dirty_ = true;
  }

  void wait(Clock::time_point now) {
    std::array<pollfd, 3> ends{pollfd{terminal_.signals_fd(), POLLIN, 0},
                               pollfd{terminal_.keys_fd(), POLLIN, 0},
                               pollfd{question_ ? question_->fd() : -1, POLLIN, 0}};
    const Clock::time_point until = question_ ? asked_at_ + answer_limit : next_at_;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(std::max(until - now, Clock::duration{}));
    const bool waits_for_time = question_ || !view_.is_paused;
    ::poll(ends.data(), ends.size(), waits_for_time ? static_cast<int>(left.count()) : -1);
    if (ends[0].revents != 0) is_dirty_ = true;
    has_typed_ = ends[1].revents != 0;
    if (question_ && ends[2].revents != 0)
      if (auto result = question_->read()) close(std::move(*result), Clock::now());
  }

  // False: to quit.
  bool take_keys() {
    if (!std::exchange(has_typed_, false)) return true;
    for (const char key : terminal_.take_keys()) {
      is_dirty_ = true;
      if (key == 'q' || key == 'Q') return false;
      if (key == 'p' || key == ' ') view_.is_paused = !view_.is_paused;
      if (key == 's') view_.sort = next_sort(view_.sort);
      if (key == 'c') shows_clients_ = !shows_clients_, next_at_ = {};
    }
    return true;
  }

  bool draw() {
    is_dirty_ = false;
    const Terminal::Size size = terminal_.size();
    view_.columns = size.columns;
    view_.rows = size.rows;
    return terminal_.draw(watch_page(listener_.history(), view_));
  }

  std::string path_;
  std::string target_;
  Listener listener_;
  WatchView view_;
  Terminal terminal_;
  std::optional<ControlQuestion> question_;
  Clock::time_point asked_at_{};
  Clock::time_point next_at_{};
  bool shows_clients_ = false;
  bool has_typed_ = false;
  bool is_dirty_ = true;
};

}  // namespace

int watch_status(const std::string& path, const std::string& target, bool as_json) {
  if (as_json || !Terminal::is_there()) return watch_in_lines(path, target, as_json);
  // Who is not there, or is no classgate, is said on the terminal as it is.
  Listener listener(path);
  ControlResult first = ask_control(path, "GET", target, {}, answer_limit);
  if (!first) return say_trouble(first.error());
  listener.hear(std::move(first), Clock::now());
  if (!listener.history().trouble().empty()) return say_trouble(listener.history().trouble());
  int status = 0;
  {
    Watch watch(path, target, std::move(listener));
    status = watch.run();
  }
  if (status == no_classgate)
    return say_trouble(std::string("standard output: ") + std::strerror(errno));
  if (status >= 0) return status;
  // Ended by it after all, as its shell is to see.
  std::signal(-status, SIG_DFL);
  ::raise(-status);
  return 128 - status;
}

}  // namespace classgate::gateway
