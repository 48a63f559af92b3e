#include "tests/gateway/message.h"

#include <strings.h>

#include <cstdlib>

namespace classgate::gateway::test {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

std::string Message::field(std::string_view name) const {
  std::string values;
  for (const auto& [key, value] : fields) {
    if (!same(key, name)) continue;
    if (!values.empty()) values += ", ";
    values += value;
  }
  return values;
}

std::size_t Message::count(std::string_view name) const {
  std::size_t count = 0;
  for (const auto& [key, value] : fields) count += same(key, name) ? 1U : 0U;
  return count;
}

int Message::status() const {
  return first_line.starts_with("HTTP/1.1 ") ? std::atoi(first_line.c_str() + 9) : 0;
}

std::string Message::target() const {
  const std::size_t begin = first_line.find(' ') + 1;
  return first_line.substr(begin, first_line.rfind(' ') - begin);
}

bool MessageReader::more() {
  last_ = socket_.read(buffer_);
  return last_ == Socket::Got::some;
}

std::optional<std::string> MessageReader::line() {
  std::size_t end;
  while ((end = buffer_.find("\r\n")) == std::string::npos)
    if (!more()) return std::nullopt;
  std::string text = buffer_.substr(0, end);
  buffer_.erase(0, end + 2);
  return text;
}

bool MessageReader::take(std::string& into, std::size_t size) {
  while (size > 0) {
    if (buffer_.empty() && !more()) return false;
    const std::size_t part = std::min(size, buffer_.size());
    into.append(buffer_, 0, part);
    buffer_.erase(0, part);
    size -= part;
  }
  return true;
}

bool MessageReader::read_fields(std::vector<std::pair<std::string, std::string>>& fields) {
  for (;;) {
    const auto text = line();
    if (!text) return false;
    if (text->empty()) return true;
    const std::size_t colon = text->find(':');
    const std::size_t value = text->find_first_not_of(' ', colon + 1);
    fields.emplace_back(text->substr(0, colon),
                        value == std::string::npos ? std::string() : text->substr(value));
  }
}

void MessageReader::read_chunks(Message& message) {
  for (;;) {
    const auto size_line = line();
    if (!size_line) return;
    const std::size_t size = std::strtoul(size_line->c_str(), nullptr, 16);
    if (size == 0) {
      message.is_complete = read_fields(message.trailers);
      return;
    }
    message.chunks.push_back(size);
    std::string end;
    if (!take(message.body, size) || !take(end, 2) || end != "\r\n") return;
  }
}

std::optional<Message> MessageReader::read_head() {
  Message message;
  auto first = line();
  if (!first) return std::nullopt;
  message.first_line = std::move(*first);
  if (!read_fields(message.fields)) return std::nullopt;
  return message;
}

void MessageReader::read_body(Message& message, Kind kind) {
  const int status = kind == Kind::request ? 0 : message.status();
  if (kind == Kind::answer_to_head || status == 204 || status == 304) {
    message.is_complete = true;
  } else if (same(message.field("Transfer-Encoding"), "chunked")) {
    read_chunks(message);
  } else if (message.has("Content-Length")) {
    message.is_complete =
        take(message.body, std::strtoul(message.field("Content-Length").c_str(), nullptr, 10));
  } else if (kind == Kind::request) {
    message.is_complete = true;
  } else {
    do message.body += std::exchange(buffer_, {});
    while (more());
    message.is_complete = last_ == Socket::Got::end;
  }
  message.was_reset = last_ == Socket::Got::reset;
}

std::optional<Message> MessageReader::read(Kind kind) {
  std::vector<int> interim;
  for (;;) {
    auto message = read_head();
    if (!message) return std::nullopt;
    if (kind != Kind::request && message->status() / 100 == 1) {
      interim.push_back(message->status());
      continue;
    }
    message->interim = std::move(interim);
    read_body(*message, kind);
    return message;
  }
}

}  // namespace classgate::gateway::test
