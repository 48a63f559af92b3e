#include "gateway/sharing/redis_reply.h"

#include <hiredis/read.h>

#include <new>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

// The reader makes an answer by these, from the outside in; an element's parent has its place
// ready.
RedisReply* redis_reply_place(const redisReadTask* task) {
  if (task->parent == nullptr) return new (std::nothrow) RedisReply;
  auto* const list = static_cast<RedisReply*>(task->parent->obj);
  return &list->list[static_cast<std::size_t>(task->idx)];
}

// The reader frees what it knows of: the outermost, when that has been made.
void* give_up_redis_reply(const redisReadTask* task, const RedisReply* reply) {
  if (task->parent == nullptr) delete reply;
  return nullptr;
}

RedisReply::Kind redis_kind_of(int type) {
  switch (type) {
    case REDIS_REPLY_STATUS: return RedisReply::Kind::status;
    case REDIS_REPLY_ERROR: return RedisReply::Kind::error;
    default: return RedisReply::Kind::text;
  }
}

void* make_redis_text(const redisReadTask* task, char* text, std::size_t size) {
  RedisReply* const reply = redis_reply_place(task);
  if (reply == nullptr) return nullptr;
  reply->kind = redis_kind_of(task->type);
  try {
    reply->text.assign(text, size);
  } catch (const std::bad_alloc&) {  // must not cross the reader
    return give_up_redis_reply(task, reply);
  }
  return reply;
}

// hiredis 0.14 itself takes no lists that lie deeper than this, 1.0 and later any: taking apart
// what is nested without an end would need a stack without one.
bool is_too_deep(const redisReadTask* task) {
  constexpr int depth_max = 7;
  int depth = 0;
  for (const redisReadTask* outer = task->parent; outer != nullptr; outer = outer->parent)
    if (++depth > depth_max) return true;
  return false;
}

void* make_redis_list(const redisReadTask* task, std::size_t size) {
  if (size > RedisReplies::list_max || is_too_deep(task)) return nullptr;
  RedisReply* const reply = redis_reply_place(task);
  if (reply == nullptr) return nullptr;
  reply->kind = RedisReply::Kind::list;
  try {
    reply->list.resize(size);
  } catch (const std::bad_alloc&) {
    return give_up_redis_reply(task, reply);
  }
  return reply;
}

void* make_redis_number(const redisReadTask* task, long long number) {
  RedisReply* const reply = redis_reply_place(task);
  if (reply == nullptr) return nullptr;
  reply->kind = RedisReply::Kind::number;
  reply->number = number;
  return reply;
}

void* make_redis_nothing(const redisReadTask* task) { return redis_reply_place(task); }

void free_redis_reply(void* reply) { delete static_cast<RedisReply*>(reply); }

// Some versions of hiredis count a list with an int, some with a size_t, and newer ones know what
// only RESP3 has, for which we never ask.
template <typename Functions>
void fill_redis_functions(Functions& functions) {
  functions.createString = make_redis_text;
  functions.createArray = [](const redisReadTask* task, auto size) -> void* {
    return make_redis_list(task, static_cast<std::size_t>(size));
  };
  functions.createInteger = make_redis_number;
  functions.createNil = make_redis_nothing;
  functions.freeObject = free_redis_reply;
  if constexpr (requires { functions.createDouble; })
    functions.createDouble = [](const redisReadTask*, double, char*, std::size_t) -> void* {
      return nullptr;
    };
  if constexpr (requires { functions.createBool; })
    functions.createBool = [](const redisReadTask*, int) -> void* { return nullptr; };
}

redisReplyObjectFunctions& redis_functions() {
  static redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions filled{};
    fill_redis_functions(filled);
    return filled;
  }();
  return functions;
}

}  // namespace

void RedisReplies::FreeReader::operator()(redisReader* reader) const { ::redisReaderFree(reader); }

RedisReplies::RedisReplies() : reader_(::redisReaderCreateWithFunctions(&redis_functions())) {
  if (!reader_) throw std::bad_alloc();
}
RedisReplies::~RedisReplies() = default;

std::expected<void, std::string> RedisReplies::feed(std::string_view bytes) {
  unread_ += bytes.size();
  if (unread_ > bytes_max)
    return std::unexpected(fmt::format("an answer of more than {} bytes", bytes_max));
  if (::redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK)
    return std::unexpected(std::string(reader_->errstr));
  return {};
}

std::expected<std::optional<RedisReply>, std::string> RedisReplies::next() {
  void* made = nullptr;
  if (::redisReaderGetReply(reader_.get(), &made) != REDIS_OK)
    return std::unexpected(reader_->err == REDIS_ERR_OOM
                               ? std::string("an answer that is larger than any to what was asked")
                               : std::string(reader_->errstr));
  if (made == nullptr) return std::nullopt;
  unread_ = reader_->len - reader_->pos;
  const std::unique_ptr<RedisReply> reply(static_cast<RedisReply*>(made));
  return std::move(*reply);
}

std::string redis_command(std::span<const std::string> words) {
  std::string command = fmt::format("*{}\r\n", words.size());
  for (const std::string& word : words)
    fmt::format_to(std::back_inserter(command), "${}\r\n{}\r\n", word.size(), word);
  return command;
}

}  // namespace classgate::gateway
