#include "gateway/ops/control_question.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "proxy/wire/parser.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t control_answer_max = 64 * 1024 * 1024;

std::string text_of_error(int error) { return std::generic_category().message(error); }

}  // namespace

std::expected<ControlQuestion, std::string> ControlQuestion::begin(const std::string& path,
                                                                   std::string_view method,
                                                                   std::string_view target,
                                                                   const std::string& body) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return std::unexpected(path + ": the path is too long");
  path.copy(address.sun_path, path.size());
  proxy::net::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = 1, .tv_usec = 0};  // of connect(2) too: unix(7)
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
      ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    std::string hint;
    if (error == ENOENT || error == ECONNREFUSED)
      hint =
          ": classgate is not running, or was started with another ops.control than the conf says "
          "now";
    if (error == EACCES) hint = ": for root and the group classgate only";
    if (error == EAGAIN) hint = ": it takes no connections";
    return std::unexpected(
        fmt::format("{}: {}{} (ops.control, --socket)", path, text_of_error(error), hint));
  }
  const std::string request = fmt::format(
      "{} {} HTTP/1.1\r\nHost: classgate\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
      method, target, body.size(), body);
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return std::unexpected(fmt::format("{}: {}", path, text_of_error(errno)));
  return ControlQuestion(path, std::move(fd));
}

std::optional<ControlResult> ControlQuestion::read() {
  std::array<char, 16384> part{};
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), part.data(), part.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return std::nullopt;
    if (size <= 0) return answer();
    text_.append(part.data(), static_cast<std::size_t>(size));
    if (text_.size() > control_answer_max) return std::unexpected(path_ + ": no complete answer");
  }
}

ControlResult ControlQuestion::answer() const {
  const proxy::wire::HeadLimits limits{16 * 1024, 64, 0};
  proxy::wire::Parser parser;
  parser.begin(proxy::wire::Parser::Kind::response, limits);
  if (parser.parse_head(text_) != proxy::wire::Parser::Progress::done ||
      text_.size() != parser.head_size() + parser.head().content_length)
    return std::unexpected(path_ + ": what answers is no classgate");
  return ControlAnswer{parser.head().status, text_.substr(parser.head_size())};
}

ControlResult ask_control(const std::string& path, std::string_view method, std::string_view target,
                          const std::string& body, std::chrono::milliseconds limit) {
  if (limit == std::chrono::milliseconds::zero())
    limit = std::chrono::seconds(method == "GET" ? 10 : 60);
  auto question = ControlQuestion::begin(path, method, target, body);
  if (!question) return std::unexpected(question.error());
  for (;;) {
    pollfd waited{question->fd(), POLLIN, 0};
    if (::poll(&waited, 1, static_cast<int>(limit.count())) <= 0)
      return std::unexpected(fmt::format(
          "{}: nothing came for {} s, and the answer is not complete: is the process stopped?",
          path, std::chrono::duration_cast<std::chrono::seconds>(limit).count()));
    if (auto result = question->read()) return std::move(*result);
  }
}

}  // namespace classgate::gateway
