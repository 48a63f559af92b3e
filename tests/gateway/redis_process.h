#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

struct redisContext;
struct redisReply;

namespace classgate::testing {

// A real Redis on a socket in a folder of its own, both gone at the end; nothing to do with the
// one of the system. Asked with hiredis, which knows nothing of how the gateway asks.
class RedisProcess {
 public:
  // Throws std::runtime_error when it does not answer within ten seconds.
  RedisProcess();
  ~RedisProcess();
  RedisProcess(const RedisProcess&) = delete;
  RedisProcess& operator=(const RedisProcess&) = delete;

  struct FreeReply {
    void operator()(redisReply* reply) const;
  };
  using Reply = std::unique_ptr<redisReply, FreeReply>;
  Reply ask(const std::vector<std::string>& words);

 private:
  struct FreeContext {
    void operator()(redisContext* context) const;
  };
  std::string folder_;
  pid_t process_ = -1;
  std::unique_ptr<redisContext, FreeContext> context_;
};

}  // namespace classgate::testing
