#include "tests/gateway/redis_process.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>

namespace classgate::testing {

void RedisProcess::FreeReply::operator()(redisReply* reply) const { ::freeReplyObject(reply); }
void RedisProcess::FreeContext::operator()(redisContext* context) const { ::redisFree(context); }

RedisProcess::RedisProcess() {
  std::string folder = (std::filesystem::temp_directory_path() / "redis-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no folder for Redis");
  folder_ = folder;
  const std::string socket = folder_ + "/socket";
  const std::string log = folder_ + "/log";
  process_ = ::fork();
  if (process_ == 0) {
    ::setenv("LC_ALL", "C", 1);  // scripts compare texts by it
    ::execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket.c_str(),
             "--save", "", "--dir", folder_.c_str(), "--logfile", log.c_str(),
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < give_up) {
    context_.reset(::redisConnectUnix(socket.c_str()));
    if (context_ && context_->err == 0) return;
    if (::waitpid(process_, nullptr, WNOHANG) == process_) break;
    ::poll(nullptr, 0, 2);
  }
  throw std::runtime_error("redis-server (of Debian's redis-server) does not answer on " + socket);
}

RedisProcess::~RedisProcess() {
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  std::filesystem::remove_all(folder_);
}

RedisProcess::Reply RedisProcess::ask(const std::vector<std::string>& words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string& word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(::redisCommandArgv(
      context_.get(), static_cast<int>(words.size()), texts.data(), sizes.data())));
  if (!reply) throw std::runtime_error(std::string("Redis: ") + context_->errstr);
  return reply;
}

}  // namespace classgate::testing
