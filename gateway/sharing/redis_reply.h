#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct redisReader;

namespace classgate::gateway {

// What Redis answers to one command (RESP2).
struct RedisReply {
  enum class Kind : std::uint8_t { text, status, error, number, nothing, list };
  Kind kind = Kind::nothing;
  std::int64_t number = 0;
  std::string text{};  // of a text, a status or an error
  std::vector<RedisReply> list{};

  bool is_error() const { return kind == Kind::error; }
};

// Puts answers together from bytes as they come, with hiredis' reader. An answer that is larger
// than we ever ask for is malformed: the other side decides how much it sends, we how much we take.
class RedisReplies {
 public:
  static constexpr std::size_t bytes_max = 256 * 1024;  // of one answer
  static constexpr std::size_t list_max = 4096;         // entries of one list

  RedisReplies();
  ~RedisReplies();
  RedisReplies(const RedisReplies&) = delete;
  RedisReplies& operator=(const RedisReplies&) = delete;

  // The error says what is wrong, as part of a line; nothing more is read after it.
  std::expected<void, std::string> feed(std::string_view bytes);
  // The next whole answer; none: there are not enough bytes for one.
  std::expected<std::optional<RedisReply>, std::string> next();

 private:
  struct FreeReader {
    void operator()(redisReader* reader) const;
  };
  std::unique_ptr<redisReader, FreeReader> reader_;
  std::size_t unread_ = 0;  // bytes since the last whole answer
};

// A command as Redis reads it: a list of texts, whatever bytes they have.
std::string redis_command(std::span<const std::string> words);

}  // namespace classgate::gateway
