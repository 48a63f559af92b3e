#pragma once

// Where HTTP/1 messages with a Content-Length end: all that the programs of the benchmark
// understand of them. What they cannot read they say, so that nothing is counted wrong.

#include <strings.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace bench {

// The value of a field, empty when there is none. `head` ends with the empty line.
inline std::string_view field(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
    const std::string_view line = head.substr(at + 2);
    if (line.size() <= name.size() || line[name.size()] != ':' ||
        ::strncasecmp(line.data(), name.data(), name.size()) != 0)
      continue;
    const std::size_t from = std::min(line.find_first_not_of(' ', name.size() + 1), line.size());
    return line.substr(from, line.find("\r\n", from) - from);
  }
  return {};
}

class MessageReader {
 public:
  // Takes from the front of `bytes` what belongs to the message; true when it is whole. The next
  // call begins the next message.
  bool take(std::string_view& bytes) {
    if (is_whole_) begin();
    if (!has_head_ && !take_head(bytes)) return false;
    const std::uint64_t part = std::min<std::uint64_t>(left_, bytes.size());
    bytes.remove_prefix(static_cast<std::size_t>(part));
    left_ -= part;
    return is_whole_ = left_ == 0;
  }

  // Of the message that take() found whole.
  int status() const { return status_; }
  bool closes() const { return closes_; }
  // It has a status and a length: nothing else is counted as one.
  bool is_answer() const { return is_answer_; }
  const std::string& start_line() const { return start_line_; }
  void keep_start_line() { keeps_start_line_ = true; }

  void begin() {
    is_whole_ = has_head_ = false;
    held_.clear();
  }

 private:
  bool take_head(std::string_view& bytes) {
    const std::size_t before = held_.size();
    if (before > 0) held_.append(bytes);
    const std::string_view text = before > 0 ? std::string_view(held_) : bytes;
    const std::size_t end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (before == 0) held_.assign(bytes);
      bytes = {};
      return false;
    }
    read_head(text.substr(0, end + 4));
    bytes.remove_prefix(end + 4 - before);
    return has_head_ = true;
  }

  void read_head(std::string_view head) {
    const std::string_view length = field(head, "content-length");
    left_ = length.empty() ? 0 : std::strtoull(length.data(), nullptr, 10);
    status_ = head.starts_with("HTTP/1.") ? std::atoi(head.data() + 9) : 0;
    is_answer_ = !length.empty() && status_ > 0;
    closes_ = field(head, "connection").starts_with("close");
    if (keeps_start_line_) start_line_.assign(head.substr(0, head.find("\r\n")));
  }

  std::string held_;  // a head that came in parts
  std::string start_line_;
  std::uint64_t left_ = 0;
  int status_ = 0;
  bool closes_ = false;
  bool is_answer_ = false;
  bool has_head_ = false;
  bool is_whole_ = false;
  bool keeps_start_line_ = false;
};

}  // namespace bench
