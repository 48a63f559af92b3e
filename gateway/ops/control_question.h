#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/net/handles.h"

namespace classgate::gateway {

struct ControlAnswer {
  int status;
  std::string body;
};
// Or what went wrong, for the operator; printable but for what the path has.
using ControlResult = std::expected<ControlAnswer, std::string>;

// One request to the control socket of a running classgate, and its answer, which ends with the
// connection. Waits for nothing by itself: whoever asks polls fd() for reading. Not thread-safe.
class ControlQuestion {
 public:
  // Connects and sends. Waits for a second at most for somebody to take the connection.
  static std::expected<ControlQuestion, std::string> begin(const std::string& path,
                                                           std::string_view method,
                                                           std::string_view target,
                                                           const std::string& body = {});
  int fd() const { return fd_.get(); }
  // Takes what is there; none: there is more to come.
  std::optional<ControlResult> read();

 private:
  ControlQuestion(std::string path, proxy::net::Fd fd)
      : path_(std::move(path)), fd_(std::move(fd)) {}
  ControlResult answer() const;

  std::string path_;
  proxy::net::Fd fd_;
  std::string text_;
};

// The same, waiting for the answer. The limit counts from the last that came; zero: ten seconds for
// a question, a minute for an order.
ControlResult ask_control(const std::string& path, std::string_view method, std::string_view target,
                          const std::string& body = {}, std::chrono::milliseconds limit = {});

}  // namespace classgate::gateway
