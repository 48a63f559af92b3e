#include "gateway/ops/operator_server.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>

#include "conf/format.h"
#include "gateway/refusal.h"
#include "gateway/target.h"

namespace classgate::gateway {
namespace {

using proxy::net::Stream;
using proxy::wire::Framing;
using proxy::wire::Parser;

constexpr std::size_t body_max = 64 * 1024;
constexpr std::size_t input_max = 80 * 1024;  // header and body
constexpr int reads_in_a_turn = 4;
constexpr std::chrono::seconds between_lines{10};  // about connections that gave way
const proxy::wire::HeadLimits head_limits{16 * 1024, 64, 4 * 1024};

bool is_named(const proxy::wire::Field& field, std::string_view name) {
  return std::ranges::equal(
      field.name, name, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

std::string_view field(const proxy::wire::Head& head, std::string_view name) {
  for (const proxy::wire::Field& candidate : head.fields)
    if (is_named(candidate, name)) return candidate.value;
  return {};
}

// Of a field that some divide.
std::string joined_fields(const proxy::wire::Head& head, std::string_view name) {
  std::string all;
  for (const proxy::wire::Field& candidate : head.fields)
    if (is_named(candidate, name))
      all += fmt::format("{}{}", all.empty() ? "" : "; ", candidate.value);
  return all;
}

// Who has connected to a Unix socket.
std::optional<std::uint32_t> user_behind(const proxy::net::Fd& fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
  return who.uid;
}

}  // namespace

class OperatorServer::Connection final : public proxy::net::Retirable,
                                         private Stream::Handler,
                                         private GrpcServer::Owner {
 public:
  Connection(OperatorServer& server, std::uint64_t number, proxy::net::Fd fd,
             const conf::IpAddress& address, bool is_local,
             std::unique_ptr<proxy::net::TlsSession> tls)
      : server_(server),
        number_(number),
        address_(address),
        is_local_(is_local),
        user_(is_local ? user_behind(fd) : std::nullopt),
        timeout_(on_timeout, this),
        stream_(server.loop_, std::move(fd), *this, std::move(tls)) {
    silent_since_ = server_.loop_.now();
    begin();
  }

  std::uint64_t number() const { return number_; }
  bool is_local() const { return is_local_; }
  const conf::IpAddress& address() const { return address_; }
  // Its request is being answered: it waits for us, and never gives way.
  bool is_answering() const { return is_answering_; }
  // Since its last answer, or since it connected.
  proxy::net::Time silent_since() const { return silent_since_; }

  bool goes_on() const { return goes_on_; }

  Sent send(std::string_view text) {
    if (stream_.is_broken()) return Sent::gone;
    if (stream_.pending() > 0) {
      if (!timeout_.is_set()) server_.timeouts_.set(timeout_);
      return Sent::not_now;
    }
    timeout_.cancel();
    stream_.write(text);
    return Sent::sent;
  }

  // False: it has to be cut off.
  bool send_to_calls(std::string_view path, std::string_view message) {
    if (!calls_ || !calls_->goes_on() || closes_) return true;
    if (stream_.pending() > 0) return false;
    calls_->send(path, message);
    write_calls(true);
    return true;
  }

  void answer(const Reply& reply) {
    if (reply.goes_on && method_ != "HEAD") return begin_to_answer(reply);
    is_answering_ = false;
    silent_since_ = server_.loop_.now();
    server_.timeouts_.set(timeout_);  // to take it, or to ask again; whatever comes of it
    const bool has_body = method_ != "HEAD";
    std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n"
        "Content-Length: {}\r\n{}{}{}{}{}\r\n",
        reply.status, reason_phrase(reply.status), reply.content_type, reply.body.size(),
        reply.allow.empty() ? "" : "Allow: ", reply.allow, reply.allow.empty() ? "" : "\r\n",
        reply.fields, closes_ ? "Connection: close\r\n" : "");
    if (has_body) text += reply.body;
    stream_.write(text);
    if (stream_.pending() == 0) answer_is_out();
  }

 private:
  static void on_timeout(void* self) {
    auto& connection = *static_cast<Connection*>(self);
    if (connection.calls_ && !connection.closes_) {
      connection.calls_->go_away();  // else the next call could be lost
      connection.write_calls(true);
    }
    connection.server_.close(connection.number_);
  }

  // Ends with the connection (RFC 9112 section 6.3, rule 8).
  void begin_to_answer(const Reply& reply) {
    goes_on_ = closes_ = true;
    input_.clear();
    stream_.write(fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nCache-Control: no-store\r\n"
        "{}Connection: close\r\n\r\n{}",
        reply.status, reason_phrase(reply.status), reply.content_type, reply.fields, reply.body));
    stream_.read_again_soon();  // its end may have come
  }

