#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/handles.h"

namespace classgate::gateway {

// The terminal on standard output as a page that is redrawn in place, with single keys from
// standard input where that is a terminal too. It is as it was before when this is destroyed, when
// the process is stopped (Ctrl-Z) and when it is ended by a signal that it can hear: signals are
// taken from a descriptor, so that none comes while the terminal is half changed. One at a time,
// used by one thread, which is to be the only one.
class Terminal {
 public:
  // Standard output is a terminal that can be drawn on (TERM).
  static bool is_there();
  // In UTF-8, as the environment says (LC_ALL, LC_CTYPE, LANG).
  static bool writes_utf8();

  Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };
  Size size() const;
  // To be polled for reading; -1: nobody types.
  int keys_fd() const { return has_keys_ ? 0 : -1; }
  int signals_fd() const { return signals_.get(); }
  // The characters that were typed; what arrows and the like send is left out.
  std::string take_keys();
  // What has come: a signal that ends the process, or 0. Where the process was stopped it returns
  // when that goes on. Whatever came, the page is to be drawn again.
  int take_signals();
  // The lines of a page that fills the terminal: as many as it has rows at most, each no wider than
  // it. False: it cannot be written, errno says why.
  bool draw(const std::vector<std::string>& lines);

 private:
  void enter();
  void leave();
  bool write(std::string_view text);

  bool has_keys_ = false;
  termios before_{};
  sigset_t mask_before_{};
  proxy::net::Fd signals_;
};

}  // namespace classgate::gateway
