#include "gateway/ops/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace classgate::gateway {
namespace {

// ECMA-48 and xterm: the other screen, no cursor, no line goes on in the next; and back.
constexpr std::string_view to_page = "\033[?1049h\033[?25l\033[?7l\033[H\033[2J";
constexpr std::string_view from_page = "\033[0m\033[?7h\033[?25h\033[?1049l";

constexpr std::array heard{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};

sigset_t heard_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : heard) ::sigaddset(&set, number);
  return set;
}

const char* first_of(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* const value = std::getenv(name); value != nullptr && *value != 0) return value;
  return "";
}

}  // namespace

bool Terminal::is_there() {
  const std::string_view term = first_of({"TERM"});
  return ::isatty(STDOUT_FILENO) == 1 && !term.empty() && term != "dumb";
}

bool Terminal::writes_utf8() {
  const std::string_view locale = first_of({"LC_ALL", "LC_CTYPE", "LANG"});
  return locale.find("UTF-8") != std::string_view::npos ||
         locale.find("utf8") != std::string_view::npos;
}

Terminal::Terminal() {
  const sigset_t set = heard_signals();
  ::sigprocmask(SIG_BLOCK, &set, &mask_before_);
  signals_ = proxy::net::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  has_keys_ = ::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &before_) == 0;
  enter();
}

Terminal::~Terminal() {
  leave();
  ::sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
}

void Terminal::enter() {
  if (has_keys_) {
    termios keys = before_;
    keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    keys.c_cc[VMIN] = 0;
    keys.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &keys);
  }
  write(to_page);
}

void Terminal::leave() {
  write(from_page);
  if (has_keys_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
}

Terminal::Size Terminal::size() const {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return {};
  return {size.ws_col, size.ws_row};
}

std::string Terminal::take_keys() {
  std::array<char, 256> typed{};
  const ssize_t count = ::read(STDIN_FILENO, typed.data(), typed.size());
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) has_keys_ = false;  // hung up
  std::string keys;
  for (ssize_t i = 0; i < count; ++i) {
    if (typed[static_cast<std::size_t>(i)] == '\033') break;
    keys += typed[static_cast<std::size_t>(i)];
  }
  return keys;
}

int Terminal::take_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGWINCH || number == SIGCONT) continue;
    if (number != SIGTSTP) return number;
    // As a shell expects it of one that was told to stop. SIGSTOP, as SIGTSTP does nothing to one
    // that no shell looks after.
    leave();
    ::raise(SIGSTOP);
    enter();
  }
  return 0;
}

// In one write, over what is there: nothing flickers, and as the last line has no end nothing
// scrolls.
bool Terminal::draw(const std::vector<std::string>& lines) {
  std::string page = "\033[H";
  for (std::size_t i = 0; i < lines.size(); ++i)
    page += (i == 0 ? "" : "\r\n") + lines[i] + "\033[0m\033[K";
  page += "\033[J";
  return write(page);
}

bool Terminal::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
    if (count > 0)
      text.remove_prefix(static_cast<std::size_t>(count));
    else if (errno == EAGAIN) {  // somebody else made it so
      pollfd room{STDOUT_FILENO, POLLOUT, 0};
      if (::poll(&room, 1, 1000) <= 0) return false;
    } else if (errno != EINTR)
      return false;
  }
  return true;
}

}  // namespace classgate::gateway