  // ---- Of a client of gRPC ----

  // It is one, or may be one as far as it has told.
  bool begins_calls() {
    constexpr std::string_view preface = proxy::wire::http2_preface;
    if (!is_first_ || stream_.tls() != nullptr) return false;
    if (input_.size() < preface.size()) return preface.starts_with(input_);
    if (!input_.starts_with(preface)) return false;
    GrpcServer::Owner& owner = *this;
    calls_ = std::make_unique<GrpcServer>(owner);
    return true;
  }
  void take_calls() {
    if (!closes_ && !input_.empty()) write_calls(calls_->receive(input_));
    input_.clear();
    silent_since_ = server_.loop_.now();
    if (calls_->goes_on())
      timeout_.cancel();
    else
      server_.timeouts_.set(timeout_);
  }
  // Not `lives`: then what is written now is the last.
  void write_calls(bool lives) {
    std::string bytes;
    lives = calls_->output(bytes) && lives;
    if (!bytes.empty()) stream_.write(bytes);
    closes_ = closes_ || !lives;
    if (closes_ && stream_.pending() == 0) stream_.shutdown_write();
    if (has_ended_ || stream_.is_broken()) stream_.read_again_soon();
  }
  GrpcAnswer on_call(const GrpcServer::Request& call) override {
    Request request;
    request.method = "POST";
    request.path = call.path;
    request.authorization = call.authorization;
    request.body = call.message;
    request.address = address_;
    request.is_local = is_local_;
    request.user = user_;
    request.connection = number_;
    return server_.call_handler_(request);
  }

  // What a viewer sends is of no interest, only that it has gone.
  void read_and_forget() {
    for (int reads_left = reads_in_a_turn; stream_.may_read(); --reads_left) {
      if (reads_left == 0) return stream_.read_again_soon();
      const Stream::ReadResult result = stream_.read(server_.loop_.read_scratch());
      if (result.what == Stream::Read::nothing_now) return;
      if (result.what != Stream::Read::some) return server_.close(number_);
      stream_.look_again();
    }
  }

  void begin() {
    parser_.begin(Parser::Kind::request, head_limits);
    server_.timeouts_.set(timeout_);
  }

  // The next request is begun only when the answer has been taken: one answer is held at most.
  void answer_is_out() {
    if (closes_) {
      // Until the other side has closed too, or the timeout: a close over unread bytes would reset
      // the connection and could destroy the answer.
      stream_.shutdown_write();
      input_.clear();
    } else {
      begin();
    }
    if (!input_.empty() || stream_.may_read() || has_ended_) stream_.read_again_soon();
  }

  bool wants_input() const { return !is_answering_ && stream_.pending() == 0; }

  void on_readable() override {
    if (goes_on_) return read_and_forget();
    // One that sends without end gets its share of a turn and no more.
    int reads_left = reads_in_a_turn;
    while (wants_input() && stream_.may_read() && !has_ended_ && input_.size() <= input_max) {
      if (reads_left-- == 0) {
        stream_.read_again_soon();
        break;
      }
      const std::span<char> scratch = server_.loop_.read_scratch();
      const Stream::ReadResult result = stream_.read(scratch);
      if (result.what == Stream::Read::nothing_now) break;
      if (result.what == Stream::Read::broken) return server_.close(number_);
      has_ended_ = result.what == Stream::Read::end;  // it may still read
      stream_.look_again();
      if (!closes_) input_.append(scratch.data(), result.size);
    }
    if (calls_ || begins_calls()) {
      if (calls_) take_calls();
      if (has_ended_) server_.close(number_);
      return;
    }
    if (!wants_input()) return;
    const bool took_one = !closes_ && !input_.empty() && take_request();
    if (has_ended_ && !took_one) server_.close(number_);
  }

