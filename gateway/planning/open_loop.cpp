#include "gateway/planning/open_loop.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "conf/format.h"
#include "gateway/planning/answer_ending.h"

namespace classgate::planning {
namespace {

using proxy::wire::Framing;
using proxy::wire::Parser;
using simulation::Ending;
using simulation::Event;
using simulation::Wish;

constexpr proxy::wire::HeadLimits head_limits{64 * 1024, 200, 8 * 1024};
constexpr std::size_t read_size = 64 * 1024;
constexpr int events_in_a_turn = 64;

}  // namespace

OpenLoop::OpenLoop(const LoadOptions& options, std::vector<Question> groups,
                   simulation::Traffic& traffic)
    : options_(options),
      groups_(std::move(groups)),
      traffic_(traffic),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

OpenLoop::~OpenLoop() = default;

Time OpenLoop::now() const {
  return Time{} + std::chrono::duration_cast<Duration>(Now::now() - began_);
}

void OpenLoop::pull() {
  is_coming_ = traffic_.next(coming_);
  if (is_coming_ && coming_.at.time_since_epoch() >= options_.time_max) is_coming_ = false;
}

void OpenLoop::run(const std::function<bool(Duration)>& on_turn) {
  began_ = Now::now();
  pull();
  std::array<epoll_event, 256> ready{};
  while (is_coming_ || active_ > 0 || returning_ > 0) {
    happen_due();
    Duration wait = std::chrono::milliseconds(100);
    if (is_coming_) wait = std::min(wait, coming_.at - now());
    if (!heap_.is_empty()) wait = std::min(wait, heap_.first().at - now());
    wait = std::max(wait, Duration::zero());
    const timespec timeout{0, wait.count()};
    const int count = ::epoll_pwait2(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                                     &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const auto& event = ready[static_cast<std::size_t>(i)];
      on_ready(event.data.u32, event.events);
    }
    if (options_.streams > 0) send_backlog();
    if (!on_turn(now().time_since_epoch())) break;
  }
  tally_.finish(now());
}

// In portions: when all that is due takes longer than more takes to become due, answers must be
// read all the same, or no connection is ever free again.
void OpenLoop::happen_due() {
  for (int happened = 0; happened < events_in_a_turn; ++happened) {
    const bool comes = is_coming_ && coming_.at <= now();
    const bool happens = !heap_.is_empty() && heap_.first().at <= now();
    if (comes && (!happens || coming_.at <= heap_.first().at)) {
      const std::uint32_t slot = take_slot(coming_);
      pull();
      arrive(slot);
    } else if (happens) {
      const Event event = heap_.pop();
      Call& call = calls_[event.slot];
      if ((call.generation & 0xffffff) != event.generation) continue;
      if (event.kind == Event::Kind::come) {
        --returning_;
        arrive(event.slot);
      } else {  // its client's patience has an end, or ours
        const bool is_impatient = call.wish.patience <= options_.answer_max;
        if (call.connection != none) leave(event.slot);
        if (!is_impatient) ++answers_.faults[Answers::too_late];
        end(event.slot, is_impatient
                            ? Ending{Ending::Kind::abandoned, {}, {}}
                            : Ending{Ending::Kind::failed, conf::Reason::upstream_timeout, {}});
      }
    } else {
      return;
    }
  }
}

std::uint32_t OpenLoop::take_slot(const Wish& wish) {
  if (free_calls_.empty()) {
    free_calls_.push_back(static_cast<std::uint32_t>(calls_.size()));
    calls_.emplace_back();
  }
  const std::uint32_t slot = free_calls_.back();
  free_calls_.pop_back();
  calls_[slot].wish = wish;
  calls_[slot].connection = none;
  calls_[slot].attempts = 0;
  return slot;
}

void OpenLoop::arrive(std::uint32_t slot) {
  Call& call = calls_[slot];
  call.is_active = true;
  ++active_;
  tally_.arrived(call.wish, call.wish.at);
  tally_.active_changed(1, now());
  plan(Event::Kind::alarm, call.wish.at + std::min(call.wish.patience, options_.answer_max), slot);
  if (!send(slot)) backlog_.push_back(slot);
}

// False when there is no connection to be had: it waits, and its latency grows.
bool OpenLoop::send(std::uint32_t slot) {
  const std::uint32_t connection = take_connection();
  if (connection == none) return false;
  connections_[connection]->http2 ? start_stream(connection, slot) : start(connection, slot);
  return true;
}

std::uint32_t OpenLoop::take_connection() {
  if (!idle_.empty()) {
    const std::uint32_t connection = idle_.back();
    idle_.pop_back();
    connections_[connection]->is_idle = false;
    return connection;
  }
  if (free_connections_.empty()) {
    if (connections_.size() >= options_.connections_max) return none;
    free_connections_.push_back(static_cast<std::uint32_t>(connections_.size()));
    connections_.push_back(nullptr);
  }
  const std::uint32_t index = free_connections_.back();
  free_connections_.pop_back();
  connections_[index] = std::make_unique<Connection>();
  Connection& connection = *connections_[index];
  if (options_.streams > 0)
    connection.http2 = std::make_unique<Http2Line>(options_.streams, options_.calls_grpc);
  connection.fd.reset(
      ::socket(options_.to.get()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(connection.fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  connection.is_connecting =
      ::connect(connection.fd.get(), options_.to.get(), options_.to.length) != 0;
  // Of a Unix socket it is known at once, and its descriptor would tell another reason later.
  connection.connect_error = connection.is_connecting && errno != EINPROGRESS ? errno : 0;
  ++opened_;
  watch(index, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
  return index;
}

void OpenLoop::watch(std::uint32_t connection, std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events | EPOLLET | EPOLLRDHUP;
  event.data.u32 = connection;
  ::epoll_ctl(epoll_.get(), operation, connections_[connection]->fd.get(), &event);
}

void OpenLoop::start(std::uint32_t index, std::uint32_t slot) {
  Connection& connection = *connections_[index];
  Call& call = calls_[slot];
  call.connection = index;
  ++call.attempts;
  latest_start_ = std::max(latest_start_, now() - call.wish.at);
  connection.call = slot;
  connection.in.clear();
  connection.out.clear();
  connection.written = 0;
  connection.head_is_here = false;
  connection.parser.begin(Parser::Kind::response, head_limits);
  write_request(connection.out, call.wish);
  connection.asked_head = connection.out.starts_with("HEAD ");
  if (!connection.is_connecting) flush(index);
}

void OpenLoop::write_request(std::string& out, const Wish& wish) const {
  const Question own = options_.question_of ? options_.question_of(wish) : Question();
  const Question& group =
      options_.question_of ? own : groups_[std::min<std::size_t>(wish.group, groups_.size() - 1)];
  auto to = std::back_inserter(out);
  fmt::format_to(to, "{} {} HTTP/1.1\r\n", group.method, group.path);
  if (!group.has("Host")) fmt::format_to(to, "Host: {}\r\n", options_.host);
  for (const RequestField& field : fields_of(group, wish))
    fmt::format_to(to, "{}: {}\r\n", field.name, field.value);
  out += "\r\n";
  out += group.body;
}

std::vector<RequestField> OpenLoop::fields_of(const Question& group, const Wish& wish) const {
  std::vector<RequestField> fields = group.fields;
  if (!group.keys.empty()) fields.push_back({group.key_field, group.key_of(wish.client)});
  if (options_.tells_clients)
    fields.push_back({"X-Forwarded-For", fmt::format("10.{}.{}.{}", wish.client >> 16 & 255,
                                                     wish.client >> 8 & 255, wish.client & 255)});
  if (wish.attempt > 0) fields.push_back({"X-Retry-Count", fmt::format("{}", wish.attempt)});
  if (!options_.service_time_header.empty())
    fields.push_back(
        {options_.service_time_header, fmt::format("{}us", wish.service.count() / 1000)});
  // A length of zero says that there is no body, where one might be expected.
  const bool may_have_body = group.method != "GET" && group.method != "HEAD";
  if (!group.body.empty() && !group.is_whole && !group.has("Content-Type"))
    fields.push_back({"Content-Type", "application/json"});
  if ((may_have_body || !group.body.empty()) && !options_.calls_grpc)
    fields.push_back({"Content-Length", fmt::format("{}", group.body.size())});
  return fields;
}

void OpenLoop::on_ready(std::uint32_t index, std::uint32_t events) {
  if (!connections_[index]) return;
  if (events & EPOLLOUT) {
    connections_[index]->is_connecting = false;
    flush(index);
  }
  if (connections_[index] && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) read(index);
}

void OpenLoop::flush(std::uint32_t index) {
  if (!connections_[index]) return;
  Connection& connection = *connections_[index];
  while (connection.written < connection.out.size()) {
    const ssize_t sent = ::send(connection.fd.get(), connection.out.data() + connection.written,
                                connection.out.size() - connection.written, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return broke(index, errno);
    connection.written += static_cast<std::size_t>(sent);
  }
}

void OpenLoop::read(std::uint32_t index) {
  static thread_local std::array<char, read_size> buffer;
  for (;;) {
    Connection& connection = *connections_[index];
    const ssize_t got = ::recv(connection.fd.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      const bool is_whole = got == 0 && connection.call != none && connection.head_is_here &&
                            connection.framing == Framing::until_close;
      if (!is_whole) return broke(index, got < 0 ? errno : 0);
      connection.closes = true;
      return answered(index);
    }
    if (connection.http2) {
      connection.has_served = true;
      if (!take_frames(index, {buffer.data(), static_cast<std::size_t>(got)})) return;
      continue;
    }
    if (connection.call == none) return broke(index);  // nobody asked
    connection.in.append(buffer.data(), static_cast<std::size_t>(got));
    if (take_answer(index)) return;
  }
}

// True when the connection must not be touched any more in this turn.
bool OpenLoop::take_answer(std::uint32_t index) {
  Connection& connection = *connections_[index];
  while (!connection.head_is_here) {
    switch (connection.parser.parse_head(connection.in)) {
      case Parser::Progress::need_more: return false;
      case Parser::Progress::fault: broke(index, Answers::not_http); return true;
      case Parser::Progress::done: break;
    }
    const bool is_interim = connection.parser.head().status < 200;
    if (!is_interim) take_head(connection);
    connection.in.erase(0, connection.parser.head_size());
    if (is_interim) connection.parser.begin(Parser::Kind::response, head_limits);
  }
  switch (connection.framing) {
    case Framing::none: answered(index); return true;
    case Framing::until_close: connection.in.clear(); return false;
    case Framing::length: {
      const auto taken = std::min<std::uint64_t>(connection.body_left, connection.in.size());
      connection.body_left -= taken;
      connection.in.clear();
      if (connection.body_left > 0) return false;
      answered(index);
      return true;
    }
    case Framing::chunked: {
      const auto progress = connection.parser.parse_chunked(connection.in);
      connection.in.clear();
      if (progress == Parser::Progress::need_more) return false;
      progress == Parser::Progress::done ? answered(index) : broke(index, Answers::not_http);
      return true;
    }
  }
  return false;
}

void OpenLoop::take_head(Connection& connection) {
  const proxy::wire::Head& head = connection.parser.head();
  connection.head_is_here = true;
  connection.ending = ending_of(head);
  connection.framing = proxy::wire::response_framing(head, connection.asked_head);
  connection.body_left = head.content_length;
  connection.closes = head.wants_close;
}

void OpenLoop::answered(std::uint32_t index) {
  Connection& connection = *connections_[index];
  const std::uint32_t slot = connection.call;
  const Wish& wish = calls_[slot].wish;
  ++answers_.statuses[connection.ending.status];
  // We may be late to notice that its client would have gone before.
  const bool has_left = now() - wish.at > wish.patience;
  const Ending ending = has_left ? Ending{Ending::Kind::abandoned, {}, {}} : connection.ending;
  connection.call = none;
  connection.has_served = true;
  if (connection.closes)
    drop(index);
  else
    idle_.push_back(index);
  end(slot, ending);
  send_backlog();
}

void OpenLoop::send_backlog() {
  while (backlog_at_ < backlog_.size()) {
    const std::uint32_t waiting = backlog_[backlog_at_];
    if (calls_[waiting].is_active && calls_[waiting].connection == none && !send(waiting)) break;
    ++backlog_at_;
  }
  if (backlog_at_ == backlog_.size()) {
    backlog_.clear();
    backlog_at_ = 0;
  }
}

// A kept connection that was closed before it took the request says nothing about the service:
// that request goes out once more.
void OpenLoop::broke(std::uint32_t index, int fault) {
  Connection& connection = *connections_[index];
  if (connection.connect_error != 0) fault = connection.connect_error;
  const std::uint32_t slot = connection.call;
  const bool was_kept = connection.has_served && connection.in.empty() && !connection.head_is_here;
  if (connection.http2) return lose_streams(index, fault);
  std::erase(idle_, index);
  drop(index);
  if (slot == none) return;
  calls_[slot].connection = none;
  if (was_kept && calls_[slot].attempts < 3) {
    if (!send(slot)) backlog_.push_back(slot);
    return;
  }
  ++answers_.faults[fault];
  end(slot, {Ending::Kind::failed, conf::Reason::upstream_unreachable, {}});
}

void OpenLoop::drop(std::uint32_t index) {
  connections_[index].reset();
  free_connections_.push_back(index);
}

void OpenLoop::end(std::uint32_t slot, const Ending& ending) {
  Call& call = calls_[slot];
  call.is_active = false;
  call.connection = none;
  call.generation = (call.generation + 1) & 0xffffff;
  --active_;
  const Wish wish = call.wish;
  free_calls_.push_back(slot);
  const Time at = now();
  tally_.active_changed(-1, at);
  tally_.ended(wish, ending, at);
  Wish follow;
  if (!traffic_.after(wish, ending, at, follow)) return;
  if (follow.at.time_since_epoch() >= options_.time_max) return;
  ++returning_;
  plan(Event::Kind::come, follow.at, take_slot(follow));
}

void OpenLoop::plan(Event::Kind kind, Time at, std::uint32_t slot) {
  Event event;
  event.at = at;
  event.sequence = sequence_++;
  event.slot = slot;
  event.generation = calls_[slot].generation & 0xffffff;
  event.kind = kind;
  heap_.push(event);
}

}  // namespace classgate::planning
