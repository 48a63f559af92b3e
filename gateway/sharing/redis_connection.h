#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "gateway/sharing/board.h"
#include "gateway/sharing/redis_reply.h"
#include "proxy/net/socket_address.h"
#include "proxy/net/stream.h"

namespace classgate::gateway {

// What an error of Redis means for us, by its first word.
SharingFailure failure_of_error(std::string_view error);
// What an operator may do about it, as part of a line; empty: nothing comes to mind.
std::string_view advice_for(SharingFailure kind);

// One connection to one Redis: logs in, chooses the database, finds out whether it may be written
// to, brings the script, and then asks it. Answers come in the order of the questions. Nothing here
// waits or times out: that is its owner's. Lives on a loop; given to retire() when it has failed.
class RedisConnection final : public proxy::net::Retirable, private proxy::net::Stream::Handler {
 public:
  class Owner {
   public:
    // It stands, may be written to, and has the script.
    virtual void on_redis_ready() = 0;
    // To run(), in order. An error that says no more than that the script is gone is not told: it
    // is brought again, and the answer is `nothing`, which Redis itself never gives to it.
    virtual void on_redis_answer(const RedisReply& reply) = 0;
    // It is of no further use. Told once.
    virtual void on_redis_failed(SharingFailure kind, const std::string& why) = 0;

   protected:
    ~Owner() = default;
  };
  struct Login {
    std::string user{};      // empty: the default one
    std::string password{};  // empty: none
    std::uint32_t database = 0;
    std::string_view script{};  // outlives the connection
  };

  // Connects. What goes wrong at once is not told, but asked for: error().
  RedisConnection(proxy::net::Loop& loop, Owner& owner, const proxy::net::SocketAddress& address,
                  std::unique_ptr<proxy::net::TlsSession> tls, const Login& login);

  // Why it could not even begin, as an errno value; 0: it has begun.
  int error() const { return error_; }
  bool is_ready() const { return is_ready_; }
  bool is_connecting() const { return stream_ && stream_->is_connecting(); }
  // So many answers are still to come.
  std::size_t awaited() const { return expected_.size(); }
  // Runs the script with one key and these arguments. Only when it is ready.
  void run(const std::string& key, const std::vector<std::string>& arguments);
  // Nothing is told any more.
  void give_up();

 private:
  enum class Expected : std::uint8_t { login, database, role, script, answer };

  void on_readable() override;
  void on_drained() override;
  void on_fault() override { fail(SharingFailure::malformed, "a fault of the gateway's own"); }
  void read_some();
  void ask(Expected expected, const std::vector<std::string>& words);
  void load_script() { ask(Expected::script, {"SCRIPT", "LOAD", std::string(login_.script)}); }
  void take(const RedisReply& reply);
  void take_role(const RedisReply& reply);
  void fail(SharingFailure kind, const std::string& why);

  proxy::net::Loop& loop_;
  Owner* owner_;  // null: has failed, or is given up
  Login login_;
  std::string script_name_{};  // its digest
  int error_ = 0;
  bool is_ready_ = false;
  bool was_script_gone_ = false;  // since the last answer of it
  std::deque<Expected> expected_{};
  RedisReplies replies_;
  std::unique_ptr<proxy::net::Stream> stream_;
};

}  // namespace classgate::gateway