  void on_fault() override { server_.close(number_); }

  void on_drained() override {
    if (stream_.is_broken()) return server_.close(number_);
    if (goes_on_) return timeout_.cancel();
    if (calls_) return closes_ ? stream_.shutdown_write() : write_calls(true);
    if (!is_answering_) answer_is_out();
  }

  // False when more must come first.
  bool take_request() {
    if (input_.size() < awaited_) return false;
    awaited_ = 0;
    switch (parser_.parse_head(input_)) {
      case Parser::Progress::need_more: return false;
      case Parser::Progress::fault: return refuse(400, "the request is malformed\n");
      case Parser::Progress::done: break;
    }
    const proxy::wire::Head& head = parser_.head();
    if (head.framing == Framing::chunked || head.content_length > body_max)
      return refuse(413, "bodies have a Content-Length of 64 KiB at most\n");
    const std::size_t size = parser_.head_size() + head.content_length;
    if (input_.size() < size) {
      // The head is parsed anew when the rest has come, once: its bytes may have moved.
      awaited_ = size;
      parser_.begin(Parser::Kind::request, head_limits);
      return false;
    }
    Request request;
    request.method = head.method;
    Target target;
    if (!read_target(head, false, target)) return refuse(400, "the request is malformed\n");
    request.path = target.path();
    const std::string_view query = std::string_view(target.text).substr(target.path_size);
    if (!query.empty()) request.query = query.substr(1);
    request.accept = field(head, "accept");
    request.host = target.host;
    request.authorization = field(head, "authorization");
    request.cookie = joined_fields(head, "cookie");
    request.origin = field(head, "origin");
    request.fetch_site = field(head, "sec-fetch-site");
    request.last_event_id = field(head, "last-event-id");
    request.address = address_;
    request.is_tls = stream_.tls() != nullptr;
    request.connection = number_;
    request.body = input_.substr(parser_.head_size(), head.content_length);
    request.is_local = is_local_;
    request.user = user_;
    method_ = request.method;
    closes_ = closes_ || head.wants_close;
    is_first_ = false;
    input_.erase(0, size);
    is_answering_ = true;
    timeout_.cancel();
    // Whoever cannot be answered is cut off, and does not wait for ever.
    const auto give_up = [&server = server_, number = number_] { server.close(number); };
    server_.loop_.guard(
        [&] {
          server_.handler_(request, [&server = server_, number = number_](const Reply& reply) {
            const auto found = server.connections_.find(number);
            if (found != server.connections_.end()) found->second->answer(reply);
          });
        },
        give_up);
    return true;
  }

  bool refuse(int status, std::string text) {
    closes_ = true;
    input_.clear();
    answer({.status = status, .body = std::move(text)});
    return true;
  }

