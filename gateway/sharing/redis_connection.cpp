#include "gateway/sharing/redis_connection.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "conf/format.h"
#include "conf/printable.h"
#include "proxy/net/client_socket.h"

namespace classgate::gateway {

using proxy::net::Stream;

// https://redis.io/docs/reference/protocol-spec/#simple-errors: the first word says the kind.
SharingFailure failure_of_error(std::string_view error) {
  struct Meaning {
    std::string_view word;
    SharingFailure kind;
  };
  static constexpr Meaning meanings[] = {
      {"NOAUTH", SharingFailure::refused},
      {"WRONGPASS", SharingFailure::refused},
      {"NOPERM", SharingFailure::refused},
      {"ERR Client sent AUTH", SharingFailure::refused},
      {"ERR AUTH", SharingFailure::refused},
      {"ERR invalid password", SharingFailure::refused},
      {"READONLY", SharingFailure::read_only},
      {"MOVED", SharingFailure::read_only},
      {"ASK", SharingFailure::read_only},
      {"LOADING", SharingFailure::busy},
      {"BUSY", SharingFailure::busy},
      {"MASTERDOWN", SharingFailure::busy},
      {"CLUSTERDOWN", SharingFailure::busy},
      {"TRYAGAIN", SharingFailure::busy},
      {"NOREPLICAS", SharingFailure::busy},
      {"OOM", SharingFailure::full},
      {"MISCONF", SharingFailure::full},
      {"FULL", SharingFailure::full},
      {"ERR max number of clients", SharingFailure::full},
  };
  for (const auto& [word, kind] : meanings)
    if (error.starts_with(word)) return kind;
  return SharingFailure::malformed;
}

std::string_view advice_for(SharingFailure kind) {
  switch (kind) {
    case SharingFailure::unreachable: return "see whether it runs, and what lies between";
    case SharingFailure::slow:
      return "see what keeps it (SLOWLOG, LATENCY DOCTOR), or give sharing.lease more time";
    case SharingFailure::refused:
      return "see sharing.password_file, and what the user may do: EVALSHA, SCRIPT LOAD, ROLE, "
             "GET, "
             "SET, TIME and INFO";
    case SharingFailure::read_only:
      return "name the one that is written to in sharing.redis, beside this one";
    case SharingFailure::busy: return "it comes back by itself, or its log says why not";
    case SharingFailure::full:
      return "give it memory, connections or disk; more gateways than sharing.members_max have no "
             "place";
    case SharingFailure::malformed: return "see whether it is a Redis, 6 or later";
  }
  return {};
}

RedisConnection::RedisConnection(proxy::net::Loop& loop, Owner& owner,
                                 const proxy::net::SocketAddress& address,
                                 std::unique_ptr<proxy::net::TlsSession> tls, const Login& login)
    : loop_(loop), owner_(&owner), login_(login) {
  proxy::net::Fd fd = proxy::net::client_socket(address);
  error_ = errno;
  if (fd) {
    Stream::Handler& handler = *this;
    stream_ = std::make_unique<Stream>(loop, std::move(fd), handler, std::move(tls));
    error_ = stream_->connect(address.get(), address.length);
  }
  if (error_ != 0) return;
  if (!login_.password.empty()) {
    std::vector<std::string> words{"AUTH"};
    if (!login_.user.empty()) words.push_back(login_.user);
    words.push_back(login_.password);
    ask(Expected::login, words);
  }
  if (login_.database != 0) ask(Expected::database, {"SELECT", std::to_string(login_.database)});
  ask(Expected::role, {"ROLE"});
  load_script();
}

void RedisConnection::ask(Expected expected, const std::vector<std::string>& words) {
  expected_.push_back(expected);
  stream_->write(redis_command(words));
}

void RedisConnection::run(const std::string& key, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{"EVALSHA", script_name_, "1", key};
  words.insert(words.end(), arguments.begin(), arguments.end());
  ask(Expected::answer, words);
}

void RedisConnection::give_up() {
  owner_ = nullptr;
  is_ready_ = false;
  if (stream_) stream_->give_up();
}

void RedisConnection::fail(SharingFailure kind, const std::string& why) {
  Owner* const owner = owner_;
  give_up();
  if (owner != nullptr) owner->on_redis_failed(kind, why);
}

void RedisConnection::on_drained() {
  if (owner_ != nullptr && stream_->is_broken())
    fail(SharingFailure::unreachable, stream_->why_broken());
}

void RedisConnection::on_readable() {
  while (owner_ != nullptr && stream_->may_read() && !stream_->is_connecting()) read_some();
}

void RedisConnection::read_some() {
  const std::span<char> scratch = loop_.read_scratch();
  const Stream::ReadResult result = stream_->read(scratch);
  switch (result.what) {
    case Stream::Read::nothing_now: return;
    case Stream::Read::end: return fail(SharingFailure::unreachable, "it closed the connection");
    case Stream::Read::broken: return fail(SharingFailure::unreachable, stream_->why_broken());
    case Stream::Read::some: break;
  }
  if (const auto fed = replies_.feed({scratch.data(), result.size}); !fed)
    return fail(SharingFailure::malformed, fed.error());
  while (owner_ != nullptr) {
    const auto reply = replies_.next();
    if (!reply) return fail(SharingFailure::malformed, reply.error());
    if (!*reply) return;
    take(**reply);
  }
}

void RedisConnection::take(const RedisReply& reply) {
  // With too many clients the first thing it says is an error, unasked.
  if (expected_.empty()) return fail(SharingFailure::malformed, "it answered without being asked");
  const Expected what = expected_.front();
  expected_.pop_front();
  const bool is_gone = what == Expected::answer && reply.text.starts_with("NOSCRIPT");
  if (reply.is_error() && !is_gone)
    return fail(failure_of_error(reply.text),
                fmt::format("it says \"{}\"", conf::printable(reply.text.substr(0, 200))));
  switch (what) {
    case Expected::login:
    case Expected::database: return;
    case Expected::role: return take_role(reply);
    case Expected::script:
      script_name_ = reply.text;
      is_ready_ = true;
      return owner_->on_redis_ready();
    case Expected::answer: break;
  }
  if (!is_gone) {
    if (reply.kind == RedisReply::Kind::nothing)
      return fail(SharingFailure::malformed, "it answers the script with nothing");
    was_script_gone_ = false;
    return owner_->on_redis_answer(reply);
  }
  // What was asked before it was brought again comes back as well.
  if (std::exchange(is_ready_, false)) {
    if (std::exchange(was_script_gone_, true))
      return fail(SharingFailure::malformed,
                  "it forgets the script at once: name a server itself, not one that stands before "
                  "several");
    load_script();
  }
  owner_->on_redis_answer({});
}

void RedisConnection::take_role(const RedisReply& reply) {
  if (reply.kind != RedisReply::Kind::list || reply.list.empty() || reply.list[0].text.empty())
    return fail(SharingFailure::malformed, "it does not say what it is (ROLE)");
  if (reply.list[0].text == "master") return;
  if (reply.list.size() >= 3)
    return fail(SharingFailure::read_only,
                fmt::format("it is a {} of {}:{}", conf::printable(reply.list[0].text),
                            conf::printable(reply.list[1].text), reply.list[2].number));
  fail(SharingFailure::read_only, fmt::format("it is a {}", conf::printable(reply.list[0].text)));
}

}  // namespace classgate::gateway
