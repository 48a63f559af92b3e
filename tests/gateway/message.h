#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/gateway/socket.h"

namespace classgate::gateway::test {

// An HTTP message as the tests see it; read by code that shares nothing with the gateway's.
struct Message {
  std::string first_line;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  std::vector<std::pair<std::string, std::string>> trailers;
  std::vector<int> interim;  // statuses of 1xx answers that came before
  bool is_complete = false;  // its end was seen as its framing says
  bool was_reset = false;
  std::vector<std::size_t> chunks;

  // All values of the field, joined with ", "; empty when it is not there.
  std::string field(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  bool has(std::string_view name) const { return count(name) > 0; }
  // Of an answer.
  int status() const;
  std::string reason() const { return field("X-Classgate-Reason"); }
  // Of a request.
  std::string method() const { return first_line.substr(0, first_line.find(' ')); }
  std::string target() const;
};

// Cuts the bytes of one socket into messages.
class MessageReader {
 public:
  explicit MessageReader(Socket& socket) : socket_(socket) {}

  enum class Kind : std::uint8_t { request, answer, answer_to_head };
  // Nothing when the connection ended (or patience did) before the head was complete.
  std::optional<Message> read(Kind kind);
  std::optional<Message> read_head();
  void read_body(Message& message, Kind kind);

 private:
  bool more();
  std::optional<std::string> line();
  bool take(std::string& into, std::size_t size);
  bool read_fields(std::vector<std::pair<std::string, std::string>>& fields);
  void read_chunks(Message& message);

  Socket& socket_;
  std::string buffer_;
  Socket::Got last_ = Socket::Got::some;
};

}  // namespace classgate::gateway::test