  OperatorServer& server_;
  const std::uint64_t number_;
  const conf::IpAddress address_;
  const bool is_local_;
  const std::optional<std::uint32_t> user_;
  proxy::net::Time silent_since_{};
  bool is_answering_ = false;
  bool closes_ = false;                // with this answer
  bool goes_on_ = false;               // its answer does: it is a viewer
  bool has_ended_ = false;             // it sends no more
  bool is_first_ = true;               // no request has come yet
  std::unique_ptr<GrpcServer> calls_;  // of one that speaks HTTP/2
  std::string method_;
  std::string input_;
  std::size_t awaited_ = 0;  // bytes of a request whose head has been read
  Parser parser_;
  proxy::net::Timeout timeout_;
  Stream stream_;
};

OperatorServer::OperatorServer(proxy::net::Loop& loop, Handler handler, CallHandler call_handler)
    : loop_(loop),
      handler_(std::move(handler)),
      call_handler_(std::move(call_handler)),
      timeouts_(loop, std::chrono::seconds(10)) {}

OperatorServer::~OperatorServer() = default;

void OperatorServer::listen_on(const Sockets& sockets, const conf::OpsSettings& settings) {
  connections_max_ = settings.max_connections;
  connections_per_address_ = settings.connections_per_address;
  timeouts_.change_duration(settings.timeout);
  decltype(listeners_) listeners;
  for (const auto& socket : sockets) {
    const bool is_local = socket->local.storage.ss_family == AF_UNIX;
    listeners.push_back(std::make_unique<proxy::net::Listener>(
        loop_, socket,
        [this, is_local, is_tls = socket->wanted.is_tls](proxy::net::Fd fd,
                                                         const proxy::net::SocketAddress& address) {
          accept(std::move(fd), address.ip(), is_local, is_tls);
        },
        [](int) {}));  // no descriptor left: the clients' side says so
  }
  listeners_ = std::move(listeners);  // the old ones only now: without memory they stay
}

void OperatorServer::accept(proxy::net::Fd fd, const conf::IpAddress& address, bool is_local,
                            bool is_tls) {
  if (is_tls && !acceptor_) return;
  if (!make_room(address, is_local)) {
    ++counts_.refused;
    return;
  }
  const std::uint64_t number = ++last_number_;
  connections_[number] = std::make_unique<Connection>(
      *this, number, std::move(fd), address, is_local, is_tls ? acceptor_->accept() : nullptr);
}

// False when all that could give way wait for an answer.
bool OperatorServer::make_room(const conf::IpAddress& address, bool is_local) {
  // Counted apart: the control socket stays open to its few whatever the network does.
  std::map<decltype(address.bytes), std::size_t> of_address;
  std::size_t all = 0;
  for (const auto& [number, connection] : connections_)
    if (connection->is_local() == is_local && !connection->goes_on()) {
      ++all;
      ++of_address[operators_client_of(connection->address()).bytes];
    }
  const conf::IpAddress newcomer = operators_client_of(address);
  const bool has_its_share = !is_local && of_address[newcomer.bytes] >= connections_per_address_;
  if (!has_its_share && all < connections_max_) return true;
  // Compared in this order: the address with the most connections, the longest silence, the age.
  const auto claim_of = [&](const Connection& one) {
    return std::tuple(of_address[operators_client_of(one.address()).bytes],
                      -one.silent_since().time_since_epoch(), ~one.number());
  };
  const Connection* first = nullptr;
  for (const auto& [number, connection] : connections_) {
    if (connection->is_local() != is_local || connection->is_answering()) continue;
    if (has_its_share && operators_client_of(connection->address()) != newcomer) continue;
    if (first == nullptr || claim_of(*connection) > claim_of(*first)) first = connection.get();
  }
  if (first == nullptr) return false;
  ++(has_its_share ? counts_.over_address : counts_.over_all);
  close(first->number());
  tell_who_gave_way();
  return true;
}

// One line in ten seconds, whatever comes.
void OperatorServer::tell_who_gave_way() {
  const std::uint64_t all = counts_.over_address + counts_.over_all;
  const proxy::net::Time now = loop_.now();
  if (told_ > 0 && now - told_at_ < between_lines) return;
  spdlog::warn(
      "operators' connections: {} silent ones gave way to newcomers (ops.max_connections, "
      "ops.connections_per_address)",
      all - told_);
  told_ = all;
  told_at_ = now;
}

OperatorServer::Counts OperatorServer::counts() const {
  Counts counts = counts_;
  counts.open = connections_.size();
  counts.viewers = static_cast<std::size_t>(
      std::ranges::count_if(connections_, [](const auto& one) { return one.second->goes_on(); }));
  return counts;
}

OperatorServer::Sent OperatorServer::send(std::uint64_t connection, std::string_view text) {
  const auto found = connections_.find(connection);
  return found == connections_.end() ? Sent::gone : found->second->send(text);
}

void OperatorServer::send_to_calls(std::string_view path, std::string_view message) {
  std::vector<std::uint64_t> stuck;
  for (const auto& [number, connection] : connections_)
    if (!connection->send_to_calls(path, message)) stuck.push_back(number);
  for (const std::uint64_t number : stuck) close(number);
}

void OperatorServer::close(std::uint64_t number) {
  const auto found = connections_.find(number);
  if (found == connections_.end()) return;
  loop_.retire(std::move(found->second));
  connections_.erase(found);
}

}  // namespace classgate::gateway
